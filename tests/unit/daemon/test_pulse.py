"""A loop that stands still is noticed, one that is slow is not, and a lost wake-up is made good."""

from __future__ import annotations

import threading

import pytest
import trio

from supervisor.daemon import pulse
from supervisor.daemon.pulse import Looks, Pulse


def test_only_looks_in_a_row_count() -> None:
    looks = Looks()
    assert [looks.missed(turns) for turns in (1, 1, 1, 2, 2, 5, 5)] == [0, 1, 2, 0, 1, 0, 1]


async def test_a_loop_that_stands_still_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "TICK_SECONDS", 0.01)
    ended = threading.Event()
    beating = Pulse(ended.set)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(beating.beat)
        while not beating.turns:
            await trio.lowlevel.checkpoint()
        assert ended.wait(30)  # the loop's own thread waits here
        nursery.cancel_scope.cancel()


async def test_what_a_thread_could_not_wake_the_loop_for_is_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pulse, "BEAT_SECONDS", 0.01)
    heard = trio.Event()
    token = trio.lowlevel.current_trio_token()
    wakeup = token._reentry_queue.wakeup
    with monkeypatch.context() as broken:
        broken.setattr(type(wakeup), "wakeup_thread_and_signal_safe", lambda _: None)
        token.run_sync_soon(heard.set)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            beating = Pulse(threading.Event().set)
            nursery.start_soon(beating.beat)
            await heard.wait()
            nursery.cancel_scope.cancel()
    beating.over()


async def test_a_loop_that_is_not_over_in_time_ends_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pulse, "TICK_SECONDS", 0.01)
    ended = threading.Event()
    with trio.move_on_after(0.05):
        await Pulse(ended.set).beat()
    assert ended.wait(30)


async def test_it_looks_no_more_once_the_loop_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "TICK_SECONDS", 30.0)
    ended = threading.Event()
    beating = Pulse(ended.set)
    with trio.move_on_after(0.05):
        await beating.beat()
    beating.over()
    with trio.fail_after(20):
        while "orlop-pulse" in [thread.name for thread in threading.enumerate()]:
            await trio.sleep(0.01)
    assert not ended.is_set()
