"""Usage as styled text: the columns of the table with more bars, and a container in words. Pure."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from supervisor.cli.listing import ellipsis, printable
from supervisor.cli.usage import Answer, Usage
from supervisor.cli.usage_table import (
    LEAST_NAME,
    MOST_NAME,
    Column,
    amount,
    bars,
    columns_of,
    fitting,
    percent,
)

BAR = 10
HEADINGS = {
    "cpu": ("CPU %",),
    "memory": ("MEM",),
    "pressure": ("CPU-W", "MEM-W", "I/O-W"),
    "network": ("NET RX", "NET TX"),
    "block": ("READ", "WRITE"),
    "pids": ("PIDS",),
    "name": ("NAME",),
}
"""The columns that an order is by."""


def columns(machine_memory: int, width: int) -> list[Column]:
    """Those of the plain table that fit `width` cells, with bars of waiting and of traffic."""
    found: list[Column] = []
    for column in columns_of(machine_memory):
        found.append(column)
        if column.heading == "I/O-W":
            found.append(Column("", BAR, lambda row: bars(worst_waits(row), BAR, 1.0), 10, _yellow))
        if column.heading == "NET TX":
            found.append(Column("", BAR, lambda row: bars(traffic(row), BAR, 1.0), 10, _cyan))
    return fitting(found, width)


def name_width(rows: Sequence[Usage], chosen: Sequence[Column], width: int) -> int:
    """Cells for the names beside the chosen columns."""
    room = width - sum(column.width + 1 for column in chosen)
    longest = max((len(row.name) for row in rows), default=0)
    return max(1, min(max(LEAST_NAME, longest), MOST_NAME, room))


def cell(column: Column, row: Usage) -> Text:
    """A column's cell, right-aligned behind a space."""
    return Text(column.cell(row).rjust(column.width + 1), style=" ".join(column.style(row)))


def keys(words: Mapping[str, str]) -> Text:
    """What keys do, in one line."""
    text = Text()
    for key, word in words.items():
        text.append(key, style="bold").append(f" {word} ", style="dim")
    return text


def name_cell(row: Usage, width: int) -> Text:
    """A container's name, cut to the width."""
    return Text(ellipsis(printable(row.name), width), style="bold")


def worst_waits(row: Usage) -> list[float]:
    """At each moment the largest part of the time in which something was waited for."""
    return _longest(row, ("cpu_wait", "memory_wait", "io_wait"), max)


def traffic(row: Usage) -> list[float]:
    """Bytes a second received and sent together."""
    return _longest(row, ("received", "transmitted"), sum)


def _longest(row: Usage, keys: Sequence[str], join: Any) -> list[float]:
    series = [row.past.get(key, ()) for key in keys]
    length = max(map(len, series), default=0)
    padded = [[0.0] * (length - len(one)) + list(one) for one in series]
    return [join(values) for values in zip(*padded, strict=True)]


def _yellow(_row: Usage) -> tuple[str, ...]:
    return ("yellow",)


def _cyan(_row: Usage) -> tuple[str, ...]:
    return ("cyan",)


def title(rows: Sequence[Usage], answer: Answer, order: str) -> str:
    """What is above the table."""
    used = sum(row.cpu or 0.0 for row in rows)
    return f"{len(rows)} running · {100 * used:.0f}% of {answer['cpus']} CPUs · by {order}"


def figures(row: Usage, machine_memory: int) -> dict[str, str]:
    """A container's figures in words, by the names of its panels."""
    limit = row.memory_limit or machine_memory
    whole = f" of {amount(limit)}" if limit else ""
    cpus = f" of {100 * row.cpu_limit:.0f}%" if row.cpu_limit else ""
    throttled = f", throttled {percent(row.throttled)}%" if row.throttled else ""
    return {
        "cpu": f"CPU {percent(row.cpu)}%{cpus}{throttled}",
        "memory": f"Memory {amount(row.memory)}{whole}",
        "cpu_wait": f"Waiting for CPU {percent(row.cpu_wait)}%",
        "memory_wait": f"Waiting for memory {percent(row.memory_wait)}%",
        "io_wait": f"Waiting for disks {percent(row.io_wait)}%",
        "disks": f"Read {amount(row.read)}/s, written {amount(row.written)}/s",
        "received": f"Received {amount(row.received)}/s",
        "transmitted": f"Sent {amount(row.transmitted)}/s",
    }


def past(row: Usage, key: str, width: int, machine_memory: int) -> str:
    """Bars of a panel, the newest at the right; parts and what is limited against the whole."""
    if key == "cpu":
        return bars(row.cpu_past, width, row.cpu_limit or 1.0)
    if key == "memory":
        return bars(row.memory_past, width, row.memory_limit or machine_memory)
    if key == "disks":
        return bars(_longest(row, ("read", "written"), sum), width, 1.0)
    return bars(row.past.get(key, ()), width, 1.0)


def description(about: Answer, now: float | None = None) -> str:
    """One line: image, state, how long, restarts, OOM kills, health."""
    words = [printable(str(about["image"])), str(about["state"])]
    if about["state"] == "running" and about.get("started"):
        seconds = max(0, (time.time() if now is None else now) - about["started"])
        words[-1] = f"up {_span(seconds)}"
    healthy = about.get("healthy")
    if healthy is not None:
        words.append("healthy" if healthy else "not healthy")
    for key, word in (("restarts", "restart"), ("oom_kills", "OOM kill")):
        if count := about.get(key):
            words.append(f"{count} {word}{'s' * (count > 1)}")
    if end := about.get("end"):
        words.append(f"last end: {str(end['reason']).replace('_', ' ')} ({end['code']})")
    return " · ".join(words)


def _span(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"
