"""The rows of docs/docker-compatibility.md."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

DOCUMENT = Path(__file__).parents[2] / "docs/docker-compatibility.md"
JUDGEMENTS = ("works", "differs", "refused")

_ROW = re.compile(r"\| `([^`]+)` \| (\w+) \| (.*) \|")


class Row(NamedTuple):
    """`subject` is "GET /path" or "--flag"; `words` say how it differs or is refused."""

    subject: str
    judgement: str
    words: str


def rows() -> list[Row]:
    """All of them, in their order."""
    found = [_ROW.fullmatch(line) for line in DOCUMENT.read_text().splitlines()]
    return [Row(*match.groups()) for match in found if match]


def endpoints() -> list[Row]:
    """Those about the API."""
    return [row for row in rows() if not row.subject.startswith("-")]


def flags() -> dict[str, Row]:
    """Those about flags of `docker run`, by flag."""
    return {row.subject: row for row in rows() if row.subject.startswith("-")}
