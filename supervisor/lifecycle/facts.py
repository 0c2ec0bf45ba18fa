"""What happens to a container: requests from people, and observations of the kernel.

A request that the state does not allow raises from `machine.step`; an observation that
does not fit is ignored. Observations about a run carry its number, so that a late one
(a timer of a run that is over) is recognised and dropped. Times `at_ns` are wall clock,
nanoseconds since the epoch; seconds are floats.
"""

from __future__ import annotations

from signal import SIGTERM

import msgspec

from supervisor.lifecycle.state import Exit


class StartRequested(msgspec.Struct, frozen=True):
    """Start it."""


class StopRequested(msgspec.Struct, frozen=True):
    """Send `signal`, and SIGKILL to all after `grace` seconds (None = never, 0 = at once).

    `by_agent`: it is the agent's own, as it ends, and nobody's wish for longer than that.
    """

    signal: int
    grace: float | None
    by_agent: bool = False


class RestartRequested(msgspec.Struct, frozen=True):
    """Stop it as StopRequested does, then start it; just start it if it is not running."""

    signal: int
    grace: float | None


class KillRequested(msgspec.Struct, frozen=True):
    """Send `signal`. SIGKILL or the container's `stop_signal` count as a manual stop."""

    signal: int
    stop_signal: int = int(SIGTERM)


class PauseRequested(msgspec.Struct, frozen=True):
    """Freeze its processes."""


class UnpauseRequested(msgspec.Struct, frozen=True):
    """Thaw its processes."""


class RemoveRequested(msgspec.Struct, frozen=True):
    """Remove the container; `force` kills it first if it is running."""

    force: bool


class TaskStarted(msgspec.Struct, frozen=True):
    """The container's own program was executed, as host process `pid`."""

    run: int
    pid: int
    at_ns: int


class StartFailed(msgspec.Struct, frozen=True):
    """The run ended before its program was executed; nothing of it is left.

    `code` is docker's: 126 not executable, 127 not found, 128 anything else.
    """

    run: int
    error: str
    code: int
    at_ns: int


class Exited(msgspec.Struct, frozen=True):
    """PID 1 ended and the cgroup is empty."""

    run: int
    exit: Exit


class Frozen(msgspec.Struct, frozen=True):
    """All processes are frozen (cgroup.events: frozen 1)."""

    run: int


class Thawed(msgspec.Struct, frozen=True):
    """The processes run again (cgroup.events: frozen 0)."""

    run: int


class GraceOver(msgspec.Struct, frozen=True):
    """A timer asked for by StartGrace ended."""

    run: int


class BackoffOver(msgspec.Struct, frozen=True):
    """The timer asked for by StartBackoff ended."""

    run: int


class OomKilled(msgspec.Struct, frozen=True):
    """The kernel's OOM killer killed `count` more processes of the container."""

    run: int
    count: int


class AgentStarted(msgspec.Struct, frozen=True):
    """The agent has started, and what became of the run meanwhile is told."""


class Cleaned(msgspec.Struct, frozen=True):
    """Cleanup is done: nothing of the container is left but its record."""


class CleanFailed(msgspec.Struct, frozen=True):
    """Cleanup failed, or the processes of a container being removed would not die."""

    error: str


Request = (
    StartRequested
    | StopRequested
    | RestartRequested
    | KillRequested
    | PauseRequested
    | UnpauseRequested
    | RemoveRequested
)
RunFact = TaskStarted | StartFailed | Exited | Frozen | Thawed | GraceOver | BackoffOver | OomKilled
Fact = Request | RunFact | AgentStarted | Cleaned | CleanFailed

REQUESTS: tuple[type[Request], ...] = (
    StartRequested,
    StopRequested,
    RestartRequested,
    KillRequested,
    PauseRequested,
    UnpauseRequested,
    RemoveRequested,
)
RUN_FACTS: tuple[type[RunFact], ...] = (
    TaskStarted,
    StartFailed,
    Exited,
    Frozen,
    Thawed,
    GraceOver,
    BackoffOver,
    OomKilled,
)
FACTS: tuple[type[Fact], ...] = (*REQUESTS, *RUN_FACTS, AgentStarted, Cleaned, CleanFailed)
