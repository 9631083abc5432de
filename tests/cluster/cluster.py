"""A Kubernetes cluster under test: kubectl, helm, images, and waiting for states."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
CHARTS = ROOT / "charts"


class Failed(AssertionError):
    """A command or a state that did not come, with what was seen last."""


def run(command: list[str], *, environment: dict[str, str] | None = None, stdin: str | None = None, folder: Path | None = None,
        seconds: float = 300) -> str:
    """Runs a command and returns its standard output; raises `Failed` with both outputs."""
    try:
        done = subprocess.run(command, env=os.environ | (environment or {}), input=stdin, cwd=folder, capture_output=True, text=True,
                              timeout=seconds, check=False)
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{' '.join(command)}: not done after {seconds} s") from error
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done.stdout


def wait_for(what: str, seconds: float, attempt: Callable[[], Any], pause: float = 0.5) -> Any:
    """Calls `attempt` until it returns something else than None or False; a `Failed` or `OSError` counts as not yet."""
    end = time.monotonic() + seconds
    last: object = "nothing"
    while True:
        try:
            found = attempt()
            if found is not None and found is not False:
                return found
            last = found
        except (Failed, OSError, ValueError, KeyError, IndexError) as error:
            last = error
        if time.monotonic() > end:
            raise Failed(f"gave up waiting {seconds:.0f} s for {what}; last: {last}")
        time.sleep(pause)


@dataclass
class Cluster:
    """A cluster by its kubeconfig. `load` is a command that brings image archives to all nodes."""

    environment: dict[str, str]
    load: list[str]
    testbed: list[str] = field(default_factory=list)  # the testbed's program with this cluster's name; empty on other clusters

    def kubectl(self, *arguments: str, stdin: str | None = None, seconds: float = 120) -> str:
        return run(["kubectl", *arguments], environment=self.environment, stdin=stdin, seconds=seconds)

    def helm(self, *arguments: str, seconds: float = 600) -> str:
        return run(["helm", *arguments], environment=self.environment, folder=CHARTS, seconds=seconds)

    def get(self, kind: str, namespace: str, selector: str = "") -> list[dict[str, Any]]:
        wanted = ["-l", selector] if selector else []
        return json.loads(self.kubectl("get", kind, "-n", namespace, *wanted, "-o", "json"))["items"]

    def may(self, namespace: str, account: str, verb: str, kind: str) -> bool:
        """Whether a ServiceAccount has a right."""
        try:
            return self.kubectl("auth", "can-i", verb, kind, "-n", namespace, f"--as=system:serviceaccount:{namespace}:{account}").strip() == "yes"
        except Failed:  # its exit code says no
            return False

    def nodes(self) -> dict[str, str]:
        """Names of the nodes and their addresses, sorted by name."""
        items = json.loads(self.kubectl("get", "nodes", "-o", "json"))["items"]
        return {node["metadata"]["name"]: next(a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP")
                for node in sorted(items, key=lambda node: node["metadata"]["name"])}

    def make_namespace(self, name: str) -> None:
        """A namespace in which the Pod Security Standard `restricted` is enforced; an older one of this name goes first."""
        self.kubectl("delete", "namespace", name, "--ignore-not-found", "--wait", "--timeout=120s", seconds=150)
        self.kubectl("create", "namespace", name)
        self.kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")

    def wait_ready(self, namespace: str, seconds: float = 240, selector: str = "app.kubernetes.io/part-of=fogflow") -> list[dict[str, Any]]:
        """Waits until every pod of the selection is Ready and none is ending; returns them."""
        def all_ready() -> list[dict[str, Any]] | None:
            pods = self.get("pods", namespace, selector)
            states = {pod["metadata"]["name"]: is_ready(pod) for pod in pods}
            if not pods or not all(states.values()):
                raise Failed(", ".join(f"{name} {state(pod)}" for name, pod in zip(states, pods, strict=True) if not states[name]) or "no pod")
            return pods
        try:
            return wait_for(f"all pods of {namespace} to be ready", seconds, all_ready, 1)
        except Failed as error:
            raise Failed(f"{error}\n{self.story(namespace)}") from error

    def story(self, namespace: str) -> str:
        """What helps to see why something is not as it should be: pods, warnings, ends of logs."""
        parts = [self.kubectl("get", "pods", "-n", namespace, "-o", "wide"),
                 "\n".join(self.kubectl("get", "events", "-n", namespace, "--field-selector=type=Warning", "--sort-by=.lastTimestamp").splitlines()[-25:])]
        for pod in self.get("pods", namespace):
            if not is_ready(pod):
                for previous in ([], ["--previous"]):
                    try:
                        parts.append(f"--- {pod['metadata']['name']} {' '.join(previous)}\n" + self.kubectl("logs", "-n", namespace, pod["metadata"]["name"], "--tail=15", *previous))
                    except Failed:
                        continue
        return "\n".join(parts)


def is_ready(pod: dict[str, Any]) -> bool:
    if "deletionTimestamp" in pod["metadata"]:
        return False
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))


def state(pod: dict[str, Any]) -> str:
    """One word or reason for a pod's state."""
    for container in pod["status"].get("containerStatuses", []):
        if reason := container["state"].get("waiting", {}).get("reason"):
            return reason
    return "ending" if "deletionTimestamp" in pod["metadata"] else pod["status"].get("phase", "?")
