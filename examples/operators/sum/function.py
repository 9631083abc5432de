"""Adds up one attribute per entity: the operator parameter `attribute`, `precipitation` by default.

A measurement that comes again with the same `date` counts once, because a notification may be delivered twice.
"""

import os

ATTRIBUTE = os.environ.get("FOGFLOW_PARAM_attribute") or "precipitation"

sums = {}


def handleEntity(entity, publish):
    station = entity["entityId"]["id"]
    attributes = entity["attributes"]
    value = attributes.get(ATTRIBUTE, {}).get("value")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return
    date = attributes.get("date", {}).get("value")
    total, count, last = sums.get(station, (0.0, 0, None))
    if date is not None and date == last:
        return
    total, count = total + value, count + 1
    sums[station] = (total, count, date)
    publish({"attributes": {
        "station": {"type": "string", "value": station},
        "attribute": {"type": "string", "value": ATTRIBUTE},
        "sum": {"type": "float", "value": round(total, 3)},
        "count": {"type": "integer", "value": count},
    }})
