"""The container's state machine: one table, and `step` which applies it.

The state moves on observed facts; a request only asks for effects, and is answered by
the facts that follow. Texts of refusals contain the literal token `{name}`: the machine
does not know names, its caller fills it in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from supervisor.errors import Conflict, NotModified, OrlopError
from supervisor.lifecycle.effects import (
    Cleanup,
    Effect,
    Emit,
    Forget,
    Freeze,
    KillCgroup,
    Persist,
    Signal,
    Spawn,
    StartBackoff,
    StartGrace,
    Thaw,
)
from supervisor.lifecycle.facts import (
    FACTS,
    REQUESTS,
    RUN_FACTS,
    AgentStarted,
    BackoffOver,
    Cleaned,
    CleanFailed,
    Exited,
    Fact,
    Frozen,
    GraceOver,
    KillRequested,
    OomKilled,
    PauseRequested,
    RemoveRequested,
    Request,
    RestartRequested,
    StartFailed,
    StartRequested,
    StopRequested,
    TaskStarted,
    Thawed,
    UnpauseRequested,
)
from supervisor.lifecycle.restart import RestartPolicy
from supervisor.lifecycle.state import Exit, Phase, State, docker_status
from supervisor.lifecycle.transitions import common, pauses, removals, runs, stops

__all__ = [
    "FACTS",
    "REQUESTS",
    "RUN_FACTS",
    "TABLE",
    "AgentStarted",
    "BackoffOver",
    "CleanFailed",
    "Cleaned",
    "Cleanup",
    "Effect",
    "Emit",
    "Exit",
    "Exited",
    "Fact",
    "Forget",
    "Freeze",
    "Frozen",
    "GraceOver",
    "KillCgroup",
    "KillRequested",
    "Move",
    "OomKilled",
    "PauseRequested",
    "Persist",
    "Phase",
    "Refuse",
    "RemoveRequested",
    "Request",
    "RestartPolicy",
    "RestartRequested",
    "Signal",
    "Spawn",
    "StartBackoff",
    "StartFailed",
    "StartGrace",
    "StartRequested",
    "State",
    "StopRequested",
    "TaskStarted",
    "Thaw",
    "Thawed",
    "UnpauseRequested",
    "docker_status",
    "resume",
    "step",
]

CREATED, STARTING, RUNNING, PAUSED, STOPPING, RESTARTING, EXITED, REMOVING, DEAD = Phase


class Move(msgspec.Struct, frozen=True):
    """`do` decides; the state is then in one of the phases `to`, or forgotten if it `ends`."""

    do: Callable[[State, Any, float], common.Outcome]
    to: tuple[Phase, ...]
    ends: bool = False


class Refuse(msgspec.Struct, frozen=True):
    """The request is answered with `error`; nothing changes."""

    error: type[OrlopError]
    message: str


def _move(do: Callable[[State, Any, float], common.Outcome], *to: Phase) -> Move:
    return Move(do, to)


RUNS = Refuse(NotModified, "Container {name} is already started")
RESTS = Refuse(NotModified, "Container {name} is already stopped")
NOT_RUNNING = Refuse(Conflict, common.NOT_RUNNING)
NOT_PAUSED = Refuse(Conflict, "Container {name} is not paused")
IS_PAUSED = Refuse(Conflict, common.ALREADY_PAUSED)
IS_RESTARTING = Refuse(Conflict, common.RESTARTING)
UNPAUSE_FIRST = Refuse(Conflict, "cannot start a paused container, try unpause instead")
LEAVING = Refuse(Conflict, "container is marked for removal and cannot be started")
BEING_REMOVED = Refuse(Conflict, "removal of container {name} is already in progress")

# What a fact does in which phase. Every request has a row in every phase; an observation
# without a row changes nothing.
TABLE: dict[tuple[Phase, type[Fact]], Move | Refuse] = {
    # created: made, never started
    (CREATED, StartRequested): _move(runs.start, STARTING),
    (CREATED, StopRequested): RESTS,
    (CREATED, RestartRequested): _move(runs.restart, STARTING),
    (CREATED, KillRequested): NOT_RUNNING,
    (CREATED, PauseRequested): NOT_RUNNING,
    (CREATED, UnpauseRequested): NOT_PAUSED,
    (CREATED, RemoveRequested): _move(removals.remove, REMOVING),
    # starting: a run is asked for, its program is not yet seen to run
    (STARTING, StartRequested): RUNS,
    (STARTING, StopRequested): _move(stops.stop, STOPPING),
    (STARTING, RestartRequested): _move(stops.stop_to_restart, STOPPING),
    (STARTING, KillRequested): NOT_RUNNING,
    (STARTING, PauseRequested): NOT_RUNNING,
    (STARTING, UnpauseRequested): NOT_PAUSED,
    (STARTING, RemoveRequested): _move(removals.remove_live, REMOVING),
    (STARTING, TaskStarted): _move(runs.task_started, RUNNING),
    (STARTING, StartFailed): _move(runs.start_failed, EXITED, RESTARTING, REMOVING),
    (STARTING, Exited): _move(runs.exited, EXITED, RESTARTING, REMOVING),
    (STARTING, OomKilled): _move(runs.oom_killed, STARTING),
    # running
    (RUNNING, StartRequested): RUNS,
    (RUNNING, StopRequested): _move(stops.stop, STOPPING),
    (RUNNING, RestartRequested): _move(stops.stop_to_restart, STOPPING),
    (RUNNING, KillRequested): _move(stops.kill, RUNNING),
    (RUNNING, PauseRequested): _move(pauses.pause, RUNNING),
    (RUNNING, UnpauseRequested): NOT_PAUSED,
    (RUNNING, RemoveRequested): _move(removals.remove_live, REMOVING),
    (RUNNING, Exited): _move(runs.exited, EXITED, RESTARTING, REMOVING),
    (RUNNING, Frozen): _move(pauses.frozen, PAUSED),
    (RUNNING, OomKilled): _move(runs.oom_killed, RUNNING),
    # paused: running, and frozen
    (PAUSED, StartRequested): UNPAUSE_FIRST,
    (PAUSED, StopRequested): _move(stops.stop, STOPPING),
    (PAUSED, RestartRequested): _move(stops.stop_to_restart, STOPPING),
    (PAUSED, KillRequested): _move(stops.kill, PAUSED),
    (PAUSED, PauseRequested): IS_PAUSED,
    (PAUSED, UnpauseRequested): _move(pauses.unpause, PAUSED),
    (PAUSED, RemoveRequested): _move(removals.remove_live, REMOVING),
    (PAUSED, Exited): _move(runs.exited, EXITED, RESTARTING, REMOVING),
    (PAUSED, Thawed): _move(pauses.thawed, RUNNING),
    (PAUSED, OomKilled): _move(runs.oom_killed, PAUSED),
    # stopping: a stop or a restart is asked for, the run is not yet seen to end
    (STOPPING, StartRequested): RUNS,
    (STOPPING, StopRequested): _move(stops.stop, STOPPING),
    (STOPPING, RestartRequested): _move(stops.stop_to_restart, STOPPING),
    (STOPPING, KillRequested): _move(stops.kill, STOPPING),
    (STOPPING, PauseRequested): NOT_RUNNING,
    (STOPPING, UnpauseRequested): NOT_PAUSED,
    (STOPPING, RemoveRequested): _move(removals.remove_live, REMOVING),
    (STOPPING, TaskStarted): _move(runs.task_started_late, STOPPING),
    (STOPPING, StartFailed): _move(runs.start_failed_stopping, EXITED, REMOVING),
    (STOPPING, Exited): _move(runs.exited_stopping, EXITED, STARTING, REMOVING),
    (STOPPING, Frozen): _move(stops.frozen, STOPPING),
    (STOPPING, GraceOver): _move(stops.grace_over, STOPPING),
    (STOPPING, AgentStarted): _move(stops.agent_started, STOPPING),
    (STOPPING, OomKilled): _move(runs.oom_killed, STOPPING),
    # restarting: between two runs, by the restart policy
    (RESTARTING, StartRequested): _move(runs.start, STARTING),
    (RESTARTING, StopRequested): _move(stops.stop_restarting, EXITED, REMOVING),
    (RESTARTING, RestartRequested): _move(runs.restart, STARTING),
    (RESTARTING, KillRequested): _move(stops.kill_restarting, EXITED, REMOVING),
    (RESTARTING, PauseRequested): IS_RESTARTING,
    (RESTARTING, UnpauseRequested): NOT_PAUSED,
    (RESTARTING, RemoveRequested): _move(removals.remove_restarting, REMOVING),
    (RESTARTING, BackoffOver): _move(runs.backoff_over, STARTING),
    # exited: at rest after a run
    (EXITED, StartRequested): _move(runs.start, STARTING),
    (EXITED, StopRequested): RESTS,
    (EXITED, RestartRequested): _move(runs.restart, STARTING),
    (EXITED, KillRequested): NOT_RUNNING,
    (EXITED, PauseRequested): NOT_RUNNING,
    (EXITED, UnpauseRequested): NOT_PAUSED,
    (EXITED, RemoveRequested): _move(removals.remove, REMOVING),
    (EXITED, AgentStarted): _move(runs.agent_started, EXITED, STARTING),
    # removing: being killed or cleaned up; ends with Forget
    (REMOVING, StartRequested): LEAVING,
    (REMOVING, StopRequested): RESTS,
    (REMOVING, RestartRequested): LEAVING,
    (REMOVING, KillRequested): NOT_RUNNING,
    (REMOVING, PauseRequested): NOT_RUNNING,
    (REMOVING, UnpauseRequested): NOT_PAUSED,
    (REMOVING, RemoveRequested): BEING_REMOVED,
    (REMOVING, TaskStarted): _move(runs.task_started_late, REMOVING),
    (REMOVING, StartFailed): _move(runs.start_failed_removing, REMOVING),
    (REMOVING, Exited): _move(runs.exited_removing, REMOVING),
    (REMOVING, OomKilled): _move(runs.oom_killed, REMOVING),
    (REMOVING, Cleaned): Move(removals.cleaned, (REMOVING,), ends=True),
    (REMOVING, CleanFailed): _move(removals.clean_failed, DEAD),
    # dead: the removal failed and can be tried again
    (DEAD, StartRequested): LEAVING,
    (DEAD, StopRequested): RESTS,
    (DEAD, RestartRequested): LEAVING,
    (DEAD, KillRequested): NOT_RUNNING,
    (DEAD, PauseRequested): NOT_RUNNING,
    (DEAD, UnpauseRequested): NOT_PAUSED,
    (DEAD, RemoveRequested): _move(removals.remove_dead, REMOVING),
    (DEAD, TaskStarted): _move(runs.task_started_late, DEAD),
    (DEAD, StartFailed): _move(runs.start_failed_dead, DEAD),
    (DEAD, Exited): _move(runs.exited_dead, DEAD),
}


def step(state: State, fact: Fact, now: float) -> tuple[State, tuple[Effect, ...]]:
    """The state after `fact`, and what the engine has to do, in order.

    `now` is seconds of a clock that does not jump. A request that the phase does not allow
    raises NotModified (it is so already) or Conflict, whose text holds the token `{name}`.
    An observation of another run, or one that does not fit, gives the same state and
    nothing to do.
    """
    if isinstance(fact, RUN_FACTS) and fact.run != state.run:
        return state, ()
    rule = TABLE.get((state.phase, type(fact)))
    if rule is None:
        return state, ()
    if isinstance(rule, Refuse):
        raise rule.error(rule.message)
    return rule.do(state, fact, now)


def resume(state: State, now: float) -> tuple[Effect, ...]:
    """What to ask for again when the agent finds `state` on disk after it was away.

    Besides, the engine reports what it observes of the run: TaskStarted, StartFailed,
    Exited, Frozen or Thawed; and AgentStarted after these. Effects are idempotent; a stop's
    time goes on, and starts over if `now` is of another clock than the one that set the deadline.
    """
    match state.phase:
        case Phase.STOPPING:
            return _resume_stop(state, now)
        case Phase.RUNNING if state.freezing:
            return (Freeze(),)
        case Phase.RESTARTING:
            return (StartBackoff(state.run, state.backoff),)
        case Phase.REMOVING:
            return (KillCgroup(),) if state.live else (Cleanup(),)
    return ()


def _resume_stop(state: State, now: float) -> tuple[Effect, ...]:
    if state.killed:
        return (KillCgroup(),)
    effects: list[Effect] = [Signal(state.stop_signal)] if state.pid else []
    if state.grace is not None and state.deadline is not None:
        left = state.deadline - now
        seconds = left if 0 <= left <= state.grace else state.grace
        effects.append(StartGrace(state.run, seconds))
    return tuple(effects)
