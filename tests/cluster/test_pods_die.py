"""3. Every pod dies once, one after the other, under a stream of updates."""

from __future__ import annotations

import time

import node
from cluster import wait_for
from load import Writer
from suite import FORWARD, NAMESPACE, ClusterTest

DEVICES = 5
SERVICES = "app.kubernetes.io/part-of=fogflow,app.kubernetes.io/name!=fogflow-task"


class EveryPodDies(ClusterTest):
    def test_nothing_acknowledged_is_lost_and_every_task_runs_once(self) -> None:
        base = self.node.base
        node.register_function(base, "copy", "Room", "Copy", FORWARD)
        for number in range(DEVICES):
            node.update(base, f"Room.{number}", "Room", 0)
        tasks = {row["TaskID"] for row in self.node.wait_tasks(DEVICES)}
        before = {pod["metadata"]["name"] for pod in self.node.task_pods()}
        writer = Writer(base, DEVICES)
        writer.start()
        try:
            self.kill_each([pod["metadata"]["name"] for pod in self.cluster.wait_ready(NAMESPACE, selector=SERVICES)], writer)
            after = {pod["metadata"]["name"] for pod in self.node.task_pods()}
            print(f"    {len(before & after)} of {DEVICES} tasks' pods outlived all services", flush=True)
            self.kill_each(sorted(after), writer)
        finally:
            writer.stop()
        print(f"    {writer.count} writes acknowledged, {len(writer.failures)} refused", flush=True)
        for entity, number in writer.acknowledged.items():
            found = node.value_of(base, entity)
            # A write whose connection broke may have been carried out; one that was acknowledged must be there.
            self.assertGreaterEqual(found, number, entity)
        self.assertEqual({row["TaskID"] for row in self.node.wait_tasks(DEVICES)}, tasks)
        pods = wait_for("one pod for each task", 60, lambda: len(self.node.task_pods()) == DEVICES and self.node.task_pods())
        self.assertEqual(len({pod["metadata"]["annotations"]["fogflow.io/task"] for pod in pods}), DEVICES)
        for number in range(DEVICES):
            node.update(base, f"Room.{number}", "Room", 1_000_000 + number)
        wait_for("the results of the last updates", 60, lambda: self.copied({1_000_000 + number for number in range(DEVICES)}))

    def kill_each(self, names: list[str], writer: Writer) -> None:
        """Ends one pod after the other, each when all are ready again and writes succeed."""
        for name in names:
            began = time.monotonic()
            # A task's pod may have been replaced since it was listed.
            self.cluster.kubectl("delete", "pod", name, "-n", NAMESPACE, "--grace-period=0", "--force", "--ignore-not-found")
            self.cluster.wait_ready(NAMESPACE)
            count = writer.count
            wait_for(f"writes after the death of {name}", 60, lambda count=count: writer.count > count or None)
            print(f"    {name}: all ready and writing after {time.monotonic() - began:.0f} s", flush=True)
