"""What an overlay's upper has changed, as `docker diff` says it: "changes", "changes_of_many"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any

from supervisor.errors import OrlopError
from supervisor.snapshot.folders import is_whiteout
from supervisor.snapshot.lowers import Lowers, is_folder
from supervisor.snapshot.operations import Tell
from supervisor.snapshot.walk import Found, Left, open_quietly, walk
from supervisor.snapshot.worker import describe


class Kind(IntEnum):
    """The API's numbers (container.ChangeType)."""

    MODIFIED = 0
    ADDED = 1
    DELETED = 2


def run(arguments: dict[str, Any], fds: Mapping[str, int], tell: Tell) -> dict[str, Any]:
    """Compare `upper` with the folders `lowers`, top-most first.

    Result: `changes`, [[kind, "/path"], …], each folder before what is in it. A file in the
    upper is modified, whatever of it is; a folder, if it differs itself or anything in it
    does; of a deleted folder only the folder is told.
    """
    return {"changes": _changes(arguments["upper"], arguments["lowers"])}


def run_all(arguments: dict[str, Any], fds: Mapping[str, int], tell: Tell) -> dict[str, Any]:
    """Compare each of `trees`, objects as `run` takes them; tells its result with its `number`.

    In the place of `changes` may be `error`, as the worker describes one. The last result is
    empty.
    """
    for number, tree in enumerate(arguments["trees"]):
        try:
            result: dict[str, Any] = {"changes": _changes(tree["upper"], tree["lowers"])}
        except (OrlopError, OSError) as error:
            result = {"error": describe(error)}
        tell({"number": number, **result})
    return {}


def _changes(upper: str, lowers: Sequence[str]) -> list[list[Any]]:
    changes: list[tuple[Kind | None, str]] = []
    open_folders: list[int] = []  # where in `changes` they are
    for event in walk(open_quietly(upper), Lowers.open(lowers)):
        if isinstance(event, Left):
            at = open_folders.pop()
            if changes[at][0] is None:
                if at == len(changes) - 1:  # the same, and nothing in it has changed
                    changes.pop()
                else:
                    changes[at] = (Kind.MODIFIED, changes[at][1])
            continue
        before = event.lowers.look(event.name)
        if event.status is None or is_whiteout(event.status):
            if before is not None:
                changes.append((Kind.DELETED, event.path))
            continue
        if event.fd >= 0:
            open_folders.append(len(changes))
        changes.append((_kind(event, before), event.path))
    return [[kind, f"/{path}"] for kind, path in changes if kind is not None]


def _kind(found: Found, before: Any) -> Kind | None:
    """How a name that is there differs; None for a folder that is the same by itself."""
    if before is None:
        return Kind.ADDED
    now = found.status
    if is_folder(now) and is_folder(before) and _same(now, before):
        return None
    return Kind.MODIFIED


def _same(now: Any, before: Any) -> bool:
    fields = ("st_mode", "st_uid", "st_gid", "st_mtime_ns")
    return all(getattr(now, field) == getattr(before, field) for field in fields)
