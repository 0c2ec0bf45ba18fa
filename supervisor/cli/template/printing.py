"""Values as Go prints them: in a template, as JSON, and by fmt's verbs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from supervisor.cli.template.values import GoMap

NO_VALUE = "<no value>"
_SMALLEST_FIXED, _LARGEST_FIXED = -4, 6  # strconv, %g with the shortest precision


def compact(value: Any) -> str:
    """JSON on one line, as docker prints it."""
    if isinstance(value, GoMap):
        # Go sorts the keys of a map, and keeps a struct's fields in their order.
        value = None if value.null else dict(sorted(value.items()))
    return readable(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def readable(text: str) -> str:
    """JSON with escapes, which mean the same, for what a terminal would not just show."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else _escape(c) for c in text)


def _escape(c: str) -> str:
    return f"\\u{ord(c):04x}" if ord(c) < 1 << 16 else json.dumps(c)[1:-1]


def text_of(value: Any) -> str:
    """A value as an action shows it."""
    return NO_VALUE if value is None else plain(value)


def plain(value: Any) -> str:
    """A value as fmt's %v has it."""
    if isinstance(value, str):
        return value
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return shortest(value)
    if isinstance(value, Mapping):
        pairs = (f"{name}:{plain(value[name])}" for name in sorted(value))
        return f"map[{' '.join(pairs)}]"
    if isinstance(value, list):
        return f"[{' '.join(map(plain, value))}]"
    return str(value)


def shortest(value: float) -> str:
    """A float by %g without a precision: the fewest digits that mean this number."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    # repr has the fewest digits too, with another rule for when to use an exponent.
    mantissa, _, exponent = f"{value!r}e0".partition("e")
    sign, mantissa = ("-", mantissa[1:]) if mantissa.startswith("-") else ("", mantissa)
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return f"{sign}0"
    leading_zeros = len(whole + fraction) - len(digits)
    digits = digits.rstrip("0")
    point = len(whole) + int(exponent.partition("e")[0]) - leading_zeros
    return sign + _placed(digits, point)


def _placed(digits: str, point: int) -> str:
    """`0.DIGITS × 10^point` in the form that Go chooses."""
    exponent = point - 1
    if _SMALLEST_FIXED <= exponent < _LARGEST_FIXED:
        if point <= 0:
            return f"0.{'0' * -point}{digits}"
        if point >= len(digits):
            return digits + "0" * (point - len(digits))
        return f"{digits[:point]}.{digits[point:]}"
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{digits[0]}{fraction}e{'-' if exponent < 0 else '+'}{abs(exponent):02}"
