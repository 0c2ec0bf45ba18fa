"""The two forms that most kernel files have: one value, or a name and a value on each line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from metrics.errors import Malformed


def integer(data: bytes) -> int | None:
    """A file of one number; None for "max", the kernel's word for no limit."""
    if data == b"max\n":
        return None
    try:
        return int(data)
    except ValueError:
        raise Malformed(f"not a number: {data[:80]!r}") from None


class Values(Mapping[str, int]):
    """Numbers by name that are made of their text only when they are asked for.

    Of a group's memory.stat a scrape wants a quarter.
    """

    __slots__ = ("_places", "_words")

    def __init__(self, places: Mapping[str, int], words: Sequence[bytes]) -> None:
        self._places = places
        self._words = words

    def __getitem__(self, name: str) -> int:
        return int(self._words[self._places[name]])

    def get(self, name: str, default: Any = None) -> Any:
        """Mapping.get, without the detour by an exception."""
        place = self._places.get(name)
        return default if place is None else int(self._words[place])

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class Flat:
    """Decodes one kind of `name value` file.

    The results share their names: a kernel gives every group the same ones, and 500 groups ×
    60 names would otherwise be 30,000 strings a sample.
    """

    __slots__ = ("_names", "_places")

    def __init__(self) -> None:
        self._names: list[bytes] = []
        self._places: dict[str, int] = {}

    def __call__(self, data: bytes) -> Values:
        """The values by name. Malformed."""
        words = data.split()
        names = words[::2]
        if names != self._names:
            try:
                self._places = {name.decode("ascii"): 2 * at + 1 for at, name in enumerate(names)}
            except UnicodeDecodeError:
                raise Malformed(f"not a name: {data[:80]!r}") from None
            self._names = names
        if len(words) % 2 or not (b"".join(words[1::2]) or b"0").isdigit():
            raise Malformed(f"not lines of a name and a number: {data[:80]!r}")
        return Values(self._places, words)
