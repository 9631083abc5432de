"""Where the clusters come from: the testbed where it is there, else any cluster by KUBECONFIG and CLUSTER_LOAD."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

from cluster import ROOT, Cluster, Failed, run

STAND_INS = ["busybox", "debug", "nginx-unprivileged", "postgres", "rabbitmq"]


def testbed_program() -> str | None:
    """`FOGFLOW_TESTBED`, or `shared/testbed` beside the project."""
    program = Path(os.environ.get("FOGFLOW_TESTBED", ROOT.parent / "shared/testbed/testbed"))
    return str(program) if program.is_file() else None


def why_not() -> str | None:
    """Why no cluster can be had here; None when one can."""
    if testbed_program():
        return None if os.geteuid() == 0 else "the testbed needs root"
    if not os.environ.get("KUBECONFIG"):
        return "there is no testbed (FOGFLOW_TESTBED) and no KUBECONFIG"
    missing = [program for program in ("kubectl", "helm") if not shutil.which(program)]
    if missing:
        return f"{' and '.join(missing)} not found"
    return None if os.environ.get("CLUSTER_LOAD") else "CLUSTER_LOAD is not set: the command that loads an image archive into the cluster"


def testbed_environment(program: str, name: str) -> dict[str, str]:
    """KUBECONFIG and PATH of a cluster of the testbed that has been started."""
    lines = run([program, "env", "--name", name]).splitlines()
    pairs = dict(line.removeprefix("export ").split("=", 1) for line in lines if "=" in line)
    return {key: " ".join(shlex.split(value)).replace("$PATH", os.environ["PATH"]) for key, value in pairs.items()}


def find_helm() -> bool:
    """Whether there is a helm, the machine's or the testbed's; the latter is put into PATH."""
    program = testbed_program()
    if not shutil.which("helm") and program and os.geteuid() == 0:
        run([program, "prepare"], seconds=600)
        # Only a cluster that has been started has an environment; the program itself lies in the testbed's cache.
        cache = Path(os.environ.get("KUBELAB_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kubelab")
        for folder in cache.glob("bin-*"):
            os.environ["PATH"] += f"{os.pathsep}{folder}"
    return shutil.which("helm") is not None


def provide(name: str, nodes: int, images: list[Path], stand_ins: list[str] | None = None) -> Cluster:
    """A cluster with the images in it. The testbed starts one; elsewhere the one of KUBECONFIG is used."""
    program = testbed_program()
    if program:
        up = [program, "up", "--name", name, "--nodes", str(nodes)]
        try:
            run(up, seconds=300)
        except Failed as error:
            print(f"    the testbed is started once more: {error}", flush=True)
            take_down(name)
            run(up, seconds=300)
        run([program, "images", "--name", name, *(STAND_INS if stand_ins is None else stand_ins)], seconds=900)
        cluster = Cluster(testbed_environment(program, name), [program, "load", "--name", name], [program])
    else:
        cluster = Cluster({}, shlex.split(os.environ["CLUSTER_LOAD"]))
    run([*cluster.load, *map(str, images)], environment=cluster.environment, seconds=900)
    return cluster


def take_down(name: str) -> None:
    """Ends a cluster of the testbed; another one is left as it is."""
    if program := testbed_program():
        run([program, "down", "--name", name], seconds=600)
