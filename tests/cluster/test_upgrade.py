"""4. A rolling upgrade and a rollback under load, with tasks running."""

from __future__ import annotations

import node
from load import Writer
from suite import FORWARD, NAMESPACE, ClusterTest

DEVICES = 3


class AnUpgrade(ClusterTest):
    def test_no_request_fails_and_tasks_keep_running(self) -> None:
        node.register_function(self.node.base, "copy", "Room", "Copy", FORWARD)
        for number in range(DEVICES):
            node.update(self.node.base, f"Room.{number}", "Room", 0)
        self.node.wait_tasks(DEVICES)
        tasks = {pod["metadata"]["uid"] for pod in self.node.task_pods()}
        services = {pod["metadata"]["uid"] for pod in self.cluster.get("pods", NAMESPACE, "app.kubernetes.io/part-of=fogflow")}
        writer = Writer(self.node.base, DEVICES, retries=3)
        writer.start()
        try:
            self.cluster.helm("upgrade", self.node.release, "./cloud-chart", "--namespace", NAMESPACE, "--reuse-values", "--wait",
                              "--set", "config.logging.level=debug", "--timeout", "5m")
            self.cluster.wait_ready(NAMESPACE)
            upgraded = {pod["metadata"]["uid"] for pod in self.cluster.get("pods", NAMESPACE, "app.kubernetes.io/part-of=fogflow")}
            self.assertGreaterEqual(len(services - upgraded), 5, "the five services have new pods")
            self.cluster.helm("rollback", self.node.release, "1", "--namespace", NAMESPACE, "--wait", "--timeout", "5m")
            self.cluster.wait_ready(NAMESPACE)
        finally:
            writer.stop()
        print(f"    {writer.count} writes, {len(writer.failures)} failed", flush=True)
        self.assertEqual(writer.failures, [])
        self.node.wait_tasks(DEVICES)
        self.assertEqual({pod["metadata"]["uid"] for pod in self.node.task_pods()}, tasks, "the tasks' pods are the same")
        for entity, number in writer.acknowledged.items():
            self.assertEqual(node.value_of(self.node.base, entity), number)
