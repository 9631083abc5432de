"""The task contract: ``myport``, ``adminCfg``, ``POST /notifyContext``, ``POST /admin``, SIGTERM."""

import importlib.util
import json
import os
import re
import signal
import sys
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .ngsi import Broker, BrokerError, from_element, from_ld, to_element

MAX_BODY_BYTES = 16 * 1024 * 1024


def parameter(name, default=None):
    """A parameter of the operator as text, from the environment variable ``FOGFLOW_PARAM_<name>``."""
    return os.environ.get("FOGFLOW_PARAM_" + re.sub(r"[^A-Za-z0-9_]", "_", name), default)


def load_function(path):
    """The ``handleEntity`` that a file defines."""
    if not os.path.exists(path):
        raise SystemExit("there is no %s" % path)
    directory = os.path.dirname(os.path.abspath(path))
    if directory not in sys.path:
        sys.path.insert(0, directory)
    spec = importlib.util.spec_from_file_location("function", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["function"] = module
    spec.loader.exec_module(module)
    function = getattr(module, "handleEntity", None)
    if not callable(function):
        raise SystemExit("%s does not define handleEntity(entity, publish)" % path)
    return function


class Publisher:
    """What the function gets as ``publish``. Call it with an entity; it also queries and subscribes."""

    def __init__(self, task):
        self._task = task

    @property
    def outputs(self):
        """The declared output streams, ``[{"type", "id"}]``, in the order of the topology."""
        return [dict(output) for output in self._task.outputs]

    def __call__(self, entity):
        """Publishes ``{"entityId": {"id", "type"}, "attributes": {...}, "metadata": {...}}``.

        Attributes are ``{"type", "value"}`` or plain values. Without an id the declared output of that type is meant, or
        the first one.
        """
        self._task.publish(entity)

    def query(self, entities, restriction=None):
        """Entities of the broker that fit, ``entities`` being ``[{"id" or "type"+"isPattern"}]``."""
        return self._task.broker_or_fail().query(entities, restriction)

    def subscribe(self, entities, attributes=None):
        """Has the function called for more entities; the subscription id."""
        return self._task.broker_or_fail().subscribe(entities, self._task.reference, attributes)


class Task:
    """A function with what the worker told about it."""

    def __init__(self, function):
        self.function = function
        self.outputs = []
        self.reference = ""
        self.broker = None
        self._broker_url = ""
        self._correlator = ""
        self._turn = threading.Lock()

    def configure(self, commands):
        """Carries out admin commands in their order; unknown ones are ignored."""
        outputs = []
        for command in commands:
            kind = command.get("command")
            if kind == "CONNECT_BROKER":
                self._broker_url = command["brokerURL"]
            elif kind == "SET_CORRELATORID":
                self._correlator = command.get("correlatorID", "")
            elif kind == "SET_REFERENCE":
                self.reference = command.get("url", "")
            elif kind == "SET_OUTPUTS":
                outputs.append({"type": command.get("type", ""), "id": command.get("id", "")})
        if outputs:
            self.outputs = outputs
        if self._broker_url:
            self.broker = Broker(self._broker_url, self._correlator)

    def broker_or_fail(self):
        """The broker, or an error that says what is missing."""
        if self.broker is None:
            raise BrokerError("no broker was set: neither adminCfg nor brokerURL is in the environment")
        return self.broker

    def send(self, element):
        """Sends one contextElement to the broker."""
        self.broker_or_fail().update([element])

    def publish(self, entity):
        """Completes the entity's id from the declared outputs and sends it."""
        element = to_element(entity)
        identity = element["entityId"]
        if not identity.get("id"):
            wanted = identity.get("type")
            output = next((output for output in self.outputs if output["type"] == wanted), None)
            if output is None and self.outputs and not wanted:
                output = self.outputs[0]
            if output is None:
                raise BrokerError("the entity has no id, and no output of type %r is declared" % (wanted or "any"))
            identity.update(output)
        self.send(element)

    def notify(self, notification):
        """Calls the function for every entity of a notification, one after the other. A failing call stops no other."""
        publisher = Publisher(self)
        with self._turn:
            for entity in _entities(notification):
                try:
                    self.function(entity, publisher)
                except Exception:  # whatever the user's function raises belongs into its log
                    traceback.print_exc()


def _entities(notification):
    """The entities of an NGSI-10 notification (``contextResponses``) or an NGSI-LD one (``data``)."""
    if isinstance(notification.get("data"), list):
        return [from_ld(entity) for entity in notification["data"] if isinstance(entity, dict)]
    responses = notification.get("contextResponses") or []
    return [
        from_element(response["contextElement"])
        for response in responses
        if isinstance(response, dict)
        and isinstance(response.get("contextElement"), dict)
        and (response.get("statusCode") or {}).get("code", 200) in (200, "200")
    ]


def _handler(task):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self):
            try:
                length = int(self.headers.get("Content-Length") or 0)
            except ValueError:
                length = -1
            if not 0 <= length <= MAX_BODY_BYTES:
                self.close_connection = True
                self._answer(413, {"error": "a body of at most %d bytes is needed" % MAX_BODY_BYTES})
                return
            try:
                body = json.loads(self.rfile.read(length) or b"null")
            except ValueError as error:
                self._answer(400, {"error": "the body is not JSON: %s" % error})
                return
            path = self.path.split("?")[0].rstrip("/")
            if path == "/notifyContext" and isinstance(body, dict):
                task.notify(body)
                self._answer(200, {"responseCode": 200})
            elif path == "/admin" and isinstance(body, list):
                try:
                    task.configure(body)
                except (BrokerError, KeyError, AttributeError) as error:
                    self._answer(400, {"error": str(error)})
                    return
                self._answer(200, {"responseCode": 200})
            else:
                self._answer(404, {"error": "POST /notifyContext (an object) or /admin (a list)"})

        def do_GET(self):
            self._answer(200, {"status": "running"})

        def _answer(self, status, body):
            data = json.dumps(body).encode("utf-8")
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format, *arguments):
            pass

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def serve(function):
    """Serves until SIGTERM or SIGINT; returns the exit code."""
    task = Task(function)
    try:
        task.configure(json.loads(os.environ.get("adminCfg") or "[]"))
        if task.broker is None and os.environ.get("brokerURL"):
            task.configure([{"command": "CONNECT_BROKER", "brokerURL": os.environ["brokerURL"]}])
        port = int(os.environ.get("myport") or 0)
    except (ValueError, KeyError, AttributeError, BrokerError) as error:
        print("adminCfg or myport cannot be read: %s" % error, file=sys.stderr)
        return 2
    try:
        server = _Server((os.environ.get("FOGFLOW_LISTEN") or "0.0.0.0", port), _handler(task))
    except OSError as error:
        print("cannot listen on port %s: %s" % (port, error), file=sys.stderr)
        return 1

    def stop(*_):
        # shutdown() waits for the serving loop, which runs in this very thread.
        threading.Thread(target=server.shutdown, daemon=True).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    print("listening on port %d" % server.server_address[1], flush=True)
    server.serve_forever(poll_interval=0.1)
    server.server_close()
    # What is being handled ends first, within the worker's grace.
    if task._turn.acquire(timeout=4):
        task._turn.release()
    return 0
