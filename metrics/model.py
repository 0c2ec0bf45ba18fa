"""The values that go in and out: what is known of a container, and what was measured of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final as Constant
from typing import NamedTuple

import msgspec

from metrics.parse.figures import Figures

STATES: Constant = ("created", "running", "paused", "restarting", "removing", "exited", "dead")
"""A container's states as Docker names them; one that is stopping is running."""


class Interface(NamedTuple):
    """A container's network interface: its name inside, and the index of the host's end of it."""

    name: str
    ifindex: int


class Storage(NamedTuple):
    """What a container's own files use of the file system on `device` (`/dev/…`), and what
    there is at most: bytes, inodes."""

    device: str
    usage: int
    limit: int | None = None
    inodes_free: int | None = None
    inodes_total: int | None = None


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for, in bytes and µs; 0 = unlimited. `memory_swap` includes the memory."""

    memory: int = 0
    memory_reservation: int = 0
    memory_swap: int = 0
    cpu_quota: int = 0
    cpu_period: int = 100_000
    cpu_shares: int = 1024
    pids: int = 0


class Container(msgspec.Struct, frozen=True, kw_only=True):
    """A container's description. `cgroup` is its group's path below the hierarchies' roots."""

    id: str
    name: str
    image: str
    cgroup: str
    image_digest: str = ""
    network_mode: str = ""
    restart_policy: str = ""
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    limits: Limits = msgspec.field(default_factory=Limits)


class Final(NamedTuple):
    """What a run's end is known to have come to, where the group can no longer tell: µs, bytes."""

    cpu_usage: int | None = None
    memory_peak: int | None = None
    oom_kills: int | None = None


class End(NamedTuple):
    """How a container's last run ended: its exit code, the signal that killed it (0 = none), why
    in one word (docs/metrics.md, `orlop_container_exits_total`), when (wall-clock seconds)."""

    code: int
    reason: str
    signal: int = 0
    at: float = 0.0


class Sample(NamedTuple):
    """One container's figures at one moment, and the whole host's CPU time (µs) at the same.

    `at_ns` is wall-clock time.
    """

    at_ns: int
    system_cpu: int
    online_cpus: int
    figures: Figures


class Roots(msgspec.Struct, frozen=True, kw_only=True):
    """Where the kernel's file systems are mounted."""

    proc: str = "/proc"
    sys: str = "/sys"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured and kept. Times are in seconds.

    `interval` is that of the background samples while somebody looks at them, 0 = none; `history`
    how many of them are kept for each container. Scrapes within `share` of each other get the
    same figures.
    `max_fds` bounds the descriptors kept open; groups beyond it are opened for each reading.
    `container_labels` are the names of the container labels that become Prometheus labels.
    `filesystems` are folders whose file systems' use is reported for the host.
    """

    interval: float = 1.0
    history: int = 60
    share: float = 0.25
    max_fds: int = 0
    container_labels: tuple[str, ...] = ()
    filesystems: tuple[str, ...] = ()
    version: str = ""
    lag_interval: float = 0.5
