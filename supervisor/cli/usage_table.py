"""The table of `orlop top`: columns that fit a width, bars of the last seconds. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from supervisor.cli.listing import ellipsis, printable
from supervisor.cli.usage import Usage

UNKNOWN = "--"
LEAST_NAME = 14
MOST_NAME = 40

_BARS = "▁▂▃▄▅▆▇█"
_UNITS = ("", "K", "M", "G", "T", "P")
_HALF, _TENTH, _NINE_TENTHS = 0.5, 0.1, 0.9

Style = Callable[[Usage], tuple[str, ...]]


def _plain(_row: Usage) -> tuple[str, ...]:
    return ()


class Column(NamedTuple):
    """`width` cells, the cell of a row, how it is painted; where there is no room the column with
    the largest `drop` goes first."""

    heading: str
    width: int
    cell: Callable[[Usage], str]
    drop: int = 0
    style: Style = _plain


def percent(part: float | None) -> str:
    """A part of one as "12.3", three digits at most."""
    if part is None:
        return UNKNOWN
    return f"{100 * part:.1f}" if part < 0.9995 else f"{100 * part:.0f}"


def amount(value: float | None) -> str:
    """Bytes in at most four digits and a unit of 1024: "512", "1.5K", "23M"."""
    if value is None:
        return UNKNOWN
    at = 0
    while value >= 999.5 and at < len(_UNITS) - 1:
        value /= 1024
        at += 1
    return f"{value:.0f}{_UNITS[at]}" if value >= 9.95 or at == 0 else f"{value:.1f}{_UNITS[at]}"


def bars(values: Sequence[float], width: int, top: float) -> str:
    """The latest `width` values as bars, the newest at the right; `top` is a whole one at least."""
    shown = values[-width:]
    most = max([top, *shown]) or 1.0
    last = len(_BARS) - 1
    text = "".join(_BARS[round(last * max(0.0, value) / most)] for value in shown)
    return text.rjust(width)


def table(
    rows: Sequence[Usage],
    width: int | None,
    paint: Callable[..., str],
    *,
    with_bars: bool,
    machine_memory: int = 0,
) -> list[str]:
    """The heading and a line a row, none wider than `width` cells (None: as wide as it gets).

    `machine_memory` is what one without a limit may take at most, in bytes.
    """
    columns = [column for column in columns_of(machine_memory) if with_bars or column.heading]
    name = max([LEAST_NAME, *(len(row.name) for row in rows)])
    if width is not None:
        columns = fitting(columns, width)
        room = width - sum(column.width + 1 for column in columns)
        name = max(1, min(name, MOST_NAME, room))
    heading = f"{'NAME':<{name}}" + "".join(f" {c.heading:>{c.width}}" for c in columns)
    lines = [paint(heading if width is None else heading[:width], "bold")]
    for row in rows:
        cells = [ellipsis(printable(row.name), name).ljust(name)]
        for column in columns:
            cell = column.cell(row).rjust(column.width)
            style = column.style(row)
            cells.append(paint(cell, *style) if style else cell)
        lines.append(" ".join(cells))
    return lines


def fitting(columns: Sequence[Column], width: int) -> list[Column]:
    """The columns that fit beside the least name, in their order."""
    kept = list(columns)
    while kept and LEAST_NAME + sum(column.width + 1 for column in kept) > width:
        worst = max(column.drop for column in kept)
        kept = [column for column in kept if column.drop != worst]
    return kept


def columns_of(machine_memory: int) -> tuple[Column, ...]:
    """All columns behind the name; `machine_memory` as `table` has it."""

    def most(row: Usage) -> int:
        limit = row.memory_limit
        return min(limit, machine_memory) if limit and machine_memory else limit or machine_memory

    def used(row: Usage) -> float | None:
        whole = most(row)
        return None if row.memory is None or not whole else row.memory / whole

    def full(row: Usage) -> tuple[str, ...]:
        part = used(row)
        return ("red",) if part is not None and part >= _NINE_TENTHS else ()

    return (
        Column("CPU %", 6, lambda row: percent(row.cpu), 0),
        Column("", 10, lambda row: bars(row.cpu_past, 10, row.cpu_limit or 1.0), 5, _in_blue),
        Column("MEM", 5, lambda row: amount(row.memory), 1),
        Column("LIMIT", 5, lambda row: amount(row.memory_limit) if row.memory_limit else "-", 8),
        Column("MEM %", 5, lambda row: percent(used(row)), 2, full),
        Column("", 10, lambda row: bars(row.memory_past, 10, most(row)), 9, _in_blue),
        Column("CPU-W", 5, lambda row: percent(row.cpu_wait), 4, _waits("cpu_wait")),
        Column("MEM-W", 5, lambda row: percent(row.memory_wait), 4, _waits("memory_wait")),
        Column("I/O-W", 5, lambda row: percent(row.io_wait), 4, _waits("io_wait")),
        Column("NET RX", 6, lambda row: amount(row.received), 3),
        Column("NET TX", 6, lambda row: amount(row.transmitted), 3),
        Column("READ", 5, lambda row: amount(row.read), 7),
        Column("WRITE", 5, lambda row: amount(row.written), 7),
        Column("PIDS", 5, lambda row: UNKNOWN if row.pids is None else str(row.pids), 2),
        Column("THR %", 5, lambda row: percent(row.throttled), 6, _throttled),
    )


def _in_blue(_row: Usage) -> tuple[str, ...]:
    return ("blue",)


def _throttled(row: Usage) -> tuple[str, ...]:
    return ("yellow",) if row.throttled and row.throttled >= _TENTH else ()


def _waits(name: str) -> Style:
    def style(row: Usage) -> tuple[str, ...]:
        part = getattr(row, name) or 0.0
        if part >= _HALF:
            return ("red",)
        return ("yellow",) if part >= _TENTH else ()

    return style
