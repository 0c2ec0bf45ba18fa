"""`orlop system df|events|info|prune`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from supervisor.cli.commands.images import names_of, unique_size
from supervisor.cli.context import Context
from supervisor.cli.flags import Parser, subcommand
from supervisor.cli.listing import (
    SHORT_ID,
    Row,
    age,
    ellipsis,
    layout,
    list_format,
    printable,
    quoted,
    show,
)
from supervisor.cli.main import find
from supervisor.spec.units import format_size

_HEADINGS = {
    "Type": "TYPE",
    "TotalCount": "TOTAL",
    "Active": "ACTIVE",
    "Size": "SIZE",
    "Reclaimable": "RECLAIMABLE",
}
_SUMMARIES = {
    "df": "Show disk usage",
    "events": "Get real time events from the daemon",
    "info": "Display system-wide information",
    "prune": "Remove unused data",
}
_RUNNING = frozenset({"running", "paused", "restarting"})
_COMMAND = 20

View = dict[str, Any]


def system(words: Sequence[str], context: Context) -> int:
    """The commands below `orlop system`."""
    name, rest = subcommand("system", "Manage Orlop", _SUMMARIES, words)
    if name == "prune":
        from supervisor.cli.commands.prune import system_prune

        return system_prune(rest, context)
    return _df(rest, context) if name == "df" else find(name)(rest, context)


def _df(words: Sequence[str], context: Context) -> int:
    parser = Parser("system df", "", "Show disk usage", count=(0, 0))
    list_format(parser, _HEADINGS, "{{.Type}}")
    parser.switch("-v", "--verbose", help="Show detailed information on space usage")
    options = parser.parse(words)
    usage = context.client().get("/system/df")
    if options.verbose:
        _print_details(usage)
        return 0
    rows = [
        _images(usage),
        _containers(usage["Containers"] or ()),
        _volumes(usage["Volumes"] or ()),
        _row("Build Cache", 0, 0, 0, 0),
    ]
    show(rows, _HEADINGS, tuple(_HEADINGS), options.format)
    return 0


def _images(usage: View) -> Row:
    images: Sequence[View] = usage["Images"] or ()
    active = [view for view in images if view["Containers"] > 0]
    used = sum(unique_size(view) for view in active)
    size = int(usage["LayersSize"])
    return _row("Images", len(images), len(active), size, size - used)


def _containers(containers: Sequence[View]) -> Row:
    idle = [view for view in containers if view["State"] not in _RUNNING]
    return _row(
        "Containers",
        len(containers),
        len(containers) - len(idle),
        sum(view["SizeRw"] for view in containers),
        sum(view["SizeRw"] for view in idle),
    )


def _volumes(volumes: Sequence[View]) -> Row:
    idle = [view for view in volumes if not view["UsageData"]["RefCount"]]
    return _row(
        "Local Volumes",
        len(volumes),
        len(volumes) - len(idle),
        _sizes(volumes),
        _sizes(idle),
    )


def _sizes(volumes: Iterable[View]) -> int:
    return sum(view["UsageData"]["Size"] for view in volumes)


def _row(type: str, total: int, active: int, size: int, reclaimable: int) -> Row:
    share = f" ({reclaimable * 100 // size}%)" if size else ""
    return {
        "Type": type,
        "TotalCount": str(total),
        "Active": str(active),
        "Size": format_size(size, precision=4),
        "Reclaimable": f"{format_size(reclaimable, precision=4)}{share}",
    }


def _print_details(usage: View) -> None:
    print("Images space usage:\n")
    headings = ("REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE")
    more = ("SHARED SIZE", "UNIQUE SIZE", "CONTAINERS")
    print(layout([(*headings, *more), *map(_image_cells, usage["Images"] or ())]))
    print("Containers space usage:\n")
    titles = ("CONTAINER ID", "IMAGE", "COMMAND", "LOCAL VOLUMES", "SIZE", "CREATED", "STATUS")
    print(layout([(*titles, "NAMES"), *map(_container_cells, usage["Containers"] or ())]))
    print("Local Volumes space usage:\n")
    volumes = map(_volume_cells, usage["Volumes"] or ())
    print(layout([("VOLUME NAME", "LINKS", "SIZE"), *volumes]))
    print("Build cache usage: 0B")


def _image_cells(view: View) -> tuple[str, ...]:
    repository, tag, _ = next(names_of(view, digests=False))
    return (
        repository,
        tag,
        view["Id"].removeprefix("sha256:")[:SHORT_ID],
        age(view["Created"]),
        format_size(view["Size"], precision=3),
        format_size(view["SharedSize"], precision=4),
        format_size(unique_size(view), precision=4),
        str(view["Containers"]),
    )


def _container_cells(view: View) -> tuple[str, ...]:
    volumes = sum(mount.get("Type") == "volume" for mount in view["Mounts"])
    return (
        view["Id"][:SHORT_ID],
        printable(view["Image"]),
        quoted(ellipsis(view["Command"], _COMMAND)),
        str(volumes),
        format_size(view["SizeRw"], precision=3),
        age(view["Created"]),
        view["Status"],
        ",".join(name.removeprefix("/") for name in view["Names"]),
    )


def _volume_cells(view: View) -> tuple[str, ...]:
    data = view["UsageData"]
    return view["Name"], str(data["RefCount"]), format_size(data["Size"], precision=4)
