"""The event stream and `top`'s table."""

import os
import time

import pytest
import trio

from supervisor.engine import processes
from supervisor.engine.events import QUEUE, REMEMBERED, EventBus
from supervisor.errors import InvalidArgument


async def test_past_events_then_the_end() -> None:
    bus = EventBus()
    bus.publish("container", "start", "a", {})
    assert [e.action async for e in bus.stream(0, time.time_ns())] == ["start"]
    assert bus.listeners == 0


async def test_which_events_are_replayed() -> None:
    bus = EventBus()
    for number in range(REMEMBERED + 10):
        bus.publish("container", str(number), "a", {})
    now = time.time_ns()
    until_now = [e.action async for e in bus.stream(None, now)]
    assert until_now == [str(n) for n in range(10, REMEMBERED + 10)]
    assert [e async for e in bus.stream(None, 1)] == []
    third = [e async for e in bus.stream(0, now)][2]
    kept = [e async for e in bus.stream(third.time_ns, third.time_ns)]
    assert third in kept
    assert {e.time_ns for e in kept} == {third.time_ns}


async def test_nothing_is_replayed_unasked() -> None:
    bus = EventBus()
    bus.publish("container", "old", "a", {})
    stream = bus.stream(None, None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(publish_when_heard, bus)
        assert (await anext(stream)).action == "new"
    await stream.aclose()


async def publish_when_heard(bus: EventBus) -> None:
    while not bus.listeners:
        await trio.sleep(0.001)
    bus.publish("container", "new", "a", {})


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
