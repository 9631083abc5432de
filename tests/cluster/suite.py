"""What the tests on a cluster have in common."""

from __future__ import annotations

import unittest
from collections.abc import Callable

import node
from cluster import Cluster, Failed
from node import CloudNode, install
from provide import testbed_program

# Numbers for `--only`, and the modules.
NUMBERED = {1: "test_install", 2: "test_function", 3: "test_pods_die", 4: "test_upgrade", 5: "test_layouts", 6: "test_edge", 7: "test_walls", 8: "test_scale"}
# Nodes that a test needs; two otherwise.
NODES = {5: 3}
NAMESPACE = "fogflow"
FORWARD = "docker.io/fogflow/operator-forward:0.1.0"


class ClusterTest(unittest.TestCase):
    """Each class has a fresh cloud node in the namespace `fogflow`."""

    cluster: Cluster
    second: Callable[[], Cluster]
    node: CloudNode

    @classmethod
    def values(cls) -> tuple[str, ...]:
        """Options of helm beside those of the guide."""
        return ()

    @classmethod
    def setUpClass(cls) -> None:
        cls.cluster.make_namespace(NAMESPACE)
        cls.node = install(cls.cluster, NAMESPACE, *cls.values())

    @classmethod
    def tearDownClass(cls) -> None:
        cls.cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait", "--timeout=120s", seconds=150)

    def copied(self, values: set[float], base: str | None = None) -> bool:
        """Whether these values are among those of all entities of the type Copy; `Failed` with what is missing."""
        missing = values - set(node.values_of_type(base or self.node.base, "Copy"))
        if missing:
            raise Failed(f"no copy of {sorted(missing)}")
        return True

    def need_testbed(self, what: str) -> None:
        if not testbed_program():
            print(f"SKIPPED {self.id()}: only the testbed can {what}")
            self.skipTest(f"only the testbed can {what}")
