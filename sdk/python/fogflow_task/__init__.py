"""Turn a function of one entity into a FogFlow task.

A task is a process that a FogFlow worker starts. It listens on the port in the environment variable ``myport``, is told by
``adminCfg`` which broker to talk to and which entities to publish, receives NGSI-10 notifications, and calls
``handleEntity(entity, publish)`` of your ``function.py`` for each entity in them.
"""

from .ngsi import Broker, BrokerError, from_element, from_ld, to_element
from .runner import Publisher, Task, load_function, parameter, serve

__all__ = [
    "Broker",
    "BrokerError",
    "Publisher",
    "Task",
    "from_element",
    "from_ld",
    "load_function",
    "parameter",
    "serve",
    "to_element",
]
__version__ = "0.1.0"
