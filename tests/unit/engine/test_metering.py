"""What metrics are told, and that nobody suffers from them."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest
import trio

from metrics.model import Limits
from supervisor.engine.metering import Metering, exit_reason, limits
from supervisor.errors import Unavailable
from supervisor.lifecycle.machine import Exit, Phase, State
from supervisor.spec.types import Resources

RUNS = State(phase=Phase.RUNNING, live=True, pid=7)


@pytest.mark.parametrize(
    "before,end,reason",
    [
        (RUNS, Exit(0), "completed"),
        (RUNS, Exit(3), "error"),
        (RUNS, Exit(139, signal=11), "signal"),
        (RUNS, Exit(137, signal=9, oom_killed=True), "oom_killed"),
        (RUNS, Exit(137, signal=9, error="the shim was lost"), "lost"),
        (replace(RUNS, stop_requested=True), Exit(143, signal=15), "stopped"),
        (replace(RUNS, phase=Phase.STOPPING), Exit(0), "stopped"),
        (replace(RUNS, phase=Phase.REMOVING), Exit(137, signal=9), "stopped"),
    ],
)
def test_reasons(before: State, end: Exit, reason: str) -> None:
    assert exit_reason(before, end) == reason


@pytest.mark.parametrize(
    "asked,shown",
    [
        (Resources(), Limits()),
        (Resources(memory=1 << 30), Limits(memory=1 << 30, memory_swap=2 << 30)),
        (Resources(memory=1 << 30, memory_swap=-1), Limits(memory=1 << 30)),
        (Resources(nano_cpus=1_500_000_000), Limits(cpu_quota=150_000)),
        (
            Resources(cpu_quota=5000, cpu_period=10_000),
            Limits(cpu_quota=5000, cpu_period=10_000),
        ),
        (Resources(cpu_quota=-1, pids_limit=-1, cpu_shares=512), Limits(cpu_shares=512)),
        (Resources(pids_limit=9, memory_reservation=5), Limits(pids=9, memory_reservation=5)),
    ],
)
def test_limits(asked: Resources, shown: Limits) -> None:
    assert limits(asked) == shown


class Broken:
    """Metrics whose every part fails."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"no {name}")


def test_a_failure_is_logged_once_and_goes_no_further(caplog: pytest.LogCaptureFixture) -> None:
    nothing: Any = None
    metering = Metering(nothing)
    broken: Any = Broken()
    metering._metrics = broken
    with caplog.at_level(logging.ERROR):
        metering.removed("a")
        metering.removed("b")
    assert [record.message for record in caplog.records] == ["metrics: removed failed; said once"]


async def test_failing_metrics_do_not_end_the_daemon(caplog: pytest.LogCaptureFixture) -> None:
    nothing: Any = None
    metering = Metering(nothing)
    broken: Any = Broken()
    metering._metrics = broken
    async with trio.open_nursery() as nursery:
        await nursery.start(metering.run)
    assert "metrics have failed" in caplog.text
    with pytest.raises(Unavailable, match="metrics are off"):
        metering.stats("a")
