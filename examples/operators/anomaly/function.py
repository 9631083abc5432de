"""Finds measurements that are far from what was usual lately.

For each numeric attribute of each entity it keeps a mean and a variance that forget slowly (weight 0.05 for the newest value). A value
more than `threshold` standard deviations (operator parameter, 3 by default) from the mean is published as an `Anomaly`.
"""

import math
import os

THRESHOLD = float(os.environ.get("FOGFLOW_PARAM_threshold") or 3)
WEIGHT = 0.05
FEWEST = 20

seen = {}


def handleEntity(entity, publish):
    station = entity["entityId"]["id"]
    attributes = entity["attributes"]
    for name, attribute in attributes.items():
        value = attribute.get("value")
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        count, mean, variance = seen.get((station, name), (0, value, 0.0))
        difference = value - mean
        if count >= FEWEST and variance > 0 and abs(difference) > THRESHOLD * math.sqrt(variance):
            publish({"attributes": {
                "station": {"type": "string", "value": station},
                "date": {"type": "string", "value": str(attributes.get("date", {}).get("value", ""))},
                "attribute": {"type": "string", "value": name},
                "value": {"type": "float", "value": value},
                "usual": {"type": "float", "value": round(mean, 2)},
                "deviations": {"type": "float", "value": round(difference / math.sqrt(variance), 2)},
            }})
        seen[(station, name)] = (
            count + 1,
            mean + WEIGHT * difference,
            (1 - WEIGHT) * (variance + WEIGHT * difference * difference),
        )
