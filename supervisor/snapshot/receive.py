"""Operation "receive_archive": an archive of images as it comes in, into files with digests.

The names in the archive are only told; the files are numbered. What is called
blobs/sha256/HEX must be that, and is passed over where the store has it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any

from supervisor.errors import InvalidArgument
from supervisor.oci.archive_names import (
    REPOSITORIES,
    blob_name,
    digest_of_name,
    link_target,
    normal_name,
)
from supervisor.oci.digest import Digest
from supervisor.oci.tar import Data, Entry, Limits, TarReader, Type
from supervisor.snapshot.decompress import Source, decompressed, kind
from supervisor.snapshot.operations import Tell
from supervisor.snapshot.plain import unless_bomb
from supervisor.snapshot.tar_pieces import write_all

LIMITS = Limits(entries=10_000, path=1024)
KNOWN = -1
"""The number of a file that the store has as a blob already."""

# docker's description of single layers from before 2016, which nothing reads any more.
_IGNORED = frozenset({"VERSION", "json", REPOSITORIES})


def run(arguments: dict[str, Any], fds: Mapping[str, int], tell: Tell) -> dict[str, Any]:
    """Take the archive on the fd `input`, compressed or not, into the new folder `folder`.

    `blobs` is the store's folder of blobs, which must all stay meanwhile. Gives `files`:
    [[name, number, digest, size], …], durable, and `links`: [[name, target], …]. Raises
    InvalidArgument for what is no archive of images.
    """
    receiver = _Receiver(arguments["folder"], arguments["blobs"])
    source = Source(fds["input"])
    reader = TarReader(LIMITS)
    try:
        os.mkdir(receiver.folder, 0o700)
        for part in unless_bomb(source, decompressed(source, kind(source.peek()))):
            for event in reader.feed(part):
                receiver.take(event)
            if reader.ended:
                break
        reader.close()
        receiver.finish_file()
    finally:
        receiver.close()
    if not reader.entries:
        raise InvalidArgument("invalid image archive: it is empty")
    while source.read():  # what follows the end mark: whoever sends it must not be cut off
        pass
    return {"files": list(receiver.files.values()), "links": list(receiver.links.items())}


class _Receiver:
    """Writes the content of files to numbered ones, hashing it."""

    def __init__(self, folder: str, blobs: str) -> None:
        self.folder = folder
        self.blobs = blobs
        self.files: dict[str, tuple[str, int, str, int]] = {}
        self.links: dict[str, str] = {}
        self._count = 0
        self._name = ""
        self._expected: Digest | None = None
        self._size = 0
        self._hash = hashlib.sha256()
        self._fd = -1

    def take(self, event: object) -> None:
        """Do what one event of the tar says."""
        if isinstance(event, Entry):
            self.finish_file()
            self._begin(event)
        elif isinstance(event, Data) and self._fd >= 0:
            self._hash.update(event.data)
            write_all(self._fd, event.data)

    def _begin(self, entry: Entry) -> None:
        name = normal_name(entry.path)
        if entry.type is Type.FOLDER:
            return
        self.files.pop(name, None)
        self.links.pop(name, None)
        if entry.type is Type.SYMLINK:
            self.links[name] = link_target(name, entry.link)
        elif entry.type is Type.HARDLINK:
            self.links[name] = normal_name(entry.link)
        elif entry.type is Type.FILE:
            self._begin_file(name, entry.size)
        else:
            raise InvalidArgument(f"invalid image archive: {name!r:.200} is a device or a pipe")

    def _begin_file(self, name: str, size: int) -> None:
        digest = digest_of_name(name)
        if digest is not None and self._is_known(digest, size):
            self.files[name] = (name, KNOWN, str(digest), size)
            return
        if name.rpartition("/")[2] in _IGNORED:
            return
        self._name, self._expected, self._size = name, digest, size
        self._hash = hashlib.new(digest.algorithm if digest else "sha256")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._fd = os.open(f"{self.folder}/{self._count}", flags, 0o600)

    def _is_known(self, digest: Digest, size: int) -> bool:
        path = f"{self.blobs}/{blob_name(digest).partition('/')[2]}"
        return os.path.isfile(path) and os.path.getsize(path) == size

    def finish_file(self) -> None:
        """Make the file that was being written durable and known."""
        if self._fd < 0:
            return
        os.fsync(self._fd)
        self.close()
        found = Digest(self._hash.name, self._hash.hexdigest())
        if self._expected not in (None, found):
            raise InvalidArgument(f"invalid image archive: {self._name} has the digest {found}")
        self.files[self._name] = (self._name, self._count, str(found), self._size)
        self._count += 1

    def close(self) -> None:
        """Close what is open."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)
