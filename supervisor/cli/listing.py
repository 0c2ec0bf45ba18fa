"""Tables and the other shapes of `--format` for lists (ps, images).

A row is a dict of texts by docker's field names; a table shows some of them under their
headings, in docker's layout: cells are padded to the widest of their column plus three.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from supervisor.spec.units import human_duration

if TYPE_CHECKING:
    from supervisor.cli.flags import Parser

Row = Mapping[str, str]

SHORT_ID = 12


class Labelled(dict[str, str]):
    """A row, or the headings of rows, that templates may ask `{{.Label "name"}}`."""

    def __init__(self, fields: Mapping[str, str], label: Callable[[str], str]) -> None:
        super().__init__(fields)
        self.methods = {"Label": label}

    @classmethod
    def row(cls, fields: Mapping[str, str], labels: Mapping[str, str] | None) -> Labelled:
        """A row with these labels; one that it lacks is ""."""
        return cls(fields, lambda name: (labels or {}).get(name, ""))

    @classmethod
    def headings(cls, fields: Mapping[str, str]) -> Labelled:
        """Headings, where that of a label is the last part of its name, as docker has it."""
        return cls(fields, _label_heading)


def _label_heading(name: str) -> str:
    return name.rpartition(".")[2].replace("-", " ").replace("_", " ")


def printable(text: str) -> str:
    """With everything escaped that a terminal would not just show."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def plain(text: str) -> str:
    """The same, where lines are ended and columns parted as they are."""
    return "".join(c if c in "\n\t" else printable(c) for c in text)


def shown(text: str) -> str:
    """For stdout: `plain` on a terminal, and for a program that reads it as it is."""
    return plain(text) if sys.stdout.isatty() else text


def quoted(text: str) -> str:
    """In double quotes, on one line."""
    plain = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{printable(plain)}"'


def ellipsis(text: str, width: int) -> str:
    """At most `width` characters, the last an ellipsis where some were cut off."""
    return text if len(text) <= width else text[: width - 1] + "…"


def natural_order(text: str) -> list[str | int]:
    """A key by which "n2" comes before "n10", as docker sorts."""
    # Digits are the parts at odd places: a text is never compared with a number.
    parts = re.split("([0-9]+)", text)
    return [int(part) if at % 2 else part for at, part in enumerate(parts)]


def local_time(seconds: int) -> str:
    """A Unix time as docker's lists show it: 2026-11-21 03:28:56 +0000 UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(seconds))


def age(seconds: int) -> str:
    """How long ago a Unix time was: "3 minutes ago"."""
    return human_duration(time.time_ns() - seconds * 1_000_000_000) + " ago"


def layout(lines: Sequence[Sequence[str]], least: int = 10) -> str:
    """The cells as aligned columns, no narrower than `least`; the last one is not padded."""
    widths = [max([least, *(len(cell) + 3 for cell in column)]) for column in _columns(lines)]
    return "".join(
        "".join(cell.ljust(width) for cell, width in zip(line[:-1], widths, strict=False))
        + f"{line[-1]}\n"
        for line in lines
    )


def list_format(
    parser: Parser, headings: Iterable[str], example: str, *, labels: bool = False
) -> None:
    """`--format` of a list: the shapes that `show` knows."""
    more = ", and '{{.Label \"NAME\"}}'" if labels else ""
    parser.flag(
        "--format",
        default="table",
        help=f"'table' (default), 'json', a template ('{example}') or 'table TEMPLATE' with the"
        f" fields {', '.join(headings)}{more}",
    )


def show(
    rows: Iterable[Row], headings: Mapping[str, str], columns: Sequence[str], shape: str
) -> None:
    """Print the rows: `shape` is "table", "table TEMPLATE", "json" or a template.

    `headings` names every field that a row has, `columns` those of the plain table.
    """
    rows = list(rows)
    if shape == "json":
        from supervisor.cli.template import compact

        sys.stdout.writelines(compact(row) + "\n" for row in rows)
    elif shape in ("", "table"):
        cells = [[printable(row[name]) for name in columns] for row in (headings, *rows)]
        sys.stdout.write(layout(cells))
    else:
        _show_template(rows, headings, shape)


def _show_template(rows: Sequence[Row], headings: Mapping[str, str], shape: str) -> None:
    from supervisor.cli.template import Template

    is_table = shape.startswith("table ")
    text = shape.removeprefix("table ").replace(r"\t", "\t").replace(r"\n", "\n")
    template = Template(text)
    lines = [template.render(row) for row in rows]
    if is_table:
        lines.insert(0, template.render(headings, heading=True))
        sys.stdout.write(shown(layout([line.split("\t") for line in lines])))
    else:
        sys.stdout.writelines(shown(f"{line}\n") for line in lines)


def _columns(lines: Sequence[Sequence[str]]) -> list[list[str]]:
    longest = max(map(len, lines), default=0)
    # A line's last cell has nothing to be aligned with and makes no column wider.
    return [[line[i] for line in lines if i < len(line) - 1] for i in range(longest)]
