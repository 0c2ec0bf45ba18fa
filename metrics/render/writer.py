"""Prometheus' text 0.0.4 and OpenMetrics 1.0 for hundreds of containers at little cost.

A sample's line is its family's name, the label block of its container, and a *cell*: the value
as text, with what is between. Block and cells are made when they change, and kept from one
scrape to the next; of a container at rest only the lines' pieces are put together.

One page a family, so that the caller can do other things in between.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import chain, compress
from typing import Any

from metrics.render.families import CONTAINER, OWN, Family, Get
from metrics.render.snapshot import Known, Row, Snapshot
from metrics.render.sources import (
    ROW,
    Source,
    is_seen,
    named,
    of_known,
    of_row,
    of_the_rest,
)

FAMILIES = (*CONTAINER, *OWN)
_AT_ONCE = 20

Cells = tuple[bytes | None, ...]
"""A cell for each series of a part, None where there is no such value."""


def _layout() -> dict[str, list[tuple[str, Get]]]:
    """The series of each part."""
    series: dict[str, list[tuple[str, Get]]] = defaultdict(list)
    for family in FAMILIES:
        series[family.part] += family.series
    return dict(series)


_SERIES = _layout()
_GETTERS = {part: [get for _, get in series] for part, series in _SERIES.items()}
_NOTHING: dict[str, Cells] = {part: (None,) * len(series) for part, series in _SERIES.items()}
# One conversion for all cells of a part, which is then split: half the time of one for each.
_LABELLED, _BARE = (
    {
        part: "\0".join(f"{label.replace('%', '%%')}{close} %s\n" for label, _ in series)
        for part, series in _SERIES.items()
    }
    for close in ("}", "")
)
# The parts ROW are one on paper: of each container one block, and the cells of all of them.
_ONE = "row"


def _places() -> dict[str, tuple[str, range]]:
    """Where the cells of each family are: in which part on paper, and which of its columns."""
    found: dict[str, tuple[str, range]] = {}
    used: Counter[str] = Counter()
    used.update({part: _begin_of(part) for part in ROW})
    for family in FAMILIES:
        first = used[family.part]
        used[family.part] += len(family.series)
        on_paper = _ONE if family.part in ROW else family.part
        found[family.name] = (on_paper, range(first, used[family.part]))
    return found


def _begin_of(part: str) -> int:
    return sum(len(_SERIES[before]) for before in ROW[: ROW.index(part)])


_PLACES = _places()


class Part:
    """Label blocks of a part, and the cells of each."""

    __slots__ = ("_columns", "blocks", "cells")

    def __init__(self) -> None:
        self.blocks: list[bytes] = []
        self.cells: list[Cells] = []
        self._columns: list[Cells] = []

    def add(self, block: bytes, cells: Cells) -> None:
        """One source more."""
        self.blocks.append(block)
        self.cells.append(cells)

    def column(self, place: int) -> Cells:
        """One series of all."""
        if not self._columns:
            self._columns = list(zip(*self.cells, strict=True))
        return self._columns[place] if self._columns else ()


Parts = dict[str, Part]


class _Written:
    """A row as it was written last."""

    __slots__ = ("block", "cells", "named", "of", "row", "single")

    def __init__(self, row: Row) -> None:
        self.row: Row | None = None
        self.block = row.labels.encode()
        self.of: tuple[Any, ...] = (None,) * len(ROW)
        self.single = [_NOTHING[part] for part in ROW]
        self.cells: Cells = ()
        self.named: dict[tuple[str, str], tuple[Any, bytes, Cells]] = {}

    def update(self, row: Row) -> None:
        """Write what has changed. What was measured is the same object as long as it has not."""
        if self.row is not None and _same(self.row, row):
            return
        self.row = row
        changed, now = False, of_row(row)
        for place, (about, was) in enumerate(zip(now, self.of, strict=True)):
            if about is not was:
                part, changed = ROW[place], True
                self.single[place] = _NOTHING[part] if about is None else _cells(part, about, True)
        if changed or not self.cells:
            self.of, self.cells = now, tuple(chain.from_iterable(self.single))
        before, self.named = self.named, {}
        for part, label, about in named(row):
            old = before.get((part, label))
            if old is None:
                old = (about, f"{row.labels}{label}".encode(), _cells(part, about, True))
            elif old[0] is not about:
                old = (about, old[1], _cells(part, about, True))
            self.named[part, label] = old

    def add_to(self, parts: Parts) -> None:
        """Append all of it."""
        parts[_ONE].add(self.block, self.cells)
        for (part, _), (_, block, cells) in self.named.items():
            parts[part].add(block, cells)


class Writer:
    """Remembers what it wrote last, to write only what has changed."""

    def __init__(self) -> None:
        self._rows: dict[str, _Written] = {}
        self._known: dict[str, tuple[Known, list[tuple[str, bytes, Cells]]]] = {}

    def pages(self, snapshot: Snapshot, *, openmetrics: bool) -> Iterator[bytes]:
        """The families that have a sample, one after the other, without OpenMetrics' `# EOF`.

        An empty page is none; the caller may do something else there, too.
        """
        parts: Parts = {name: Part() for name in (_ONE, *_SERIES)}
        for number in self._take(snapshot, parts):
            if number % _AT_ONCE == 0:
                yield b""
        for family in FAMILIES:
            yield page(family, parts, openmetrics=openmetrics)

    def _take(self, snapshot: Snapshot, parts: Parts) -> Iterator[int]:
        rows: dict[str, _Written] = {}
        seen = parts["seen"]
        for number, row in enumerate(snapshot.rows, 1):
            written = self._rows.get(row.labels) or _Written(row)
            written.update(row)
            written.add_to(parts)
            rows[row.labels] = written
            if is_seen(row):
                seen.add(written.block, (b"} %a\n" % row.seen,))
            yield number
        known: dict[str, tuple[Known, list[tuple[str, bytes, Cells]]]] = {}
        for number, one in enumerate(snapshot.known, 1):
            before = self._known.get(one.name)
            if before is None or before[0] != one:
                before = (one, [_write(source) for source in of_known(one)])
            known[one.name] = before
            for part, block, cells in before[1]:
                parts[part].add(block, cells)
            yield number
        for part, block, cells in map(_write, of_the_rest(snapshot)):
            parts[part].add(block, cells)
        self._rows, self._known = rows, known


def _same(one: Row, other: Row) -> bool:
    """In all but `seen`."""
    return (
        one.figures is other.figures
        and one.limits is other.limits
        and one.storage is other.storage
        and one.oom_kills_before == other.oom_kills_before
        and one.started == other.started
        and one.health == other.health
    )


def _write(source: Source) -> tuple[str, bytes, Cells]:
    part, block, about = source
    return part, block.encode(), _cells(part, about, bool(block))


def _cells(part: str, about: Any, labelled: bool) -> Cells:
    values = tuple([get(about) for get in _GETTERS[part]])
    text = (_LABELLED if labelled else _BARE)[part] % values
    cells: list[bytes | None] = list(text.encode().split(b"\0"))
    if None in values:
        cells = [None if v is None else c for c, v in zip(cells, values, strict=True)]
    return tuple(cells)


def page(family: Family, parts: Parts, *, openmetrics: bool) -> bytes:
    """One family's HELP, TYPE and samples; nothing without samples."""
    on_paper, columns = _PLACES[family.name]
    part = parts[on_paper]
    name = family.name.encode()
    pieces: list[bytes] = [head(family, openmetrics=openmetrics).encode()]
    for place in columns:
        blocks: list[bytes] = part.blocks
        cells: Any = part.column(place)
        if not all(cells):
            blocks, cells = list(compress(blocks, cells)), list(filter(None, cells))
        # 26,000 lines for 500 containers: without a step in Python for any of them.
        lines = [name] * (3 * len(blocks))
        lines[1::3], lines[2::3] = blocks, cells
        pieces += lines
    return b"".join(pieces) if len(pieces) > 1 else b""


def head(family: Family, *, openmetrics: bool) -> str:
    """HELP and TYPE, in which OpenMetrics leaves a counter's suffix away."""
    name, kind = family.name, family.kind
    if openmetrics:
        name = name.removesuffix("_total") if kind == "counter" else name
        kind = "unknown" if kind == "untyped" else kind
    return f"# HELP {name} {family.help}\n# TYPE {name} {kind}\n"


def pages(snapshot: Snapshot, *, openmetrics: bool) -> Iterator[bytes]:
    """The same of a snapshot that is the first or the only one."""
    return Writer().pages(snapshot, openmetrics=openmetrics)
