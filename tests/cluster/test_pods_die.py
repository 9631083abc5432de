"""3. Every pod dies once, one after the other, under a stream of updates."""

from __future__ import annotations

import threading
import time

import node
from cluster import Failed, wait_for
from suite import FORWARD, NAMESPACE, ClusterTest

DEVICES = 5


class Writer(threading.Thread):
    """Writes growing numbers to some entities, without a pause longer than needed, and remembers what was acknowledged."""

    def __init__(self, base: str) -> None:
        super().__init__(daemon=True)
        self.base = base
        self.acknowledged: dict[str, int] = {}
        self.errors = 0
        self._end = threading.Event()

    def run(self) -> None:
        number = 0
        while not self._end.is_set():
            number += 1
            entity = f"Room.{number % DEVICES}"
            try:
                node.update(self.base, entity, "Room", number)
                self.acknowledged[entity] = number
            except (Failed, OSError):
                self.errors += 1
            self._end.wait(0.05)

    def stop(self) -> None:
        self._end.set()
        self.join(30)


class EveryPodDies(ClusterTest):
    def test_nothing_acknowledged_is_lost_and_every_task_runs_once(self) -> None:
        base = self.node.base
        node.register_function(base, "copy", "Room", "Copy", FORWARD)
        for number in range(DEVICES):
            node.update(base, f"Room.{number}", "Room", 0)
        tasks = {row["TaskID"] for row in self.node.wait_tasks(DEVICES)}
        writer = Writer(base)
        writer.start()
        try:
            for pod in self.cluster.wait_ready(NAMESPACE):
                name = pod["metadata"]["name"]
                before = sum(writer.acknowledged.values())
                began = time.monotonic()
                self.cluster.kubectl("delete", "pod", name, "-n", NAMESPACE, "--grace-period=0", "--force")
                self.cluster.wait_ready(NAMESPACE)
                wait_for(f"writes after the death of {name}", 60, lambda before=before: sum(writer.acknowledged.values()) > before or None)
                print(f"    {name}: all ready and writing after {time.monotonic() - began:.0f} s", flush=True)
            for pod in self.node.task_pods():
                self.cluster.kubectl("delete", "pod", pod["metadata"]["name"], "-n", NAMESPACE, "--grace-period=0", "--force")
        finally:
            writer.stop()
        print(f"    {sum(1 for _ in writer.acknowledged)} entities, last number {max(writer.acknowledged.values())}, {writer.errors} refused writes", flush=True)
        for entity, number in writer.acknowledged.items():
            found = node.value_of(base, entity)
            # A write whose connection broke may have been carried out; one that was acknowledged must be there.
            self.assertGreaterEqual(found, number, entity)
        self.assertEqual({row["TaskID"] for row in self.node.wait_tasks(DEVICES)}, tasks)
        pods = wait_for("one pod for each task", 60, lambda: len(self.node.task_pods()) == DEVICES and self.node.task_pods())
        self.assertEqual(len({pod["metadata"]["annotations"]["fogflow.io/task"] for pod in pods}), DEVICES)
        for number in range(DEVICES):
            node.update(base, f"Room.{number}", "Room", 1_000_000 + number)
        wait_for("the results of the last updates", 60, self.all_copied)

    def all_copied(self) -> bool:
        answer = node.ok("POST", f"{self.node.base}/ngsi10/queryContext", {"entities": [{"type": "Copy", "isPattern": True, "id": ".*"}]})
        values = {attribute["value"] for response in answer.get("contextResponses") or [] for attribute in response["contextElement"]["attributes"] if attribute["name"] == "value"}
        missing = {1_000_000 + number for number in range(DEVICES)} - values
        if missing:
            raise Failed(f"missing {missing}, found {values}")
        return True
