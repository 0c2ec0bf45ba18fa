"""Pauses between attempts, on a clock that jumps."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from supervisor.registry.backoff import LONGEST, Backoff
from supervisor.registry.config import RegistryConfig

CONFIG = RegistryConfig(backoff=0.5, retries=4)


async def paused(backoff: Backoff, asked: str = "") -> float | None:
    before = trio.current_time()
    return trio.current_time() - before if await backoff.pause(asked) else None


async def test_pauses_double_and_end(autojump_clock: trio.testing.MockClock) -> None:
    backoff = Backoff(CONFIG)
    for most in (0.5, 1.0, 2.0, 4.0):
        seconds = await paused(backoff)
        assert seconds is not None
        assert most / 2 <= seconds <= most
    assert await paused(backoff) is None


async def test_no_pause_is_longer_than_the_longest(
    autojump_clock: trio.testing.MockClock,
) -> None:
    backoff = Backoff(RegistryConfig(backoff=10.0, retries=20))
    pauses = [await paused(backoff) for _ in range(20)]
    assert max(seconds or 0 for seconds in pauses) <= LONGEST


async def test_the_registry_may_ask_for_more(autojump_clock: trio.testing.MockClock) -> None:
    assert await paused(Backoff(CONFIG), "7") == pytest.approx(7.0)
    seconds = await paused(Backoff(CONFIG), "0")
    assert seconds is not None
    assert seconds >= 0.25
    assert await paused(Backoff(CONFIG), "3600") is None


async def test_what_was_gained_makes_up_for_failures(
    autojump_clock: trio.testing.MockClock,
) -> None:
    backoff = Backoff(CONFIG)
    for _ in range(50):
        backoff.gained(1 << 20)
        seconds = await paused(backoff)
        assert seconds is not None
        assert seconds <= 0.5
    for _ in range(3):
        backoff.gained(1)
        assert await paused(backoff) is not None
    assert await paused(backoff) is None
