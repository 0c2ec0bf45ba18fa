"""What several transitions share: the next run, rest, clean-up, the kill, docker's words."""

from __future__ import annotations

from signal import SIGKILL

from msgspec.structs import replace

from supervisor.lifecycle.effects import Cleanup, Effect, Emit, KillCgroup, Persist, Spawn
from supervisor.lifecycle.restart import starts_with_agent
from supervisor.lifecycle.state import Phase, State

Outcome = tuple[State, tuple[Effect, ...]]

NOT_RUNNING = "Container {name} is not running"
RESTARTING = "Container {name} is restarting, wait until the container is running"
ALREADY_PAUSED = "Container {name} is already paused"


def by_request(state: State, *, restart: bool) -> State:
    """Counters as a start by request finds them (docker resets RestartCount)."""
    return replace(state, restart_count=0, backoff=0.0, automatic=False, restart_requested=restart)


def wanted_by_agent(state: State) -> bool:
    """Whether the policy starts the container, once it is over, because the agent starts."""
    return starts_with_agent(
        state.policy,
        code=state.exit.code if state.exit else 0,
        stop_requested=state.stop_requested,
        restart_count=state.restart_count,
        by_agent=state.stopped_by_agent,
    )


def spawn(state: State, events: tuple[Emit, ...] = ()) -> Outcome:
    """Begin the next run. The exit of the run before stays visible until this one runs."""
    run = state.run + 1
    new = replace(
        state,
        phase=Phase.STARTING,
        run=run,
        live=True,
        pid=0,
        oom_kills=0,
        stop_requested=False,
        stopped_by_agent=False,
        freezing=False,
        stop_signal=0,
        grace=None,
        deadline=None,
        killed=False,
        failure="",
        error_code="",
    )
    return new, (Persist(), *events, Spawn(run))


def settle(state: State, events: tuple[Emit, ...]) -> Outcome:
    """No further run for now: the container rests, or with --rm goes."""
    state = replace(state, restart_requested=False)
    if state.auto_remove:
        return clean(state, events)
    return replace(state, phase=Phase.EXITED), (Persist(), *events)


def clean(state: State, events: tuple[Emit, ...] = ()) -> Outcome:
    """Remove what the container, which does not run, has on this host."""
    state = replace(state, phase=Phase.REMOVING, cleaning=True, restart_requested=False)
    return state, (Persist(), *events, Cleanup())


def kill_all(state: State) -> Outcome:
    """SIGKILL to the whole cgroup. What does not run yet is killed again once it does."""
    return replace(state, killed=True), (Persist(), KillCgroup(), kill_event(SIGKILL))


def kill_event(signal: int) -> Emit:
    """Docker's event for a signal sent."""
    return Emit("kill", (("signal", str(int(signal))),))


def die_event(code: int, seconds: float) -> Emit:
    """Docker's event for the end of a run, after `seconds`."""
    return Emit("die", (("execDuration", str(int(seconds))), ("exitCode", str(code))))
