"""What is remembered of a run, from the step that ended it."""

from __future__ import annotations

from supervisor.lifecycle import machine as m
from supervisor.lifecycle.history import ERROR_LIMIT, PastRun, past_run
from supervisor.lifecycle.restart import RestartPolicy

MEMORY = (16, 15)


def pasts(policy: RestartPolicy, *facts: m.Fact | m.Request) -> list[PastRun]:
    """The runs that are over after all `facts`, as the engine remembers them."""
    state, found = m.State(policy=policy), []
    for now, fact in enumerate(facts):
        before = state
        state, _ = m.step(state, fact, float(now))
        past = past_run(before, state, "word", MEMORY)
        if past is not None:
            found.append(past)
    return found


def end(run: int, code: int, signal: int = 0) -> m.Exited:
    return m.Exited(run, m.Exit(code, signal=signal, at_ns=run * 100 + 50, uptime_ns=40))


def started(run: int) -> m.TaskStarted:
    return m.TaskStarted(run, 77, run * 100 + 10)


def test_a_run_that_ended() -> None:
    (past,) = pasts(
        RestartPolicy(), m.StartRequested(), started(1), m.OomKilled(1, 2), end(1, 137, 9)
    )
    assert past == PastRun(
        run=1,
        reason="word",
        code=137,
        signal=9,
        oom_killed=True,
        oom_kills=2,
        memory_limit=16,
        memory_peak=15,
        started_ns=110,
        finished_ns=150,
    )


def test_what_the_policy_did() -> None:
    policy = RestartPolicy("on-failure", 1)
    once = (m.StartRequested(), started(1), end(1, 3))
    first, second = pasts(policy, *once, m.BackoffOver(1), started(2), end(2, 3))
    assert (first.follow, first.delay, first.restarts, first.policy) == ("policy", 0.1, 0, policy)
    assert (second.run, second.follow, second.delay, second.restarts) == (2, "", 0.0, 1)


def test_a_restart_by_request() -> None:
    again = m.RestartRequested(15, 1.0)
    always = RestartPolicy("always")
    (past,) = pasts(always, m.StartRequested(), started(1), again, end(1, 143, 15))
    assert (past.run, past.follow, past.started_ns) == (1, "request", 110)


def test_a_start_that_failed() -> None:
    """After a run that worked: its times are not the failed one's."""
    failure = m.StartFailed(2, "x" * 2 * ERROR_LIMIT, 127, 250)
    start = m.StartRequested()
    _, past = pasts(RestartPolicy(), start, started(1), end(1, 0), start, failure)
    assert (past.run, past.reason, past.code) == (2, "start_failed", 127)
    assert (past.started_ns, past.finished_ns) == (0, 250)
    assert past.error == "x" * ERROR_LIMIT


def test_killed_by_request() -> None:
    always = RestartPolicy("always")
    (past,) = pasts(always, m.StartRequested(), started(1), m.KillRequested(9), end(1, 137, 9))
    assert (past.killed, past.follow, past.oom_killed) == (True, "", False)
