"""Docker's arithmetic of `stats`."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.cli.commands import stats
from supervisor.cli.commands.stats import block_io, cpu_percent, memory, throttled_percent, waited
from tests.unit.cli.conftest import Orlop
from tests.unit.cli.fake_daemon import FakeDaemon


def cpu(used: int, passed: int | None, cpus: int = 2) -> dict[str, Any]:
    usage = {"cpu_usage": {"total_usage": used}}
    return usage if passed is None else {**usage, "system_cpu_usage": passed, "online_cpus": cpus}


@pytest.mark.parametrize(
    "now,before,percent",
    [
        (cpu(150, 1200), cpu(100, 1000), 50.0),
        (cpu(300, 1200), cpu(100, 1000), 200.0),
        (cpu(100, 1000), cpu(0, None), 20.0),  # the first sample: since the host's boot
        (cpu(100, 1000), cpu(100, 900), 0.0),
        (cpu(100, 1000), cpu(50, 1000), 0.0),
        (cpu(0, None), cpu(0, None), 0.0),
    ],
)
def test_cpu(now: dict[str, Any], before: dict[str, Any], percent: float) -> None:
    assert cpu_percent({"cpu_stats": now, "precpu_stats": before}) == pytest.approx(percent)


@pytest.mark.parametrize(
    "figures,shown",
    [
        ({}, (0, 0)),
        ({"usage": 100, "limit": 400, "stats": {"inactive_file": 30}}, (70, 400)),
        ({"usage": 100, "limit": 400, "stats": {"total_inactive_file": 20}}, (80, 400)),
        ({"usage": 10, "limit": 400, "stats": {"inactive_file": 30}}, (10, 400)),
    ],
)
def test_memory(figures: dict[str, Any], shown: tuple[int, int]) -> None:
    assert memory(figures) == shown


def test_block_io() -> None:
    entries = [
        {"op": "read", "value": 1},
        {"op": "write", "value": 2},
        {"op": "Read", "value": 4},
    ]
    assert block_io({"io_service_bytes_recursive": entries}) == (5, 2)
    assert block_io({"io_service_bytes_recursive": None}) == (0, 0)


def test_throttling() -> None:
    def counted(periods: int, throttled: int) -> dict[str, Any]:
        return {"throttling_data": {"periods": periods, "throttled_periods": throttled}}

    figures = {"cpu_stats": counted(30, 12), "precpu_stats": counted(10, 7)}
    assert throttled_percent(figures) == 25.0
    assert throttled_percent({"cpu_stats": counted(5, 5), "precpu_stats": counted(5, 5)}) == 0.0
    assert throttled_percent({"cpu_stats": {}, "precpu_stats": {}}) == 0.0


def test_waiting() -> None:
    figures = {"orlop_pressure": {"cpu_some": 1_250_000_000, "memory_some": 0}}
    assert [waited(figures, one) for one in ("cpu", "memory", "io")] == ["1.2s", "0.0s", "--"]
    assert waited({}, "cpu") == "--"


@pytest.mark.parametrize(
    "width, words, everything",
    [(0, (), False), (149, (), False), (150, (), True), (0, ("--all-columns",), True)],
)
def test_a_wide_terminal_shows_throttling_and_waiting_too(
    daemon: FakeDaemon,
    orlop: Orlop,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    width: int,
    words: tuple[str, ...],
    everything: bool,
) -> None:
    daemon.on_json("GET", "/containers/json", [])
    monkeypatch.setattr(stats, "terminal_width", lambda: width)
    assert orlop("stats", "--no-stream", *words) == 0
    heading = capfd.readouterr().out
    assert heading.startswith("CONTAINER ID   NAME")
    assert heading.rstrip().endswith("I/O WAIT" if everything else "PIDS")
    assert ("THROTTLED" in heading) == everything
