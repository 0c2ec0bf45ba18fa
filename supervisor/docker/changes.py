"""What differs between a container and its image, as `docker diff` shows it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

MODIFIED, ADDED, DELETED = range(3)


class Change(NamedTuple):
    """`kind` as docker numbers them; `path` absolute."""

    kind: int
    path: str


def change_json(change: Change) -> dict[str, Any]:
    """One element of GET /containers/{id}/changes."""
    path = change.path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return {"Path": path, "Kind": change.kind}


def without_stubs(changes: Sequence[Change], stubs: Collection[str]) -> list[Change]:
    """The changes that the container made itself.

    A stub is there only for something to be mounted on. With it goes the folder that it is
    in, unless something else in it changed too: making the stub is what changed the folder.
    """
    hidden = {change.path for change in changes if change.kind == ADDED and change.path in stubs}
    hidden -= _ancestors(change.path for change in changes if change.path not in hidden)
    touched = _ancestors(hidden)
    seen = _ancestors(
        change.path
        for change in changes
        if change.path not in hidden and change.path not in touched
    )
    return [
        change
        for change in changes
        if change.path not in hidden
        and (change.path not in touched or change.path in seen or change.kind == DELETED)
    ]


def _ancestors(paths: Any) -> set[str]:
    found: set[str] = set()
    for path in paths:
        while path := path.rpartition("/")[0]:
            found.add(path)
    return found
