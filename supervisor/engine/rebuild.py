"""Containers' records at start-up: from the database's rows, or from their copies. Blocking.

The copy in a bundle is made last of a container's creation and goes before its row does
(`supervisor.store.record_copies`). So it counts where there is no row, or none that can be read:
a damaged database, one that is gone, one that lost its latest transactions with its log.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from supervisor.engine import record as records
from supervisor.engine import remains
from supervisor.engine.record import Record
from supervisor.errors import ProtocolError
from supervisor.store import record_copies
from supervisor.wire.shim_protocol import SOCKET_NAME

log = logging.getLogger("orlop.recovery")


class Loaded(msgspec.Struct, kw_only=True):
    """`restored` are among `records`, and their rows are to be written; the rows of `removed`
    are to be deleted.

    `unreadable` are ids of containers that there are and nothing can be told of.
    """

    records: list[Record] = msgspec.field(default_factory=list)
    restored: list[Record] = msgspec.field(default_factory=list)
    removed: list[str] = msgspec.field(default_factory=list)
    unreadable: set[str] = msgspec.field(default_factory=set)


def load(
    root: Path, rows: Iterable[tuple[str, bytes]], damaged: Iterable[str], *, fresh: bool
) -> Loaded:
    """All records below the data root `root`.

    `damaged` are ids of rows that could not be read, `fresh` says that all rows may be lost: a
    bundle that has no copy is a container's then, too, and not what a crash left.
    """
    loaded = Loaded()
    asked = set(damaged)
    for key, document in rows:
        try:
            record = records.decode(document)
        except ProtocolError as error:
            log.warning("container %s: %s", key, error)
            asked.add(key)
            continue
        later = _later(root, record, document)
        loaded.records.append(later or record)
        if later is not None:
            log.warning("container %s: its record was out of date", key)
            loaded.restored.append(later)
    known = {record.id for record in loaded.records}
    bundles = set(remains.folders(root))
    for key in sorted((asked | bundles) - known):
        copy = _copy(root, key)
        if copy is not None:
            log.warning("container %s (%s): its record is restored", key, copy.name)
            loaded.restored.append(copy)
            loaded.records.append(copy)
        elif key in asked or fresh:
            log.error("container %s: its record is lost, what it has is left alone", key)
            loaded.unreadable.add(key)
    if any(record.id not in asked for record in loaded.restored):
        _drop_ghosts(loaded, bundles)
    _settle_names(loaded)
    return loaded


def _drop_ghosts(loaded: Loaded, bundles: set[str]) -> None:
    """The latest transactions are lost: a row without a bundle is of a container that was removed.

    Else it may be of one whose bundle somebody took away.
    """
    loaded.removed = [one.id for one in loaded.records if one.id not in bundles]
    loaded.records = [one for one in loaded.records if one.id in bundles]
    for key in loaded.removed:
        log.warning("container %s: it was removed, its record is out of date", key)


def _later(root: Path, record: Record, document: bytes) -> Record | None:
    """The copy, where there is a shim of a later run than the row knows; mends a missing copy."""
    bundle = f"{root}/containers/{record.id}"  # a string: there may be thousands
    if os.path.lexists(f"{bundle}/{SOCKET_NAME}"):
        copy = _copy(root, record.id, but=document)
        if copy is not None and copy.state.run > record.state.run:
            return copy
    if not record_copies.is_there(bundle):
        try:
            record_copies.add(Path(bundle), record.encode())
        except FileNotFoundError:
            pass  # it has no bundle yet, or no more
        except OSError as error:
            log.warning("container %s: no copy of its record: %s", record.id, error)
    return None


def _copy(root: Path, key: str, but: bytes = b"") -> Record | None:
    """The latest copy, if it is another one than the document `but`."""
    try:
        document = record_copies.latest(f"{root}/containers/{key}")
        if document is None or document == but:
            return None
        record = records.decode(document)
    except (OSError, ProtocolError) as error:
        log.warning("container %s: the copy of its record: %s", key, error)
        return None
    return record if record.id == key else None


def _settle_names(loaded: Loaded) -> None:
    """Each name for one container: a restored one that finds its own taken has its id in front."""
    restored = {record.id for record in loaded.restored}
    taken = {record.name for record in loaded.records if record.id not in restored}
    for record in sorted(loaded.restored, key=lambda one: -one.created_ns):
        if record.name in taken:
            record.name = f"{record.id[:12]}_{record.name}"
            record.changed()
        taken.add(record.name)
