"""What the page is told of events: no more than metrics tell."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import pytest

from supervisor.docker.views import Event
from supervisor.engine import web_events
from supervisor.engine.events import EventBus

LABELS = {"secret": "s3cret", "exitCode": "label", "name": "web", "image": "box"}


def event(action: str, kind: str = "container", **attributes: str) -> Event:
    return Event(type=kind, action=action, id="c", time_ns=7, attributes={**LABELS, **attributes})


@pytest.mark.parametrize(
    "action, attributes, more",
    [
        ("start", {}, {}),
        ("die", {"exitCode": "3"}, {"exitCode": "3"}),
        ("kill", {"signal": "15"}, {"signal": "15"}),
        ("rename", {"oldName": "/w"}, {"oldName": "/w"}),
        ("health_status: unhealthy", {}, {}),
    ],
)
def test_what_is_told(action: str, attributes: dict[str, str], more: dict[str, Any]) -> None:
    base = {"time_ns": 7, "type": "container", "action": action, "id": "c", "name": "web"}
    assert web_events.shown(event(action, **attributes)) == {**base, **more}


@pytest.mark.parametrize("action", ["exec_create: cat /key", "exec_start: x", "top", "resize"])
def test_what_is_not(action: str) -> None:
    assert web_events.shown(event(action)) is None


def test_what_stands_behind_a_colon_stays_behind() -> None:
    told = web_events.shown(event("copy: /secret", kind="volume"))
    assert told is not None
    assert told["action"] == "copy"


async def test_the_latest_then_new_ones() -> None:
    bus = EventBus()
    for number in range(web_events.LATEST + 30):
        bus.publish("container", "start", str(number), {})
    async with aclosing(web_events.stream(bus, None)) as told:
        found = [await anext(told) for _ in range(web_events.LATEST)]
        assert found[-1]["id"] == str(web_events.LATEST + 29)
        bus.publish("container", "top", "x", {})
        bus.publish("container", "die", "y", {"exitCode": "0"})
        assert (await anext(told))["id"] == "y"
    assert bus.listeners == 0
    async with aclosing(web_events.stream(bus, found[-1]["time_ns"] + 1)) as told:
        assert (await anext(told))["id"] == "y"
