"""How much output containers have logged, from the sizes of their log files.

Shims write them, and tell nobody: what was rotated away since the last look is found by its
inode. What more than `max_files` files have passed is not seen.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class _Seen(NamedTuple):
    inode: int
    size: int


class LogGrowth:
    """By container: `path` is its log file, rotated ones are `path`.1, .2 and so on."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def containers(self) -> tuple[str, ...]:
        """Those that are watched."""
        return tuple(self._seen)

    def begin(self, container: str, path: str) -> None:
        """What is in the log by now does not count."""
        found = _look(path)
        self._seen[container] = found or _Seen(0, 0)

    def grown(self, container: str, path: str) -> int:
        """Bytes since the last look; 0 for one that was not begun."""
        before = self._seen.get(container)
        if before is None:
            return 0
        total, newest, number = 0, None, 0
        while found := _look(f"{path}.{number}" if number else path):
            newest = newest or found
            if found.inode == before.inode:
                total += max(0, found.size - before.size)
                break
            total += found.size
            number += 1
        if newest is not None:
            self._seen[container] = newest
        return total

    def end(self, container: str) -> None:
        """The run is over."""
        self._seen.pop(container, None)


def _look(path: str) -> _Seen | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return _Seen(found.st_ino, found.st_size)
