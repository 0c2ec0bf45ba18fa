"""A filesystem tree as values, made into a folder and into a tar with the same content.

Deterministic: names sorted, owner root, times 0; so the same content has the same diff
id on every host and at every time.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from supervisor.errors import Internal, InvalidArgument
from supervisor.oci.digest import Digest
from supervisor.store.elf import open_regular
from supervisor.store.files import sync_folder

_MAX_LINKS = 40
_CHUNK = 1 << 20


class Kind(StrEnum):
    """What an entry is."""

    FOLDER = "folder"
    FILE = "file"
    LINK = "link"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One name in the tree. A file has `content`, or is copied from the host's `source`."""

    path: str
    kind: Kind
    mode: int = 0o755
    content: bytes = b""
    source: str = ""
    target: str = ""


class Tree:
    """Entries by path without a leading slash; parents are added as needed."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    def __iter__(self) -> Iterator[Entry]:
        """Sorted by path: a folder comes before what is in it."""
        return iter([self._entries[path] for path in sorted(self._entries)])

    def __contains__(self, path: str) -> bool:
        return path in self._entries

    def folder(self, path: str, mode: int = 0o755) -> None:
        """Add a folder; one that is there already stays as it is."""
        if path and path not in self._entries:
            self._add(Entry(path=path, kind=Kind.FOLDER, mode=mode))

    def file(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """Add a file with the given content."""
        self._add(Entry(path=path, kind=Kind.FILE, mode=mode, content=content))

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link; the same link may be there, or an empty folder, which goes."""
        there = self._entries.get(path)
        if there is not None and there.kind is Kind.FOLDER and not self._has_children(path):
            del self._entries[path]
        self._add(Entry(path=path, kind=Kind.LINK, mode=0o777, target=target))

    def copy(self, path: str, source: str, mode: int) -> None:
        """Add a copy of a host file."""
        self._add(Entry(path=path, kind=Kind.FILE, mode=mode, source=source))

    def mirror(self, path: str) -> str:
        """Add a host file where the host has it, with every link on the way there.

        So /bin/ls brings `bin -> usr/bin` along where the host has that, and no entry is
        ever below a link. Returns the file's real path.
        """
        pending = [part for part in path.split("/") if part]
        real: list[str] = []
        links = 0
        while pending:
            part = pending.pop(0)
            if part in (".", ".."):
                real = real[:-1] if part == ".." else real
                continue
            here = "/".join([*real, part])
            if not stat.S_ISLNK(_lstat(f"/{here}", path).st_mode):
                real.append(part)
                continue
            links += 1
            if links > _MAX_LINKS:
                raise InvalidArgument(f"{path}: too many levels of symbolic links")
            target = str(Path(f"/{here}").readlink())
            self.link(here, target)
            real = [] if target.startswith("/") else real
            pending = [p for p in target.split("/") if p] + pending
        found = "/" + "/".join(real)
        status = _lstat(found, path)
        if not stat.S_ISREG(status.st_mode):
            raise InvalidArgument(f"{path} is not a regular file")
        self.copy(found[1:], found, 0o755 if status.st_mode & 0o111 else 0o644)
        return found

    def _has_children(self, path: str) -> bool:
        return any(other.startswith(f"{path}/") for other in self._entries)

    def _add(self, entry: Entry) -> None:
        there = self._entries.get(entry.path)
        if there is not None and there != entry:
            raise Internal(f"/{entry.path} would be two different things in the image")
        self.folder(entry.path.rpartition("/")[0])
        parent = self._entries.get(entry.path.rpartition("/")[0])
        if parent is not None and parent.kind is not Kind.FOLDER:
            raise Internal(f"/{entry.path}: /{parent.path} is not a folder in the image")
        self._entries[entry.path] = entry

    def make(self, root: Path) -> int:
        """Make the tree as a new folder `root`, durably; returns the bytes in its files.

        Raises OSError; what was made until then stays for the caller to discard.
        """
        root.mkdir(mode=0o755)
        root.chmod(0o755)
        entries = list(self)
        size = sum(_make(entry, root / entry.path) for entry in entries)
        # Afterwards, and from the inside out: adding a name changes its folder's times.
        for entry in reversed(entries):
            os.utime(root / entry.path, (0, 0), follow_symlinks=False)
        os.utime(root, (0, 0))
        for entry in entries:
            if entry.kind is Kind.FOLDER:
                sync_folder(root / entry.path)
        sync_folder(root)
        return size

    def pack(self, root: Path, output: BinaryIO) -> tuple[Digest, int]:
        """Write the folder made by `make` as a tar; its digest (the diff id) and its size."""
        hashing = _Hashing(output)
        with tarfile.TarFile(
            fileobj=hashing,  # type: ignore[arg-type] # write and tell are all it uses
            mode="w",
            format=tarfile.PAX_FORMAT,
        ) as tar:
            for entry in self:
                _pack(tar, entry, root / entry.path)
        return Digest("sha256", hashing.hash.hexdigest()), hashing.size


class _Hashing:
    """Passes bytes on, hashing and counting them."""

    def __init__(self, output: BinaryIO) -> None:
        self.output = output
        self.hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self.hash.update(data)
        self.size += len(data)
        self.output.write(data)
        return len(data)

    def tell(self) -> int:
        return self.size


def _lstat(path: str, wanted: str) -> os.stat_result:
    try:
        return os.lstat(path)
    except OSError as error:
        raise InvalidArgument(f"{wanted}: {error.strerror}") from None


def _make(entry: Entry, path: Path) -> int:
    if entry.kind is Kind.FOLDER:
        path.mkdir()
        path.chmod(entry.mode)
        return 0
    if entry.kind is Kind.LINK:
        path.symlink_to(entry.target)
        return 0
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(path, flags, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(entry.content)
        if entry.source:
            with os.fdopen(open_regular(entry.source), "rb") as source:
                while chunk := source.read(_CHUNK):
                    file.write(chunk)
        file.flush()
        os.fchmod(fd, entry.mode)
        os.fsync(fd)
        return os.fstat(fd).st_size


def _pack(tar: tarfile.TarFile, entry: Entry, path: Path) -> None:
    header = tarfile.TarInfo(entry.path)
    header.mode = entry.mode
    if entry.kind is Kind.FOLDER:
        header.type = tarfile.DIRTYPE
        tar.addfile(header)
    elif entry.kind is Kind.LINK:
        header.type, header.linkname = tarfile.SYMTYPE, entry.target
        tar.addfile(header)
    else:
        with path.open("rb") as file:
            header.size = os.fstat(file.fileno()).st_size
            tar.addfile(header, file)
