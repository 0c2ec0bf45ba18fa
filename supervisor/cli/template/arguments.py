"""What functions expect of their arguments; Unfit for anything else."""

from __future__ import annotations

from typing import Any

from supervisor.cli.template.errors import Unfit
from supervisor.cli.template.values import type_name

MAX_TEXT = 16 << 20
"""Characters that a template may make, in all or in one value."""


def text(value: Any) -> str:
    """A text."""
    if not isinstance(value, str):
        raise Unfit(f"a text is expected, not {shape(value)}")
    return value


def integer(value: Any) -> int:
    """A whole number."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise Unfit(f"a whole number is expected, not {shape(value)}")
    return value


def natural(value: Any) -> int:
    """A whole number that is not negative."""
    number = integer(value)
    if number < 0:
        raise Unfit(f"a number that is not negative is expected, not {number}")
    return number


def shape(value: Any) -> str:
    """What a value is, for a message."""
    return "nothing" if value is None else f"a value of type {type_name(value)}"


def check_size(length: int) -> None:
    """Unfit for a text that grew beyond all use."""
    if length > MAX_TEXT:
        raise Unfit(f"the result is longer than {MAX_TEXT} characters")
