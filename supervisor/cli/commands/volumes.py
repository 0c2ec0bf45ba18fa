"""`orlop volume create|ls|inspect|rm|prune`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from supervisor.cli import values
from supervisor.cli.client import filters_json, volume_path
from supervisor.cli.commands.objects import declare_format, get_known, print_objects
from supervisor.cli.context import Context, for_each
from supervisor.cli.flags import Parser, subcommand
from supervisor.cli.listing import Labelled, list_format, show
from supervisor.spec.units import format_size

_HEADINGS = {
    "Driver": "DRIVER",
    "Name": "VOLUME NAME",
    "Scope": "SCOPE",
    "Mountpoint": "MOUNTPOINT",
    "Labels": "LABELS",
    "Links": "LINKS",
    "Size": "SIZE",
}
_COLUMNS = ("Driver", "Name")
_UNKNOWN = "N/A"
_SUMMARIES = {
    "create": "Create a volume",
    "inspect": "Display detailed information on one or more volumes",
    "ls": "List volumes",
    "prune": "Remove unused local volumes",
    "rm": "Remove one or more volumes",
}
_ALIASES = {"list": "ls", "remove": "rm"}


def volume(words: Sequence[str], context: Context) -> int:
    """The commands below `orlop volume`."""
    name, rest = subcommand("volume", "Manage volumes", _SUMMARIES, words, _ALIASES)
    commands = {
        "create": _create,
        "inspect": _inspect,
        "ls": _list,
        "prune": _prune,
        "rm": _remove,
    }
    return commands[name](rest, context)


def _create(words: Sequence[str], context: Context) -> int:
    parser = Parser("volume create", "[VOLUME]", _SUMMARIES["create"], count=(0, 1))
    parser.flag("-d", "--driver", default="local", help="Volume driver (default local)")
    parser.flag("--label", kind="list", many=True, parse=values.label, help="Set a label")
    parser.flag(
        "-o",
        "--opt",
        kind="map",
        many=True,
        parse=values.assignment,
        help="Driver option: type=none o=bind device=/path, or type=tmpfs o=size=64m device=tmpfs",
    )
    options = parser.parse(words)
    body = {
        "Name": options.operands[0] if options.operands else "",
        "Driver": options.driver,
        "DriverOpts": dict(options.opt),
        "Labels": dict(options.label),
    }
    print(context.client().post("/volumes/create", body=body)["Name"])
    return 0


def _list(words: Sequence[str], context: Context) -> int:
    parser = Parser("volume ls", "", _SUMMARIES["ls"], count=(0, 0))
    parser.filters(
        "-f",
        "--filter",
        help="Show only volumes with this (dangling=true, driver=local, label=x=y, name=part)",
    )
    list_format(parser, _HEADINGS, "{{.Name}}")
    parser.switch("-q", "--quiet", help="Only display volume names")
    options = parser.parse(words)
    found = context.client().get("/volumes", {"filters": filters_json(options.filter)})
    volumes = sorted(found["Volumes"] or (), key=lambda view: str(view["Name"]))
    if options.quiet:
        print("".join(f"{view['Name']}\n" for view in volumes), end="")
    else:
        headings = Labelled.headings(_HEADINGS)
        show([_row(view) for view in volumes], headings, _COLUMNS, options.format)
    return 0


def _row(view: dict[str, Any]) -> Labelled:
    labels: dict[str, str] = view["Labels"] or {}
    fields = {
        "Driver": view["Driver"],
        "Name": view["Name"],
        "Scope": view["Scope"],
        "Mountpoint": view["Mountpoint"],
        "Labels": ",".join(f"{name}={value}" for name, value in sorted(labels.items())),
        "Links": _UNKNOWN,
        "Size": _UNKNOWN,
    }
    return Labelled.row(fields, labels)


def _inspect(words: Sequence[str], context: Context) -> int:
    parser = Parser("volume inspect", "VOLUME [VOLUME...]", _SUMMARIES["inspect"], count=(1, None))
    declare_format(parser)
    options = parser.parse(words)
    client = context.client()
    return print_objects(
        options.operands, options.format, lambda name: get_known(client, volume_path(name))
    )


def _remove(words: Sequence[str], context: Context) -> int:
    parser = Parser("volume rm", "VOLUME [VOLUME...]", _SUMMARIES["rm"], count=(1, None))
    parser.switch("-f", "--force", help="No error for a volume that is not there")
    options = parser.parse(words)
    client = context.client()

    def remove(name: str) -> None:
        client.delete(volume_path(name), {"force": options.force})
        print(name)

    return for_each(options.operands, remove)


def _prune(words: Sequence[str], context: Context) -> int:
    parser = Parser("volume prune", "", _SUMMARIES["prune"], count=(0, 0))
    parser.switch("-a", "--all", help="Remove all unused volumes, not just anonymous ones")
    parser.filters(
        "--filter",
        help="Remove only volumes with this (label=x, label!=x)",
    )
    parser.switch("-f", "--force", help="Do not prompt for confirmation")
    options = parser.parse(words)
    which = "all" if options.all else "anonymous"
    if not options.force:
        from supervisor.cli.confirm import confirmed

        if not confirmed(
            f"This will remove {which} local volumes not used by at least one container."
        ):
            return 0
    filters = [*options.filter, *([("all", "true")] if options.all else [])]
    answer = context.client().post("/volumes/prune", {"filters": filters_json(filters)})
    names = answer["VolumesDeleted"] or ()
    if names:
        print("Deleted Volumes:", *names, "", sep="\n")
    print(f"Total reclaimed space: {format_size(answer['SpaceReclaimed'], precision=4)}")
    return 0
