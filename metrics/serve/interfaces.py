"""The counters of one container's interfaces through one run of it.

They never go back. An interface that was taken away stays with its last figures until the
run ends; one that comes under its name goes on counting from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from metrics.model import Interface
from metrics.parse.figures import NO_LINKS, Link

MAX_INTERFACES = 16
OTHER = "other"
"""What interfaces that are gone and beyond the limit had is added up under this name."""

_ZERO = Link(0, 0, 0, 0, 0, 0, 0, 0)


class Interfaces:
    """`indexes` are those of the host's ends of what the container has now."""

    __slots__ = ("_before", "_now", "_raw", "_shown", "_totals", "indexes")

    def __init__(self, interfaces: Iterable[Interface] = ()) -> None:
        self._before: dict[str, Link] = {}  # by name: what links that are gone had counted
        self._now: dict[str, int] = {}
        self._raw: dict[str, Link] = {}  # by name: what the host's end there is now has counted
        self._shown: Mapping[str, Link] | None = None  # of both, until one of them changes
        self._totals: tuple[int, int] | None = None
        self.indexes: tuple[int, ...] = ()
        self.change(interfaces)

    def change(self, interfaces: Iterable[Interface]) -> None:
        """These and no others are there now."""
        new = dict(list(interfaces)[:MAX_INTERFACES])
        for name, index in self._now.items():
            if new.get(name) != index:
                self._over(name)
        self._now, self.indexes, self._shown = new, tuple(new.values()), None
        for name in [name for name in self._before if name not in new]:
            if len({*new, *self._before}) <= MAX_INTERFACES:
                break
            if name != OTHER:
                gone = self._before.pop(name)
                self._before[OTHER] = _sum(self._before.get(OTHER, _ZERO), gone)

    def take(self, links: Mapping[int, Link]) -> None:
        """New readings of the host's ends; a link that is not among them has been removed."""
        for name, index in self._now.items():
            link, before = links.get(index), self._raw.get(name)
            if link is None or link == before:
                continue
            if before and (link.rx_bytes < before.rx_bytes or link.tx_bytes < before.tx_bytes):
                self._over(name)  # the index is another link's by now
            self._raw[name], self._shown = link, None

    def counters(self) -> Mapping[str, Link]:
        """By the interfaces' names inside, as the container sees them."""
        if self._shown is None:
            found = dict(self._before)
            for name, link in self._raw.items():
                inner = link.peer()
                found[name] = _sum(found[name], inner) if name in found else inner
            self._shown = found or NO_LINKS
            self._totals = None
        return self._shown

    def totals(self) -> tuple[int, int]:
        """Bytes received and sent on all of them."""
        found = self.counters()
        if self._totals is None:
            self._totals = (
                sum([link.rx_bytes for link in found.values()]),
                sum([link.tx_bytes for link in found.values()]),
            )
        return self._totals

    def _over(self, name: str) -> None:
        if name in self._raw:
            last = self._raw.pop(name).peer()
            self._before[name] = _sum(self._before.get(name, _ZERO), last)
            self._shown = None


def _sum(one: Link, other: Link) -> Link:
    return Link(*(a + b for a, b in zip(one, other, strict=True)))
