"""5. The four layouts: one node, one node for tasks, several of them, several masters and workers that outlive pods and a node."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import node
from cluster import Cluster, Failed, run, wait_for
from load import Writer
from suite import FORWARD, NAMESPACE, ClusterTest

LEADS = re.compile(r'"message":"this master leads and plans".*')
EPOCH = re.compile(r'"epoch":(\d+)')


def on(*nodes: str) -> dict[str, Any]:
    """Values that keep pods on some nodes."""
    terms = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": list(nodes)}]}]
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}}


def option(**values: object) -> list[str]:
    return [text for key, value in values.items() for text in ("--set-json", f"{key.replace('__', '.')}={json.dumps(value)}")]


class OneMaster(ClusterTest):
    """The first three layouts, one after the other; the services stay on the first node."""

    @classmethod
    def values(cls) -> tuple[str, ...]:
        first = next(iter(cls.cluster.nodes()))
        return tuple(option(scheduling=on(first), worker__task=on(first)))

    def tasks_on(self, nodes: list[str]) -> set[str]:
        """Moves the tasks to some nodes and returns the nodes of six new ones."""
        first = next(iter(self.cluster.nodes()))
        self.cluster.helm("upgrade", self.node.release, "./cloud-chart", "--namespace", NAMESPACE, "--wait", "--timeout", "5m",
                          "--set", f"externalIPs={{{self.node.ip}}}", *option(scheduling=on(first), worker__task=on(*nodes)))
        self.cluster.wait_ready(NAMESPACE)
        for number in range(6):
            node.update(self.node.base, f"Room.{number}", "Room", number)
        self.node.wait_tasks(6)
        self.assertEqual({name: place for name, place in self.node.placed().items() if place != first}, {})
        found = {pod["spec"]["nodeName"] for pod in self.node.task_pods()}
        for number in range(6):
            node.ok("DELETE", f"{self.node.base}/ngsi10/entity/Room.{number}")
        self.node.wait_tasks(0)
        return found

    def test_1_everything_on_one_node(self) -> None:
        first = next(iter(self.cluster.nodes()))
        node.register_function(self.node.base, "copy", "Room", "Copy", FORWARD)
        self.assertEqual(self.tasks_on([first]), {first})

    def test_2_one_master_and_one_node_for_tasks(self) -> None:
        last = list(self.cluster.nodes())[-1]
        self.assertEqual(self.tasks_on([last]), {last})

    def test_3_one_master_and_several_nodes_for_tasks(self) -> None:
        others = list(self.cluster.nodes())[1:]
        self.assertEqual(self.tasks_on(others), set(others), "tasks spread over the nodes")


class SeveralMasters(ClusterTest):
    """The last layout, by values-ha.yaml: three of everything, RabbitMQ as a cluster. PostgreSQL has one pod, which is not harmed here."""

    TASKS = 12

    @classmethod
    def values(cls) -> tuple[str, ...]:
        first = next(iter(cls.cluster.nodes()))
        small = {"requests": {"cpu": "50m", "memory": "160Mi"}, "limits": {"memory": "512Mi"}}
        return ("-f", "cloud-chart/values-ha.yaml", "--set", "postgresql.enabled=true,store.existingSecret=,persistence.retain=false,rabbitmq.memoryHighWatermark=200MB",
                *option(postgresql__nodeSelector={"kubernetes.io/hostname": first}, rabbitmq__resources=small))

    def wait_once(self, count: int, seconds: float = 90) -> list[dict[str, Any]]:
        """Waits until so many tasks run, each as one pod that is not ending and one Deployment; returns the pods."""
        self.node.wait_tasks(count, seconds)

        def once() -> list[dict[str, Any]]:
            pods = self.node.task_pods()
            tasks = sorted(pod["metadata"]["annotations"]["fogflow.io/task"] for pod in pods)
            deployments = self.cluster.get("deployments", NAMESPACE, "app.kubernetes.io/name=fogflow-task")
            if len(set(tasks)) != len(tasks) or len(tasks) != count or len(deployments) != count:
                raise Failed(f"{len(deployments)} deployments, pods of {tasks}")
            return pods
        return wait_for(f"each of {count} tasks to run once", 60, once)

    def leader(self) -> tuple[int, str]:
        """The newest epoch in which a master that is there began to lead, and its pod."""
        found = [(int(epoch[1]), pod["metadata"]["name"])
                 for pod in self.cluster.get("pods", NAMESPACE, "app.kubernetes.io/name=master") if "deletionTimestamp" not in pod["metadata"]
                 for line in LEADS.findall(self.cluster.kubectl("logs", "-n", NAMESPACE, pod["metadata"]["name"])) if (epoch := EPOCH.search(line))]
        if not found:
            raise Failed("no master says that it leads")
        return max(found)

    def spread(self, name: str) -> set[str]:
        return {pod["spec"]["nodeName"] for pod in self.cluster.get("pods", NAMESPACE, f"app.kubernetes.io/name={name}")}

    def test_1_no_task_is_doubled(self) -> None:
        self.cluster.wait_ready(NAMESPACE)
        node.register_function(self.node.base, "copy", "Room", "Copy", FORWARD)
        for number in range(self.TASKS):
            node.update(self.node.base, f"Room.{number}", "Room", number)
        pods = self.wait_once(self.TASKS)
        for name in ("master", "cloud-worker", "rabbitmq"):
            self.assertEqual(len(self.spread(name)), 3, f"{name}: one on each node")
        self.assertGreater(len({pod["spec"]["nodeName"] for pod in pods}), 1)
        wait_for("all queues to be quorum queues with a copy on each member", 60, self.queues_are_safe, 5)

    def queues_are_safe(self) -> bool:
        listed = self.cluster.kubectl("exec", "-n", NAMESPACE, "rabbitmq-0", "--", "rabbitmqctl", "-q", "--no-table-headers", "list_queues", "name", "type", "members")
        queues = [line.split("\t") for line in listed.splitlines()]
        if not queues or any(len(queue) != 3 or queue[1] != "quorum" or queue[2].count("rabbit@") != 3 for queue in queues):
            raise Failed(listed)
        return True

    def test_2_the_leading_master_dies_and_another_leads_within_15_seconds(self) -> None:
        epoch, leader = self.leader()
        began = time.monotonic()
        self.cluster.kubectl("delete", "pod", leader, "-n", NAMESPACE, "--grace-period=0", "--force")

        def another() -> tuple[int, str] | None:
            found = self.leader()
            return found if found[0] > epoch else None
        wait_for(f"another leader than {leader}", 15, another, 0.2)
        print(f"    another master leads after {time.monotonic() - began:.1f} s", flush=True)
        node.update(self.node.base, "Room.new", "Room", 1)
        self.wait_once(self.TASKS + 1)
        self.cluster.wait_ready(NAMESPACE)

    def test_3_a_member_of_rabbitmq_dies_and_nothing_stops(self) -> None:
        for member in range(3):
            writer = Writer(self.node.base, self.TASKS)
            writer.start()
            try:
                self.cluster.kubectl("delete", "pod", f"rabbitmq-{member}", "-n", NAMESPACE, "--grace-period=0", "--force")
                began = time.monotonic()
                node.update(self.node.base, f"Room.member{member}", "Room", 1)
                self.wait_once(self.TASKS + 2 + member, 30)
                print(f"    a task more runs {time.monotonic() - began:.1f} s after the death of rabbitmq-{member}", flush=True)
            finally:
                writer.stop()
            self.assertEqual(writer.failures, [])
            self.cluster.wait_ready(NAMESPACE)

    def test_4_a_node_dies_and_its_tasks_run_elsewhere(self) -> None:
        self.need_testbed("switch a node off")
        self.cluster.wait_ready(NAMESPACE)
        count = len(self.node.tasks())
        victim = list(self.cluster.nodes())[-1]
        lost = {pod["metadata"]["uid"] for pod in self.node.task_pods() if pod["spec"]["nodeName"] == victim}
        self.assertTrue(lost, f"{victim} has no task")
        machine = victim.removeprefix(f"{self.cluster.environment['KUBELAB_NAME']}-")
        began = time.monotonic()
        self.switch(self.cluster, "kill", machine)
        try:
            def elsewhere() -> bool:
                places = {pod["metadata"]["annotations"]["fogflow.io/task"]: pod["spec"].get("nodeName") for pod in self.node.task_pods()}
                if victim in places.values() or len(places) != count:
                    raise Failed(f"{len(places)} tasks: {places}")
                return True
            wait_for("the tasks of the dead node to be elsewhere", 150, elsewhere, 1)
            self.wait_once(count, 60)
            print(f"    {len(lost)} tasks of the dead node run elsewhere after {time.monotonic() - began:.0f} s", flush=True)
            node.update(self.node.base, "Room.after", "Room", 1)
            self.wait_once(count + 1, 60)
        finally:
            self.switch(self.cluster, "boot", machine)
        self.cluster.wait_ready(NAMESPACE, 180)
        self.wait_once(count + 1)

    @staticmethod
    def switch(cluster: Cluster, *arguments: str) -> None:
        run([*cluster.testbed, arguments[0], "--name", cluster.environment["KUBELAB_NAME"], *arguments[1:]])
