"""When an OOM kill counts as the end of the container."""

from __future__ import annotations

import pytest

from supervisor.lifecycle.oom import verdict


@pytest.mark.parametrize(
    "code, signal, kills, by_us, oom",
    [
        pytest.param(137, 9, 1, False, True, id="PID 1 was killed"),
        pytest.param(137, 0, 3, False, True, id="the shell as PID 1 passed it on"),
        pytest.param(137, 9, 0, False, False, id="killed from outside"),
        pytest.param(137, 9, 1, True, False, id="a child was OOM-killed earlier, then we killed"),
        pytest.param(0, 0, 1, False, False, id="a child died, PID 1 went on to the end"),
        pytest.param(1, 0, 1, False, False, id="PID 1 gave up after its child"),
        pytest.param(143, 15, 1, False, False, id="stopped after a child died"),
    ],
)
def test_verdict(code: int, signal: int, kills: int, by_us: bool, oom: bool) -> None:
    assert verdict(code, signal, kills, by_us) is oom
