"""The four dashboards, a module each, by the name of their file."""

from dashboards.boards.agent import AGENTS
from dashboards.boards.container import CONTAINER
from dashboards.boards.containers import CONTAINERS
from dashboards.boards.host import HOSTS

BOARDS = {
    "host-overview.json": HOSTS,
    "containers.json": CONTAINERS,
    "container-detail.json": CONTAINER,
    "agent-internals.json": AGENTS,
}

__all__ = ["AGENTS", "BOARDS", "CONTAINER", "CONTAINERS", "HOSTS"]
