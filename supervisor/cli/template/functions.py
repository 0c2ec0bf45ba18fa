"""The functions of a template: docker's (cli/templates/templates.go) and Go's own.

Each takes the arguments as they are and raises Unfit for what it cannot work with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from supervisor.cli.template import arguments
from supervisor.cli.template.comparing import equal, less
from supervisor.cli.template.errors import Unfit
from supervisor.cli.template.printf import sprintf
from supervisor.cli.template.printing import compact, plain
from supervisor.cli.template.values import byte_text, cut, truth, type_name, zero

SHORT_CIRCUITS = ("and", "or")
"""These two evaluate an argument only if those before it leave the answer open."""


class Function(NamedTuple):
    """How many arguments it takes (`most` None: any number), and whether headings stay whole."""

    call: Callable[..., Any]
    least: int
    most: int | None
    keeps_headings: bool = False


# --- docker's ---------------------------------------------------------------------------------


def _join(items: Any, by: Any) -> str:
    separator = arguments.text(by)
    if items is None:
        return ""
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise Unfit(f"a list of texts is expected, not {arguments.shape(items)}")
    arguments.check_size(sum(map(len, items)) + len(separator) * len(items))
    return separator.join(items)


def _split(text: Any, separator: Any) -> list[str]:
    text, separator = arguments.text(text), arguments.text(separator)
    return text.split(separator) if separator else list(text)


def _title(text: Any) -> str:
    # strings.Title: whatever is no letter, digit or underscore ends a word.
    shown, inside = [], False
    for c in arguments.text(text):
        shown.append(c if inside else c.upper() if len(c.upper()) == 1 else c)
        inside = c == "_" or c.isalnum()
    return "".join(shown)


def _pad(text: Any, before: Any, after: Any) -> str:
    text, before, after = arguments.text(text), arguments.natural(before), arguments.natural(after)
    arguments.check_size(len(text) + before + after)
    return f"{' ' * before}{text}{' ' * after}" if text else text


def _truncate(text: Any, length: Any) -> str:
    text, length = arguments.text(text), arguments.natural(length)
    return cut(text, 0, length)


# --- Go's -------------------------------------------------------------------------------------


def _len(value: Any) -> int:
    if isinstance(value, str):
        return len(byte_text(value))
    if value is None:
        return 0  # docker has an empty list where JSON says null
    if isinstance(value, list | Mapping):
        return len(value)
    raise Unfit(f"len of type {type_name(value)}")


def _index(value: Any, *indexes: Any) -> Any:
    for index in indexes:
        value = _item(value, index)
    return value


def _item(value: Any, index: Any) -> Any:
    if isinstance(value, Mapping) or (value is None and isinstance(index, str)):
        if not isinstance(index, str):
            raise Unfit(f"a map's index is a text, not {arguments.shape(index)}")
        mapping: Mapping[str, Any] = value or {}
        return mapping[index] if index in mapping else zero(mapping)
    if not isinstance(value, list | str | None):
        raise Unfit(f"can't index item of type {type_name(value)}")
    items: Any = byte_text(value) if isinstance(value, str) else value or ()
    number = arguments.integer(index)
    if not 0 <= number < len(items):
        raise Unfit(f"index out of range: {number}")
    return items[number]


def _slice(value: Any, *indexes: Any) -> Any:
    if len(indexes) == 3 and isinstance(value, str):
        raise Unfit("cannot 3-index slice a string")
    items: Any = byte_text(value) if isinstance(value, str) else value
    if not isinstance(items, list | bytes):
        raise Unfit(f"can't slice item of type {type_name(value)}")
    numbers = [arguments.integer(index) for index in indexes]
    for number in numbers:
        if not 0 <= number <= len(items):
            raise Unfit(f"index out of range: {number}")
    if numbers != sorted(numbers):
        raise Unfit(f"invalid slice index: {numbers[0]} > {numbers[1]}")
    start = numbers[0] if numbers else 0
    end = numbers[1] if len(numbers) > 1 else len(items)
    return cut(value, start, end) if isinstance(value, str) else items[start:end]


def _print(*values: Any) -> str:
    # fmt.Sprint: a blank between two of which neither is a text.
    parts: list[str] = []
    for at, value in enumerate(values):
        if at and not isinstance(value, str) and not isinstance(values[at - 1], str):
            parts.append(" ")
        parts.append(plain(value))
    return "".join(parts)


def _println(*values: Any) -> str:
    return " ".join(map(plain, values)) + "\n"


def _printf(form: Any, *values: Any) -> str:
    return sprintf(arguments.text(form), values)


def _equal(first: Any, *others: Any) -> bool:
    return any(equal(first, other) for other in others)


FUNCTIONS: dict[str, Function] = {
    "json": Function(compact, 1, 1, keeps_headings=True),
    "join": Function(_join, 2, 2),
    "split": Function(_split, 2, 2),
    "lower": Function(lambda value: arguments.text(value).lower(), 1, 1, keeps_headings=True),
    "upper": Function(lambda value: arguments.text(value).upper(), 1, 1, keeps_headings=True),
    "title": Function(_title, 1, 1, keeps_headings=True),
    "truncate": Function(_truncate, 2, 2, keeps_headings=True),
    "pad": Function(_pad, 3, 3),
    "len": Function(_len, 1, 1),
    "index": Function(_index, 1, None),
    "slice": Function(_slice, 1, 4),
    "print": Function(_print, 0, None),
    "println": Function(_println, 0, None),
    "printf": Function(_printf, 1, None),
    "not": Function(lambda value: not truth(value), 1, 1),
    "eq": Function(_equal, 2, None),
    "ne": Function(lambda one, other: not equal(one, other), 2, 2),
    "lt": Function(less, 2, 2),
    "le": Function(lambda one, other: less(one, other) or equal(one, other), 2, 2),
    "gt": Function(lambda one, other: not less(one, other) and not equal(one, other), 2, 2),
    "ge": Function(lambda one, other: not less(one, other), 2, 2),
}
