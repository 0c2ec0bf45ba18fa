"""One container's figures at one moment. Times are µs, sizes bytes; None where the kernel has none.

Named tuples: hundreds of them are made each second.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Cpu(NamedTuple):
    """CPU time since the group was made; the rest counts while there is a quota."""

    usage: int
    user: int | None = None
    system: int | None = None
    periods: int | None = None
    throttled_periods: int | None = None
    throttled: int | None = None
    bursts: int | None = None
    burst: int | None = None


class Memory(NamedTuple):
    """`stat` is memory.stat in the names of cgroup `version` (1 or 2).

    `failures` is how often the limit was hit, `ooms` how often reclaim then failed.
    """

    version: int
    usage: int
    stat: Mapping[str, int]
    peak: int | None = None
    swap: int | None = None
    failures: int | None = None
    high_events: int | None = None
    max_events: int | None = None
    ooms: int | None = None
    oom_kills: int | None = None

    @property
    def inactive_file(self) -> int:
        """Page cache that goes first when memory gets short."""
        return self.stat.get("inactive_file" if self.version == 2 else "total_inactive_file", 0)

    @property
    def working_set(self) -> int:
        """What is in use and not easily given back: Docker's and cAdvisor's definition."""
        return max(0, self.usage - self.inactive_file)


class Tasks(NamedTuple):
    """`threads` are here and below, `processes` only in the group itself."""

    threads: int | None = None
    processes: int | None = None


class DeviceIo(NamedTuple):
    """What reached one block device since the group was made."""

    read_bytes: int = 0
    written_bytes: int = 0
    reads: int = 0
    writes: int = 0


class Pressure(NamedTuple):
    """Time that some, or all, tasks stood still for want of a resource."""

    cpu_some: int | None = None
    cpu_full: int | None = None
    memory_some: int | None = None
    memory_full: int | None = None
    io_some: int | None = None
    io_full: int | None = None


class Link(NamedTuple):
    """An interface's counters, in the order of the kernel's rtnl_link_stats64."""

    rx_packets: int
    tx_packets: int
    rx_bytes: int
    tx_bytes: int
    rx_errors: int
    tx_errors: int
    rx_dropped: int
    tx_dropped: int

    def peer(self) -> Link:
        """The counters of the other end of a veth: what one sends, the other receives."""
        rx_p, tx_p, rx_b, tx_b, rx_e, tx_e, rx_d, tx_d = self
        return Link(tx_p, rx_p, tx_b, rx_b, tx_e, rx_e, tx_d, rx_d)


NO_IO: Mapping[str, DeviceIo] = {}
NO_LINKS: Mapping[str, Link] = {}


class Figures(NamedTuple):
    """All of it. `io` is by device (`/dev/…` or `major:minor`), `network` by interface."""

    cpu: Cpu | None = None
    memory: Memory | None = None
    tasks: Tasks | None = None
    pressure: Pressure | None = None
    io: Mapping[str, DeviceIo] = NO_IO
    network: Mapping[str, Link] = NO_LINKS


class Glance(NamedTuple):
    """The few figures that the background samples read; 0 where the kernel has none."""

    cpu: Cpu
    memory: int
    read_bytes: int
    written_bytes: int
