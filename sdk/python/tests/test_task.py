"""The task contract, over real HTTP."""

import json
import os
import signal
import subprocess
import sys
import threading
import unittest
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from fogflow_task import from_element, to_element  # noqa: E402


class FakeBroker:
    """Keeps what it is sent."""

    def __init__(self):
        self.requests = []
        self.arrived = threading.Condition()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer.arrived:
                    outer.requests.append((self.path, dict(self.headers), body, self.client_address))
                    outer.arrived.notify_all()
                data = b'{"contextResponses": []}'
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = "http://127.0.0.1:%d/ngsi10" % self.server.server_address[1]

    def wait_for(self, count):
        with self.arrived:
            if not self.arrived.wait_for(lambda: len(self.requests) >= count, timeout=10):
                raise AssertionError("%d requests, not %d" % (len(self.requests), count))
            return list(self.requests)


class RunningTask:
    """A task process as a worker would start it."""

    def __init__(self, source, broker_url):
        self.directory = TemporaryDirectory()
        Path(self.directory.name, "function.py").write_text(source, encoding="utf-8")
        commands = [
            {"command": "CONNECT_BROKER", "brokerURL": broker_url},
            {"command": "SET_CORRELATORID", "correlatorID": "Task.t.main.1"},
            {"command": "SET_REFERENCE", "url": "http://127.0.0.1:1"},
            {"command": "SET_OUTPUTS", "type": "Out", "id": "Out.1.1"},
        ]
        environment = dict(os.environ, myport="0", adminCfg=json.dumps(commands), PYTHONPATH=str(ROOT), FOGFLOW_LISTEN="127.0.0.1")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fogflow_task"], cwd=self.directory.name, env=environment, stdout=subprocess.PIPE, text=True,
            stderr=subprocess.DEVNULL,
        )
        line = self.process.stdout.readline()
        self.url = "http://127.0.0.1:" + line.split()[-1]

    def post(self, path, body):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.directory.cleanup()


def notification(*elements):
    return {
        "subscriptionId": "1",
        "originator": "",
        "contextResponses": [{"contextElement": element, "statusCode": {"code": 200}} for element in elements],
    }


def element(identity, value):
    return {"entityId": {"id": identity, "type": "T"}, "attributes": [{"name": "v", "type": "integer", "value": value}]}


ECHO = "def handleEntity(entity, publish):\n    publish({'attributes': {'v': entity['attributes']['v']['value']}})\n"
FAILING = (
    "def handleEntity(entity, publish):\n"
    "    v = entity['attributes']['v']['value']\n"
    "    if v == 1:\n        raise ValueError('no')\n"
    "    publish({'attributes': {'v': v}})\n"
)


class TaskTest(unittest.TestCase):
    def setUp(self):
        self.broker = FakeBroker()
        self.addCleanup(self.broker.server.server_close)
        self.addCleanup(self.broker.server.shutdown)

    def start(self, source):
        task = RunningTask(source, self.broker.url)
        self.addCleanup(task.close)
        return task

    def test_a_notification_is_answered_200_and_its_result_published_to_the_declared_output_with_the_correlator(self):
        task = self.start(ECHO)
        self.assertEqual(task.post("/notifyContext", notification(element("D.1", 7))), (200, {"responseCode": 200}))
        path, headers, body, _ = self.broker.wait_for(1)[0]
        self.assertEqual(path, "/ngsi10/updateContext")
        self.assertEqual(headers["Fiware-Correlator"], "Task.t.main.1")
        self.assertEqual(body["updateAction"], "UPDATE")
        self.assertEqual(body["contextElements"][0]["entityId"], {"type": "Out", "id": "Out.1.1"})
        self.assertEqual(body["contextElements"][0]["attributes"], [{"name": "v", "type": "integer", "value": 7}])

    def test_the_connection_to_the_broker_is_kept(self):
        task = self.start(ECHO)
        task.post("/notifyContext", notification(element("D.1", 1), element("D.2", 2), element("D.3", 3)))
        self.assertEqual(len({client for _, _, _, client in self.broker.wait_for(3)}), 1)

    def test_a_function_that_raises_does_not_stop_the_entities_after_it(self):
        task = self.start(FAILING)
        self.assertEqual(task.post("/notifyContext", notification(element("D.1", 1), element("D.2", 2)))[0], 200)
        self.assertEqual(self.broker.wait_for(1)[0][2]["contextElements"][0]["attributes"][0]["value"], 2)

    def test_an_ngsi_ld_notification_reaches_the_same_function(self):
        task = self.start(ECHO)
        entity = {"id": "urn:D:1", "type": "T", "v": {"type": "Property", "value": 9}, "@context": "x"}
        self.assertEqual(task.post("/notifyContext", {"type": "Notification", "data": [entity, "no entity"]})[0], 200)
        self.assertEqual(self.broker.wait_for(1)[0][2]["contextElements"][0]["attributes"][0]["value"], 9)

    def test_a_malformed_element_does_not_stop_the_entities_after_it(self):
        task = self.start(ECHO)
        body = notification(element("D.1", 7))
        body["contextResponses"][:0] = [None, {"contextElement": None}, {"statusCode": {"code": 404}, "contextElement": {}}]
        self.assertEqual(task.post("/notifyContext", body)[0], 200)
        self.assertEqual(len(self.broker.wait_for(1)), 1)

    def test_bad_input_is_refused_and_the_task_goes_on(self):
        task = self.start(ECHO)
        self.assertEqual(task.post("/notifyContext", b"{")[0], 400)
        self.assertEqual(task.post("/notifyContext", [])[0], 404)
        self.assertEqual(task.post("/notifyContext", notification(element("D.1", 7)))[0], 200)

    def test_admin_commands_at_run_time_change_the_outputs(self):
        task = self.start(ECHO)
        self.assertEqual(task.post("/admin", [{"command": "SET_OUTPUTS", "type": "Other", "id": "Other.9"}])[0], 200)
        task.post("/notifyContext", notification(element("D.1", 7)))
        self.assertEqual(self.broker.wait_for(1)[0][2]["contextElements"][0]["entityId"]["id"], "Other.9")

    def test_sigterm_ends_it_with_code_0(self):
        task = self.start(ECHO)
        task.process.send_signal(signal.SIGTERM)
        self.assertEqual(task.process.wait(timeout=10), 0)

    def test_an_element_survives_the_way_there_and_back(self):
        original = {
            "entityId": {"id": "D.1", "type": "T"},
            "attributes": [{"name": "v", "type": "integer", "value": 1}],
            "domainMetadata": [{"name": "location", "type": "point", "value": {"latitude": 1, "longitude": 2}}],
        }
        self.assertEqual(to_element(from_element(original)), original)


if __name__ == "__main__":
    unittest.main()
