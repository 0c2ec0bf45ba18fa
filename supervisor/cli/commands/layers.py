"""`orlop layers`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from supervisor.cli.context import Context
from supervisor.cli.flags import Parser
from supervisor.cli.listing import SHORT_ID, ellipsis, printable
from supervisor.cli.paint import Paint
from supervisor.spec.units import format_size

_NOTES = """\
Each layer stands with its number (the lowest is 1), the begin of its chain id, the bytes in
its files and the instruction that made it; a container's own writable layer is on top.

Examples:
  orlop layers web                 the layers that the container web stands on
  orlop layers busybox:latest      those of an image
  orlop layers --json web          the same as JSON, with whole digests and folders"""
_INSTRUCTION_WIDTH = 70


def layers(words: Sequence[str], context: Context) -> int:
    """Draw the stack."""
    parser = Parser(
        "layers",
        "CONTAINER|IMAGE",
        "Draw the stack of layers of a container or image",
        count=(1, 1),
        notes=_NOTES,
    )
    parser.switch("--json", help="Print JSON")
    parser.switch("--no-trunc", help="Don't truncate digests and instructions")
    options = parser.parse(words)
    (ref,) = options.operands
    answer = context.client().get("/orlop/layers", {"ref": ref})
    if options.json:
        from supervisor.cli.template import readable

        print(readable(json.dumps(answer, indent=2, ensure_ascii=False)))
    else:
        print("\n".join(_draw(answer, Paint(), whole=options.no_trunc)))
    return 0


def _draw(answer: dict[str, Any], paint: Paint, *, whole: bool) -> Iterator[str]:
    yield _title(answer, paint)
    blocks = [
        *([_writable(answer["writable"], answer["name"], paint)] if answer["writable"] else []),
        *(_layer(layer, answer["name"], paint, whole=whole) for layer in answer["layers"]),
    ]
    for number, (head, *more) in enumerate(blocks):
        last = number == len(blocks) - 1
        yield f"{'└─' if last else '├─'} {head}"
        yield from (f"{' ' if last else '│'}     {paint(line, 'dim')}" for line in more)
    count = len(answer["layers"])
    total = format_size(answer["size"], precision=3)
    yield f"{total} in {count} read-only {'layer' if count == 1 else 'layers'}"


def _title(answer: dict[str, Any], paint: Paint) -> str:
    name = paint(printable(answer["name"]), "bold")
    if answer["kind"] == "image":
        return f"image {name}"
    of = f" of {printable(answer['image'])}" if answer["image"] else ""
    return f"container {name}{of}"


def _writable(writable: dict[str, Any], name: str, paint: Paint) -> list[str]:
    size = format_size(writable["size"], precision=3)
    head = f"{paint('writable layer', 'bold')}  {size}"
    return [head, f"what {printable(name)} itself has changed"]


def _layer(layer: dict[str, Any], name: str, paint: Paint, *, whole: bool) -> list[str]:
    width = None if whole else _INSTRUCTION_WIDTH
    if not layer["chain_id"]:
        return [f"{paint(printable(layer['folder']), 'bold')}  a folder of this host"]
    digest = layer["chain_id"] if whole else layer["chain_id"].partition(":")[2][:SHORT_ID]
    size = format_size(layer["size"], precision=3)
    made = _cut(layer["instruction"] or "(no instruction known)", width)
    lines = [f"{layer['number']:>2}  {paint(digest, 'blue')}  {size:>7}  {made}"]
    lines += [f"then {_cut(step, width)}" for step in layer["then"]]
    also = [
        f"{what}s {', '.join(map(printable, others))}"
        for what in ("image", "container")
        if (others := [other for other in layer[f"{what}s"] if other != name])
    ]
    if also:
        lines.append(f"also of {'; '.join(also)}")
    return lines


def _cut(text: str, width: int | None) -> str:
    return printable(text if width is None else ellipsis(text, width))
