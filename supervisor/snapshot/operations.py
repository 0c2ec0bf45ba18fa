"""The operations of the worker process: a name, and the function that does it.

A function takes the request's arguments (a JSON object), the descriptors by name and a
function that reports progress; it returns the result (a JSON object). The module is imported
when the operation is asked for: a worker loads what it needs and no more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from supervisor.errors import Internal

Tell = Callable[[dict[str, Any]], None]
Operation = Callable[[dict[str, Any], Mapping[str, int], Tell], dict[str, Any]]

OPERATIONS: dict[str, str] = {
    "archive_get": "supervisor.snapshot.archive:run_get",
    "archive_put": "supervisor.snapshot.archive:run_put",
    "archive_stat": "supervisor.snapshot.archive:run_stat",
    "changes": "supervisor.snapshot.changes:run",
    "changes_of_many": "supervisor.snapshot.changes:run_all",
    "decompress": "supervisor.snapshot.plain:run",
    "export": "supervisor.snapshot.export:run",
    "copy_up": "supervisor.snapshot.copy_up:run",
    "pack": "supervisor.snapshot.pack:run",
    "pack_tree": "supervisor.snapshot.pack:run_tree",
    "receive_archive": "supervisor.snapshot.receive:run",
    "unpack": "supervisor.snapshot.unpack:run",
    "usage": "supervisor.snapshot.usage:run",
    "usages": "supervisor.snapshot.usage:run_all",
    "whence": "supervisor.snapshot.whence:run",
}


def find(name: str) -> Operation:
    """The function of operation `name`; raises Internal for one that is not there."""
    place = OPERATIONS.get(name)
    if place is None:
        raise Internal(f"there is no operation {name!r}")
    module, _, function = place.partition(":")
    operation: Operation = getattr(import_module(module), function)
    return operation
