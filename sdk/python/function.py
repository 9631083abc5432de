"""A FogFlow function: called for each entity that its task is notified of."""


def handleEntity(entity, publish):
    """Publishes how many attributes the entity has.

    entity   {"entityId": {"id", "type"}, "attributes": {name: {"type", "value"}}, "metadata": {...}}
    publish  publish({"entityId": {...}, "attributes": {...}}); without an id the declared output is meant
    """
    publish({"attributes": {"source": entity["entityId"]["id"], "count": len(entity["attributes"])}})
