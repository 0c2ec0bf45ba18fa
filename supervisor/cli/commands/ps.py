"""`orlop ps`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from supervisor.cli.client import filters_json
from supervisor.cli.context import Context
from supervisor.cli.flags import Parser, integer
from supervisor.cli.listing import (
    SHORT_ID,
    Labelled,
    Row,
    age,
    ellipsis,
    list_format,
    local_time,
    quoted,
    show,
)
from supervisor.cli.port_listing import displayed
from supervisor.spec.units import format_size

_HEADINGS = {
    "ID": "CONTAINER ID",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "RunningFor": "CREATED",
    "Status": "STATUS",
    "Ports": "PORTS",
    "Names": "NAMES",
    "CreatedAt": "CREATED AT",
    "Labels": "LABELS",
    "Mounts": "MOUNTS",
    "Networks": "NETWORKS",
    "State": "STATE",
    "Size": "SIZE",
}
_COLUMNS = ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names")
_COMMAND_WIDTH = 20
_ASKS_FOR_SIZE = re.compile(r"\.Size\b")


def ps(words: Sequence[str], context: Context) -> int:
    """List containers."""
    parser = Parser("ps", "", "List containers", count=(0, 0))
    parser.switch("-a", "--all", help="Show all containers (default shows just running)")
    parser.filters(
        "-f",
        "--filter",
        help="Show only containers with this (status=exited, name=web, label=x=y, ...)",
    )
    list_format(parser, _HEADINGS, "{{.Names}} {{.Status}}", labels=True)
    parser.flag(
        "-n",
        "--last",
        kind="int",
        parse=integer,
        default=-1,
        help="Show n last created containers (includes all states)",
    )
    parser.switch("-l", "--latest", help="Show the latest created container (any state)")
    parser.switch("--no-trunc", help="Don't truncate output")
    parser.switch("-q", "--quiet", help="Only display container IDs")
    parser.switch(
        "-s", "--size", help="Display what each container has written, and all that it sees"
    )
    options = parser.parse(words)
    with_size = options.size or bool(_ASKS_FOR_SIZE.search(options.format))
    last = 1 if options.latest else options.last
    containers = context.client().get(
        "/containers/json",
        {
            "all": options.all,
            "limit": last if last > 0 else None,
            # The daemon walks the files for it: only for those who will see it.
            "size": (with_size and not options.quiet) or None,
            "filters": filters_json(options.filter),
        },
    )
    whole = options.no_trunc
    if options.quiet:
        print("".join(f"{_id(c, whole=whole)}\n" for c in containers), end="")
    else:
        rows = [Labelled.row(_row(c, whole=whole), c["Labels"]) for c in containers]
        columns = (*_COLUMNS, "Size") if options.size else _COLUMNS
        show(rows, Labelled.headings(_HEADINGS), columns, options.format)
    return 0


def _row(container: dict[str, Any], *, whole: bool) -> Row:
    command = container["Command"] or ""
    settings = container.get("NetworkSettings") or {}
    return {
        "ID": _id(container, whole=whole),
        "Image": container["Image"] or "<no image>",
        "Command": quoted(command if whole else ellipsis(command, _COMMAND_WIDTH)),
        "RunningFor": age(container["Created"]),
        "Status": container["Status"],
        "Ports": displayed(container.get("Ports") or ()),
        "Names": ",".join(name.removeprefix("/") for name in container["Names"] or ()),
        "CreatedAt": local_time(container["Created"]),
        "Labels": ",".join(f"{k}={v}" for k, v in sorted((container["Labels"] or {}).items())),
        "Mounts": ",".join(m.get("Name") or m["Source"] for m in container.get("Mounts") or ()),
        "Networks": ",".join(settings.get("Networks") or ()),
        "State": container["State"],
        "Size": _size(container),
    }


def _size(container: dict[str, Any]) -> str:
    """As docker: `8.2kB (virtual 7.4MB)`; 0B where nobody asked for it."""
    written = format_size(container.get("SizeRw") or 0, precision=3)
    if whole := container.get("SizeRootFs"):
        return f"{written} (virtual {format_size(whole, precision=3)})"
    return written


def _id(container: dict[str, Any], *, whole: bool) -> str:
    identifier: str = container["Id"]
    return identifier if whole else identifier[:SHORT_ID]
