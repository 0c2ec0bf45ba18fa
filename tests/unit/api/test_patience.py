"""Whose wait is ended, and when."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from supervisor.api import limits
from supervisor.api.patience import Patience


class One:
    """A connection that waits."""

    def __init__(self) -> None:
        self.ended_at = 0.0
        self.waiting: Callable[[], None] | None = self._end

    def _end(self) -> None:
        self.ended_at, self.waiting = trio.current_time(), None


@pytest.fixture
def patience(nursery: trio.Nursery) -> Patience:
    found = Patience()
    nursery.start_soon(found.run)
    return found


async def test_each_wait_ends_in_its_time(autojump_clock: MockClock, patience: Patience) -> None:
    begun, connections = {}, [One() for _ in range(3)]
    for one in connections:
        begun[one] = trio.current_time()
        patience.begin(one)
        await trio.sleep(limits.IDLE_SECONDS / 10)
    await trio.sleep(2 * limits.IDLE_SECONDS)
    for one in connections:
        assert one.ended_at == pytest.approx(begun[one] + limits.IDLE_SECONDS)


async def test_who_went_on_is_left_alone_and_may_wait_anew(
    autojump_clock: MockClock, patience: Patience
) -> None:
    busy, idle = One(), One()
    patience.begin(busy)
    patience.begin(idle)
    await trio.sleep(limits.IDLE_SECONDS / 2)
    patience.end(busy)
    patience.begin(busy)
    again = trio.current_time()
    await trio.sleep(0.6 * limits.IDLE_SECONDS)
    assert idle.ended_at
    assert busy.waiting is not None
    await trio.sleep(limits.IDLE_SECONDS)
    assert busy.ended_at == pytest.approx(again + limits.IDLE_SECONDS)
    patience.end(busy)  # which its end does, too


async def test_nobody_waits_for_a_long_time_and_then_somebody(
    autojump_clock: MockClock, patience: Patience
) -> None:
    first, second = One(), One()
    patience.begin(first)
    patience.end(first)
    await wait_all_tasks_blocked()
    await trio.sleep(3 * limits.IDLE_SECONDS)
    patience.begin(second)
    await trio.sleep(limits.IDLE_SECONDS * 1.01)
    assert second.ended_at
    assert first.waiting is not None
