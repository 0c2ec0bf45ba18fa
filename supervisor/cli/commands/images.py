"""`orlop image …` with its list, removal, inspection and scratch; `orlop images`, `orlop rmi`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from supervisor.cli.client import filters_json, image_path
from supervisor.cli.commands.objects import declare_format, print_objects
from supervisor.cli.context import Context, for_each
from supervisor.cli.failures import Failure
from supervisor.cli.flags import Parser, subcommand
from supervisor.cli.listing import SHORT_ID, Row, age, list_format, local_time, show
from supervisor.spec.units import format_size

_HEADINGS = {
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "ID": "IMAGE ID",
    "CreatedSince": "CREATED",
    "Size": "SIZE",
    "CreatedAt": "CREATED AT",
    "Containers": "CONTAINERS",
    "SharedSize": "SHARED SIZE",
    "UniqueSize": "UNIQUE SIZE",
}
_COLUMNS = ("Repository", "Tag", "ID", "CreatedSince", "Size")
_WITH_DIGESTS = ("Repository", "Tag", "Digest", "ID", "CreatedSince", "Size")
_NONE = "<none>"
_HERE = "supervisor.cli.commands.images"
_ARCHIVES = "supervisor.cli.commands.image_archives"
_NAMES = "supervisor.cli.commands.image_names"
_REGISTRIES = "supervisor.cli.commands.registries"
_GROUP = {
    "from": (_ARCHIVES, "image_from", "Make an image from a prepared root filesystem"),
    "history": (_NAMES, "history", "Show the history of an image"),
    "import": (_ARCHIVES, "import_", "Import a tar of a root filesystem to create an image"),
    "inspect": (_HERE, "_inspect", "Return low-level information on one or more images"),
    "load": (_ARCHIVES, "load", "Load images from a tar archive or stdin"),
    "ls": (_HERE, "images", "List images"),
    "prune": (_NAMES, "image_prune", "Remove unused images"),
    "pull": (_REGISTRIES, "pull", "Download an image from a registry"),
    "push": (_REGISTRIES, "push", "Upload an image to a registry"),
    "rm": (_HERE, "rmi", "Remove one or more images"),
    "save": (_ARCHIVES, "save", "Save images to a tar archive"),
    "scratch": (_HERE, "_scratch", "Make an image on the spot from this host's programs"),
    "tag": (_NAMES, "tag", "Give an image another name"),
}
"""Command below `orlop image` → module, function, its one line of help."""
_ALIASES = {"list": "ls", "remove": "rm"}


def image(words: Sequence[str], context: Context) -> int:
    """The commands below `orlop image`."""
    summaries = {name: summary for name, (_, _, summary) in _GROUP.items()}
    name, rest = subcommand("image", "Manage images", summaries, words, _ALIASES)
    module, function, _ = _GROUP[name]
    command: Callable[..., int] = getattr(import_module(module), function)
    if module == _REGISTRIES:
        return command(rest, context)
    return command(rest, context, f"image {name}")


def images(words: Sequence[str], context: Context, name: str = "images") -> int:
    """List images."""
    parser = Parser(name, "[REPOSITORY[:TAG]]", "List images", count=(0, 1))
    parser.switch("-a", "--all", help="Show all images (default hides intermediate images)")
    parser.switch("--digests", help="Show digests")
    parser.filters(
        "-f",
        "--filter",
        help="Show only images with this (reference=busybox*, label=x=y, dangling=true,"
        " before=IMAGE, since=IMAGE, until=24h)",
    )
    list_format(parser, _HEADINGS, "{{.Repository}}:{{.Tag}}")
    parser.switch("--no-trunc", help="Don't truncate output")
    parser.switch("-q", "--quiet", help="Only show image IDs")
    options = parser.parse(words)
    filters = [*options.filter, *(("reference", wanted) for wanted in options.operands)]
    digests = options.digests or ".Digest" in options.format
    query = {"all": options.all, "filters": filters_json(filters)}
    if any(field in options.format for field in (".SharedSize", ".UniqueSize")):
        query["shared-size"] = True
    found = context.client().get("/images/json", query)
    rows = [row for view in found for row in _rows(view, whole=options.no_trunc, digests=digests)]
    if options.quiet:
        print("".join(f"{row['ID']}\n" for row in rows), end="")
    else:
        show(rows, _HEADINGS, _WITH_DIGESTS if options.digests else _COLUMNS, options.format)
    return 0


def _rows(view: dict[str, Any], *, whole: bool, digests: bool) -> Iterator[Row]:
    identifier: str = view["Id"]
    for repository, version, digest in names_of(view, digests=digests):
        yield {
            "Repository": repository,
            "Tag": version,
            "Digest": digest,
            "ID": identifier if whole else identifier.removeprefix("sha256:")[:SHORT_ID],
            "CreatedSince": age(view["Created"]),
            "Size": format_size(view["Size"], precision=3),
            "CreatedAt": local_time(view["Created"]),
            "Containers": _number(view.get("Containers", -1)),
            "SharedSize": _size(view.get("SharedSize", -1)),
            "UniqueSize": _size(unique_size(view)),
        }


def names_of(view: dict[str, Any], *, digests: bool) -> Iterator[tuple[str, str, str]]:
    """(repository, tag, digest) by which an image is listed; "<none>" for what it has not.

    With `digests` each is shown beside each tag of its repository, and alone without one.
    """
    known: dict[str, list[str]] = {}
    for name in view.get("RepoDigests") or ():
        repository, _, digest = name.partition("@")
        known.setdefault(repository, []).append(digest)
    tagged = set()
    for tag in view["RepoTags"] or ():
        repository, _, version = tag.rpartition(":")
        tagged.add(repository)
        for digest in (digests and known.get(repository)) or (_NONE,):
            yield repository, version, digest
    for repository, values in known.items():
        if repository not in tagged:
            for digest in values if digests else (_NONE,):
                yield repository, _NONE, digest
    if not tagged and not known:
        yield _NONE, _NONE, _NONE


def unique_size(view: dict[str, Any]) -> int:
    """Bytes that no other image has; -1 where that was not asked for."""
    shared = int(view.get("SharedSize", -1))
    return int(view["Size"]) - shared if shared >= 0 else -1


def _number(value: int) -> str:
    return "N/A" if value < 0 else str(value)


def _size(value: int) -> str:
    return "N/A" if value < 0 else format_size(value, precision=4)


def rmi(words: Sequence[str], context: Context, name: str = "rmi") -> int:
    """Remove images, or names of images."""
    parser = Parser(name, "IMAGE [IMAGE...]", "Remove one or more images", count=(1, None))
    parser.switch("-f", "--force", help="Force removal of the image")
    options = parser.parse(words)
    client = context.client()

    def remove(reference: str) -> None:
        for item in client.delete(image_path(reference), {"force": options.force}) or ():
            for what, identifier in item.items():
                print(f"{what}: {identifier}")

    return for_each(options.operands, remove)


def _inspect(words: Sequence[str], context: Context, name: str) -> int:
    summary = _GROUP["inspect"][-1]
    parser = Parser(name, "IMAGE [IMAGE...]", summary, count=(1, None))
    declare_format(parser)
    options = parser.parse(words)
    client = context.client()
    return print_objects(
        options.operands, options.format, lambda ref: client.get(image_path(ref, "json"))
    )


def _scratch(words: Sequence[str], context: Context, name: str) -> int:
    parser = Parser(
        name,
        "NAME[:TAG] [BINARY...]",
        _GROUP["scratch"][-1],
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
