"""What `machine.step` asks the engine to do, in this order, without waiting for the end.

Persist comes first wherever it occurs: what is decided is on disk before it is done. All
effects may be asked for twice (after a restart of the agent), so they must be idempotent;
Signal, KillCgroup, Freeze and Thaw must accept that the processes or the cgroup are gone
or not there yet.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Persist:
    """Write the new state to disk before the effects that follow."""


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start run `run`; leads to TaskStarted then Exited, or to StartFailed."""

    run: int


@dataclass(frozen=True, slots=True)
class Signal:
    """Send `signal` to PID 1."""

    signal: int


@dataclass(frozen=True, slots=True)
class StartGrace:
    """Report GraceOver(run) in `seconds`. An earlier timer of the run goes on as well."""

    run: int
    seconds: float


@dataclass(frozen=True, slots=True)
class StartBackoff:
    """Report BackoffOver(run) in `seconds`."""

    run: int
    seconds: float


@dataclass(frozen=True, slots=True)
class KillCgroup:
    """SIGKILL to every process of the container (cgroup.kill), frozen or not."""


@dataclass(frozen=True, slots=True)
class Freeze:
    """Freeze the cgroup; leads to Frozen, or to Exited."""


@dataclass(frozen=True, slots=True)
class Thaw:
    """Thaw the cgroup; leads to Thawed, or to Exited."""


@dataclass(frozen=True, slots=True)
class Cleanup:
    """Remove all that the container has on this host; leads to Cleaned or CleanFailed."""


@dataclass(frozen=True, slots=True)
class Forget:
    """Delete the container's record and free its name; no fact may follow."""


@dataclass(frozen=True, slots=True)
class Emit:
    """Tell the event stream: docker's event `action`, with `attributes` of its own."""

    action: str
    attributes: tuple[tuple[str, str], ...] = ()


Effect = (
    Persist
    | Spawn
    | Signal
    | StartGrace
    | StartBackoff
    | KillCgroup
    | Freeze
    | Thaw
    | Cleanup
    | Forget
    | Emit
)
