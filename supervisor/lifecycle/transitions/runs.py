"""The begin and the end of a run."""

from __future__ import annotations

from msgspec.structs import replace

from supervisor.lifecycle.effects import Emit, KillCgroup, Persist, Signal, StartBackoff
from supervisor.lifecycle.facts import (
    AgentStarted,
    BackoffOver,
    Exited,
    OomKilled,
    RestartRequested,
    StartFailed,
    StartRequested,
    TaskStarted,
)
from supervisor.lifecycle.oom import verdict
from supervisor.lifecycle.restart import next_delay, wants_restart
from supervisor.lifecycle.state import START_FAILED, Exit, Phase, State
from supervisor.lifecycle.transitions.common import (
    Outcome,
    by_request,
    clean,
    die_event,
    kill_event,
    settle,
    spawn,
    wanted_by_agent,
)


def start(state: State, fact: StartRequested, now: float) -> Outcome:
    """Start by request: the policy's counters begin anew."""
    return spawn(by_request(state, restart=False))


def restart(state: State, fact: RestartRequested, now: float) -> Outcome:
    """A restart of what is not running is a start."""
    return spawn(by_request(state, restart=True))


def backoff_over(state: State, fact: BackoffOver, now: float) -> Outcome:
    """Start by the policy."""
    return spawn(replace(state, automatic=True))


def agent_started(state: State, fact: AgentStarted, now: float) -> Outcome:
    """Start by the policy what was found at rest, with its delays begun anew."""
    if not wanted_by_agent(state):
        return state, ()
    return spawn(replace(state, automatic=True, backoff=0.0))


def task_started(state: State, fact: TaskStarted, now: float) -> Outcome:
    """The program runs, and nothing else was asked for meanwhile."""
    restarted = (Emit("restart"),) if state.restart_requested else ()
    state = replace(_begun(state, fact), phase=Phase.RUNNING, restart_requested=False)
    return state, (Persist(), Emit("start"), *restarted)


def task_started_late(state: State, fact: TaskStarted, now: float) -> Outcome:
    """The program runs, but a stop or a removal came first: apply it now."""
    if not state.live or state.pid:
        return state, ()
    if state.killed:
        return _begun(state, fact), (Persist(), Emit("start"), KillCgroup())
    signal = state.stop_signal
    return _begun(state, fact), (Persist(), Emit("start"), Signal(signal), kill_event(signal))


def exited(state: State, fact: Exited, now: float) -> Outcome:
    """The run ended, and no stop was under way."""
    return _by_policy(*_ended(state, fact))


def exited_stopping(state: State, fact: Exited, now: float) -> Outcome:
    """The run ended as a stop or a restart asked."""
    ended, events = _ended(state, fact)
    events = (*events, Emit("stop"))
    if ended.restart_requested:
        return spawn(by_request(ended, restart=True), events)
    return settle(ended, events)


def exited_removing(state: State, fact: Exited, now: float) -> Outcome:
    """What stood in the way of the removal is gone."""
    return clean(*_ended(state, fact)) if state.live else (state, ())


def exited_dead(state: State, fact: Exited, now: float) -> Outcome:
    """A process that would not die did, after its removal had been given up."""
    if not state.live:
        return state, ()
    ended, events = _ended(state, fact)
    return ended, (Persist(), *events)


def start_failed(state: State, fact: StartFailed, now: float) -> Outcome:
    """Nothing ran. Only what the policy started is left to the policy again."""
    failed, events = _not_begun(state, fact)
    return _by_policy(failed, events) if state.automatic else settle(failed, events)


def start_failed_stopping(state: State, fact: StartFailed, now: float) -> Outcome:
    """Nothing ran, and nothing was to run on; a restart asked for meanwhile fails with it."""
    failed, events = _not_begun(state, fact)
    return settle(failed, (*events, Emit("stop")))


def start_failed_removing(state: State, fact: StartFailed, now: float) -> Outcome:
    """What stood in the way of the removal is gone."""
    return clean(*_not_begun(state, fact)) if state.live else (state, ())


def start_failed_dead(state: State, fact: StartFailed, now: float) -> Outcome:
    """A start came to its end after the removal had been given up; that failure stays."""
    if not state.live:
        return state, ()
    failed, events = _not_begun(state, fact)
    failed = replace(failed, failure=state.failure, error_code=state.error_code)
    return failed, (Persist(), *events)


def oom_killed(state: State, fact: OomKilled, now: float) -> Outcome:
    """Count it; whether it ended the run is decided when the run ends."""
    if fact.count <= 0 or not state.live:
        return state, ()
    return replace(state, oom_kills=state.oom_kills + fact.count), (Persist(), Emit("oom"))


def uptime(end: Exit, started_ns: int) -> float:
    """Seconds that the run lasted: as the shim measured, or as the wall clock has it."""
    if end.uptime_ns >= 0:
        return end.uptime_ns / 1e9
    return max(0, end.at_ns - started_ns) / 1e9


def _begun(state: State, fact: TaskStarted) -> State:
    return replace(state, pid=fact.pid, started_ns=fact.at_ns, exit=None)


def _ended(state: State, fact: Exited) -> tuple[State, tuple[Emit, ...]]:
    """The state after a run that ended, in the phase it ended in, and its events.

    If the start was not seen (the agent was away) it is told now.
    """
    end = fact.exit
    oom = end.oom_killed or verdict(end.code, end.signal, state.oom_kills, state.killed)
    new = _over(state, replace(end, oom_killed=oom))
    if state.pid:
        return new, (die_event(end.code, uptime(end, state.started_ns)),)
    new = replace(new, started_ns=end.at_ns - max(end.uptime_ns, 0))
    return new, (Emit("start"), die_event(end.code, uptime(end, new.started_ns)))


def _not_begun(state: State, fact: StartFailed) -> tuple[State, tuple[Emit, ...]]:
    """The state after a run that did not begin, in the phase it failed in, and its events."""
    new = _over(state, Exit(fact.code, at_ns=fact.at_ns, error=fact.error, uptime_ns=0))
    new = replace(new, restart_requested=False, failure=fact.error, error_code=START_FAILED)
    return new, (die_event(fact.code, 0.0),)


def _over(state: State, end: Exit) -> State:
    return replace(state, live=False, pid=0, exit=end, finished_ns=end.at_ns, freezing=False)


def _by_policy(state: State, events: tuple[Emit, ...]) -> Outcome:
    """After a run that nobody asked to end: another one later, or none."""
    end = state.exit
    if end is None or not wants_restart(
        state.policy,
        code=end.code,
        stop_requested=state.stop_requested,
        restart_count=state.restart_count,
    ):
        return settle(state, events)
    delay = next_delay(state.backoff, uptime(end, state.started_ns))
    state = replace(
        state,
        phase=Phase.RESTARTING,
        backoff=delay,
        restart_count=state.restart_count + 1,
        restart_requested=False,
    )
    return state, (Persist(), *events, StartBackoff(state.run, delay))
