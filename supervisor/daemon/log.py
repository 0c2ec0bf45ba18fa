"""The daemon's log: a line per record, whatever the names and errors in it are made of."""

from __future__ import annotations

import logging
import time

FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s %(message)s"
_BEHIND = "    "


class Formatter(logging.Formatter):
    """Escapes what would begin another line or reach a terminal as a command.

    Containers, images and registries choose words that end up in errors. A traceback follows its
    record on indented lines, so that nothing in it looks like a record.
    """

    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__(FORMAT, "%Y-%m-%dT%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The record on one line."""
        return escaped(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        """That line, and the traceback behind it."""
        first, *behind = super().format(record).split("\n")
        return "\n".join([first, *(_BEHIND + escaped(line) for line in behind)])


def escaped(text: str) -> str:
    """With backslashes for all that is not printable."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def set_up(level: str) -> None:
    """To standard error, what is of this level and above."""
    # What no line says need not be found out for each (Logging HOWTO, "Optimization").
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    handler = logging.StreamHandler()
    handler.setFormatter(Formatter())
    logging.basicConfig(level=level.upper(), handlers=[handler])
