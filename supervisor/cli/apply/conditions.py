"""Waits until containers that others depend on are so far."""

from __future__ import annotations

import time

from supervisor.cli.apply import seen
from supervisor.cli.apply.draft import COMPLETED, HEALTHY
from supervisor.cli.apply.observe import look
from supervisor.cli.client import Client, filters_json
from supervisor.cli.failures import Failure, Unreachable

_WORDS = {HEALTHY: "healthy", COMPLETED: "completed"}


def word(condition: str) -> str:
    """What a container is, when it is so far."""
    return _WORDS.get(condition, "started")


def reached(container: seen.Container | None, name: str, condition: str) -> bool:
    """Whether it is so far; raises Failure where it never will be."""
    if container is None:
        raise Failure(f"container {name} is gone while others wait for it")
    if condition == COMPLETED:
        if container.over and container.exit_code:
            raise Failure(
                f"container {name} was to complete and ended with status {container.exit_code}"
            )
        return container.status == "exited"
    if condition != HEALTHY:
        return container.runs or container.status == "exited"
    if container.status == "running" and not container.health:
        raise Failure(f"container {name} was to become healthy and has no healthcheck")
    if container.over or container.status == "dead":
        raise Failure(
            f"container {name} was to become healthy and ended with status {container.exit_code}"
        )
    if container.health == "unhealthy":
        raise Failure(f"container {name} was to become healthy and is unhealthy: orlop why {name}")
    return container.health == "healthy"


def await_condition(client: Client, name: str, condition: str, deadline: float) -> None:
    """Return when it is so far; Failure where it cannot be, or at `deadline` (monotonic)."""
    # Events are asked for before the first look: nothing falls between the two.
    query = {"filters": filters_json([("type", "container"), ("container", name)])}
    with client.begin("GET", "/events", query) as events:
        pieces = events.pieces()
        events.response()
        while not reached(look(client, name), name, condition):
            left = deadline - time.monotonic()
            if left <= 0 or not events.connection.readable(left):
                raise Failure(
                    f"container {name} was not {word(condition)} in time: --timeout gives it more"
                )
            if next(pieces, None) is None:
                raise Unreachable("the daemon stopped while a container was waited for")
