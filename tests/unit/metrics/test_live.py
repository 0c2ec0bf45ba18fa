"""The JSON that the page is made of."""

from __future__ import annotations

import json
from typing import Any

import pytest

from metrics.history import Point
from metrics.model import Container, End, Limits
from metrics.parse.figures import Cpu, Figures, Memory, Pressure, Tasks
from metrics.render import live
from metrics.render.live import Live
from metrics.render.snapshot import Machine

HOSTILE = '</script><img src=x onerror="alert(1)">\u2028\n\udcff'


def point(at: float, cpu: float, memory: float = 0, received: float = 0, sent: float = 0) -> Point:
    return Point(at, 0, cpu, memory, memory, 0, 0, received, sent)


def container(**changes: Any) -> Live:
    made = Container(id="c" * 64, name="web", image="box", cgroup="/c")
    return Live(made, "exited", -1, 0, 0, 0, None, None, [])._replace(**changes)


def listed(*containers: Live, history: bool = False) -> dict[str, Any]:
    pages = live.pages(containers, Machine(cpus=2, memory=1 << 30), at=5.5, history=history)
    return dict(json.loads(b"".join(pages)))


def test_a_running_one() -> None:
    figures = Figures(
        cpu=Cpu(9, periods=7, throttled_periods=2),
        memory=Memory(2, 1000, {"inactive_file": 300}),
        tasks=Tasks(4, 2),
        pressure=Pressure(1_500_000, None, 0, 0, None, None),
    )
    limits = Limits(memory=4096, cpu_quota=50_000, pids=9)
    described = Container(id="c", name="web", image="box", cgroup="/c", limits=limits)
    points = [point(1, 0), point(2, 500_000, 7, 10, 20), point(4, 1_500_000, 8, 3010, 20)]
    running = container(container=described, state="running", health=0, started=3.0)
    (one,) = listed(running._replace(figures=figures, points=points), history=True)["containers"]
    assert one["now"] == {
        "memory": 700,
        "threads": 4,
        "pressure": {"cpu": 1.5, "memory": 0.0},
        "periods": 7,
        "throttled_periods": 2,
        "cpu": 0.5,
        "received": 1500,
        "transmitted": 0,
        "read": 0,
        "written": 0,
    }
    assert one["limits"] == {"memory": 4096, "cpus": 0.5, "pids": 9}
    assert (one["healthy"], one["started"], one["end"]) == (False, 3.0, None)
    history = one["history"]
    assert (history["at"], history["memory"]) == ([2, 4], [7, 8])
    assert (history["cpu"], history["received"]) == ([0.5, 0.5], [10, 1500])


def test_without_a_quota_there_are_no_periods() -> None:
    figures = Figures(cpu=Cpu(9, periods=0, throttled_periods=0))
    (one,) = listed(container(figures=figures))["containers"]
    assert one["now"] == {"memory": None, "threads": None, "pressure": {}}


def test_one_that_has_ended() -> None:
    answer = listed(container(end=End(137, "oom_killed", 9, 12.5), restarts=2, oom_kills=1))
    assert (answer["at"], answer["cpus"], answer["memory"]) == (5.5, 2, 1 << 30)
    (one,) = answer["containers"]
    assert one["end"] == {"code": 137, "reason": "oom_killed", "signal": 9, "at": 12.5}
    assert (one["now"], one["state"], one["restarts"], one["oom_kills"]) == (None, "exited", 2, 1)
    assert "history" not in one
    assert one["healthy"] is None


def test_none_and_several() -> None:
    assert listed()["containers"] == []
    assert len(listed(container(), container(), container())["containers"]) == 3


def test_no_text_is_markup() -> None:
    described = Container(id=HOSTILE, name=HOSTILE, image=HOSTILE, cgroup="/c")
    pages = live.pages([container(container=described)], Machine(), at=1, history=True)
    text = b"".join(pages).decode("ascii")
    assert not set("<\u2028") & set(text)
    assert json.loads(text)["containers"][0]["name"] == HOSTILE


@pytest.mark.parametrize(
    "points, cpu",
    [
        ([], None),
        ([point(1, 5)], None),
        ([point(1, 0), point(2, 1_000_000)], 1.0),
        ([point(1, 0), point(2, 0), point(3, 0), point(4, 1_000_000)], 0.5),  # of two seconds
        ([point(1, 9), point(2, 5)], 0.0),
        ([point(9, 1), point(2, 5)], 0.0),  # the clock was set back
    ],
)
def test_rates(points: list[Point], cpu: float | None) -> None:
    assert live.rates(points).get("cpu") == cpu
