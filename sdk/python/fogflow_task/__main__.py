"""``python3 -m fogflow_task [-o] [FUNCTION]`` serves a function; ``--once ENTITY.json`` calls it once and prints what it publishes."""

import argparse
import json
import sys

from .ngsi import from_element, to_element
from .runner import Publisher, Task, load_function, serve


def once(function, path):
    """Calls the function with the entity in a file and prints each published entity as one line of JSON."""
    with open(path, encoding="utf-8") as file:
        entity = json.load(file)
    if isinstance(entity.get("attributes"), list):
        entity = from_element(entity)
    task = Task(function)
    task.send = lambda element: print(json.dumps(element))
    function(entity, Publisher(task))


def main(arguments=None):
    """The command line."""
    parser = argparse.ArgumentParser(prog="fogflow_task", description="Run a function of one entity as a FogFlow task.")
    parser.add_argument("-o", "--operation", action="store_true", help="operation mode; the default, accepted for older images")
    parser.add_argument("--once", metavar="ENTITY.json", help="call the function once with this entity, print what it publishes")
    parser.add_argument("function", nargs="?", default="function.py", help="file that defines handleEntity(entity, publish)")
    options = parser.parse_args(arguments)
    function = load_function(options.function)
    if options.once:
        once(function, options.once)
        return 0
    return serve(function)


if __name__ == "__main__":
    sys.exit(main())
