"""A YAML document as values that know where they stand in their file.

Scalars keep the text that was written: whoever reads one knows what it is to be, and YAML's own
guesses (`22:22` is 1342, `no` is false) are not asked for. Merge keys (`<<`) are resolved.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_MERGE = "<<"
_MAX_SIZE = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where something begins in the file; both count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalar:
    """A text, number, truth or nothing, as written; `plain`: without quotes."""

    text: str
    plain: bool
    place: Place

    @property
    def is_null(self) -> bool:
        """Nothing was written, or null."""
        return self.plain and self.text in _NULLS


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """A list."""

    values: tuple[Node, ...]
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """A map: values by key, and where each key stands."""

    entries: dict[str, Node]
    places: dict[str, Place]
    place: Place


Node = Scalar | Items | Keys


class Wrong(Exception):
    """What is written at `place` cannot be; the message says what would be right."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.place = place
        self.message = message


@dataclass(slots=True)
class _Reading:
    # A node that several aliases name is converted once, however often they nest.
    done: dict[int, Node] = field(default_factory=dict)
    under_way: set[int] = field(default_factory=set)


def parse(text: str) -> Node:
    """The one document in `text`; raises Wrong."""
    import yaml

    if len(text) > _MAX_SIZE:
        raise Wrong(Place(1, 1), f"the file is too long: {_MAX_SIZE} characters are the most")
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
        raise Wrong(place, f"not YAML: {error.problem or error.context}") from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        place = Place(before.count("\n") + 1, len(before) - before.rfind("\n"))
        raise Wrong(place, f"not YAML: {error.reason}") from None
    except yaml.YAMLError as error:
        raise Wrong(Place(1, 1), f"not YAML: {error}") from None
    except RecursionError:
        raise _too_deep() from None
    if root is None:
        raise Wrong(Place(1, 1), "the file is empty: services: is expected")
    try:
        return _node(root, _Reading())
    except RecursionError:
        raise _too_deep() from None


def _too_deep() -> Wrong:
    return Wrong(Place(1, 1), "not YAML: it is nested too deeply")


def _node(raw: Any, reading: _Reading) -> Node:
    if id(raw) in reading.done:
        return reading.done[id(raw)]
    place = _place(raw)
    if id(raw) in reading.under_way:
        raise Wrong(place, "this value contains itself, by its alias")
    if str(raw.tag).startswith("!"):
        raise Wrong(place, f"the tag {raw.tag} is not supported: leave it out")
    reading.under_way.add(id(raw))
    reading.done[id(raw)] = made = _made(raw, place, reading)
    reading.under_way.discard(id(raw))
    return made


def _made(raw: Any, place: Place, reading: _Reading) -> Node:
    if raw.id == "scalar":
        return Scalar(text=raw.value, plain=raw.style is None, place=place)
    if raw.id == "sequence":
        return Items(values=tuple(_node(item, reading) for item in raw.value), place=place)
    own: dict[str, Node] = {}
    places: dict[str, Place] = {}
    merged: list[Keys] = []
    for raw_key, raw_value in raw.value:
        at = _place(raw_key)
        if raw_key.id != "scalar":
            raise Wrong(at, "a key has to be a word, no list and no map")
        key, value = str(raw_key.value), _node(raw_value, reading)
        if key == _MERGE and raw_key.style is None:
            merged += _mergeable(value)
        elif key in own:
            raise Wrong(at, f"'{key}' is given twice, first in line {places[key].line}")
        else:
            own[key], places[key] = value, at
    for other in merged:
        for key, value in other.entries.items():
            if key not in own:
                own[key], places[key] = value, other.places[key]
    return Keys(entries=own, places=places, place=place)


def _mergeable(value: Node) -> Iterator[Keys]:
    for one in value.values if isinstance(value, Items) else (value,):
        if not isinstance(one, Keys):
            raise Wrong(one.place, "<< takes a map, or a list of maps")
        yield one


def _place(raw: Any) -> Place:
    return Place(raw.start_mark.line + 1, raw.start_mark.column + 1)
