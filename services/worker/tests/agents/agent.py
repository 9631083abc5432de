"""Behaves as the Python agent of upstream's operators does: needs -o to serve, answers a notification with 200 and
{"responseCode":200}, speaks HTTP/1.0, publishes Result<id> without a correlator."""

import json
import os
import sys
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

if "-o" not in sys.argv:
    print("test mode")
    sys.exit(0)

broker = os.environ.get("brokerURL")
for command in json.loads(os.environ.get("adminCfg", "[]")):
    if command["command"] == "CONNECT_BROKER":
        broker = command["brokerURL"]


def publish(element):
    body = json.dumps({"contextElements": [element], "updateAction": "UPDATE"}).encode()
    request = urllib.request.Request(broker + "/updateContext", data=body, headers={"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=5).read()


class Agent(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/notifyContext":
            for response in body["contextResponses"]:
                element = response["contextElement"]
                identity = {"id": "Result" + element["entityId"]["id"], "type": "Result", "isPattern": False}
                publish({"entityId": identity, "attributes": element["attributes"]})
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b'{"responseCode":200}')

    def log_message(self, *_):
        pass


print("agent on", os.environ["myport"], flush=True)
HTTPServer(("0.0.0.0", int(os.environ["myport"])), Agent).serve_forever()
