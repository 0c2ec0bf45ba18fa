"""Reads the kernel: a little of every container each second, everything for a scrape.

While nobody looks at them, the background samples are fewer (UNSEEN_SECONDS): with hundreds of
containers they would be most of what an idle agent costs.

All reading happens in one task, `run`; who wants figures waits for it. So scrapers that come
together share one sampling, and one that hangs up spoils nothing. Between containers the
event loop gets its turn.
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping

import trio

from metrics.errors import Malformed
from metrics.model import Roots, Sample, Settings, Storage
from metrics.parse.figures import Figures, Link
from metrics.parse.host import CpuTimes, Process
from metrics.render import labels
from metrics.render.snapshot import Collector, Row, Snapshot
from metrics.serve.containers import Containers
from metrics.serve.entry import Entry
from metrics.serve.files import Gone
from metrics.serve.host import DeviceNames, Host
from metrics.serve.links import LinkCounters

log = logging.getLogger("orlop.metrics")

SLICE_SECONDS = 0.002
"""How long the loop is kept before others get their turn."""

CPU_SECONDS = 0.005
"""How old the host's CPU times may be beside one container's: they advance by 0.01 s."""

UNSEEN_SECONDS = 10.0
"""Between two background samples of a container while nobody looks at them."""

ATTENTION_SECONDS = 60.0
"""How long somebody who looked is taken to look still."""

LINKS_SECONDS = 0.2
"""How old the interfaces' counters may be."""

STORAGE_SECONDS = 15.0
NAMES_SECONDS = 60.0
MAX_DEVICES = 32
_COLLECTORS = ("containers", "host", "network", "storage")


class Sampler:
    """`containers` is what it reads; `run` must be running for `fresh` to answer."""

    def __init__(
        self,
        settings: Settings,
        roots: Roots,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._wall_ns = wall_ns
        self._host = Host(roots)
        self._devices = DeviceNames(self._host)
        self._counters = LinkCounters()
        self._links: dict[int, Link] = {}
        self._links_at = -math.inf
        self._times = CpuTimes(0, 0, 0, 0, 0, 0)
        self._times_at = -math.inf
        self._storage: tuple[Storage, ...] = ()
        self._spent: dict[str, float] = dict.fromkeys(_COLLECTORS, 0.0)
        self._errors: Counter[str] = Counter()
        self._said: set[str] = set()
        self._snapshot: Snapshot | None = None
        self._snapshot_at = -math.inf
        self._looked_at = -math.inf
        self._glanced_at = -math.inf
        self._behind = False
        self._wake = trio.Event()
        self._wanted: trio.Event | None = None
        self.containers = Containers(
            settings, clock=clock, wall_ns=wall_ns, links=self.links, links_of=self.links_of
        )

    # --- who wants figures ---------------------------------------------------------------------

    async def fresh(self) -> Snapshot:
        """Everything, not older than `share` seconds when the call was made."""
        if self._snapshot is None or self._clock() - self._snapshot_at > self._settings.share:
            if self._wanted is None:
                self._wanted = trio.Event()
                self._wake.set()
            await self._wanted.wait()
        assert self._snapshot is not None
        return self._snapshot

    def sample(self, id: str) -> Sample | None:
        """One container now, read at once (30 to 50 µs); None when it does not run."""
        entry = self.containers.get(id)
        if entry is None or entry.files is None:
            return None
        if self._clock() - self._times_at > CPU_SECONDS:
            self._read_cpu()
        now = self._wall_ns()
        if not self.containers.read(entry, now, alone=True) or entry.figures is None:
            return None
        return Sample(now, self._times.total, self._times.cpus, entry.figures)

    def attend(self) -> None:
        """Somebody looks at background samples: from now on they are taken at each interval, and
        at once where the last ones are older."""
        now = self._clock()
        attended, self._looked_at = self._attended, now
        if not attended and now - self._glanced_at > self._settings.interval > 0:
            self._behind = True
            self._wake.set()

    @property
    def _attended(self) -> bool:
        return self._clock() - self._looked_at <= ATTENTION_SECONDS

    def earlier(self, id: str) -> Sample | None:
        """A background sample (CPU only) to compare one of now with: at least half an interval
        old, since the host's time advances in steps of 10 ms."""
        entry = self.containers.get(id)
        limit = self._wall_ns() - int(self._settings.interval * 0.5e9)
        old = [s for s in entry.recent if s.at_ns <= limit] if entry else []
        return old[-1] if old else None

    def links(self) -> Mapping[int, Link]:
        """All interfaces' counters, read once for all containers of one sampling."""
        if self._clock() - self._links_at > LINKS_SECONDS:
            begun = time.perf_counter()
            try:
                self._links = self._counters.read()
            except (OSError, Malformed) as error:
                self._wrong("network", str(error))
            self._links_at = self._clock()
            self._spent["network"] = time.perf_counter() - begun
        return self._links

    def links_of(self, indexes: Collection[int]) -> Mapping[int, Link]:
        """The counters of these interfaces at this moment; those that are gone are left out."""
        try:
            return self._counters.read_some(indexes)
        except (OSError, Malformed) as error:
            self._wrong("network", str(error))
            return {}

    def device_of(self, folder: str) -> str:
        """The device that the folder's file system is on, as figures name devices."""
        return self._host.device_of(folder)

    def machine_memory(self) -> int:
        """Bytes of memory of the host; 0 when that cannot be read."""
        return self._host.memory_size()

    # --- the task ------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Sample until cancelled; then all descriptors are given back."""
        task_status.started()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._look_at_storage)
                await self._sample_forever()
        finally:
            self.close()

    def close(self) -> None:
        """Give all descriptors back."""
        self.containers.close()
        self._counters.close()
        self._host.close()

    async def _sample_forever(self) -> None:
        interval = self._settings.interval or math.inf
        due = trio.current_time() + interval
        while True:
            with trio.move_on_at(due):
                await self._wake.wait()
            self._wake = trio.Event()
            if self._behind:
                await self._glance_at_all()
            if self._wanted is not None:
                await self._sample_all()
            if trio.current_time() >= due:
                unseen = self._clock() - self._glanced_at
                if self._attended or unseen >= UNSEEN_SECONDS - interval / 2:
                    await self._glance_at_all()
                elif new := self.containers.new():
                    await self._glance(new)
                # Late ones are left out, not made up for.
                due = max(due + interval, trio.current_time())

    async def _sample_all(self) -> None:
        try:
            await self._for_each(self.containers.running(), self._read_one)
            self._snapshot = await self._take_snapshot()
        except Exception:
            # A scrape then shows the last figures; containers must not suffer from it.
            log.exception("sampling failed")
            self._errors["containers"] += 1
            self._snapshot = self._snapshot or Snapshot()
        self._snapshot_at = self._clock()
        # Whoever asked while it was being taken has it, too.
        wanted, self._wanted = self._wanted, None
        if wanted is not None:
            wanted.set()

    async def _glance_at_all(self) -> None:
        self._behind, self._glanced_at = False, self._clock()
        await self._glance(self.containers.running())

    async def _glance(self, entries: list[Entry]) -> None:
        try:
            await self._for_each(entries, self._glance_at)
        except Exception:
            log.exception("background sampling failed")
            self._errors["containers"] += 1

    async def _for_each(self, entries: list[Entry], act: Callable[[Entry], object]) -> None:
        self._read_cpu()
        self._spent["containers"] = await self._in_slices(entries, act)
        self.containers.forget()
        for sentence in self.containers.wrong:
            self._wrong("containers", sentence)
        self.containers.wrong = []

    async def _in_slices(self, entries: list[Entry], act: Callable[[Entry], object]) -> float:
        """Act on each; others get their turn in between and at the end. How long it took."""
        spent, since = 0.0, time.perf_counter()
        for entry in entries:
            act(entry)
            passed = time.perf_counter() - since
            if passed > SLICE_SECONDS:
                spent += passed
                await trio.lowlevel.checkpoint()
                since = time.perf_counter()
        spent += time.perf_counter() - since
        await trio.lowlevel.checkpoint()
        return spent

    def _read_one(self, entry: Entry) -> None:
        self.containers.read(entry, self._wall_ns())

    def _glance_at(self, entry: Entry) -> None:
        if entry.files is None:  # it ended while others had their turn
            return
        try:
            seen = entry.decoder.glance(entry.files.read(glance=True))
        except Gone:
            return
        except Malformed as error:
            entry.files.wrong.append(str(error))
        else:
            figures = Figures(cpu=seen.cpu)
            sample = Sample(self._wall_ns(), self._times.total, self._times.cpus, figures)
            entry.glimpse(seen, sample, self.links() if entry.interfaces.indexes else {})
        self.containers.complaints(entry)

    def _read_cpu(self) -> None:
        try:
            self._times = self._host.cpu()
            self._times_at = self._clock()
        except (OSError, Malformed) as error:
            self._wrong("host", str(error))

    # --- the snapshot ----------------------------------------------------------------------------

    async def _take_snapshot(self) -> Snapshot:
        begun = time.perf_counter()
        host, process = self._host_row()
        self._spent["host"] = time.perf_counter() - begun
        collectors = {n: Collector(self._spent[n], self._errors[n]) for n in _COLLECTORS}
        rows = [host]
        await self._in_slices(
            self.containers.everybody(),
            lambda entry: rows.append(self.containers.row(entry, self._with_names)),
        )
        return Snapshot(
            rows=tuple(rows),
            known=self.containers.known(),
            states=self.containers.states(),
            totals=self.containers.totals(),
            machine=self._host.machine._replace(version=self._settings.version),
            process=process,
            collectors=collectors,
            capped=dict(self.containers.capped),
        )

    def _host_row(self) -> tuple[Row, Process | None]:
        """The host in cAdvisor's form: id "/", no name, no image."""
        figures, process = None, None
        try:
            figures = self._host.figures(self._times, self.links())
            process = self._host.process(self._times.boot)
        except (OSError, Malformed) as error:
            self._wrong("host", str(error))
        label = labels.block([("id", "/")], Counter())
        now = self._wall_ns() / 1e9
        return Row(label, figures, None, self._storage, self._times.boot, now), process

    def _with_names(self, figures: Figures) -> Figures:
        if not figures.io:
            return figures
        if len(figures.io) > MAX_DEVICES:
            self.containers.capped["device"] += 1
        return figures._replace(io=self._devices.named(figures.io, MAX_DEVICES))

    async def _look_at_storage(self) -> None:
        while True:
            begun = time.perf_counter()
            try:
                self._storage = await trio.to_thread.run_sync(
                    self._host.storage, self._settings.filesystems, abandon_on_cancel=True
                )
            except OSError as error:
                self._wrong("storage", str(error))
            self._spent["storage"] = time.perf_counter() - begun
            await trio.sleep(STORAGE_SECONDS)
            self._host.forget_names()

    def _wrong(self, collector: str, sentence: str) -> None:
        self._errors[collector] += 1
        if (
            len(self._said) < 100 and sentence not in self._said
        ):  # each once: it will be each second
            self._said.add(sentence)
            log.warning("%s: %s", collector, sentence)
