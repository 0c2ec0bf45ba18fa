"""An unbounded queue with one taker."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from supervisor.engine.queue import Closed, Queue


async def test_items_come_out_in_order() -> None:
    queue: Queue[int] = Queue()
    for number in range(3):
        queue.put(number)
    assert [await queue.take() for _ in range(3)] == [0, 1, 2]


async def test_the_taker_waits() -> None:
    queue: Queue[int] = Queue()
    taken: list[int] = []

    async def take() -> None:
        async for number in queue:
            taken.append(number)  # noqa: PERF401 - one by one is what is looked at

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        for number in range(3):
            await trio.testing.wait_all_tasks_blocked()
            assert taken == list(range(number))
            queue.put(number)
        queue.close()
    assert taken == [0, 1, 2]


async def test_what_was_put_in_before_the_end_is_taken_after_it() -> None:
    queue: Queue[int] = Queue()
    queue.put(1)
    queue.close()
    with pytest.raises(Closed):
        queue.put(2)
    assert await queue.take() == 1
    with pytest.raises(Closed):
        await queue.take()
    assert [number async for number in queue] == []


async def test_a_taker_that_is_cancelled_loses_nothing() -> None:
    queue: Queue[int] = Queue()
    with trio.move_on_after(0.001):
        await queue.take()
    queue.put(1)
    assert queue.drain() == [1]
    assert queue.drain() == []
