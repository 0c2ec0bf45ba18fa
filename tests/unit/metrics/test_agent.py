"""The agent's own families, by prometheus_client."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import REGISTRY, generate_latest

from metrics.serve import agent as agent_module
from metrics.serve.agent import Agent
from tests.unit.metrics import judge


def text(agent: Agent) -> str:
    return generate_latest(agent.registry).decode()


def count(agent: Agent, name: str, /, **labels: str) -> float:
    return judge.value(text(agent), name, **labels)


def test_counters_are_there_at_zero_before_anything_happens() -> None:
    agent = Agent()
    assert count(agent, "orlop_container_exits_total", reason="oom_killed") == 0
    assert count(agent, "orlop_reaped_processes_total", kind="shim") == 0
    assert count(agent, "orlop_health_checks_total", result="timeout") == 0
    assert count(agent, "orlop_container_stage_duration_seconds_count", stage="netns") == 0
    assert count(agent, "orlop_events_dropped_total") == 0


def test_an_operation_that_goes_well_or_not() -> None:
    agent = Agent()
    name = "orlop_container_operation_duration_seconds_count"
    with agent.operation("start"):
        assert count(agent, "orlop_container_operations_in_flight") == 1
    with pytest.raises(ValueError, match="no"), agent.operation("start"):
        raise ValueError("no")
    with pytest.raises(KeyboardInterrupt), agent.operation("start"):
        raise KeyboardInterrupt
    for outcome in ("ok", "error", "cancelled"):
        assert count(agent, name, operation="start", outcome=outcome) == 1
    assert count(agent, "orlop_container_operations_in_flight") == 0


CALLS: list[tuple[str, tuple[Any, ...], str, dict[str, str], float]] = [
    ("stage", ("exec", 0.002), "orlop_container_stage_duration_seconds_sum", {}, 0.002),
    ("exited", ("signal",), "orlop_container_exits_total", {"reason": "signal"}, 1),
    ("reaped", ("shim", 3), "orlop_reaped_processes_total", {"kind": "shim"}, 3),
    ("shim_memory", (500,), "orlop_shim_memory_bytes", {}, 500),
    ("health_check", ("timeout",), "orlop_health_checks_total", {"result": "timeout"}, 1),
    ("logged", (7,), "orlop_log_bytes_total", {}, 7),
    ("log_dropped", ("full", 8), "orlop_log_dropped_bytes_total", {"reason": "full"}, 8),
    ("lag", (0.01,), "orlop_event_loop_lag_seconds_sum", {}, 0.01),
    (
        "request",
        ("GET", "/info", 200, 0.5),
        "orlop_api_request_duration_seconds_sum",
        {"method": "GET", "route": "/info", "code": "200"},
        0.5,
    ),
    ("events_dropped", (2,), "orlop_events_dropped_total", {}, 2),
    ("pulled", ("ok", 3.0), "orlop_image_pull_duration_seconds_sum", {"outcome": "ok"}, 3),
    ("pull_received", (9,), "orlop_image_pull_bytes_total", {}, 9),
    ("image_store", (11,), "orlop_image_store_bytes", {}, 11),
    (
        "network_operation",
        ("connect", "error", 0.1),
        "orlop_network_operation_duration_seconds_sum",
        {"operation": "connect", "outcome": "error"},
        0.1,
    ),
    ("leftover_removed", ("shim",), "orlop_leftovers_removed_total", {"kind": "shim"}, 1),
    ("leaked", ("veth", 4), "orlop_leaked_resources", {"kind": "veth"}, 4),
]


@pytest.mark.parametrize("method, arguments, name, labels, value", CALLS, ids=[c[0] for c in CALLS])
def test_each_call_is_seen(
    method: str, arguments: tuple[Any, ...], name: str, labels: dict[str, str], value: float
) -> None:
    agent = Agent()
    getattr(agent, method)(*arguments)
    found = judge.samples(text(agent), name, **labels)
    assert max(sample.value for sample in found) == value


def test_a_pool_goes_with_its_network() -> None:
    agent = Agent()
    agent.ip_pool("shop", used=3, free=250)
    assert count(agent, "orlop_ip_pool_addresses", network="shop", state="used") == 3
    agent.network_removed("shop")
    agent.network_removed("shop")
    assert judge.samples(text(agent), "orlop_ip_pool_addresses") == []
    agent.ip_pool("shop", used=1, free=2)
    assert count(agent, "orlop_ip_pool_addresses", network="shop", state="free") == 2


def test_two_agents_share_nothing_and_the_global_registry_has_none_of_it() -> None:
    one, two = Agent(), Agent()
    one.logged(5)
    assert count(two, "orlop_log_bytes_total") == 0
    assert b"orlop_" not in generate_latest(REGISTRY)


def test_created_times_double_no_series() -> None:
    assert "_created" not in text(Agent())


def test_series_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_module, "MAX_CHILDREN", 10)
    agent = Agent()
    for number in range(30):
        agent.leaked(f"kind {number}", 1)
    assert len(judge.samples(text(agent), "orlop_leaked_resources")) == 11
    assert agent.capped["series"] == 20


def test_labels_that_are_no_unicode() -> None:
    agent = Agent()
    agent.ip_pool('a\udcff"\n', used=1, free=1)
    assert judge.samples(text(agent), "orlop_ip_pool_addresses")
    agent.network_removed('a\udcff"\n')
    assert judge.samples(text(agent), "orlop_ip_pool_addresses") == []
