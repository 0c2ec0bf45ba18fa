"""`orlop whence`."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator, Sequence
from typing import Any

from supervisor.cli.context import Context
from supervisor.cli.failures import FAILED
from supervisor.cli.flags import Parser
from supervisor.cli.listing import SHORT_ID, ellipsis, layout, printable
from supervisor.cli.paint import Paint
from supervisor.spec.units import format_size

_NOTES = """\
Follows the links of the path inside the container, one by one, and tells which layer or mount
has what is seen there, which layers have something else at that place, and who deleted it.
The container may run or not. The status is 1 where there is nothing at the path.

Examples:
  orlop whence web /etc/passwd           which layer of web's image has it, or whether web
                                         changed it
  orlop whence -P web /bin/sh            the link itself, not what it leads to
  orlop whence busybox /bin/sh           of an image
  orlop whence --json web /data/x        as JSON"""
_INSTRUCTION_WIDTH = 40


def whence(words: Sequence[str], context: Context) -> int:
    """Tell where a path comes from; 1 where nothing is there."""
    parser = Parser(
        "whence",
        "CONTAINER|IMAGE PATH",
        "Tell which layer or mount a path comes from",
        count=(2, 2),
        notes=_NOTES,
    )
    parser.switch("--json", help="Print JSON")
    parser.switch("-P", "--no-dereference", help="Don't follow a link at the end of the path")
    options = parser.parse(words)
    ref, path = options.operands
    query = {"ref": ref, "path": path, "nofollow": options.no_dereference}
    answer = context.client().get("/orlop/whence", query)
    if options.json:
        from supervisor.cli.template import readable

        print(readable(json.dumps(answer, indent=2, ensure_ascii=False)))
    else:
        print("\n".join(_tell(answer, Paint())))
    return FAILED if answer["exists"] is False else 0


def _tell(answer: dict[str, Any], paint: Paint) -> Iterator[str]:
    for step in answer["steps"]:
        link = f"{printable(step['path'])} -> {printable(step['target'])}"
        yield f"{link}   {paint('a link ' + step['words'], 'dim')}"
    yield f"{paint(printable(answer['path']), 'bold')}   {_file(answer)}"
    yield printable(answer["words"])
    rows = [_row(row, answer) for row in answer["layers"]]
    if rows:
        yield ""
        lines = layout(rows, least=0).splitlines()
        for line, row in zip(lines, answer["layers"], strict=True):
            yield paint(line, *_styles(row)).rstrip()


def _file(answer: dict[str, Any]) -> str:
    file = answer["file"]
    if file is None:
        return "not known" if answer["exists"] is None else "is not there"
    mode = stat.filemode(file["mode"])[1:]
    parts = [file["kind"], f"{mode} {file['uid']}:{file['gid']}"]
    if file["kind"] == "file":
        parts.insert(1, format_size(file["size"]))
    if answer["link"]:
        parts.append(f"-> {printable(answer['link'])}")
    return ", ".join(parts)


def _row(row: dict[str, Any], answer: dict[str, Any]) -> list[str]:
    mark = "*" if row["state"] == "shown" else " "
    made = printable(ellipsis(row["instruction"], _INSTRUCTION_WIDTH))
    if row["layer"] == "writable":
        return [f"{mark} writable", "", "", row["words"]]
    digest = row["chain_id"].partition(":")[2][:SHORT_ID]
    return [f"{mark} layer {row['layer']}", digest, made, printable(row["words"])]


def _styles(row: dict[str, Any]) -> tuple[str, ...]:
    if row["state"] == "shown":
        return ("green",)
    return ("yellow",) if row["state"] in ("deletes", "opaque", "blocks") else ("dim",)
