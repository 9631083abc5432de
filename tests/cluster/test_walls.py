"""7. Walls: what a task cannot reach, nodes that are tainted, pods that are not restricted."""

from __future__ import annotations

import json

import node
from cluster import Failed, wait_for
from suite import FORWARD, NAMESPACE, ClusterTest

REACH = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 3).close()
    print("reached")
except OSError as error:
    print("not reached:", error)
"""


class Walls(ClusterTest):
    def from_task(self, pod: str, host: str, port: int) -> bool:
        """Whether a connection from within a task's pod comes about."""
        answer = self.cluster.kubectl("exec", "-n", NAMESPACE, pod, "--", "/usr/bin/python3", "-c", REACH, host, str(port))
        return answer.startswith("reached")

    def test_1_a_task_reaches_its_broker_and_nothing_else(self) -> None:
        node.register_function(self.node.base, "copy", "Room", "Copy", FORWARD)
        for number in range(2):
            node.update(self.node.base, f"Room.{number}", "Room", number)
        self.node.wait_tasks(2)
        pods = self.node.task_pods()
        name, other = pods[0]["metadata"]["name"], pods[1]["status"]["podIP"]
        wait_for("the policy to be loaded", 30, lambda: self.from_task(name, "cloud-broker", 8070))
        api = json.loads(self.cluster.kubectl("get", "service", "kubernetes", "-n", "default", "-o", "json"))["spec"]["clusterIP"]
        for what, host, port in (("RabbitMQ", "rabbitmq", 5672), ("the database", "postgresql", 5432), ("the designer", "designer", 8080),
                                 ("the master", "master", 8010), ("the API server", api, 443), ("another task", other, 8080)):
            self.assertFalse(self.from_task(name, host, port), what)

    def test_2_a_tainted_node_gets_tasks_only_with_the_toleration(self) -> None:
        tainted = list(self.cluster.nodes())[-1]
        self.cluster.kubectl("taint", "node", tainted, "fogflow-test=yes:NoSchedule", "--overwrite")
        try:
            for number in range(2, 8):
                node.update(self.node.base, f"Room.{number}", "Room", number)
            self.node.wait_tasks(8)
            old = {"Room.0", "Room.1"}
            placed = {row["TaskID"] for row in self.node.tasks() if row["Inputs"][0]["ID"] not in old}
            self.assertNotIn(tainted, {pod["spec"]["nodeName"] for pod in self.node.task_pods() if pod["metadata"]["annotations"]["fogflow.io/task"] in placed})
            self.cluster.helm("upgrade", self.node.release, "./cloud-chart", "--namespace", NAMESPACE, "--reuse-values", "--wait",
                              "--set-json", 'worker.task={"tolerations":[{"key":"fogflow-test","operator":"Exists"}],"nodeSelector":{"kubernetes.io/hostname":"%s"}}' % tainted)
            node.update(self.node.base, "Room.9", "Room", 9)

            def there() -> bool:
                ids = {row["TaskID"] for row in self.node.tasks() if row["Inputs"][0]["ID"] == "Room.9"}
                nodes = {pod["spec"].get("nodeName") for pod in self.node.task_pods() if pod["metadata"]["annotations"]["fogflow.io/task"] in ids}
                if nodes != {tainted}:
                    raise Failed(f"{ids} on {nodes}")
                return True
            wait_for("a task on the tainted node", 60, there)
        finally:
            self.cluster.kubectl("taint", "node", tainted, "fogflow-test-")

    def test_3_a_pod_that_is_not_restricted_is_refused(self) -> None:
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "loud"}, "spec": {"containers": [
            {"name": "loud", "image": "docker.io/library/busybox:1.35", "securityContext": {"privileged": True}}]}}
        with self.assertRaisesRegex(Failed, "violates PodSecurity"):
            self.cluster.kubectl("apply", "-n", NAMESPACE, "-f", "-", stdin=json.dumps(pod))
