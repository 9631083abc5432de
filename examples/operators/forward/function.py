"""Passes entities on to another place: the operator parameter `url`, which gets each entity as a JSON body by POST.

Without `url` it publishes a copy of each entity as its declared output.
"""

import json
import os
import urllib.request

URL = os.environ.get("FOGFLOW_PARAM_url") or ""
SECONDS = 5


def handleEntity(entity, publish):
    if not URL:
        attributes = dict(entity["attributes"])
        attributes["source"] = {"type": "string", "value": entity["entityId"]["id"]}
        publish({"attributes": attributes, "metadata": entity.get("metadata", {})})
        return
    request = urllib.request.Request(
        URL, data=json.dumps(entity).encode(), headers={"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        answer.read()
