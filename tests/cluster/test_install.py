"""1. The guide's command brings up the cloud node."""

from __future__ import annotations

import re

import node
from cluster import wait_for
from suite import NAMESPACE, ClusterTest


class TheGuidesCommand(ClusterTest):
    def test_1_pods_are_named_as_in_the_guide_and_none_restarted(self) -> None:
        pods = self.cluster.wait_ready(NAMESPACE)
        names = {re.sub(r"(-[a-z0-9]+){1,2}$", "", pod["metadata"]["name"]) for pod in pods}
        self.assertLessEqual({"cloud-broker", "cloud-worker", "designer", "discovery", "master", "nginx", "rabbitmq"}, names)

    def test_2_the_page_and_all_interfaces_answer_on_port_80_of_the_external_address(self) -> None:
        base = self.node.base
        self.assertIn("<html", node.ok("GET", f"{base}/index.html"))
        node.update(base, "Room.1", "Room", 21.5)
        self.assertEqual(node.value_of(base, "Room.1"), 21.5)
        self.assertEqual(node.ok("GET", f"{base}/v2/entities/Room.1?options=keyValues")["value"], 21.5)
        self.assertEqual(node.ok("GET", f"{base}/ngsi-ld/v1/entities/Room.1")["value"]["value"], 21.5)
        wait_for("discovery to know the entity", 10, lambda: node.ok("GET", f"{base}/ngsi9/registration/Room.1"))

    def test_3_broker_and_discovery_answer_on_their_own_ports(self) -> None:
        for port in (8070, 8090):
            self.assertIn("version", node.ok("GET", f"{self.node.base}:{port}/version"))

    def test_4_helm_test_passes(self) -> None:
        self.cluster.helm("test", self.node.release, "--namespace", NAMESPACE, "--timeout", "3m")

    def test_5_the_admin_token_of_the_secret_lets_code_in_and_nothing_else_does(self) -> None:
        operator = [{"name": "inline", "description": "", "parameters": [], "code": {"language": "python", "source": "def handleEntity(e, p):\n    pass\n"}}]
        self.assertEqual(node.call("POST", f"{self.node.base}/operator", operator)[0], 403)
        node.ok("POST", f"{self.node.base}/operator", operator, headers={"Authorization": f"Bearer {self.node.secret('admin-token')}"})
        node.ok("DELETE", f"{self.node.base}/operator/inline")

    def test_6_dgraph_is_accepted_by_the_api_server(self) -> None:
        text = self.cluster.helm("template", "x", "./cloud-chart", "--namespace", NAMESPACE, "--set", "dgraph.enabled=true",
                                 "--show-only", "templates/dgraph.yaml", "--show-only", "templates/designer.yaml")
        self.cluster.kubectl("apply", "--dry-run=server", "--validate=strict", "-n", NAMESPACE, "-f", "-", stdin=text.replace("x\n", f"{self.node.release}\n"))
        self.assertIn("FOGFLOW_DESIGNER__STORE__ENGINE", text)

    def test_7_an_upgrade_keeps_the_credentials_and_rolls_nothing_that_did_not_change(self) -> None:
        before = {key: self.node.secret(key) for key in ("rabbitmq-password", "postgres-password", "admin-token")}
        pods = {pod["metadata"]["uid"] for pod in self.cluster.wait_ready(NAMESPACE)}
        self.cluster.helm("upgrade", self.node.release, "./cloud-chart", "--namespace", NAMESPACE, "--reuse-values", "--wait")
        self.assertEqual(before, {key: self.node.secret(key) for key in before})
        self.assertEqual(pods, {pod["metadata"]["uid"] for pod in self.cluster.wait_ready(NAMESPACE)})

    def test_8_no_right_reaches_beyond_the_namespace_and_only_the_worker_has_any(self) -> None:
        objects = self.cluster.helm("get", "manifest", self.node.release, "--namespace", NAMESPACE)
        self.assertNotIn("kind: ClusterRole", objects)
        for account, expected in (("fogflow", False), ("fogflow-worker", True)):
            self.assertEqual(self.cluster.may(NAMESPACE, account, "create", "deployments.apps"), expected, account)
        self.assertFalse(self.cluster.may(NAMESPACE, "fogflow-worker", "get", "secrets"))
