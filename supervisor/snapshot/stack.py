"""A stack of overlay layers, looked at one by one: what each has at a path, and what that does.

No overlay is mounted. Each layer is asked by descriptors alone, and the kernel is told to
follow no link (openat2, RESOLVE_NO_SYMLINKS): whoever asks has resolved them before. The
rules of merging are those of the kernel (Documentation/filesystems/overlayfs.rst): a
character device 0:0 deletes the name, a folder with trusted.overlay.opaque=y hides the
folders below it, and whatever is no folder hides all that lies below.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from supervisor.errors import InvalidArgument, KernelError
from supervisor.kernel.paths import (
    DIRECTORY,
    RESOLVE_BENEATH,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
    openat2,
)

Parts = tuple[str, ...]

ABSENT = "absent"
PRESENT = "present"
WHITEOUT = "whiteout"
BLOCKED = "blocked"

MAX_LOOKUPS = 200_000
_RESOLVE = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV
_OPAQUE = "trusted.overlay.opaque"
_ORIGIN = "trusted.overlay.origin"
_KINDS = {
    stat.S_IFDIR: "directory",
    stat.S_IFREG: "file",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one layer has at a path.

    state   present; absent; whiteout (the layer deletes it, at the path or above); blocked
            (something that is no folder stands on the way)
    depth   how many names of the path lead to what decides: the path itself, or above it
    opaque  the depth of the first folder on the way (or at it) that hides the layers below;
            0 for none
    """

    state: str
    depth: int = 0
    opaque: int = 0
    status: os.stat_result | None = None
    target: str = ""
    origin: bool = False

    @property
    def is_folder(self) -> bool:
        """A directory is there."""
        return self.status is not None and stat.S_ISDIR(self.status.st_mode)

    @property
    def is_link(self) -> bool:
        """A symbolic link is there; `target` is its text."""
        return self.status is not None and stat.S_ISLNK(self.status.st_mode)

    @property
    def cuts(self) -> int:
        """The depth at which this layer hides those below it; 0 where it does not."""
        if self.opaque:
            return self.opaque
        return 0 if self.state == ABSENT or self.is_folder else self.depth


_NOTHING = Found(state=ABSENT)


class Stack:
    """Layers, top-most first, opened by their folders' paths. Close it.

    Not `overlay`: one plain folder, in which a device 0:0 is a device.
    """

    def __init__(self, folders: Sequence[str], *, overlay: bool = True) -> None:
        self._overlay = overlay
        self._lookups = 0
        self._known: dict[tuple[int, Parts], Found] = {}
        self._fds: list[int] = []
        try:
            for folder in folders:
                self._fds.append(os.open(folder, DIRECTORY))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the descriptors back."""
        while self._fds:
            os.close(self._fds.pop())

    def __len__(self) -> int:
        return len(self._fds)

    def column(self, parts: Parts) -> list[Found]:
        """What each layer has at the path `parts`, top-most first."""
        for depth in range(len(parts)):  # each level stands on the one above it
            for layer in range(len(self._fds)):
                self._look(layer, parts[:depth])
        return [self._look(layer, parts) for layer in range(len(self._fds))]

    def shown(self, parts: Parts) -> tuple[int, Found] | None:
        """The layer and what of it an overlay shows at the path; None where it shows nothing."""
        for layer, found in enumerate(self.column(parts)):
            if found.state == PRESENT:
                return layer, found
            if found.cuts:
                return None
        return None

    def _look(self, layer: int, parts: Parts) -> Found:
        known = self._known.get((layer, parts))
        if known is None:
            known = self._known[layer, parts] = self._look_anew(layer, parts)
        return known

    def _look_anew(self, layer: int, parts: Parts) -> Found:
        if not parts:
            # That the root of a layer is marked opaque means nothing to the kernel.
            return Found(state=PRESENT, status=os.fstat(self._fds[layer]))
        above = self._look(layer, parts[:-1])
        if above.state != PRESENT:
            return above if above.opaque or above.cuts else _NOTHING
        if not above.is_folder:
            return Found(state=BLOCKED, depth=len(parts) - 1, opaque=above.opaque)
        self._lookups += 1
        if self._lookups > MAX_LOOKUPS:
            raise InvalidArgument("the path takes too many steps to follow")
        fd = self._open(layer, parts)
        if fd < 0:
            return Found(state=ABSENT, opaque=above.opaque)
        try:
            return self._describe(fd, len(parts), above.opaque)
        finally:
            os.close(fd)

    def _open(self, layer: int, parts: Parts) -> int:
        """An O_PATH descriptor of what is there itself, -1 for nothing."""
        path = "/".join(parts)
        try:
            return openat2(self._fds[layer], path, os.O_PATH | os.O_NOFOLLOW, resolve=_RESOLVE)
        except KernelError as error:
            if error.errno == errno.ENOENT:
                return -1
            if error.errno == errno.ENAMETOOLONG:
                raise InvalidArgument(f"/{path[:80]}…: file name too long") from None
            raise

    def _describe(self, fd: int, depth: int, opaque: int) -> Found:
        status = os.fstat(fd)
        if self._overlay and stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
            return Found(state=WHITEOUT, depth=depth, opaque=opaque)
        folder = stat.S_ISDIR(status.st_mode)
        if self._overlay and folder and not opaque and _xattr(fd, _OPAQUE) == b"y":
            opaque = depth
        return Found(
            state=PRESENT,
            depth=depth,
            opaque=opaque,
            status=status,
            target=os.readlink("", dir_fd=fd) if stat.S_ISLNK(status.st_mode) else "",
            origin=self._overlay and _xattr(fd, _ORIGIN) is not None,
        )


def kind(status: os.stat_result) -> str:
    """What sort of file it is, in words."""
    return _KINDS.get(stat.S_IFMT(status.st_mode), "unknown")


def describe(status: os.stat_result, owner: tuple[int, int] | None = None) -> dict[str, Any]:
    """A file's figures for JSON: size in bytes, mode bits, owner, time in ns."""
    uid, gid = owner or (status.st_uid, status.st_gid)
    return {
        "kind": kind(status),
        "size": status.st_size,
        "mode": stat.S_IMODE(status.st_mode),
        "uid": uid,
        "gid": gid,
        "mtime": status.st_mtime_ns,
    }


def _xattr(fd: int, name: str) -> bytes | None:
    # An O_PATH descriptor gives attributes by this path only, and it leads to the very file.
    try:
        return os.getxattr(f"/proc/self/fd/{fd}", name)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return None
        raise
