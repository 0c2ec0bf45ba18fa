"""What `machine.step` asks the engine to do, in this order, without waiting for the end.

Persist comes first wherever it occurs: what is decided is on disk before it is done. All
effects may be asked for twice (after a restart of the agent), so they must be idempotent;
Signal, KillCgroup, Freeze and Thaw must accept that the processes or the cgroup are gone
or not there yet.
"""

from __future__ import annotations

import msgspec


class Persist(msgspec.Struct, frozen=True):
    """Write the new state to disk before the effects that follow."""


class Spawn(msgspec.Struct, frozen=True):
    """Start run `run`; leads to TaskStarted then Exited, or to StartFailed."""

    run: int


class Signal(msgspec.Struct, frozen=True):
    """Send `signal` to PID 1."""

    signal: int


class StartGrace(msgspec.Struct, frozen=True):
    """Report GraceOver(run) in `seconds`. An earlier timer of the run goes on as well."""

    run: int
    seconds: float


class StartBackoff(msgspec.Struct, frozen=True):
    """Report BackoffOver(run) in `seconds`."""

    run: int
    seconds: float


class KillCgroup(msgspec.Struct, frozen=True):
    """SIGKILL to every process of the container (cgroup.kill), frozen or not."""


class Freeze(msgspec.Struct, frozen=True):
    """Freeze the cgroup; leads to Frozen, or to Exited."""


class Thaw(msgspec.Struct, frozen=True):
    """Thaw the cgroup; leads to Thawed, or to Exited."""


class Cleanup(msgspec.Struct, frozen=True):
    """Remove all that the container has on this host; leads to Cleaned or CleanFailed."""


class Forget(msgspec.Struct, frozen=True):
    """Delete the container's record and free its name; no fact may follow."""


class Emit(msgspec.Struct, frozen=True):
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
