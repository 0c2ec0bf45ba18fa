"""The two ways to look at what a container sees: the kernel's own, and by its layers.

Both answer for one path without links: what is there, and which mount it is of. Links are
read here and followed by whoever asks (`supervisor.snapshot.resolve`).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from supervisor.errors import Conflict, InvalidArgument, KernelError
from supervisor.kernel.mounts import MountInfo, statfs_magic
from supervisor.kernel.paths import PROC_SUPER_MAGIC, RESOLVE_IN_ROOT, RESOLVE_NO_SYMLINKS, openat2
from supervisor.snapshot.ids import IDENTITY, IdMaps
from supervisor.snapshot.planned import Planned
from supervisor.snapshot.stack import Parts, Stack

_RESOLVE = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What is at a path. `status` None: nothing is, or with `unknown` that cannot be told yet.

    `mount` is the mount it is of, None for the container's root filesystem; `layer` the
    index of the layer it is from, where that is known. `magic` is a link that the kernel
    follows by itself (proc's): its text says nothing.
    """

    status: os.stat_result | None = None
    target: str = ""
    magic: bool = False
    mount: Mapping[str, Any] | None = None
    layer: int | None = None
    owner: tuple[int, int] | None = None
    unknown: bool = False

    @property
    def is_link(self) -> bool:
        """A link to be followed by its text."""
        return self.status is not None and stat.S_ISLNK(self.status.st_mode) and not self.magic

    @property
    def is_folder(self) -> bool:
        """A directory."""
        return self.status is not None and stat.S_ISDIR(self.status.st_mode)


class Tree(Protocol):
    """Looks at one path, of which all but the last part are folders."""

    def look(self, parts: Parts) -> Node:
        """What is there itself, no link followed."""


class LiveTree:
    """The tree of a running container, by a descriptor of its root and its mount table."""

    def __init__(
        self, root: int, table: Sequence[MountInfo], stack: Stack, ids: IdMaps = IDENTITY
    ) -> None:
        self._root = root
        self._stack = stack
        self._ids = ids
        self._mounts = {mount.mount_id: mount for mount in table}
        self._top = _mount_id(root)

    def look(self, parts: Parts) -> Node:
        """By openat2(2) inside the container's root."""
        fd = _open(self._root, parts)
        if fd < 0:
            return Node()
        try:
            return self._node(fd, parts)
        finally:
            os.close(fd)

    def _node(self, fd: int, parts: Parts) -> Node:
        status, mount = os.fstat(fd), _mount_id(fd)
        target, magic = _link(fd, status)
        of_root = mount == self._top
        shown = self._stack.shown(parts) if of_root else None
        return Node(
            status=status,
            target=target,
            magic=magic,
            mount=None if of_root else self._about(mount),
            layer=shown[0] if shown else None,
            owner=self._ids.inside(status.st_uid, status.st_gid),
        )

    def _about(self, mount: int) -> Mapping[str, Any]:
        entry = self._mounts.get(mount)
        if entry is None:  # made since, or out of PID 1's sight
            return {"id": mount}
        return {
            "id": mount,
            "destination": entry.mount_point,
            "type": entry.fstype,
            "source": entry.source,
            "root": entry.root,
            "options": list(entry.options),
        }


class RestingTree:
    """The tree of a container that does not run, or of an image: layers, and planned mounts."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.planned: list[Planned] = []

    def close(self) -> None:
        """Give the mounts' descriptors back."""
        for mount in self.planned:
            if mount.fd >= 0:
                os.close(mount.fd)
        self.planned.clear()

    def look(self, parts: Parts) -> Node:
        """In the last mount that covers the path, else in the layers."""
        mount = self._mount_of(parts)
        if mount is not None:
            return self._look_into(mount, parts)
        found = self._stack.shown(parts)
        if found is None:
            return Node(status=_MOUNT_POINT if self._leads_to_mount(parts) else None)
        layer, there = found
        return Node(status=there.status, target=there.target, layer=layer)

    def _mount_of(self, parts: Parts) -> Planned | None:
        covering = (m for m in reversed(self.planned) if parts[: len(m.parts)] == m.parts)
        return next(covering, None)

    def _leads_to_mount(self, parts: Parts) -> bool:
        return any(mount.parts[: len(parts)] == parts for mount in self.planned)

    def _look_into(self, mount: Planned, parts: Parts) -> Node:
        if mount.fd < 0:
            at_it = parts == mount.parts
            status = _MOUNT_POINT if at_it or self._leads_to_mount(parts) else None
            return Node(status=status, mount=mount.about, unknown=status is None)
        inside = parts[len(mount.parts) :]
        fd = _open(mount.fd, inside) if inside else os.dup(mount.fd)
        if fd < 0:
            return Node(
                status=_MOUNT_POINT if self._leads_to_mount(parts) else None, mount=mount.about
            )
        try:
            status = os.fstat(fd)
            target, magic = _link(fd, status)
            return Node(status=status, target=target, magic=magic, mount=mount.about)
        finally:
            os.close(fd)


_MOUNT_POINT = os.stat_result((stat.S_IFDIR | 0o755, 0, 0, 1, 0, 0, 0, 0, 0, 0))
"""A folder that init will make to mount on."""


def _open(root: int, parts: Parts) -> int:
    """An O_PATH descriptor of the path itself, -1 for nothing; no link is followed."""
    path = "/".join(parts) or "."
    try:
        return openat2(root, path, os.O_PATH | os.O_NOFOLLOW, resolve=_RESOLVE)
    except KernelError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return -1
        if error.errno == errno.ENAMETOOLONG:
            raise InvalidArgument(f"/{path[:80]}…: file name too long") from None
        if error.errno == errno.ELOOP:
            raise Conflict(f"/{path}: it was changed just now, ask again") from None
        raise


def _link(fd: int, status: os.stat_result) -> tuple[str, bool]:
    """A link's text, and whether it is one of proc, whose text means nothing to us."""
    if not stat.S_ISLNK(status.st_mode):
        return "", False
    if statfs_magic(fd) == PROC_SUPER_MAGIC:
        return "", True
    return os.readlink("", dir_fd=fd), False


def _mount_id(fd: int) -> int:
    """The id of the mount that a descriptor was opened through (proc_pid_fdinfo(5))."""
    with open(f"/proc/self/fdinfo/{fd}", "rb") as file:
        for line in file:
            name, _, value = line.partition(b":")
            if name == b"mnt_id":
                return int(value)
    raise AssertionError("every fdinfo has mnt_id")
