"""What the values of a file may be: texts, truths, lists, maps with known keys.

What is wrong is raised as Wrong, and `noting` collects it: so a file's errors are told together.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from supervisor.cli.apply.nodes import Items, Keys, Node, Place, Scalar, Wrong
from supervisor.cli.apply.variables import expand
from supervisor.errors import OrlopError

T = TypeVar("T")

_TRUE = frozenset({"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"})
_FALSE = frozenset({"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"})
_EXTENSION = "x-"
_NONE: Mapping[str, str] = {}

Read = Callable[[Node], object]


class Reader:
    """Reads nodes; `problems` and `warnings` have what was found, `folder` is the file's."""

    def __init__(self, variables: Mapping[str, str], folder: Path) -> None:
        self.variables = variables
        self.folder = folder
        self.problems: set[tuple[Place, str]] = set()
        self.warnings: set[tuple[Place, str]] = set()

    @contextmanager
    def noting(self) -> Iterator[None]:
        """What is Wrong in the block is noted; the rest of the file is read on."""
        try:
            yield
        except Wrong as wrong:
            self.problems.add((wrong.place, wrong.message))

    def text(self, node: Node) -> str:
        """A text or number, its variables replaced."""
        if not isinstance(node, Scalar):
            kind = "list" if isinstance(node, Items) else "map"
            raise Wrong(node.place, f"a {kind} is given where one value is expected")
        if node.is_null:
            raise Wrong(node.place, "a value is expected")
        return self._expanded(node)

    def value(self, node: Node, parse: Callable[[str], T]) -> T:
        """What `parse` makes of the text; its ValueError or OrlopError is Wrong."""
        text = self.text(node)
        try:
            return parse(text)
        except OrlopError as error:
            raise Wrong(node.place, error.message) from None
        except ValueError as error:
            quoted = f"'{text}'"
            said = str(error) if quoted in str(error) else f"{quoted}: {error}"
            raise Wrong(node.place, said) from None

    def truth(self, node: Node) -> bool:
        """true or false, and YAML's other words for them."""
        text = self.text(node)
        if text not in _TRUE | _FALSE:
            raise Wrong(node.place, f"'{text}': true or false is expected")
        return text in _TRUE

    def word(self, node: Node, *words: str) -> str:
        """One of `words`."""
        text = self.text(node)
        if text not in words:
            raise Wrong(node.place, f"'{text}': {', '.join(words)} is expected")
        return text

    def number(self, node: Node, least: int = 0) -> int:
        """A whole number, not below `least`."""
        text = self.text(node)
        try:
            number = int(text)
        except ValueError:
            raise Wrong(node.place, f"'{text}': a whole number is expected") from None
        if number < least:
            raise Wrong(node.place, f"{number}: {least} is the least")
        return number

    def items(self, node: Node) -> tuple[Node, ...]:
        """The items of a list."""
        if not isinstance(node, Items):
            raise Wrong(node.place, "a list is expected")
        return node.values

    def texts(self, node: Node) -> list[str]:
        """A list of texts, or one alone."""
        if isinstance(node, Scalar) and not node.is_null:
            return [self.text(node)]
        return list(self.each(node, self.text))

    def each(self, node: Node, read: Callable[[Node], T]) -> Iterator[T]:
        """`read` of each item of a list; what is wrong with one is noted, and the next is read."""
        for item in self.items(node):
            with self.noting():
                yield read(item)

    def pairs(self, node: Node) -> Iterator[tuple[str, str | None, Node]]:
        """Of a map, or a list of NAME=value: name, value (None without one), where it stands."""
        if isinstance(node, Keys):
            for name, value in node.entries.items():
                with self.noting():
                    nothing = isinstance(value, Scalar) and value.is_null
                    yield name, None if nothing else self.text(value), value
            return
        if not isinstance(node, Items):
            raise Wrong(node.place, "a map, or a list of NAME=value, is expected")
        for item in node.values:
            with self.noting():
                name, equals, text = self.text(item).partition("=")
                if not name:
                    raise Wrong(item.place, "NAME=value is expected")
                yield name, text if equals else None, item

    def map(self, node: Node) -> Keys:
        """A map."""
        if not isinstance(node, Keys):
            raise Wrong(node.place, "a map is expected: lines of KEY: VALUE")
        return node

    def optional_map(self, node: Node) -> Keys:
        """A map; nothing written is an empty one."""
        if isinstance(node, Scalar) and node.is_null:
            return Keys(entries={}, places={}, place=node.place)
        return self.map(node)

    def fields(
        self, node: Keys, reads: Mapping[str, Read], where: str, refused: Mapping[str, str] = _NONE
    ) -> None:
        """Hand each entry to what reads its name; unknown names but `x-…` are problems.

        `refused` has what is known of names that are not supported.
        """
        for name, value in node.entries.items():
            if name in reads:
                with self.noting():
                    reads[name](value)
            elif not name.startswith(_EXTENSION):
                why = refused.get(name)
                said = f"{name} is not supported: {why}" if why else _unknown(name, reads, where)
                self.problems.add((node.places[name], said))

    def path(self, text: str, node: Node) -> str:
        """A path of this host, absolute: ~ is the home, others are beside the file."""
        try:
            path = Path(text).expanduser()
        except RuntimeError:
            raise Wrong(node.place, f"'{text}': this host has no such user") from None
        # A file's `../x` is beside its folder, whatever link that is.
        return os.path.normpath(self.folder / path)

    def _expanded(self, node: Scalar) -> str:
        def missing(name: str) -> None:
            said = f"variable {name} is not set: it counts as empty (${{{name}:-}} says so)"
            self.warnings.add((node.place, said))

        try:
            return expand(node.text, self.variables, missing)
        except ValueError as error:
            raise Wrong(node.place, str(error)) from None


def _unknown(name: str, names: Iterable[str], where: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, list(names), n=1, cutoff=0.5)
    advice = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(sorted(names))}"
    return f"unknown key '{name}' in {where}: {advice}"
