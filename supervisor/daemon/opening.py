"""What must be as it should before the daemon touches anything: its records, its groups."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from supervisor.engine.remains import folders
from supervisor.errors import Conflict
from supervisor.kernel.cgroups import Hierarchy
from supervisor.store.database import Database
from supervisor.store.layout import DataRoot, lock_soon
from supervisor.store.table import has_side_files, quarantine

log = logging.getLogger("orlop.daemon")

_MAGIC = b"SQLite format 3\0"  # https://sqlite.org/fileformat.html


async def open_database(root: DataRoot) -> Database:
    """The database of a prepared data root; Unavailable for a newer schema.

    One that is damaged is set aside and a new one begun: `fresh`, and whoever has records there
    finds them again in their copies. So is what is left of one that is gone.
    """
    # Before SQLite looks: it deletes the log (-wal) of a database that is empty or not there.
    beginning = _beginning(root.db)
    if beginning != _MAGIC and (beginning or has_side_files(root.db)):
        log.error("the database %s is damaged: it does not begin as one", root.db)
        log.error("it is kept as %s", quarantine(root.db))
    database, _ = await Database.open_or_quarantine(root.db)
    if database.fresh and (bundles := len(list(folders(root.path)))):
        log.error("the records of %d containers are lost: their copies are looked for", bundles)
    return database


def _beginning(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC))
    except FileNotFoundError:
        return b""


@contextmanager
def claimed(hierarchy: Hierarchy) -> Iterator[None]:
    """The prepared parent group is this daemon's for the block; Conflict if it is another's.

    Each would take the other's containers for leftovers.
    """
    if not hierarchy.folder:
        yield
        return
    fd = os.open(hierarchy.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not lock_soon(fd):
            raise Conflict(
                f"another orlop daemon has its containers' cgroups in {hierarchy.folder}: "
                "give this one a --cgroup-parent of its own"
            )
        yield
    finally:
        os.close(fd)
