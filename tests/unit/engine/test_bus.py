"""The event stream and `top`'s table."""

import os
import time

import pytest

from supervisor.engine import processes
from supervisor.engine.events import QUEUE, EventBus
from supervisor.errors import InvalidArgument


async def test_past_events_then_the_end() -> None:
    bus = EventBus()
    bus.publish("container", "start", "a", {})
    assert [e.action async for e in bus.stream(0, time.time_ns())] == ["start"]
    assert bus.listeners == 0


async def test_a_subscriber_that_falls_behind_is_ended() -> None:
    bus = EventBus()
    bus.publish("container", "first", "a", {})
    stream = bus.stream(0, None)
    assert (await anext(stream)).action == "first"
    for _ in range(QUEUE + 1):
        bus.publish("container", "next", "a", {})
    assert bus.dropped_subscribers == 1
    assert len([e async for e in stream]) == QUEUE
    assert bus.listeners == 0


def test_table_of_this_process() -> None:
    titles, rows = processes.table([os.getpid(), 2**22 + 1], "-o pid,comm")
    assert titles == ["PID", "COMMAND"]
    assert [row[0] for row in rows] == [str(os.getpid())]


@pytest.mark.parametrize("words", ["--forest", "-o nosuch", "x y"])
def test_unknown_ps_arguments(words: str) -> None:
    with pytest.raises(InvalidArgument):
        processes.table([], words)
