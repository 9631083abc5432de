"""What the tests on a cluster have in common."""

from __future__ import annotations

import unittest
from collections.abc import Callable

from cluster import Cluster
from node import CloudNode, install
from provide import testbed_program

# Numbers for `--only`, and the modules.
NUMBERED = {1: "test_install", 2: "test_function", 3: "test_pods_die", 4: "test_upgrade", 6: "test_edge", 7: "test_walls"}
NAMESPACE = "fogflow"
FORWARD = "docker.io/fogflow/operator-forward:0.1.0"


class ClusterTest(unittest.TestCase):
    """Each class has a fresh cloud node in the namespace `fogflow`."""

    cluster: Cluster
    second: Callable[[], Cluster]
    node: CloudNode
    values: tuple[str, ...] = ()

    @classmethod
    def setUpClass(cls) -> None:
        cls.cluster.make_namespace(NAMESPACE)
        cls.node = install(cls.cluster, NAMESPACE, *cls.values)

    @classmethod
    def tearDownClass(cls) -> None:
        cls.cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait", "--timeout=120s", seconds=150)

    def need_testbed(self, what: str) -> None:
        if not testbed_program():
            print(f"SKIPPED {self.id()}: only the testbed can {what}")
            self.skipTest(f"only the testbed can {what}")
