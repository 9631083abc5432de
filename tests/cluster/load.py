"""Requests that go on while something happens to the system."""

from __future__ import annotations

import threading
import time

import node
from cluster import Failed


class Writer(threading.Thread):
    """Writes growing numbers to some entities and remembers what was acknowledged.

    A write of a number is idempotent: with `retries` it is repeated that often before it counts as failed.
    """

    def __init__(self, base: str, devices: int, retries: int = 0) -> None:
        super().__init__(daemon=True)
        self.base, self.devices, self.retries = base, devices, retries
        self.acknowledged: dict[str, int] = {}
        self.count = 0
        self.failures: list[str] = []
        self._end = threading.Event()

    def run(self) -> None:
        number = 0
        while not self._end.is_set():
            number += 1
            entity = f"Room.{number % self.devices}"
            for attempt in range(self.retries + 1):
                try:
                    node.update(self.base, entity, "Room", number)
                    self.acknowledged[entity] = number
                    self.count += 1
                    break
                except (Failed, OSError) as error:
                    if attempt == self.retries:
                        self.failures.append(f"{time.strftime('%H:%M:%S')} {error}")
                    else:
                        self._end.wait(0.2)
            self._end.wait(0.03)

    def stop(self) -> None:
        self._end.set()
        self.join(30)
