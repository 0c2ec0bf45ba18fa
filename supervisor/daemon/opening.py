"""What must be as it should before the daemon touches anything: its records, its groups."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from supervisor.engine.host import KIND
from supervisor.engine.remains import folders
from supervisor.errors import Conflict, Unavailable
from supervisor.kernel.cgroups import Hierarchy
from supervisor.store.database import CorruptDatabase, Database
from supervisor.store.layout import DataRoot, lock_soon

log = logging.getLogger("orlop.daemon")

_MAGIC = b"SQLite format 3\0"  # https://sqlite.org/fileformat.html
_WAYS = (
    "nothing was changed, and what runs goes on. Put back a copy of orlop.db; or, to go on "
    "without these containers, move {containers} and {database} (with -wal and -shm) away"
)


async def open_database(root: DataRoot) -> Database:
    """The database of a prepared data root.

    Unavailable where it is damaged, or was lost, while there are containers: without their
    records they would be removed as nobody's. Without containers a damaged one is set aside,
    and what else is known is found again (images). Unavailable, too, for a newer schema.
    """
    bundles = len(list(folders(root.path)))
    if not bundles:
        database, damaged = await Database.open_or_quarantine(root.db)
        if damaged:
            log.error("the database was damaged; it is kept as %s", database.quarantined)
        return database
    ways = _WAYS.format(containers=root.containers, database=root.db)
    lost = Unavailable(f"the records of {bundles} containers in {root.path} are lost; {ways}")
    # Before SQLite looks: it deletes the log (-wal) of a database that is empty or not there.
    match _beginning(root.db):
        case b"":
            raise lost
        case beginning if beginning != _MAGIC:
            raise Unavailable(
                f"the database {root.db} is damaged: it does not begin as one; {bundles} "
                f"containers have their records there; {ways}"
            )
    try:
        database = await Database.open(root.db)
    except CorruptDatabase as error:
        raise Unavailable(
            f"{error.message}; {bundles} containers have their records there; {ways}"
        ) from None
    known = await database.all(KIND)
    if database.fresh and not known and not any(kind == KIND for kind, _ in database.damaged):
        with trio.CancelScope(shield=True):
            await database.close()
        raise lost
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
