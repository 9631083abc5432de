"""2. A fog function whose operator is an image: entity in, pod, result out; entity gone, pod gone; nothing stays behind."""

from __future__ import annotations

import json

import node
from cluster import Failed, is_ready, wait_for
from suite import FORWARD, NAMESPACE, ClusterTest

# What Kubernetes itself puts into every namespace.
OF_KUBERNETES = {"serviceaccount/default", "configmap/kube-root-ca.crt"}
KINDS = "deployments,statefulsets,replicasets,pods,services,configmaps,secrets,serviceaccounts,roles,rolebindings,persistentvolumeclaims,networkpolicies,leases,poddisruptionbudgets"


class AFunctionThatIsAnImage(ClusterTest):
    def test_1_entity_in_pod_appears_result_out_entity_gone_pod_gone(self) -> None:
        base = self.node.base
        node.register_function(base, "copy", "Room", "Copy", FORWARD)
        node.update(base, "Room.1", "Room", 21)
        self.node.wait_tasks(1)
        pods = self.node.task_pods()
        self.assertEqual([is_ready(pod) for pod in pods], [True])
        for value in (21, 22, 23):
            node.update(base, "Room.1", "Room", value)
            wait_for(f"the copy of {value}", 20, lambda value=value: self.copied({value}))
        logs = node.ok("GET", f"{base}/tasks/{self.node.tasks()[0]['TaskID']}/logs?tail=50")
        self.assertIn("listening", str(logs))
        node.ok("DELETE", f"{base}/ngsi10/entity/Room.1")
        self.node.wait_tasks(0)
        wait_for("no pod of a task", 60, lambda: not self.cluster.get("pods", NAMESPACE, "app.kubernetes.io/name=fogflow-task") or None)

    def test_2_an_image_that_cannot_be_had_is_said_in_the_task_s_status(self) -> None:
        base = self.node.base
        node.register_function(base, "missing", "Ghost", "Nothing", "docker.io/fogflow/no-such-image:1")
        node.update(base, "Ghost.1", "Ghost", 1)

        def reason() -> str:
            rows = [row for row in self.node.tasks() if row["TopologyName"] == "missing"]
            if not any("image" in str(row.get("Reason", "")).lower() for row in rows):
                raise Failed(str(rows))
            return rows[0]["Reason"]
        wait_for("the reason in the task table", 60, reason)
        node.ok("DELETE", f"{base}/fogfunction/missing")
        self.node.wait_tasks(0)

    def test_3_uninstall_leaves_nothing_behind(self) -> None:
        base = self.node.base
        node.update(base, "Room.2", "Room", 1)
        self.node.wait_tasks(1)
        self.node.uninstall()

        def rest() -> bool:
            items = json.loads(self.cluster.kubectl("get", KINDS, "-n", NAMESPACE, "-o", "json"))["items"]
            names = {f"{item['kind'].lower()}/{item['metadata']['name']}" for item in items} - OF_KUBERNETES
            if names:
                raise Failed(f"left: {sorted(names)}")
            return True
        wait_for("an empty namespace", 120, rest, 1)
