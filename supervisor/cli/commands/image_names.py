"""`orlop tag`, `history`, `image prune`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from supervisor.cli.client import filters_json, image_path
from supervisor.cli.context import Context
from supervisor.cli.flags import Parser, switch
from supervisor.cli.listing import SHORT_ID, Row, age, ellipsis, list_format, printable, show
from supervisor.oci.reference import parse
from supervisor.spec.units import format_size

_HEADINGS = {
    "ID": "IMAGE",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "CreatedBy": "CREATED BY",
    "Size": "SIZE",
    "Comment": "COMMENT",
}
_COLUMNS = ("ID", "CreatedSince", "CreatedBy", "Size", "Comment")
_EXACT_COLUMNS = ("ID", "CreatedAt", "CreatedBy", "Size", "Comment")
_CREATED_BY = 45


def tag(words: Sequence[str], context: Context, name: str = "tag") -> int:
    """Give an image another name."""
    parser = Parser(
        name,
        "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
        "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
        count=(2, 2),
    )
    source, target = parser.parse(words).operands
    wanted = parse(target)
    query = {"repo": f"{wanted.domain}/{wanted.path}", "tag": wanted.with_default_tag().tag}
    context.client().post(image_path(source, "tag"), query)
    return 0


def history(words: Sequence[str], context: Context, name: str = "history") -> int:
    """Show how an image came about."""
    parser = Parser(name, "IMAGE", "Show the history of an image", count=(1, 1))
    list_format(parser, _HEADINGS, "{{.ID}}")
    parser.flag(
        "-H",
        "--human",
        kind="bool",
        parse=switch,
        default=True,
        help="Print sizes and dates in human readable format (default true)",
    )
    parser.switch("--no-trunc", help="Don't truncate output")
    parser.switch("-q", "--quiet", help="Only show image IDs")
    options = parser.parse(words)
    found = context.client().get(image_path(options.operands[0], "history"))
    rows = [_row(step, whole=options.no_trunc, human=options.human) for step in found]
    if options.quiet:
        print("".join(f"{row['ID']}\n" for row in rows), end="")
    else:
        show(rows, _HEADINGS, _COLUMNS if options.human else _EXACT_COLUMNS, options.format)
    return 0


def _row(step: dict[str, Any], *, whole: bool, human: bool) -> Row:
    identifier: str = step["Id"]
    created_by = printable(str(step["CreatedBy"]).replace("\t", " "))
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(step["Created"]))
    return {
        "ID": identifier if whole else identifier.removeprefix("sha256:")[:SHORT_ID],
        "CreatedSince": age(step["Created"]) if human else created,
        "CreatedAt": created,
        "CreatedBy": created_by if whole else ellipsis(created_by, _CREATED_BY),
        "Size": format_size(step["Size"], precision=3) if human else str(step["Size"]),
        "Comment": printable(str(step["Comment"])),
    }


def image_prune(words: Sequence[str], context: Context, name: str) -> int:
    """Remove images that nothing uses."""
    parser = Parser(name, "", "Remove unused images", count=(0, 0))
    parser.switch("-a", "--all", help="Remove all unused images, not just dangling ones")
    parser.filters(
        "--filter",
        help="Remove only images with this (until=24h, label=x, label!=x)",
    )
    parser.switch("-f", "--force", help="Do not prompt for confirmation")
    options = parser.parse(words)
    what = "all images without at least one container associated to them"
    if not options.force:
        from supervisor.cli.confirm import confirmed

        if not confirmed(f"This will remove {what if options.all else 'all dangling images'}."):
            return 0
    filters = [*options.filter, ("dangling", "false" if options.all else "true")]
    answer = context.client().post("/images/prune", {"filters": filters_json(filters)})
    removed = answer["ImagesDeleted"] or ()
    if removed:
        lines = (f"{word.lower()}: {what}" for row in removed for word, what in row.items())
        print("Deleted Images:", *lines, "", sep="\n")
    print(f"Total reclaimed space: {format_size(answer['SpaceReclaimed'], precision=4)}")
    return 0
