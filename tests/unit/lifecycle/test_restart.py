"""Restart policies and their delays."""

from __future__ import annotations

from itertools import pairwise

import pytest

from supervisor.errors import InvalidArgument
from supervisor.lifecycle.restart import (
    RestartPolicy,
    next_delay,
    restart_policy,
    starts_with_agent,
    wants_restart,
)


def wants(policy: str, maximum: int = 0, **change: int | bool) -> bool:
    case = {"code": 1, "stop_requested": False, "restart_count": 0} | change
    return wants_restart(
        RestartPolicy(policy, maximum),
        code=case["code"],
        stop_requested=bool(case["stop_requested"]),
        restart_count=case["restart_count"],
    )


def test_delays_double_up_to_a_minute() -> None:
    delays = [0.0]
    for _ in range(15):
        delays.append(next_delay(delays[-1], 0.0))
    assert delays[1] == 0.1
    assert all(b == min(2 * a, 60.0) for a, b in pairwise(delays[1:]))
    assert delays[-1] == 60.0


@pytest.mark.parametrize("uptime, delay", [(9.9, 60.0), (10.0, 0.1), (1e6, 0.1)])
def test_ten_seconds_up_start_over(uptime: float, delay: float) -> None:
    assert next_delay(60.0, uptime) == delay


def test_what_each_policy_restarts() -> None:
    assert not wants("no")
    assert wants("always")
    assert wants("always", code=0)
    assert wants("unless-stopped", code=0)
    assert wants("on-failure")
    assert not wants("on-failure", code=0)
    assert wants("on-failure", restart_count=1000)
    assert wants("on-failure", 3, restart_count=2)
    assert not wants("on-failure", 3, restart_count=3)


@pytest.mark.parametrize("policy", ["no", "always", "unless-stopped", "on-failure"])
def test_a_stop_ends_all_policies(policy: str) -> None:
    assert not wants(policy, stop_requested=True)


def test_the_agent_s_start_tells_always_from_unless_stopped() -> None:
    def starts(policy: str, code: int, stopped: bool) -> bool:
        return starts_with_agent(
            RestartPolicy(policy), code=code, stop_requested=stopped, restart_count=0
        )

    assert starts("always", 0, True)
    assert not starts("unless-stopped", 0, True)
    assert starts("unless-stopped", 0, False)
    assert starts("on-failure", 1, False)
    assert not starts("no", 1, False)


def test_policies_are_checked() -> None:
    assert restart_policy("") == RestartPolicy("no")
    assert restart_policy("on-failure", 3) == RestartPolicy("on-failure", 3)
    for name, maximum in [("sometimes", 0), ("always", 3), ("on-failure", -1)]:
        with pytest.raises(InvalidArgument):
            restart_policy(name, maximum)
