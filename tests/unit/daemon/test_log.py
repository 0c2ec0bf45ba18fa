"""No word in a record begins another line of the log."""

from __future__ import annotations

import logging
import re
import sys

import pytest

from supervisor.daemon.log import Formatter

FORGED = "2026-01-01T00:00:00.000Z INFO orlop.api DELETE / by uid=0"
RECORD = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z WARNING orlop\.x (.*)")


def lines(message: str, *arguments: object, error: bool = False) -> list[str]:
    info = sys.exc_info() if error else None
    record = logging.LogRecord("orlop.x", logging.WARNING, "x.py", 1, message, arguments, info)
    return Formatter().format(record).split("\n")


@pytest.mark.parametrize(
    "word, shown",
    [
        ("plain, ünï: …", "plain, ünï: …"),
        (f"a\n{FORGED}", rf"a\n{FORGED}"),
        (f"a\r\n{FORGED}", rf"a\r\n{FORGED}"),
        (f"a\u2028{FORGED}", rf"a\u2028{FORGED}"),
        ("\x1b[2J\x1b]0;x\x07", r"\x1b[2J\x1b]0;x\x07"),
        ("\x9b31m\x7f\u202eevil", r"\x9b31m\x7f\u202eevil"),
        ("\udcff", r"\udcff"),
    ],
)
def test_a_record_is_one_line(word: str, shown: str) -> None:
    (line,) = lines("image %s: gone", word)
    found = RECORD.fullmatch(line)
    assert found
    assert found[1] == f"image {shown}: gone"


def test_a_traceback_is_no_record() -> None:
    try:
        raise RuntimeError(f"no\n{FORGED}\x1b[0m")
    except RuntimeError:
        first, *behind = lines("it broke", error=True)
    assert RECORD.fullmatch(first)
    assert all(line.startswith("    ") for line in behind)
    assert f"    {FORGED}\\x1b[0m" in behind
    assert "Traceback" in behind[0]
