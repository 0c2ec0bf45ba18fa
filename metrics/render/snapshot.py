"""Everything that one scrape shows, as it was at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from metrics.model import Limits, Storage
from metrics.parse.figures import Figures
from metrics.parse.host import Process


class Row(NamedTuple):
    """One container, or the host, in cAdvisor's families. `labels` is an open block.

    `figures` None: it has not run yet, or ended long ago. `started` and `seen` are wall-clock
    seconds, `started` 0 = never. `health` 1 healthy, 0 not, -1 no health check.
    `oom_kills_before` are those of earlier runs. The host has no `limits`.
    """

    labels: str
    figures: Figures | None
    limits: Limits | None = None
    storage: tuple[Storage, ...] = ()
    started: float = 0
    seen: float = 0
    health: int = -1
    oom_kills_before: int = 0


class Known(NamedTuple):
    """One container in our own families by name; `info` is an open block, too."""

    name: str
    info: str
    restarts: int
    oom_kills: int
    exit_code: int | None


class Totals(NamedTuple):
    """What all containers used since the agent started, ended ones included: µs, bytes."""

    cpu: int = 0
    received: int = 0
    transmitted: int = 0
    read: int = 0
    written: int = 0


class Machine(NamedTuple):
    """The host: CPUs that are online, bytes of memory, versions."""

    cpus: int = 0
    memory: int = 0
    kernel: str = ""
    os: str = ""
    version: str = ""


class Collector(NamedTuple):
    """How long a part of the last sampling took in seconds, and its errors so far."""

    duration: float
    errors: int


class Snapshot(NamedTuple):
    """`capped` counts what was cut off, by kind."""

    rows: tuple[Row, ...] = ()
    known: tuple[Known, ...] = ()
    states: Mapping[str, int] = {}
    totals: Totals = Totals()
    machine: Machine = Machine()
    process: Process | None = None
    collectors: Mapping[str, Collector] = {}
    capped: Mapping[str, int] = {}
