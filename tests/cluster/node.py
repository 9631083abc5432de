"""A cloud node installed in a cluster, as its users see it: over HTTP at its external address."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from cluster import Cluster, Failed, wait_for


def call(method: str, url: str, body: Any = None, *, headers: dict[str, str] | None = None, seconds: float = 5) -> tuple[int, Any]:
    """One exchange; the body of the answer as JSON where it is JSON, else as text. `OSError` when there is no answer."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=seconds)
    try:
        data = None if body is None else json.dumps(body).encode()
        connection.request(method, parts.path + (f"?{parts.query}" if parts.query else ""), data,
                           ({"Content-Type": "application/json"} if data else {}) | (headers or {}))
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
    except http.client.HTTPException as error:
        raise OSError(f"{method} {url}: {error!r}") from error
    finally:
        connection.close()
    try:
        return answer.status, json.loads(text)
    except ValueError:
        return answer.status, text


def ok(method: str, url: str, body: Any = None, **more: Any) -> Any:
    """The answer of a call that succeeds; `Failed` for any other status."""
    status, answer = call(method, url, body, **more)
    if not 200 <= status < 300:
        raise Failed(f"{method} {url}: {status} {answer}")
    return answer


def update(base: str, entity: str, kind: str, value: float, location: tuple[float, float] | None = None) -> None:
    """Writes attribute `value` of an entity by NGSI-10; `location` is latitude, longitude."""
    element: dict[str, Any] = {"entityId": {"id": entity, "type": kind, "isPattern": False},
                               "attributes": [{"name": "value", "type": "float", "value": value}]}
    if location:
        element["domainMetadata"] = [{"name": "location", "type": "point", "value": {"latitude": location[0], "longitude": location[1]}}]
    answer = ok("POST", f"{base}/ngsi10/updateContext", {"contextElements": [element], "updateAction": "UPDATE"})
    codes = [response["statusCode"]["code"] for response in answer.get("contextResponses", [])] if isinstance(answer, dict) else []
    if any(code not in (200, "200") for code in codes):
        raise Failed(f"update of {entity}: {answer}")


def value_of(base: str, entity: str) -> float:
    """Attribute `value` of an entity."""
    return ok("GET", f"{base}/ngsi10/entity/{entity}/value")["value"]


def values_of_type(base: str, kind: str) -> list[float]:
    """Attribute `value` of all entities of a type."""
    answer = ok("POST", f"{base}/ngsi10/queryContext", {"entities": [{"type": kind, "isPattern": True, "id": ".*"}]})
    return [attribute["value"] for response in answer.get("contextResponses") or [] for attribute in response["contextElement"]["attributes"]
            if attribute["name"] == "value"]


def register_function(base: str, name: str, input_type: str, output_type: str, image: str, *, geoscope: dict[str, Any] | None = None,
                      parameters: dict[str, str] | None = None) -> None:
    """An operator that is an image, and a fog function of the same name over each entity of a type."""
    ok("POST", f"{base}/operator", [{
        "name": name, "description": "for a test", "parameters": [{"name": key, "value": text} for key, text in (parameters or {}).items()],
        "dockerimages": [{"name": image.rsplit(":", 1)[0], "tag": image.rsplit(":", 1)[1], "hwType": "X86", "osType": "Linux", "prefetched": False}]}])
    topology = {"name": name, "description": "for a test", "tasks": [{
        "name": "main", "operator": name, "output_streams": [{"entity_type": output_type}],
        "input_streams": [{"selected_type": input_type, "selected_attributes": [], "groupby": "EntityID", "scoped": geoscope is not None}]}]}
    intent = {"topology": name, "priority": {"exclusive": False, "level": 0}, "qos": "MIN_LATENCY",
              "geoscope": geoscope or {"scopeType": "global", "scopeValue": "global"}}
    ok("POST", f"{base}/fogfunction", [{"name": name, "topology": topology, "intent": intent}])


@dataclass
class CloudNode:
    """A release of cloud-chart."""

    cluster: Cluster
    namespace: str
    release: str
    ip: str

    @property
    def base(self) -> str:
        return f"http://{self.ip}"

    def tasks(self) -> list[dict[str, Any]]:
        """Rows of the designer's task table."""
        return ok("GET", f"{self.base}/info/task")

    def wait_tasks(self, count: int, seconds: float = 90, status: str = "running") -> list[dict[str, Any]]:
        """Waits until exactly so many tasks exist, all in one state."""
        def attempt() -> list[dict[str, Any]]:
            rows = self.tasks()
            if len(rows) != count or any(row["Status"] != status for row in rows):
                raise Failed(str([(row["TaskID"], row["Status"], row.get("Reason"), row.get("Worker")) for row in rows]))
            return rows
        try:
            return wait_for(f"{count} tasks that are {status}", seconds, attempt)
        except Failed as error:
            raise Failed(f"{error}\n{self.cluster.story(self.namespace)}") from error

    def task_pods(self) -> list[dict[str, Any]]:
        """Pods of tasks that are not ending."""
        pods = self.cluster.get("pods", self.namespace, "app.kubernetes.io/name=fogflow-task")
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def placed(self) -> dict[str, str]:
        """The node of each pod of a service, by the pod's name."""
        pods = self.cluster.get("pods", self.namespace, "app.kubernetes.io/part-of=fogflow,app.kubernetes.io/name!=fogflow-task")
        return {pod["metadata"]["name"]: pod["spec"].get("nodeName", "") for pod in pods}

    def secret(self, key: str) -> str:
        """A credential that the chart made."""
        import base64
        found = json.loads(self.cluster.kubectl("get", "secret", "fogflow-credentials", "-n", self.namespace, "-o", "json"))
        return base64.b64decode(found["data"][key]).decode()

    def uninstall(self) -> None:
        self.cluster.helm("uninstall", self.release, "--namespace", self.namespace, "--wait")


def install(cluster: Cluster, namespace: str, *more: str) -> CloudNode:
    """The guide's command, with more options if given; waits until all pods are Ready."""
    ip = next(iter(cluster.nodes().values()))
    answer = cluster.helm("install", "./cloud-chart", "--set", f"externalIPs={{{ip}}}", "--generate-name", f"--namespace={namespace}", "-o", "json", *more)
    node = CloudNode(cluster, namespace, json.loads(answer[answer.index("{"):])["name"], ip)
    cluster.wait_ready(namespace)
    return node


def install_edge(cluster: Cluster, cloud: CloudNode, place: tuple[float, float], *more: str) -> tuple[str, str]:
    """A release of edge-chart in another cluster, joined to a cloud node, in a fresh namespace of the same name; its address and name."""
    cluster.make_namespace(cloud.namespace)
    ip = next(iter(cluster.nodes().values()))
    answer = cluster.helm(
        "install", "./edge-chart", "--set", f"externalIPs={{{ip}}}", "--set", f"config.coreservice_ip={cloud.ip}",
        "--set", f"rabbitmq.password={cloud.secret('rabbitmq-password')}",
        "--set", f"config.physical_location.latitude={place[0]},config.physical_location.longitude={place[1]}",
        "--generate-name", f"--namespace={cloud.namespace}", "-o", "json", *more)
    cluster.wait_ready(cloud.namespace)
    return ip, json.loads(answer[answer.index("{"):])["name"]
