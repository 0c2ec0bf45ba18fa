"""A container's state: its phase and what else decides about the next step."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from supervisor.lifecycle.restart import NO_RESTART, RestartPolicy


class Phase(StrEnum):
    """Where a container is in its life; see docs/lifecycle.md."""

    CREATED = "created"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    RESTARTING = "restarting"
    EXITED = "exited"
    REMOVING = "removing"
    DEAD = "dead"


START_FAILED = "start_failed"
CLEAN_FAILED = "clean_failed"


class Exit(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """How a run ended.

    `code` as docker counts (128 + signal), `signal` what ended PID 1 (0 = none), `at_ns`
    wall clock, `error` why it could not start or why the status had to be guessed ("" =
    neither), `uptime_ns` how long it ran by a clock that does not jump (-1 = unknown).
    """

    code: int
    signal: int = 0
    oom_killed: bool = False
    at_ns: int = 0
    error: str = ""
    uptime_ns: int = -1


class State(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """All that `machine.step` knows; persisted as a whole.

    run             number of the latest run, 0 before the first
    live            that run was asked for and has not been seen to end
    pid             host pid of its PID 1, 0 unless its program runs
    started_ns      wall clock of the latest start (0 = never)
    finished_ns     wall clock of the latest end (0 = never)
    exit            how the latest run that ended did; None once another runs
    restart_count   restarts by the policy since the last start by request
    backoff         seconds of the latest delay before a restart (0 = none)
    automatic       the latest run was started by the policy
    oom_kills       OOM kills in the latest run
    stop_requested  it was stopped by request: the policy does not restart it
    stopped_by_agent  that request was the agent's own, as it ended: it holds until it starts
    restart_requested  a restart is asked for and not yet done
    freezing        a pause is asked for and not yet done
    stop_signal     while stopping: the signal to send once the program runs
    grace, deadline while stopping: seconds allowed, and when (`now`) they end; None = never
    killed          SIGKILL was sent to the whole run
    cleaning        Cleanup was asked for and is not yet done
    failure         the text of the latest failure to start or to clean up
    error_code      "" or START_FAILED or CLEAN_FAILED
    """

    phase: Phase = Phase.CREATED
    run: int = 0
    live: bool = False
    pid: int = 0
    started_ns: int = 0
    finished_ns: int = 0
    exit: Exit | None = None
    policy: RestartPolicy = NO_RESTART
    auto_remove: bool = False
    restart_count: int = 0
    backoff: float = 0.0
    automatic: bool = False
    oom_kills: int = 0
    stop_requested: bool = False
    stopped_by_agent: bool = False
    restart_requested: bool = False
    freezing: bool = False
    stop_signal: int = 0
    grace: float | None = None
    deadline: float | None = None
    killed: bool = False
    cleaning: bool = False
    failure: str = ""
    error_code: str = ""


def docker_status(state: State) -> str:
    """`State.Status` as docker has it, which knows neither starting nor stopping.

    A container counts as what it was until its program runs, and as running until it ended. One
    whose program has never run is created, however often its start has failed.
    """
    starting = state.phase is Phase.STARTING or (state.phase is Phase.STOPPING and not state.pid)
    if starting:
        if state.automatic:
            return "restarting"
        return _at_rest(state)
    if state.phase is Phase.EXITED:
        return _at_rest(state)
    ending = state.phase is Phase.STOPPING or (state.phase is Phase.REMOVING and state.pid)
    return "running" if ending else state.phase.value


def _at_rest(state: State) -> str:
    return "exited" if state.started_ns else "created"
