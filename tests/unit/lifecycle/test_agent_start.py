"""What the agent's own end and start do to containers, by their policy."""

from __future__ import annotations

import pytest

from supervisor.lifecycle.machine import (
    AgentStarted,
    BackoffOver,
    Exit,
    Exited,
    KillRequested,
    Phase,
    RestartPolicy,
    RestartRequested,
    Spawn,
    StartFailed,
    StartRequested,
    State,
    StopRequested,
    TaskStarted,
    step,
)

TERM = 15
BY_USER = StopRequested(TERM, 10.0)
BY_AGENT = StopRequested(TERM, 10.0, by_agent=True)
ALL = ("no", "on-failure", "unless-stopped", "always")


def feed(state: State, *facts: object) -> State:
    for fact in facts:
        state, _ = step(state, fact, 0.0)  # type: ignore[arg-type]
    return state


def running(policy: str) -> State:
    fresh = State(policy=RestartPolicy(policy))
    return feed(fresh, StartRequested(), TaskStarted(1, 42, 1))


def ended(state: State, code: int = 0) -> State:
    return feed(state, Exited(state.run, Exit(code, at_ns=2)))


def starts(state: State) -> bool:
    after, effects = step(state, AgentStarted(), 0.0)
    if after.phase is not Phase.STARTING:
        assert after == state
        return False
    assert Spawn(state.run + 1) in effects
    assert not after.stop_requested
    assert not after.stopped_by_agent
    return True


def who_starts(how: dict[str, State]) -> set[str]:
    return {policy for policy, state in how.items() if starts(state)}


def test_after_a_stop_by_somebody_only_always_starts() -> None:
    assert who_starts({p: ended(feed(running(p), BY_USER), 143) for p in ALL}) == {"always"}


def test_after_the_agent_s_own_stop_unless_stopped_starts_too() -> None:
    states = {p: ended(feed(running(p), BY_AGENT), 143) for p in ALL}
    assert all(state.phase is Phase.EXITED for state in states.values())
    assert who_starts(states) == {"always", "unless-stopped"}


@pytest.mark.parametrize("first, second", [(BY_USER, BY_AGENT), (BY_AGENT, BY_USER)])
def test_somebody_s_stop_counts_whichever_came_first(
    first: StopRequested, second: StopRequested
) -> None:
    assert not starts(ended(feed(running("unless-stopped"), first, second)))


def test_a_kill_by_somebody_counts_as_a_stop() -> None:
    killed = ended(feed(running("unless-stopped"), BY_AGENT, KillRequested(9)), 137)
    assert not starts(killed)


def test_a_restart_that_was_under_way_is_done_by_the_next_agent() -> None:
    stopped = ended(feed(running("unless-stopped"), RestartRequested(TERM, 10.0), BY_AGENT))
    assert stopped.phase is Phase.EXITED
    assert starts(stopped)


@pytest.mark.parametrize("policy", ["always", "unless-stopped", "on-failure"])
def test_between_two_runs_the_agent_s_stop_ends_the_restarts(policy: str) -> None:
    waiting = ended(running(policy), 1)
    assert waiting.phase is Phase.RESTARTING
    stopped = feed(waiting, BY_AGENT)
    assert stopped.phase is Phase.EXITED
    assert feed(stopped, BackoffOver(stopped.run)) == stopped
    assert starts(stopped) == (policy != "on-failure")


def test_what_was_never_started_is_left_alone() -> None:
    fresh = State(policy=RestartPolicy("always"))
    assert step(fresh, AgentStarted(), 0.0) == (fresh, ())


def test_what_runs_is_left_alone() -> None:
    for state in (running("always"), ended(running("always"), 1)):
        assert step(state, AgentStarted(), 0.0) == (state, ())


def test_on_failure_only_after_a_failure() -> None:
    assert not starts(ended(running("on-failure"), 0))
    failed = feed(State(policy=RestartPolicy("on-failure")), StartRequested())
    failed = feed(failed, StartFailed(1, "no such device", 125, 2))
    assert failed.phase is Phase.EXITED
    assert starts(failed)


def test_a_start_by_the_agent_that_fails_is_tried_again() -> None:
    again = feed(ended(feed(running("always"), BY_AGENT)), AgentStarted())
    assert again.automatic
    assert feed(again, StartFailed(again.run, "busy", 125, 3)).phase is Phase.RESTARTING


@pytest.mark.parametrize("policy", ALL)
def test_a_stop_that_the_agent_died_in_is_followed_by_a_start(policy: str) -> None:
    stopping = feed(running(policy), BY_AGENT, AgentStarted(), AgentStarted())
    assert stopping.phase is Phase.STOPPING
    after = ended(stopping)
    wanted = policy in ("always", "unless-stopped")
    assert after.phase is (Phase.STARTING if wanted else Phase.EXITED)


def test_somebody_s_stop_that_the_agent_died_in_goes_on() -> None:
    stopping = feed(running("unless-stopped"), BY_USER, AgentStarted())
    assert ended(stopping).phase is Phase.EXITED
