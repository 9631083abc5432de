"""Requests and notifications that go on while something happens to the system."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

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
        self.numbers: set[int] = set()
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
                    self.numbers.add(number)
                    break
                except (Failed, OSError) as error:
                    if attempt == self.retries:
                        self.failures.append(f"{time.strftime('%H:%M:%S')} {error}")
                    else:
                        self._end.wait(0.2)
            self._end.wait(0.03)

    @property
    def count(self) -> int:
        """Writes that were acknowledged."""
        return len(self.numbers)

    def stop(self) -> None:
        self._end.set()
        self.join(30)


class Subscriber:
    """A server outside the cluster that is notified of all entities of a type, and keeps the values that it was told."""

    def __init__(self, base: str, kind: str) -> None:
        self.numbers: set[int] = set()
        numbers = self.numbers

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                for response in body.get("contextResponses") or []:
                    numbers.update(attribute["value"] for attribute in response["contextElement"]["attributes"] if attribute["name"] == "value")
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                """Not a line for each request."""

        self._server = ThreadingHTTPServer(("0.0.0.0", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        reference = f"http://{own_address(base)}:{self._server.server_port}/"
        node.ok("POST", f"{base}/ngsi10/subscribeContext", {"entities": [{"type": kind, "isPattern": True, "id": ".*"}], "reference": reference})

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def own_address(base: str) -> str:
    """This machine's address as pods reach it: CLUSTER_HOST, else the one from which the node is reached."""
    if named := os.environ.get("CLUSTER_HOST"):
        return named
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((base.removeprefix("http://").split("/")[0].split(":")[0], 9))
        return str(probe.getsockname()[0])
