"""NGSI-10 (JSON binding of FogFlow) as a task needs it: entities and a broker client that keeps its connection."""

import http.client
import json
import threading
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 10


class BrokerError(Exception):
    """The broker cannot be reached or refused a request."""


def _type_of(value):
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "float"
    if isinstance(value, str):
        return "string"
    return "object"


def from_element(element):
    """A contextElement of a notification as ``{entityId, attributes: {name: {type, value}}, metadata: {name: {type, value}}}``."""

    def by_name(items):
        return {item["name"]: {"type": item.get("type", ""), "value": item.get("value")} for item in items or []}

    return {
        "entityId": element.get("entityId", {}),
        "attributes": by_name(element.get("attributes")),
        "metadata": by_name(element.get("domainMetadata")),
    }


def from_ld(entity):
    """An NGSI-LD entity (normalized) in the form of :func:`from_element`, for operators with ``notify_format`` ``ngsi-ld``."""
    attributes = {}
    for name, attribute in entity.items():
        if name in ("id", "type", "@context") or not isinstance(attribute, dict):
            continue
        value = attribute.get("value", attribute.get("object"))
        attributes[name] = {"type": _type_of(value), "value": value}
    return {"entityId": {"id": entity.get("id", ""), "type": entity.get("type", "")}, "attributes": attributes, "metadata": {}}


def to_element(entity):
    """The reverse of :func:`from_element`. Attribute values may also be given plain: ``{"temp": 21.5}``."""

    def as_list(items):
        result = []
        for name, item in (items or {}).items():
            if isinstance(item, dict) and "value" in item:
                result.append({"name": name, "type": item.get("type") or _type_of(item["value"]), "value": item["value"]})
            else:
                result.append({"name": name, "type": _type_of(item), "value": item})
        return result

    element = {"entityId": dict(entity.get("entityId") or {}), "attributes": as_list(entity.get("attributes"))}
    metadata = as_list(entity.get("metadata"))
    if metadata:
        element["domainMetadata"] = metadata
    return element


class Broker:
    """A broker at ``http://host:port/ngsi10``. One connection is kept; calls from several threads take turns."""

    def __init__(self, url, correlator=""):
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BrokerError("not a broker URL: %r" % url)
        self.url = url.rstrip("/")
        self._parts = urlsplit(self.url)
        self._correlator = correlator
        self._connection = None
        self._lock = threading.Lock()

    def post(self, operation, body):
        """Posts JSON to ``<url>/<operation>`` and returns the decoded answer (``{}`` when it is not JSON)."""
        data = json.dumps(body).encode("utf-8")
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._correlator:
            headers["Fiware-Correlator"] = self._correlator
        with self._lock:
            reused = self._connection is not None
            try:
                status, answer = self._exchange(operation, data, headers)
            except (OSError, http.client.HTTPException) as error:
                self._close()
                if not reused:
                    raise BrokerError("%s: %s" % (self.url, error)) from error
                # A connection that was kept may have been closed by the broker meanwhile: once more on a new one.
                try:
                    status, answer = self._exchange(operation, data, headers)
                except (OSError, http.client.HTTPException) as again:
                    self._close()
                    raise BrokerError("%s: %s" % (self.url, again)) from again
        if status >= 400:
            raise BrokerError("%s answered %s: %s" % (operation, status, answer[:200].decode("utf-8", "replace")))
        try:
            return json.loads(answer) if answer else {}
        except ValueError:
            return {}

    def _exchange(self, operation, data, headers):
        if self._connection is None:
            kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
            self._connection = kind(self._parts.hostname, self._parts.port, timeout=TIMEOUT_SECONDS)
        self._connection.request("POST", "%s/%s" % (self._parts.path, operation), body=data, headers=headers)
        response = self._connection.getresponse()
        answer = response.read()
        if response.will_close:
            self._close()
        return response.status, answer

    def _close(self):
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def update(self, elements):
        """``updateContext`` with action UPDATE."""
        return self.post("updateContext", {"contextElements": elements, "updateAction": "UPDATE"})

    def query(self, entities, restriction=None):
        """``queryContext``; the entities found, in the form of :func:`from_element`."""
        body = {"entities": entities}
        if restriction:
            body["restriction"] = restriction
        answer = self.post("queryContext", body)
        return [from_element(response["contextElement"]) for response in answer.get("contextResponses") or []]

    def subscribe(self, entities, reference, attributes=None):
        """``subscribeContext``; the subscription id."""
        body = {"entities": entities, "attributes": attributes or [], "reference": reference}
        return self.post("subscribeContext", body).get("subscribeResponse", {}).get("subscriptionId", "")
