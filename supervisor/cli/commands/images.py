"""`orlop image scratch|ls|rm|inspect`, `orlop images`, `orlop rmi`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from supervisor.cli.client import filters_json, image_path
from supervisor.cli.commands.objects import declare_format, print_objects
from supervisor.cli.context import Context, for_each
from supervisor.cli.failures import FAILED, Failure, Misuse
from supervisor.cli.flags import HelpWanted, Parser, name_value
from supervisor.cli.listing import SHORT_ID, Row, age, local_time, show
from supervisor.spec.units import format_size

_HEADINGS = {
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "ID": "IMAGE ID",
    "CreatedSince": "CREATED",
    "Size": "SIZE",
    "CreatedAt": "CREATED AT",
}
_COLUMNS = ("Repository", "Tag", "ID", "CreatedSince", "Size")
_NONE = "<none>"
_SUMMARIES = {
    "scratch": "Make an image on the spot from this host's programs",
    "ls": "List images",
    "rm": "Remove one or more images",
    "inspect": "Return low-level information on one or more images",
}


def image(words: Sequence[str], context: Context) -> int:
    """The commands below `orlop image`."""
    lines = "".join(f"  {name:<9}{summary}\n" for name, summary in _SUMMARIES.items())
    parser = Parser(
        "image",
        "COMMAND",
        "Manage images",
        interspersed=False,
        notes=f"Commands:\n{lines}".rstrip(),
    )
    operands = parser.parse(words).operands
    if not operands:
        raise HelpWanted(parser.format_help())
    name, *rest = operands
    commands = {"scratch": _scratch, "ls": _list, "rm": _remove, "inspect": _inspect}
    if name not in commands:
        raise Misuse(f"unknown command: orlop image {name}", parser.prog, FAILED)
    return commands[name](f"image {name}", rest, context)


def images(words: Sequence[str], context: Context) -> int:
    """Docker's short form of `image ls`."""
    return _list("images", words, context)


def rmi(words: Sequence[str], context: Context) -> int:
    """Docker's short form of `image rm`."""
    return _remove("rmi", words, context)


def _list(name: str, words: Sequence[str], context: Context) -> int:
    parser = Parser(name, "[REPOSITORY[:TAG]]", _SUMMARIES["ls"], count=(0, 1))
    parser.switch("-a", "--all", help="Show all images (default hides intermediate images)")
    parser.flag(
        "-f",
        "--filter",
        kind="filter",
        many=True,
        parse=name_value,
        help="Show only images with this (reference=busybox*, label=x=y, dangling=true)",
    )
    parser.flag(
        "--format",
        default="table",
        help="'table' (default), 'json', a template ('{{.Repository}}:{{.Tag}}') or"
        f" 'table TEMPLATE' with the fields {', '.join(_HEADINGS)}",
    )
    parser.switch("--no-trunc", help="Don't truncate output")
    parser.switch("-q", "--quiet", help="Only show image IDs")
    options = parser.parse(words)
    filters = [*options.filter, *(("reference", name) for name in options.operands)]
    found = context.client().get(
        "/images/json", {"all": options.all, "filters": filters_json(filters)}
    )
    rows = [row for view in found for row in _rows(view, whole=options.no_trunc)]
    if options.quiet:
        print("".join(f"{row['ID']}\n" for row in rows), end="")
    else:
        show(rows, _HEADINGS, _COLUMNS, options.format)
    return 0


def _rows(view: dict[str, Any], *, whole: bool) -> Iterator[Row]:
    identifier: str = view["Id"]
    for tag in view["RepoTags"] or [f"{_NONE}:{_NONE}"]:
        repository, _, version = tag.rpartition(":")
        yield {
            "Repository": repository,
            "Tag": version,
            "ID": identifier if whole else identifier.removeprefix("sha256:")[:SHORT_ID],
            "CreatedSince": age(view["Created"]),
            "Size": format_size(view["Size"], precision=3),
            "CreatedAt": local_time(view["Created"]),
        }


def _remove(name: str, words: Sequence[str], context: Context) -> int:
    parser = Parser(name, "IMAGE [IMAGE...]", _SUMMARIES["rm"], count=(1, None))
    parser.switch("-f", "--force", help="Force removal of the image")
    options = parser.parse(words)
    client = context.client()

    def remove(reference: str) -> None:
        for item in client.delete(image_path(reference), {"force": options.force}) or ():
            for what, identifier in item.items():
                print(f"{what}: {identifier}")

    return for_each(options.operands, remove)


def _inspect(name: str, words: Sequence[str], context: Context) -> int:
    parser = Parser(name, "IMAGE [IMAGE...]", _SUMMARIES["inspect"], count=(1, None))
    declare_format(parser)
    options = parser.parse(words)
    client = context.client()
    return print_objects(
        options.operands, options.format, lambda ref: client.get(image_path(ref, "json"))
    )


def _scratch(name: str, words: Sequence[str], context: Context) -> int:
    parser = Parser(
        name,
        "NAME[:TAG] [BINARY...]",
        _SUMMARIES["scratch"],
        count=(1, None),
        notes="Without a BINARY the image holds busybox and its applets; else the named programs"
        "\nand the shared libraries that they need.",
    )
    reference, *binaries = parser.parse(words).operands
    body = {"binaries": [_program(binary) for binary in binaries]}
    view = context.client().post("/orlop/images/scratch", {"name": reference}, body)
    print(view["Id"])
    return 0


def _program(name: str) -> str:
    """The absolute path of a program, found as a shell finds it."""
    folders = [""] if "/" in name else os.get_exec_path()
    for folder in folders:
        path = Path(folder, name).absolute()
        if path.is_file() and os.access(path, os.X_OK):
            return str(path)
    raise Failure(f"no such program: {name}")
