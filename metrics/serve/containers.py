"""The containers of this host, as the supervisor tells of them.

    add ── started ── ended ─┬─ started …
                             └─ removed

What has ended stays on show for two scrapes, so that its last counts are seen; a container
that lived for 50 ms between two samples has its figures read at `ended`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping

from metrics.cadence import Cadence
from metrics.model import STATES, Container, End, Final, Interface, Settings, Storage
from metrics.parse.figures import Figures, Link
from metrics.parse.group import CgroupFolders
from metrics.render.snapshot import Known, Row, Totals
from metrics.serve.entry import Entry
from metrics.serve.files import Budget, Gone, GroupFiles

_ENOUGH = 2
MAX_LINGERING = 1000
"""Removed containers on show: a host that runs a hundred each second has no more series."""


class Containers:
    """Every method takes effect at once and none waits.

    An id that is not known is ignored: metrics are nobody's reason to fail.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Callable[[], float],
        wall_ns: Callable[[], int],
        links: Callable[[], Mapping[int, Link]],
        links_of: Callable[[Collection[int]], Mapping[int, Link]],
    ) -> None:
        """`clock` tells monotonic seconds, `wall_ns` the time of day, `links` all interfaces'
        counters a short time ago, `links_of` those of a few at this moment."""
        self.capped: Counter[str] = Counter()
        self.cadence = Cadence()
        self.wrong: list[str] = []
        self._settings = settings
        self._clock = clock
        self._wall_ns = wall_ns
        self._since = wall_ns() / 1e9
        self._links, self._links_of = links, links_of
        self._budget = Budget(settings.max_fds)
        self._entries: dict[str, Entry] = {}
        self._running: dict[str, Entry] = {}
        self._removed: dict[str, Entry] = {}
        self._ended = Totals()

    # --- what the supervisor tells -----------------------------------------------------------

    def add(self, container: Container, *, state: str = "created") -> None:
        """A container exists; its counters are there from now on, at 0.

        One that is known already gets the new description and state.
        """
        if container.id in self._entries:
            self.changed(container)
            self.state(container.id, state)
            return
        entry = Entry(container, self._settings.history)
        entry.describe(container, self._settings.container_labels, self.capped)
        entry.state = state
        self._entries[container.id] = entry

    def changed(self, container: Container) -> None:
        """It was renamed or updated: a new description for the same id."""
        if entry := self._entries.get(container.id):
            entry.describe(container, self._settings.container_labels, self.capped)

    def state(self, id: str, state: str) -> None:
        """Its state in Docker's words (metrics.model.STATES)."""
        if entry := self._entries.get(id):
            entry.state = state

    def health(self, id: str, status: str) -> None:
        """Its health check says "starting", "healthy" or "unhealthy"; "" = it has none."""
        if entry := self._entries.get(id):
            entry.set_health(status)

    def storage(self, id: str, storage: Iterable[Storage]) -> None:
        """Its disk use, measured whenever that is affordable."""
        if entry := self._entries.get(id):
            entry.storage = tuple(storage)

    def interfaces(self, id: str, interfaces: Iterable[Interface]) -> None:
        """Its network interfaces now; none for one that shares another's network.

        Best told before one goes: its last counts are read now.
        """
        if entry := self._entries.get(id):
            if entry.files is not None and entry.interfaces.indexes:
                entry.interfaces.take(self._links_of(entry.interfaces.indexes))
            entry.interfaces.change(interfaces)

    def restarted(self, id: str) -> None:
        """The restart policy starts it again."""
        if entry := self._entries.get(id):
            entry.restarts += 1

    def started(
        self,
        id: str,
        group: CgroupFolders,
        *,
        at: float,
        interfaces: Iterable[Interface] = (),
    ) -> None:
        """A run has begun at wall-clock second `at`, or was adopted; its group is there."""
        entry = self._entries.get(id)
        if entry is None:
            return
        if entry.files is not None:
            self.ended(id)
        # What an adopted container used before is no use in this agent's time.
        base = Totals() if at >= self._since else None
        entry.begin(GroupFiles(group, self._budget), at, base, interfaces)
        self._running[id] = entry

    def ended(self, id: str, final: Final | None = None, *, exit_code: int | None = None) -> None:
        """The run is over. Call it before the group is removed, or hand over `final`.

        `exit_code` is Docker's.
        """
        entry = self._entries.get(id)
        if entry is None:
            return
        if exit_code is not None:
            entry.exit_code = exit_code
        if self._running.pop(id, None):
            self.read(entry, self._wall_ns(), alone=True, thorough=True)
            entry.finish(self._clock(), final or Final())
        elif not entry.missed(self._clock(), final or Final()):
            return
        self._ended = _sum((self._ended, entry.used()))

    def last_end(self, id: str, end: End) -> None:
        """How its last run ended, which may have been in another agent's time."""
        if entry := self._entries.get(id):
            entry.last_end = end

    def removed(self, id: str) -> None:
        """The container is no more; its series go after two scrapes."""
        if id in self._running:
            self.ended(id)
        entry = self._entries.pop(id, None)
        if entry is None or entry.figures is None:
            return
        if len(self._removed) >= MAX_LINGERING:
            del self._removed[next(iter(self._removed))]
            self.capped["ended_container"] += 1
        self._removed[id] = entry

    # --- what the sampler does -----------------------------------------------------------------

    def get(self, id: str) -> Entry | None:
        """What is known of a container that was not removed."""
        return self._entries.get(id)

    def running(self) -> list[Entry]:
        """Those to be sampled."""
        return list(self._running.values())

    def new(self) -> list[Entry]:
        """Those that run and have too few background samples to compare with."""
        return [entry for entry in self._running.values() if len(entry.recent) < _ENOUGH]

    def read(
        self, entry: Entry, at_ns: int, *, alone: bool = False, thorough: bool = False
    ) -> bool:
        """Read all of a running one's files; False when its group is gone.

        `alone`: no others are read with it, so its interfaces are asked for one by one.
        `thorough`: nothing is left out because it seems to be at rest.
        """
        if entry.files is None:
            return False
        try:
            readings = entry.files.read(glance=False, thorough=thorough)
        except Gone:
            return False
        links: Mapping[int, Link] = {}
        if indexes := entry.interfaces.indexes:
            links = self._links_of(indexes) if alone else self._links()
        entry.take(readings, links, at_ns)
        self.complaints(entry)
        return True

    def complaints(self, entry: Entry) -> None:
        """Collect what went wrong with its files."""
        if entry.files is not None and entry.files.wrong:
            self.wrong += entry.files.wrong
            entry.files.wrong = []

    def forget(self) -> None:
        """Let go of what was on show long enough."""
        limit = self._clock() - self.cadence.linger
        for id, entry in list(self._removed.items()):
            if entry.ended_at is None or entry.ended_at < limit:
                del self._removed[id]
        for entry in self._entries.values():
            if entry.figures and entry.ended_at is not None and entry.ended_at < limit:
                entry.forget_figures()

    def everybody(self) -> list[Entry]:
        """All that are on show, the removed ones too."""
        return [*self._entries.values(), *self._removed.values()]

    def present(self) -> list[Entry]:
        """All that were not removed."""
        return list(self._entries.values())

    def row(self, entry: Entry, show: Callable[[Figures], Figures]) -> Row:
        """Its row; `show` gives devices their names."""
        return entry.row(show)

    def known(self) -> tuple[Known, ...]:
        """By name: of a removed container and a new one of the same name only the latter."""
        everybody = (*self._removed.values(), *self._entries.values())
        return tuple({entry.blocks.name: entry.known() for entry in everybody}.values())

    def states(self) -> dict[str, int]:
        """How many there are of each state, 0 too."""
        found = dict.fromkeys(STATES, 0)
        for entry in self._entries.values():
            found[entry.state] = found.get(entry.state, 0) + 1
        return found

    def totals(self) -> Totals:
        """What all used since the agent started."""
        return _sum((self._ended, *(entry.used() for entry in self._running.values())))

    def close(self) -> None:
        """Give all descriptors back."""
        for entry in self._running.values():
            if entry.files is not None:
                entry.files.close()
        self._running.clear()


def _sum(totals: Iterable[Totals]) -> Totals:
    return Totals(*(sum(column) for column in zip(*totals, strict=True)))
