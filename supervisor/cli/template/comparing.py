"""eq and lt of a template: only values of one basic kind can be compared, as in Go.

Unlike Go, which has many types for numbers, a whole number and a fraction may be.
"""

from __future__ import annotations

from typing import Any

from supervisor.cli.template.errors import Unfit
from supervisor.cli.template.values import type_name


def equal(one: Any, other: Any) -> bool:
    """Whether both are the same; Unfit for values that cannot be compared."""
    if one is None or other is None:
        return one is other
    _check(one, other)
    return bool(one == other)


def less(one: Any, other: Any) -> bool:
    """Whether `one` is before `other`: numbers by size, texts by their bytes."""
    kind = _check(one, other)
    if kind == "bool":
        raise Unfit("invalid type for comparison: bool")
    return bool(one < other)


def _check(one: Any, other: Any) -> str:
    kinds = _kind(one), _kind(other)
    if kinds[0] != kinds[1]:
        raise Unfit(f"incompatible types for comparison: {type_name(one)} and {type_name(other)}")
    return kinds[0]


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "text"
    raise Unfit(f"invalid type for comparison: {type_name(value)}")
