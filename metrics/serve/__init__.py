"""The supervisor's interface to metrics (docs/metrics.md, "For programmers").

metrics = Metrics(Settings(version="0.1.0"))
listeners = await listen("127.0.0.1:9323")
await nursery.start(metrics.run)
await nursery.start(partial(metrics.serve, listeners, web=load_web_config("")))
metrics.containers.add(Container(id=…, name=…, image=…, cgroup=…))
metrics.agent.stage("cgroup", 0.0004)
"""

from metrics.errors import AddressError, ConfigError, MetricsError
from metrics.history import Point
from metrics.model import (
    STATES,
    Container,
    Final,
    Interface,
    Limits,
    Roots,
    Sample,
    Settings,
    Storage,
)
from metrics.serve.agent import Agent
from metrics.serve.containers import Containers
from metrics.serve.metrics import Metrics, listen, load_web_config

__all__ = [
    "STATES",
    "AddressError",
    "Agent",
    "ConfigError",
    "Container",
    "Containers",
    "Final",
    "Interface",
    "Limits",
    "Metrics",
    "MetricsError",
    "Point",
    "Roots",
    "Sample",
    "Settings",
    "Storage",
    "listen",
    "load_web_config",
]
