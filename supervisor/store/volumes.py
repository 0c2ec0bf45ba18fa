"""Volumes on disk: a record each in the database, a folder each below `volumes`. Blocking.

    volumes/NAME/_data         what containers see
    volumes/NAME/volume.json   the record's copy, only if it says more than the name
    volumes/NAME/_copying      an image's content on its way into _data; worth nothing
    volumes/NAME/_copied       the same, complete, being moved into _data

    create   row ─► folder                remove   folder renamed to trash ─► row deleted

A volume is its user's data: no folder is ever deleted for the want of a record. A row
without a folder gets an empty one, a folder without a row gets a row.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from supervisor import failpoints
from supervisor.docker.volumes import ANONYMOUS_LABEL, check_volume_name
from supervisor.errors import Internal, InvalidArgument, Unavailable
from supervisor.oci.config import format_time
from supervisor.store.files import discard, sync_folder, write_atomic
from supervisor.store.layout import DataRoot

log = logging.getLogger("orlop.volumes")

KIND = "volume"
VERSION = 1
DATA, COPYING, COPIED, COPY_OF_RECORD = "_data", "_copying", "_copied", "volume.json"

_ANONYMOUS = re.compile(r"[0-9a-f]{64}", re.ASCII)
_LATER = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE}


class Volume(msgspec.Struct, frozen=True, kw_only=True):
    """A volume: `folder` is volumes/NAME, `options` what --opt said, times in ns."""

    name: str
    folder: str
    created_ns: int
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    options: dict[str, str] = msgspec.field(default_factory=dict)

    @property
    def mountpoint(self) -> str:
        """The folder with the volume's content."""
        return f"{self.folder}/{DATA}"

    @property
    def created(self) -> str:
        """RFC 3339, whole seconds."""
        return format_time(self.created_ns // 1_000_000_000)

    @property
    def anonymous(self) -> bool:
        """It was made for a container and got no name from anybody."""
        return ANONYMOUS_LABEL in self.labels


class _Document(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    version: int
    created_ns: int
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    options: dict[str, str] = msgspec.field(default_factory=dict)


class Loaded(msgspec.Struct, kw_only=True):
    """All volumes; `rebuilt` are those among them that have no row yet."""

    volumes: list[Volume] = msgspec.field(default_factory=list)
    rebuilt: list[Volume] = msgspec.field(default_factory=list)


def new_volume(
    root: DataRoot, name: str, labels: dict[str, str], options: dict[str, str]
) -> Volume:
    """A volume that is made now; nothing is on disk yet."""
    return Volume(
        name=name,
        folder=str(root.volumes / name),
        created_ns=time.time_ns(),
        labels=labels,
        options=options,
    )


def encode(volume: Volume) -> bytes:
    """The row's document."""
    document = _Document(
        version=VERSION,
        created_ns=volume.created_ns,
        labels=volume.labels,
        options=volume.options,
    )
    return json.dumps(msgspec.to_builtins(document), separators=(",", ":")).encode()


def decode(root: DataRoot, name: str, document: bytes) -> Volume:
    """The inverse of `encode`; ValueError for another version or shape."""
    read = msgspec.convert(json.loads(document), _Document)
    if read.version != VERSION:
        raise ValueError(f"the record of volume {name} has version {read.version}, not {VERSION}")
    return Volume(
        name=name,
        folder=str(root.volumes / name),
        created_ns=read.created_ns,
        labels=read.labels,
        options=read.options,
    )


def load(root: DataRoot, rows: Iterable[tuple[str, bytes]]) -> Loaded:
    """The volumes of `rows` and of the folders, everything between two steps put right."""
    found: dict[str, Volume] = {}
    for name, document in rows:
        try:
            check_volume_name(name)
            found[name] = decode(root, name, document)
        except (ValueError, InvalidArgument) as error:
            log.warning("volume %.80s: %s", name, error)
    loaded = Loaded()
    for entry in sorted(root.volumes.iterdir()):
        if entry.name not in found and entry.is_dir():
            volume = _of_folder(root, entry)
            if volume is not None:
                found[entry.name] = volume
                loaded.rebuilt.append(volume)
    loaded.volumes = list(found.values())
    for volume in loaded.volumes:
        try:
            make(volume)
            settle(root, volume)
        except OSError as error:
            log.warning("volume %s: %s", volume.name, error)
    return loaded


def _of_folder(root: DataRoot, folder: Path) -> Volume | None:
    """The volume whose folder this is; None for what is none."""
    name = folder.name
    try:
        check_volume_name(name)
        return decode(root, name, (folder / COPY_OF_RECORD).read_bytes())
    except InvalidArgument:
        log.warning("%s is no volume's folder: left alone", folder)
        return None
    except (OSError, ValueError):
        log.warning("volume %s: its record is lost, its content is here", name)
    return Volume(
        name=name,
        folder=str(folder),
        created_ns=folder.stat().st_mtime_ns,
        labels={ANONYMOUS_LABEL: ""} if _ANONYMOUS.fullmatch(name) else {},
    )


def make(volume: Volume) -> None:
    """Make the folders, as far as they are missing; durable on return."""
    folder = Path(volume.folder)
    made = False
    for path, mode in ((folder, 0o700), (folder / DATA, 0o755)):
        try:
            path.mkdir(mode=mode)
        except FileExistsError:
            continue
        path.chmod(mode)  # whatever the umask
        if path == folder:
            failpoints.hit("volume.folder")
        made = True
    if not made:
        return
    if volume.options or volume.labels.keys() - {ANONYMOUS_LABEL}:
        write_atomic(folder / COPY_OF_RECORD, encode(volume))
    if not volume.anonymous:
        # An anonymous one is worth what its container is, whose folders are not synced either.
        sync_folder(folder)
        sync_folder(folder.parent)


def remove(root: DataRoot, volume: Volume) -> None:
    """Put the folder into the trash, in one step."""
    failpoints.hit("volume.remove")
    discard(Path(volume.folder), root.trash)


def is_empty(volume: Volume) -> bool:
    """Nothing is in it, as far as can be seen (False where it cannot be read)."""
    try:
        with os.scandir(volume.mountpoint) as entries:
            return next(entries, None) is None
    except OSError:
        return False


def settle(root: DataRoot, volume: Volume) -> None:
    """Undo a copy that was broken off, or finish one that was complete."""
    if not any(Path(volume.folder, name).exists() for name in (COPYING, COPIED)):
        return
    # Here, not above: the supervisor itself hardly ever does what a worker began.
    from supervisor.snapshot.copy_up import finish, undo  # noqa: PLC0415

    undo(volume.folder, str(root.trash))
    finish(volume.folder, str(root.trash))


@contextmanager
def disk_errors(name: str) -> Iterator[None]:
    """Turn an OSError about a volume into Unavailable (a full disk) or Internal."""
    try:
        yield
    except OSError as error:
        kind = Unavailable if error.errno in _LATER else Internal
        raise kind(f"volume {name}: {error.filename or ''}: {error.strerror}") from error
