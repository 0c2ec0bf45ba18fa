"""How a template fails: one line that names the place in it."""

from __future__ import annotations

from supervisor.cli.failures import Failure

_SHOWN = 80


class TemplateError(Failure):
    """The template cannot be understood, or does not fit the value; `message` begins as docker's.

    `text` is the whole template and `at` the offset that the message is about.
    """

    def __init__(self, message: str, text: str = "", at: int = -1) -> None:
        place = f"{_position(text, at)}: " if at >= 0 else ""
        super().__init__(f"template parsing error: {place}{message}")


class Unfit(Exception):
    """A function was given what it cannot work with; the evaluator adds the place."""


def excerpt(text: str) -> str:
    """A piece of a template for a message: on one line, and not for ever."""
    shown = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
    return shown.replace("\n", "\\n").replace("\t", "\\t")


def _position(text: str, at: int) -> str:
    line = text.count("\n", 0, at) + 1
    column = at - (text.rfind("\n", 0, at) + 1) + 1
    return f"line {line}, column {column}"
