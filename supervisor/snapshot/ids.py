"""Owners as a container sees them, and as the host does: user_namespaces(7)."""

from __future__ import annotations

import os
from collections.abc import Sequence

from supervisor.errors import InvalidArgument

_ALL = (1 << 32) - 1
OVERFLOW = 65534
"""What the kernel shows for an owner without a mapping."""

Extent = tuple[int, int, int]
"""First id inside, first id outside, count: a line of /proc/PID/uid_map."""


class IdMaps:
    """The uid and gid map of a container's user namespace."""

    def __init__(self, uids: Sequence[Extent], gids: Sequence[Extent]) -> None:
        self.uids = tuple(uids)
        self.gids = tuple(gids)
        self.identity = all(extents == ((0, 0, _ALL),) for extents in (self.uids, self.gids))

    def inside(self, uid: int, gid: int) -> tuple[int, int]:
        """The owner as the container sees it; 65534 for what it does not know."""
        if self.identity:
            return uid, gid
        return _inside(self.uids, uid), _inside(self.gids, gid)

    def outside(self, uid: int, gid: int) -> tuple[int, int]:
        """The owner on the host; InvalidArgument for one that the container cannot have."""
        if self.identity:
            return uid, gid
        return _outside(self.uids, uid, "uid"), _outside(self.gids, gid, "gid")


IDENTITY = IdMaps([(0, 0, _ALL)], [(0, 0, _ALL)])


def read_maps(pid: int) -> IdMaps:
    """Those of a process; raises OSError when it is gone."""
    return IdMaps(_read(f"/proc/{pid}/uid_map"), _read(f"/proc/{pid}/gid_map"))


def _read(path: str) -> list[Extent]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        lines = os.read(fd, 1 << 16).splitlines()  # at most 340 lines (user_namespaces(7))
    finally:
        os.close(fd)
    extents: list[Extent] = []
    for line in lines:
        inside, outside, count = map(int, line.split())
        extents.append((inside, outside, count))
    return extents


def _inside(extents: Sequence[Extent], id: int) -> int:
    for inside, outside, count in extents:
        if outside <= id < outside + count:
            return inside + id - outside
    return OVERFLOW


def _outside(extents: Sequence[Extent], id: int, what: str) -> int:
    for inside, outside, count in extents:
        if inside <= id < inside + count:
            return outside + id - inside
    raise InvalidArgument(f"{what} {id} does not exist in the container's user namespace")
