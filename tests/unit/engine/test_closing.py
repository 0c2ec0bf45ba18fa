"""Stopping all containers as the daemon ends."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from supervisor.engine.closing import stop_all
from supervisor.engine.engine import KILL_SECONDS, Engine
from supervisor.errors import NotModified, Unavailable
from supervisor.lifecycle import machine as m


class FakeContainer:
    """Ends `lasts` seconds after a stop, or at the end of its grace; inf: not even then."""

    def __init__(self, name: str, grace: float | None, lasts: float, live: bool = True) -> None:
        self.record = SimpleNamespace(name=name)
        self.state = SimpleNamespace(live=live)
        self.grace = grace
        self.lasts = lasts
        self.asked: list[m.StopRequested] = []
        self.tidy = False
        self.refuses: Exception | None = None

    async def ask(self, request: m.StopRequested) -> None:
        self.asked.append(request)
        if self.refuses is not None:
            raise self.refuses
        if not self.state.live:
            raise NotModified("already stopped")

    async def until(self, predicate: Any) -> None:
        if self.state.live:
            grace = self.asked[-1].grace
            assert grace is not None
            await trio.sleep(self.lasts if self.lasts == float("inf") else min(self.lasts, grace))
            self.state.live = False
        assert predicate(self.state)

    async def rest(self) -> None:
        self.tidy = True


def engine(*containers: FakeContainer) -> Any:
    return SimpleNamespace(
        host=SimpleNamespace(closing=False),
        containers={one.record.name: one for one in containers},
        stop_terms=lambda one: (15, one.grace),
    )


async def test_all_at_once_and_each_with_its_own_grace(autojump_clock: MockClock) -> None:
    quick, slow = FakeContainer("quick", 10.0, 1.0), FakeContainer("slow", 7.0, 100.0)
    rests = FakeContainer("rests", 10.0, 1.0, live=False)
    world = engine(quick, slow, rests)
    begun = trio.current_time()
    assert await stop_all(cast(Engine, world)) == []
    assert trio.current_time() - begun == pytest.approx(7.0)
    assert world.host.closing
    assert quick.asked == [m.StopRequested(15, 10.0, by_agent=True)]
    assert all(one.tidy for one in (quick, slow, rests))


async def test_it_has_an_end(autojump_clock: MockClock) -> None:
    patient = FakeContainer("patient", None, 1000.0)
    long = FakeContainer("long", 300.0, 1000.0)
    stuck = FakeContainer("stuck", 1.0, float("inf"))
    begun = trio.current_time()
    assert await stop_all(cast(Engine, engine(patient, long, stuck)), 60.0) == ["stuck"]
    assert trio.current_time() - begun == pytest.approx(60.0)
    assert [one.asked[0].grace for one in (patient, long)] == [60.0 - KILL_SECONDS] * 2


async def test_one_that_refuses_holds_up_nobody(autojump_clock: MockClock) -> None:
    strange, plain = FakeContainer("strange", 1.0, 1.0), FakeContainer("plain", 1.0, 1.0)
    strange.refuses = Unavailable("its shim is newer")
    assert await stop_all(cast(Engine, engine(strange, plain))) == ["strange"]
    assert not plain.state.live
