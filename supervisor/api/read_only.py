"""Addresses on which nothing can be changed: they serve what operations themselves say is so."""

from __future__ import annotations

from supervisor.docker.operations import OPERATIONS
from supervisor.errors import Forbidden

SERVED = frozenset(name for name, operation in OPERATIONS.items() if operation.read_only)


def refuse_control(operation: str) -> None:
    """Forbidden for what a read-only address does not serve."""
    if operation not in SERVED:
        raise Forbidden(
            f"{operation} is refused: this address is read-only, and serves lists, inspect, logs, "
            "stats and events; use another address of the daemon"
        )
