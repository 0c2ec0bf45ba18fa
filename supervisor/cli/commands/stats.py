"""`orlop stats`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from supervisor.cli.client import Client, container_path
from supervisor.cli.context import Context
from supervisor.cli.failures import DaemonError
from supervisor.cli.flags import Parser
from supervisor.cli.listing import SHORT_ID, Row, list_format, show
from supervisor.spec.units import format_size

_HEADINGS = {
    "Container": "CONTAINER",
    "ID": "CONTAINER ID",
    "Name": "NAME",
    "CPUPerc": "CPU %",
    "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %",
    "NetIO": "NET I/O",
    "BlockIO": "BLOCK I/O",
    "PIDs": "PIDS",
    "Throttled": "THROTTLED",
    "CPUWait": "CPU WAIT",
    "MemWait": "MEM WAIT",
    "IOWait": "I/O WAIT",
}
_COLUMNS = ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs")
_ALL_COLUMNS = (*_COLUMNS, "Throttled", "CPUWait", "MemWait", "IOWait")
_WIDE = 150
"""Columns of a terminal that has room for all of them."""
_SECONDS = 1.0
_GONE = 404
_CLEAR = "\x1b[H\x1b[2J"


def stats(words: Sequence[str], context: Context) -> int:
    """Show what containers use, again each second."""
    parser = Parser(
        "stats", "[CONTAINER...]", "Display what containers use, once a second", count=(0, None)
    )
    parser.switch("-a", "--all", help="Show all containers (default shows just running)")
    parser.switch(
        "--all-columns",
        help="Show throttling, and time spent waiting (PSI), too (default on terminals of"
        f" {_WIDE} columns or more)",
    )
    list_format(parser, _HEADINGS, "{{.Name}} {{.CPUPerc}}")
    parser.switch("--no-stream", help="Print the figures once and end")
    parser.switch("--no-trunc", help="Don't truncate output")
    options = parser.parse(words)
    client = context.client()
    columns = _ALL_COLUMNS if options.all_columns or terminal_width() >= _WIDE else _COLUMNS
    if options.no_stream:
        rows = list(_rows(client, options.operands, options.all, whole=options.no_trunc))
        show(rows, _HEADINGS, columns, options.format)
        return 0
    clear = _CLEAR if sys.stdout.isatty() else ""
    named = options.operands
    while True:
        rows = list(_rows(client, named, options.all, whole=options.no_trunc))
        sys.stdout.write(clear)
        show(rows, _HEADINGS, columns, options.format)
        sys.stdout.flush()
        time.sleep(_SECONDS)


def terminal_width() -> int:
    """The columns of the terminal that stdout is, 0 if it is none."""
    try:
        return os.get_terminal_size(1).columns
    except OSError:
        return 0


def _rows(client: Client, named: Sequence[str], every: bool, *, whole: bool) -> Iterable[Row]:
    refs = named or [c["Id"] for c in client.get("/containers/json", {"all": every})]
    for ref in refs:
        try:
            figures = client.get(container_path(ref, "stats"), {"stream": "0"})
        except DaemonError as error:
            if named or error.code != _GONE:
                raise
            continue  # it was removed just now
        yield _row(ref, figures, whole=whole)


def _row(ref: str, figures: Mapping[str, Any], *, whole: bool) -> Row:
    used, limit = memory(figures.get("memory_stats") or {})
    links = (figures.get("networks") or {}).values()
    received, sent = (sum(link[key] for link in links) for key in ("rx_bytes", "tx_bytes"))
    read, written = block_io(figures.get("blkio_stats") or {})
    identifier = figures["id"]
    return {
        "Container": ref,
        "ID": identifier if whole else identifier[:SHORT_ID],
        "Name": figures["name"].removeprefix("/"),
        "CPUPerc": f"{cpu_percent(figures):.2f}%",
        "MemUsage": f"{format_size(used, binary=True)} / {format_size(limit, binary=True)}",
        "MemPerc": f"{100 * used / limit if limit else 0:.2f}%",
        "NetIO": f"{format_size(received, precision=3)} / {format_size(sent, precision=3)}",
        "BlockIO": f"{format_size(read, precision=3)} / {format_size(written, precision=3)}",
        "PIDs": str((figures.get("pids_stats") or {}).get("current", 0)),
        "Throttled": f"{throttled_percent(figures):.2f}%",
        "CPUWait": waited(figures, "cpu"),
        "MemWait": waited(figures, "memory"),
        "IOWait": waited(figures, "io"),
    }


def cpu_percent(figures: Mapping[str, Any]) -> float:
    """Of one CPU, between the two samples, as docker counts it."""
    now, before = figures["cpu_stats"], figures["precpu_stats"]
    used = now["cpu_usage"]["total_usage"] - before["cpu_usage"]["total_usage"]
    passed = now.get("system_cpu_usage", 0) - before.get("system_cpu_usage", 0)
    if used <= 0 or passed <= 0:
        return 0.0
    return float(used / passed * now.get("online_cpus", 1) * 100)


def throttled_percent(figures: Mapping[str, Any]) -> float:
    """Of the CPU quota's periods between the two samples, those in which it was used up."""
    now, before = (
        figures[key].get("throttling_data") or {} for key in ("cpu_stats", "precpu_stats")
    )
    periods = now.get("periods", 0) - before.get("periods", 0)
    times = now.get("throttled_periods", 0) - before.get("throttled_periods", 0)
    return 100 * times / periods if periods > 0 else 0.0


def waited(figures: Mapping[str, Any], resource: str) -> str:
    """How long some of its processes have waited for a resource since its start, as "1.2s"."""
    nanoseconds = (figures.get("orlop_pressure") or {}).get(f"{resource}_some")
    return "--" if nanoseconds is None else f"{nanoseconds / 1e9:.1f}s"


def memory(figures: Mapping[str, Any]) -> tuple[int, int]:
    """Bytes used without the cache that nothing has needed lately, and the limit."""
    usage, stat = figures.get("usage", 0), figures.get("stats") or {}
    inactive = stat.get("total_inactive_file", stat.get("inactive_file", 0))
    return usage - inactive if inactive < usage else usage, figures.get("limit", 0)


def block_io(figures: Mapping[str, Any]) -> tuple[int, int]:
    """Bytes read and written, of all devices."""
    entries = figures.get("io_service_bytes_recursive") or ()
    read = sum(e["value"] for e in entries if e["op"].lower() == "read")
    return read, sum(e["value"] for e in entries if e["op"].lower() == "write")
