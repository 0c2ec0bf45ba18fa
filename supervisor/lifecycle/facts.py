"""What happens to a container: requests from people, and observations of the kernel.

A request that the state does not allow raises from `machine.step`; an observation that
does not fit is ignored. Observations about a run carry its number, so that a late one
(a timer of a run that is over) is recognised and dropped. Times `at_ns` are wall clock,
nanoseconds since the epoch; seconds are floats.
"""

from __future__ import annotations

from dataclasses import dataclass
from signal import SIGTERM

from supervisor.lifecycle.state import Exit


@dataclass(frozen=True, slots=True)
class StartRequested:
    """Start it."""


@dataclass(frozen=True, slots=True)
class StopRequested:
    """Send `signal`, and SIGKILL to all after `grace` seconds (None = never, 0 = at once).

    `by_agent`: it is the agent's own, as it ends, and nobody's wish for longer than that.
    """

    signal: int
    grace: float | None
    by_agent: bool = False


@dataclass(frozen=True, slots=True)
class RestartRequested:
    """Stop it as StopRequested does, then start it; just start it if it is not running."""

    signal: int
    grace: float | None


@dataclass(frozen=True, slots=True)
class KillRequested:
    """Send `signal`. SIGKILL or the container's `stop_signal` count as a manual stop."""

    signal: int
    stop_signal: int = int(SIGTERM)


@dataclass(frozen=True, slots=True)
class PauseRequested:
    """Freeze its processes."""


@dataclass(frozen=True, slots=True)
class UnpauseRequested:
    """Thaw its processes."""


@dataclass(frozen=True, slots=True)
class RemoveRequested:
    """Remove the container; `force` kills it first if it is running."""

    force: bool


@dataclass(frozen=True, slots=True)
class TaskStarted:
    """The container's own program was executed, as host process `pid`."""

    run: int
    pid: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class StartFailed:
    """The run ended before its program was executed; nothing of it is left.

    `code` is docker's: 126 not executable, 127 not found, 128 anything else.
    """

    run: int
    error: str
    code: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class Exited:
    """PID 1 ended and the cgroup is empty."""

    run: int
    exit: Exit


@dataclass(frozen=True, slots=True)
class Frozen:
    """All processes are frozen (cgroup.events: frozen 1)."""

    run: int


@dataclass(frozen=True, slots=True)
class Thawed:
    """The processes run again (cgroup.events: frozen 0)."""

    run: int


@dataclass(frozen=True, slots=True)
class GraceOver:
    """A timer asked for by StartGrace ended."""

    run: int


@dataclass(frozen=True, slots=True)
class BackoffOver:
    """The timer asked for by StartBackoff ended."""

    run: int


@dataclass(frozen=True, slots=True)
class OomKilled:
    """The kernel's OOM killer killed `count` more processes of the container."""

    run: int
    count: int


@dataclass(frozen=True, slots=True)
class AgentStarted:
    """The agent has started, and what became of the run meanwhile is told."""


@dataclass(frozen=True, slots=True)
class Cleaned:
    """Cleanup is done: nothing of the container is left but its record."""


@dataclass(frozen=True, slots=True)
class CleanFailed:
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
