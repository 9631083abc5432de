"""What the charts render, lint and refuse; needs helm, no cluster."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
import textwrap
import unittest
from pathlib import Path

from cluster import CHARTS

CLOUD = CHARTS / "cloud-chart"
EDGE = CHARTS / "edge-chart"
EDGE_VALUES = ("--set", "config.coreservice_ip=192.0.2.1,rabbitmq.password=secret")
EVERYTHING = ("--set", "dgraph.enabled=true,tls.enabled=true,tls.certManager.enabled=true,ingress.enabled=true,gateway.enabled=true,"
              "monitoring.serviceMonitor.enabled=true,monitoring.prometheusRule.enabled=true,monitoring.grafanaDashboard.enabled=true,rbac.users.enabled=true")


def helm(*arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(["helm", *arguments], cwd=CHARTS, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout, "\n".join(line for line in done.stderr.splitlines() if "symbolic link" not in line)


def template(chart: str, *arguments: str) -> str:
    code, out, error = helm("template", "x", f"./{chart}", "--namespace", "fogflow", *arguments)
    if code != 0:
        raise AssertionError(error)
    return out


def documents(text: str) -> dict[str, str]:
    """Rendered objects by `Kind/name`, as text."""
    found = {}
    for part in re.split(r"^---$", text, flags=re.MULTILINE):
        kind, name = re.search(r"^kind: (\S+)", part, re.MULTILINE), re.search(r"^  name: (\S+)", part, re.MULTILINE)
        if kind and name:
            found[f"{kind[1]}/{name[1]}"] = part
    return found


class Charts(unittest.TestCase):
    def refused(self, chart: str, *arguments: str) -> str:
        code, _, error = helm("template", "x", f"./{chart}", "--namespace", "fogflow", *arguments)
        self.assertNotEqual(code, 0, "was accepted")
        return error

    def test_lint_finds_nothing(self) -> None:
        for chart, values in (("cloud-chart", ()), ("cloud-chart", EVERYTHING), ("edge-chart", EDGE_VALUES)):
            code, out, error = helm("lint", "--strict", f"./{chart}", *values)
            self.assertEqual(code, 0, out + error)

    def test_names_are_those_of_the_guide(self) -> None:
        found = documents(template("cloud-chart", "--set", "dgraph.enabled=true"))
        for name in ("cloud-broker", "cloud-worker", "designer", "discovery", "master", "nginx"):
            self.assertIn(f"Deployment/{name}", found)
            self.assertIn(f"Service/{name}", found)
        for name in ("rabbitmq", "dgraph", "postgresql"):
            self.assertIn(f"StatefulSet/{name}", found)
        found = documents(template("edge-chart", *EDGE_VALUES))
        self.assertLessEqual({"Deployment/edge-broker", "Deployment/edge-worker"}, set(found))

    def test_every_values_key_of_the_guide_is_accepted(self) -> None:
        template("cloud-chart", "--set", "namespace=fogflow,replicaCount=2,serviceAccount.create=true,serviceAccount.annotations.a=b,serviceAccount.name=fogflow-dns,"
                 "dgraph.hostPath.path=/mnt/dgraph,configJson.hostPath.path=/mnt/config.json,nginxConf.hostPath.path=/mnt/nginx.conf,Service.spec.externalIPs={192.0.2.1}")
        template("edge-chart", *EDGE_VALUES, "--set", "namespace=fogflow,replicaCount=2,serviceAccount.name=x,configJson.hostPath.path=/mnt/config.json,Service.spec.externalIPs={192.0.2.1}")

    def test_external_addresses_of_the_command_line_win(self) -> None:
        found = documents(template("cloud-chart", "--set", "externalIPs={192.0.2.1},Service.spec.externalIPs={192.0.2.9}"))
        for name in ("nginx", "cloud-broker", "discovery", "rabbitmq"):
            self.assertIn('externalIPs: ["192.0.2.1"]', found[f"Service/{name}"])
        for name in ("designer", "master", "cloud-worker", "postgresql"):
            self.assertNotIn("externalIPs", found[f"Service/{name}"])

    def test_wrong_values_are_named(self) -> None:
        error = self.refused("cloud-chart", "--set", "replicaCount=two,brokr.expose=true,config.worker.capasity=3,config.site_id=a.b,externalIPs={nowhere}")
        for place in ("'/replicaCount': got string", "'brokr' not allowed", "'capasity' not allowed", "/config/site_id", "/externalIPs/0"):
            self.assertIn(place, error)
        self.assertIn("namespace", self.refused("cloud-chart", "--set", "namespace=other"))
        self.assertIn("coreservice_ip", self.refused("edge-chart"))
        self.assertIn("rabbitmq.password", self.refused("edge-chart", "--set", "config.coreservice_ip=192.0.2.1"))
        self.assertIn("store.url", self.refused("cloud-chart", "--set", "postgresql.enabled=false"))

    def test_every_container_is_restricted(self) -> None:
        for text in (template("cloud-chart", *EVERYTHING), template("edge-chart", *EDGE_VALUES)):
            for name, part in documents(text).items():
                if not name.startswith(("Deployment/", "StatefulSet/", "Pod/")):
                    continue
                for line in ("runAsNonRoot: true", "seccompProfile: {type: RuntimeDefault}", "allowPrivilegeEscalation: false", "capabilities: {drop: [ALL]}",
                             "readOnlyRootFilesystem: true"):
                    self.assertIn(line, part, name)
                self.assertNotIn("hostPath", part, name)
                self.assertEqual("automountServiceAccountToken: true" in part, name.endswith("-worker"), name)

    def test_there_is_no_right_in_the_whole_cluster(self) -> None:
        self.assertNotIn("kind: ClusterRole", template("cloud-chart", *EVERYTHING) + template("edge-chart", *EDGE_VALUES))

    def test_no_credential_is_outside_the_secret(self) -> None:
        text = template("cloud-chart", "--set", "rabbitmq.password=Sesame1,postgresql.password=Sesame2,adminToken.value=Sesame3,componentToken.value=Sesame4")
        outside = "".join(part for name, part in documents(text).items() if not name.startswith("Secret/"))
        self.assertNotIn("Sesame", outside)
        given = documents(template("cloud-chart", "--set", "rabbitmq.existingSecret=a,store.existingSecret=b,adminToken.existingSecret=c,componentToken.existingSecret=d"))
        self.assertFalse([name for name in given if name.startswith("Secret/")])

    def test_every_service_reads_the_tokens_of_its_node_from_files_of_secrets(self) -> None:
        cloud = template("cloud-chart", "--set", "componentToken.existingSecret=mine,userTokens.existingSecret=people")
        edge = template("edge-chart", *EDGE_VALUES, "--set", "componentToken.value=Sesame")
        for text, services, source in ((cloud, ("cloud-broker", "cloud-worker", "designer", "discovery", "master"), "mine"), (edge, ("edge-broker", "edge-worker"), "fogflow-credentials")):
            for name in services:
                part = documents(text)[f"Deployment/{name}"]
                for variable, file, secret in (("ADMIN_TOKEN_FILE", "admin-token", "fogflow-credentials"), ("COMPONENT_TOKEN_FILE", "component-token", source)):
                    self.assertRegex(part, rf"FOGFLOW_SECURITY__{variable}\n +value: /tokens/{file}\n", name)
                    self.assertIn(f"secret: {{name: {secret}, items: [{{key: {file}, path: {file}}}]}}", part, name)
                self.assertEqual("secret: {name: people, items: [{key: tokens.json, path: tokens.json}]}" in part, text is cloud, name)
        self.assertNotIn("COMPONENT_TOKEN_FILE", template("edge-chart", *EDGE_VALUES), "an edge has no component token but its cloud's")
        self.assertIn("componentToken.value", self.refused("edge-chart", *EDGE_VALUES, "--set", "config.security.authentication=token"))

    def test_config_json_is_the_file_with_the_values_over_it(self) -> None:
        rendered = documents(template("cloud-chart", "--set", "config.worker.capacity=3,config.site_id=rack-7"))["ConfigMap/fogflow-configmap"]
        config = json.loads(rendered.split("config.json: |")[1].split("nginx.conf: |")[0])
        file = json.loads((CLOUD / "config.json").read_text())
        self.assertEqual((config["site_id"], config["worker"]["capacity"]), ("rack-7", 3))
        self.assertEqual(config["worker"]["http_port"], file["worker"]["http_port"])

    def test_a_change_of_the_configuration_rolls_the_pods(self) -> None:
        sums = [re.findall(r"checksum/config: (\w+)", documents(template("cloud-chart", "--set", f"rabbitmq.existingSecret=a,postgresql.password=b,adminToken.value=c,componentToken.value=d,config.worker.capacity={n}"))["Deployment/master"])
                for n in (1, 1, 2)]
        self.assertEqual(sums[0], sums[1])
        self.assertNotEqual(sums[0], sums[2])

    def test_the_small_node_fits_into_512_mib(self) -> None:
        text = template("cloud-chart", "-f", "cloud-chart/values-small.yaml")
        parts = [part for name, part in documents(text).items() if name.startswith(("Deployment/", "StatefulSet/"))]
        limits = [int(found) for part in parts for found in re.findall(r"limits:\n\s+memory: (\d+)Mi", part)]
        self.assertEqual(len(limits), len(parts))
        self.assertLess(sum(limits), 512)

    def test_replicas_come_with_a_budget_and_files_have_one_user(self) -> None:
        many = documents(template("cloud-chart", "-f", "cloud-chart/values-ha.yaml"))
        for name in ("cloud-broker", "discovery", "designer", "master", "cloud-worker", "nginx", "rabbitmq"):
            self.assertIn(f"PodDisruptionBudget/{name}", many)
        for name in ("cloud-broker", "discovery", "designer"):
            self.assertIn(f"HorizontalPodAutoscaler/{name}", many)
            self.assertNotIn("\n  replicas:", many[f"Deployment/{name}"])
        for name in ("designer", "master", "cloud-worker"):
            self.assertRegex(many[f"Deployment/{name}"], r"FOGFLOW_BUS__QUEUE_TYPE\n +value: quorum\n")
        alone = documents(template("cloud-chart", "--set", "store.engine=embedded,replicaCount=3"))
        self.assertNotIn("QUEUE_TYPE", alone["Deployment/master"])
        for name in ("cloud-broker", "discovery", "designer", "master"):
            self.assertIn("\n  replicas: 1\n", alone[f"Deployment/{name}"])
            self.assertIn("type: Recreate", alone[f"Deployment/{name}"])
        self.assertIn("\n  replicas: 3\n", alone["Deployment/cloud-worker"])

    def test_a_server_waits_for_the_end_of_one_that_still_uses_its_volume(self) -> None:
        for name in ("postgresql", "rabbitmq"):
            part = documents(template("cloud-chart"))[f"StatefulSet/{name}"]
            command = re.search(r"command:\n +- sh\n +- -c\n +- \|\n((?: {14}.*\n)+) +- sh\n", part)
            volume = re.search(r"\{name: data, mountPath: (\S+)\}", part)
            self.assertTrue(command and volume, part)
            with tempfile.TemporaryDirectory() as folder:
                entrypoint = Path(folder, "docker-entrypoint.sh")
                entrypoint.write_text('#!/bin/sh\necho "serves $*"\nexec sleep 60\n')
                entrypoint.chmod(0o755)
                script = textwrap.dedent(command[1]).replace(volume[1], folder)
                environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}
                servers = []
                try:
                    for line in ("serves ", "the volume is still in use"):
                        servers.append(subprocess.Popen(["sh", "-c", script, "sh", "-c", "a=b"], env=environment, stdout=subprocess.PIPE, text=True))
                        self.assertIn(line, servers[-1].stdout.readline(), name)
                    servers[0].kill()
                    self.assertRegex(servers[1].stdout.readline(), r"^serves \S+ -c a=b$", name)
                finally:
                    for server in servers:
                        server.kill()
                        server.communicate()

    def test_the_readme_tables_are_those_of_the_values(self) -> None:
        done = subprocess.run([CHARTS / "readme", "--check"], capture_output=True, text=True, check=False, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
