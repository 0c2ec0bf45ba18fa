"""`--format`: the part of Go's text/template that people use with docker's commands.

    text ─► lexer ─► parser ─► tree ─► evaluator (+ functions) ─► text

Fields, chains, variables; `range`, `if`, `with` with their `else`; pipelines; the functions
of docker (json, join, split, upper, lower, title, pad, truncate) and of Go (index, slice,
len, print, printf, println, and, or, not, eq, ne, lt, le, gt, ge); `{{- trimming -}}` and
comments. Templates that define others are refused, by name. Nothing in a template is ever
run as code of ours, and what it makes is bounded: nesting, steps, size of the result.
"""

from __future__ import annotations

from typing import Any

from supervisor.cli.template.errors import TemplateError
from supervisor.cli.template.evaluator import Evaluation
from supervisor.cli.template.parser import parse
from supervisor.cli.template.printing import compact, readable, text_of

__all__ = ["Template", "TemplateError", "compact", "readable", "text_of"]


class Template:
    """A parsed template; raises TemplateError, a Failure, for what it does not understand."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tree = parse(text)

    def render(self, value: Any, *, heading: bool = False) -> str:
        """The text for `value`, as JSON decodes it.

        With `heading` the value holds the titles of a table's columns: functions that
        change how a value looks (json, upper, lower, title, truncate) leave them alone.
        """
        try:
            return Evaluation(self._text, value, heading=heading).run(self._tree)
        except RecursionError:
            raise TemplateError("the value is nested too deeply to be shown") from None
