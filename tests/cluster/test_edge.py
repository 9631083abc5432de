"""6. An edge in a cluster of its own joins the cloud, goes on alone when the link is cut, and agrees with it afterwards."""

from __future__ import annotations

import node
from cluster import Cluster, Failed, run, wait_for
from node import install_edge
from suite import FORWARD, NAMESPACE, ClusterTest

# The cloud node stands where config.json says, the edge on the other side of the ocean, a device beside the edge.
EDGE_PLACE = (49.41, 8.69)
PORT = 8060


class AnEdge(ClusterTest):
    edge: Cluster
    edge_ip: str
    release: str

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.edge = cls.second()
        cls.edge_ip, cls.release = install_edge(cls.edge, cls.node, EDGE_PLACE)

    def test_1_it_joins_with_its_broker_and_its_worker(self) -> None:
        self.edge.helm("test", self.release, "--namespace", NAMESPACE, "--timeout", "3m")

        def joined() -> bool:
            workers = {worker["id"] for worker in node.ok("GET", f"{self.node.base}/info/worker")}
            brokers = {broker["id"]: broker["myURL"] for broker in node.ok("GET", f"{self.node.base}/info/broker")}
            if "Worker.002" not in workers or "Broker.002" not in brokers:
                raise Failed(f"workers {workers}, brokers {brokers}")
            return f"{self.edge_ip}:{PORT}" in brokers["Broker.002"]
        wait_for("the edge in the cloud's lists", 60, joined)

    def test_2_a_task_runs_beside_its_device_and_its_result_is_seen_in_the_cloud(self) -> None:
        edge = f"http://{self.edge_ip}:{PORT}"
        node.register_function(self.node.base, "copy", "Room", "Copy", FORWARD)
        node.update(edge, "Room.edge", "Room", 1, EDGE_PLACE)
        rows = self.node.wait_tasks(1)
        self.assertEqual(rows[0]["Worker"], "Worker.002")
        self.assertEqual(self.node.task_pods(), [])
        self.assertEqual(len(self.edge.get("pods", NAMESPACE, "app.kubernetes.io/name=fogflow-task")), 1)
        wait_for("the copy at the edge", 20, lambda: self.copied({1}, edge))
        wait_for("the copy in the cloud", 20, lambda: self.copied({1}))

    def test_3_cut_off_it_serves_its_devices_and_afterwards_both_sides_agree(self) -> None:
        self.need_testbed("cut a link between clusters")
        edge = f"http://{self.edge_ip}:{PORT}"
        pod = self.edge.get("pods", NAMESPACE, "app.kubernetes.io/name=fogflow-task")[0]["metadata"]["uid"]
        names = [self.cluster.environment["KUBELAB_NAME"], self.edge.environment["KUBELAB_NAME"]]
        self.with_testbed("cut", "--clusters", *names)
        try:
            node.update(edge, "Room.edge", "Room", 2, EDGE_PLACE)
            wait_for("the copy at the edge while it is cut off", 20, lambda: self.copied({2}, edge))
            node.update(self.node.base, "Room.cloud", "Room", 3)
            wait_for("the cloud to have noticed", 60, lambda: "Worker.002" not in {worker["id"] for worker in node.ok("GET", f"{self.node.base}/info/worker")})
            node.update(edge, "Room.edge", "Room", 4, EDGE_PLACE)
            wait_for("the copy at the edge, still", 20, lambda: self.copied({4}, edge))
            self.assertEqual([p["metadata"]["uid"] for p in self.edge.get("pods", NAMESPACE, "app.kubernetes.io/name=fogflow-task")], [pod], "its task runs on")
        finally:
            self.with_testbed("heal", "--clusters", *names)
        wait_for("the cloud to see the edge's newest result", 15, lambda: self.copied({4}))
        wait_for("both sides to agree which tasks there are", 15, self.agreed)
        # The cloud had begun it elsewhere. It is nearer to its device here, and comes back.
        wait_for("the task to be back at the edge", 60, lambda: self.worker_of("Room.edge") == "Worker.002" and self.agreed())
        wait_for("its copy, still", 20, lambda: self.copied({4}, edge))

    def worker_of(self, entity: str) -> str:
        return next((row["Worker"] for row in self.node.tasks() if row["Status"] == "running" and row["Inputs"][0]["ID"] == entity), "")

    def agreed(self) -> bool:
        """Whether two tasks run, each as one pod, at the worker that the cloud's list names."""
        pods = {"Worker.001": self.cluster, "Worker.002": self.edge}
        there = sorted((worker, pod["metadata"]["annotations"]["fogflow.io/task"]) for worker, cluster in pods.items()
                       for pod in cluster.get("pods", NAMESPACE, "app.kubernetes.io/name=fogflow-task") if "deletionTimestamp" not in pod["metadata"])
        listed = sorted((row["Worker"], row["TaskID"]) for row in self.node.tasks() if row["Status"] == "running")
        if there != listed or len(listed) != 2:
            raise Failed(f"pods of {there}, listed {listed}")
        return True

    def with_testbed(self, *arguments: str) -> None:
        run([*self.cluster.testbed, *arguments])
