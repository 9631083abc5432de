"""8. The broker is scaled from two pods to four and back, under load."""

from __future__ import annotations

from cluster import Failed, wait_for
from load import Subscriber, Writer
from suite import NAMESPACE, ClusterTest

DEVICES = 5


class Scaling(ClusterTest):
    @classmethod
    def values(cls) -> tuple[str, ...]:
        return ("--set", "broker.replicaCount=2")

    def scale(self, replicas: int) -> None:
        self.cluster.kubectl("scale", "deployment/cloud-broker", f"--replicas={replicas}", "-n", NAMESPACE)

        def there() -> bool:
            pods = self.cluster.wait_ready(NAMESPACE, selector="app.kubernetes.io/name=cloud-broker")
            if len(pods) != replicas:
                raise Failed(f"{len(pods)} pods")
            return True
        wait_for(f"{replicas} brokers", 120, there)

    def test_no_request_fails_and_no_notification_is_lost(self) -> None:
        subscriber = Subscriber(self.node.base, "Room")
        writer = Writer(self.node.base, DEVICES)
        writer.start()
        try:
            for replicas in (4, 2, 4, 2):
                before = writer.count
                self.scale(replicas)
                wait_for("a hundred writes", 60, lambda before=before: writer.count > before + 100 or None)
        finally:
            writer.stop()

        def all_told() -> bool:
            missing = writer.numbers - subscriber.numbers
            if missing:
                raise Failed(f"{len(missing)} of {writer.count} changes were not told: {sorted(missing)[:10]}")
            return True
        try:
            self.assertEqual(writer.failures, [])
            wait_for("the subscriber to be told every change", 30, all_told)
        finally:
            subscriber.stop()
        print(f"    {writer.count} writes, none failed, all were told", flush=True)
