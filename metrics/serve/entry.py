"""What is kept of one container."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping

from metrics.history import History, Point
from metrics.model import Container, End, Final, Interface, Sample, Storage
from metrics.parse import group
from metrics.parse.figures import Cpu, Figures, Glance, Link, Memory
from metrics.render import labels
from metrics.render.docker_stats import Parts
from metrics.render.live import Live
from metrics.render.snapshot import Known, Row, Totals
from metrics.serve.files import GroupFiles
from metrics.serve.interfaces import Interfaces

_HEALTH = {"healthy": 1, "starting": 0, "unhealthy": 0}
_RECENT = 3
_ONLY_WITH_QUOTA = frozenset({"throttling"})


class Entry:
    """`files` is None unless it runs. `figures` are the last full ones, until forgotten.

    `ended_at` is monotonic, `started` and `seen` wall-clock seconds. `base` is what to leave
    out of the totals: what had been used before this agent looked; None = not known yet.
    """

    __slots__ = (
        "_inactive",
        "_named",
        "_used",
        "base",
        "blocks",
        "container",
        "decoder",
        "ended_at",
        "exit_code",
        "figures",
        "files",
        "health",
        "history",
        "interfaces",
        "last_end",
        "oom_kills_before",
        "parts",
        "recent",
        "restarts",
        "seen",
        "started",
        "state",
        "storage",
    )

    def __init__(self, container: Container, history: int) -> None:
        self.container = container
        self.blocks = labels.Blocks("", "", "")
        self.state = "created"
        self.health = -1
        self.started = 0.0
        self.seen = 0.0
        self.interfaces = Interfaces()
        self.storage: tuple[Storage, ...] = ()
        self.files: GroupFiles | None = None
        self.decoder = group.Decoder()
        self.figures: Figures | None = None
        self._inactive = 0  # of the page cache in `figures`
        self._named: tuple[Figures | None, Figures | None] = (None, None)
        self._used: tuple[Figures | None, Totals | None, Totals] = (None, None, Totals())
        self.base: Totals | None = None
        self.ended_at: float | None = None
        self.exit_code: int | None = None
        self.last_end: End | None = None
        self.restarts = 0
        self.oom_kills_before = 0
        self.history = History(history)
        self.recent: deque[Sample] = deque(maxlen=_RECENT)
        self.parts: Parts | None = None  # made for whom it is asked

    # --- what it is -------------------------------------------------------------------------

    def describe(self, container: Container, allowed: Iterable[str], capped: Counter[str]) -> None:
        """Take a new description; the labels are made anew."""
        self.container = container
        self.blocks = labels.blocks(container, allowed, capped)
        self._choose_files()

    def _choose_files(self) -> None:
        # Without a quota nothing is throttled, and on v1 that is a file of its own.
        if self.files is not None:
            quota = self.container.limits.cpu_quota > 0
            self.files.leave_out(frozenset() if quota else _ONLY_WITH_QUOTA)

    def set_health(self, status: str) -> None:
        """Docker's word for it, "" or "none" without a health check."""
        self.health = _HEALTH.get(status, -1)

    # --- a run ------------------------------------------------------------------------------

    def begin(
        self,
        files: GroupFiles,
        started: float,
        base: Totals | None,
        interfaces: Iterable[Interface],
    ) -> None:
        """A run has begun; figures start at 0 again."""
        self.files, self.started, self.base = files, started, base
        self.interfaces = Interfaces(interfaces)
        self._choose_files()
        self.ended_at, self.figures = None, None
        self._inactive = 0
        self.decoder = group.Decoder()
        self.history.clear()
        self.recent.clear()

    def finish(self, now: float, final: Final) -> None:
        """The run is over; `final` corrects what was read last."""
        if self.files is not None:
            self.files.close()
            self.files = None
        self.figures = corrected(self.figures or Figures(), final)
        self.ended_at = now
        memory = self.figures.memory
        self.oom_kills_before += (memory.oom_kills or 0) if memory else (final.oom_kills or 0)

    def missed(self, now: float, final: Final) -> bool:
        """A run is over that had not begun here: its start failed, or nobody looked.

        Whether `final` tells that it was one.
        """
        if not any(final):
            return False
        self.base, self.interfaces = Totals(), Interfaces(())
        self.figures, self.ended_at = corrected(Figures(), final), now
        self.oom_kills_before += final.oom_kills or 0
        return True

    def forget_figures(self) -> None:
        """The last values have been seen often enough."""
        self.figures = None
        self.decoder = group.Decoder()

    # --- readings ---------------------------------------------------------------------------

    def take(self, readings: Mapping[str, bytes], links: Mapping[int, Link], at_ns: int) -> None:
        """New full figures; malformed parts are left out and named in `files.wrong`."""
        assert self.files is not None
        if links:
            self.interfaces.take(links)
        self.seen = at_ns / 1e9
        figures, wrong = self.decoder.figures(readings, self.interfaces.counters())
        if wrong:
            self.files.wrong += wrong
        if figures is self.figures:
            return
        self.figures = figures
        self._inactive = figures.memory.inactive_file if figures.memory else 0
        if self.base is None:
            self.base = use(figures)

    def glimpse(self, seen: Glance, sample: Sample, links: Mapping[int, Link]) -> None:
        """Keep a background sample."""
        if links:
            self.interfaces.take(links)
        received, transmitted = self.interfaces.totals()
        inactive = self._inactive
        self.recent.append(sample)
        self.history.push(
            Point(
                sample.at_ns / 1e9,
                sample.system_cpu,
                seen.cpu.usage,
                seen.memory,
                max(0, seen.memory - inactive),
                seen.read_bytes,
                seen.written_bytes,
                received,
                transmitted,
            )
        )

    # --- what is shown ----------------------------------------------------------------------

    @property
    def oom_kills(self) -> int:
        """Of all runs."""
        running = self.figures.memory if self.figures and self.files else None
        return self.oom_kills_before + ((running.oom_kills or 0) if running else 0)

    def row(self, show: Callable[[Figures], Figures]) -> Row:
        """The container in cAdvisor's families; `show` gives devices their names."""
        memory = self.figures.memory if self.figures else None
        if self._named[0] is not self.figures:
            self._named = (self.figures, show(self.figures) if self.figures else None)
        return Row(
            self.blocks.full,
            self._named[1],
            self.container.limits,
            self.storage,
            self.started,
            self.seen,
            self.health,
            self.oom_kills - (memory.oom_kills or 0 if memory else 0),
        )

    def known(self) -> Known:
        """The container in our own families."""
        name, info = self.blocks.name, self.blocks.info
        return Known(name, info, self.restarts, self.oom_kills, self.exit_code)

    def live(self) -> Live:
        """The container on the page for people."""
        return Live(
            self.container,
            self.state,
            self.health,
            self.started,
            self.restarts,
            self.oom_kills,
            self.last_end,
            self.figures if self.files else None,
            self.history.points() if self.files else [],
        )

    def used(self) -> Totals:
        """What this run used while this agent looked."""
        if self.figures is None:
            return Totals()
        if self._used[0] is not self.figures or self._used[1] is not self.base:
            now = use(self.figures)
            if self.base and any(self.base):
                less = zip(now, self.base, strict=True)
                now = Totals(*(n - b if n > b else 0 for n, b in less))
            self._used = (self.figures, self.base, now)
        return self._used[2]


def use(figures: Figures) -> Totals:
    """The counters that totals are made of."""
    cpu = figures.cpu.usage if figures.cpu else 0
    received = transmitted = read = written = 0
    for link in figures.network.values():
        received += link.rx_bytes
        transmitted += link.tx_bytes
    for device in figures.io.values():
        read += device.read_bytes
        written += device.written_bytes
    return Totals(cpu, received, transmitted, read, written)


def corrected(figures: Figures, final: Final) -> Figures:
    """The figures with what is known better, since it was read later."""
    cpu, memory = figures.cpu, figures.memory
    if final.cpu_usage is not None:
        cpu = (cpu or Cpu(0))._replace(usage=max(final.cpu_usage, cpu.usage if cpu else 0))
    if final.memory_peak is not None or final.oom_kills is not None:
        memory = memory or Memory(2, 0, {})
        memory = memory._replace(
            peak=_larger(memory.peak, final.memory_peak),
            oom_kills=_larger(memory.oom_kills, final.oom_kills),
        )
    return figures._replace(cpu=cpu, memory=memory)


def _larger(one: int | None, other: int | None) -> int | None:
    found = [value for value in (one, other) if value is not None]
    return max(found, default=None)
