"""Events for the page that metrics serve.

Whoever may read metrics may read these: they tell no more than metrics do. Labels, and what `exec`
was asked to run, stay behind.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from supervisor.docker.views import Event
from supervisor.engine.events import EventBus

LATEST = 50
"""Events that who begins to follow is told of first."""

_HEALTH = "health_status"
_LEFT_OUT = frozenset({"attach", "detach", "resize", "top", "archive-path"})
_TOLD = {"die": "exitCode", "kill": "signal", "rename": "oldName"}
"""What an action's own attribute is: one by such a name may be a label elsewhere."""


def shown(event: Event) -> dict[str, Any] | None:
    """The event as the page has it; None for what it leaves out: what only looks, and exec."""
    action, _, detail = event.action.partition(":")
    if action.startswith("exec_") or action in _LEFT_OUT:
        return None
    if action == _HEALTH:
        action = f"{action}:{detail}"
    own = _TOLD.get(action, "") if event.type == "container" else ""
    return {
        "time_ns": event.time_ns,
        "type": event.type,
        "action": action,
        "id": event.id,
        "name": event.attributes.get("name", ""),
        **({own: event.attributes[own]} if own in event.attributes else {}),
    }


async def stream(bus: EventBus, since_ns: int | None) -> AsyncGenerator[dict[str, Any], None]:
    """Events of that time and later (None: the latest few), then new ones."""
    since = bus.since(LATEST) if since_ns is None else since_ns
    async with aclosing(bus.stream(since, None)) as events:
        async for event in events:
            if (told := shown(event)) is not None:
                yield told
