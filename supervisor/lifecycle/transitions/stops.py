"""Stop, and signals passed on."""

from __future__ import annotations

from signal import SIGKILL

from msgspec.structs import replace

from supervisor.errors import Conflict
from supervisor.lifecycle.effects import Effect, Emit, Persist, Signal, StartGrace, Thaw
from supervisor.lifecycle.facts import (
    AgentStarted,
    Frozen,
    GraceOver,
    KillRequested,
    RestartRequested,
    StopRequested,
)
from supervisor.lifecycle.state import Phase, State
from supervisor.lifecycle.transitions.common import (
    NOT_RUNNING,
    RESTARTING,
    Outcome,
    kill_all,
    kill_event,
    settle,
    wanted_by_agent,
)


def stop(state: State, fact: StopRequested, now: float) -> Outcome:
    """Stop by request: the policy will not restart it."""
    state = replace(_stop_asked(state, fact), restart_requested=False)
    return _stop(state, fact.signal, fact.grace, now)


def stop_to_restart(state: State, fact: RestartRequested, now: float) -> Outcome:
    """Stop, and start once stopped."""
    return _stop(replace(state, restart_requested=True), fact.signal, fact.grace, now)


def stop_restarting(state: State, fact: StopRequested, now: float) -> Outcome:
    """Between two runs there is nothing to wait for."""
    return settle(_stop_asked(state, fact), (Emit("stop"),))


def agent_started(state: State, fact: AgentStarted, now: float) -> Outcome:
    """A stop that the agent began as it ended, and died in: once it is over, the policy counts."""
    again = state.stopped_by_agent and wanted_by_agent(state)
    if not again or state.restart_requested:
        return state, ()
    return replace(state, restart_requested=True), (Persist(),)


def grace_over(state: State, fact: GraceOver, now: float) -> Outcome:
    """The first of the grace timers to end kills, even what is not yet started."""
    return (state, ()) if state.killed else kill_all(state)


def frozen(state: State, fact: Frozen, now: float) -> Outcome:
    """A freeze that was under way when the stop came must not hold up the stop."""
    return state, (Thaw(),)


def kill(state: State, fact: KillRequested, now: float) -> Outcome:
    """Pass a signal on; SIGKILL and the stop signal count as a stop by request.

    SIGKILL goes to the whole cgroup: cgroup.kill reaches frozen processes, and those that
    outlive PID 1 where it has no pid namespace. Any other signal waits in a frozen process
    until it is thawed, so the stop signal thaws, as docker does.
    """
    terminal = fact.signal in (SIGKILL, fact.stop_signal)
    if terminal:
        state = replace(state, stop_requested=True, stopped_by_agent=False)
    if fact.signal == SIGKILL:
        return kill_all(state)
    if not state.pid:
        raise Conflict(NOT_RUNNING)
    thaw: tuple[Effect, ...] = ()
    if terminal and _may_be_frozen(state):
        state, thaw = replace(state, freezing=False), (Thaw(),)
    return state, (Persist(), Signal(fact.signal), *thaw, kill_event(fact.signal))


def kill_restarting(state: State, fact: KillRequested, now: float) -> Outcome:
    """Nothing runs; a signal that counts as a stop ends the restarts."""
    if fact.signal not in (SIGKILL, fact.stop_signal):
        raise Conflict(RESTARTING)
    state = replace(state, stop_requested=True, stopped_by_agent=False)
    return settle(state, (kill_event(fact.signal),))


def _stop_asked(state: State, fact: StopRequested) -> State:
    """Somebody's own stop is not forgotten because the agent's comes on top of it."""
    only_agent = state.stopped_by_agent or not state.stop_requested
    return replace(state, stop_requested=True, stopped_by_agent=fact.by_agent and only_agent)


def _stop(state: State, signal: int, grace: float | None, now: float) -> Outcome:
    """Signal, and a timer; each further stop signals again, and the earliest timer counts.

    A negative grace is no timer, as in docker. What is not yet started gets its signal
    when it is, but its time runs from now.
    """
    thaw: tuple[Effect, ...] = (Thaw(),) if _may_be_frozen(state) else ()
    state = replace(state, phase=Phase.STOPPING, freezing=False, stop_signal=signal)
    if state.killed:
        return state, (Persist(),)
    if grace == 0 or signal == SIGKILL:
        return kill_all(state)
    effects: list[Effect] = [Persist()]
    if state.pid:
        effects += [Signal(signal), *thaw, kill_event(signal)]
    if grace is not None and grace > 0 and (state.deadline is None or now + grace < state.deadline):
        state = replace(state, grace=grace, deadline=now + grace)
        effects.append(StartGrace(state.run, grace))
    return state, tuple(effects)


def _may_be_frozen(state: State) -> bool:
    return state.phase is Phase.PAUSED or state.freezing
