"""The writable layer of a new container, with empty files and folders for its own mounts.

Where the image has nothing at /proc or /etc/hosts, init would make it, through the overlay, at
eight times the price and while somebody waits for the start. Here it is made in the new upper
itself, as overlayfs would have made it; wherever the image is not as plain as most are, nothing
is done and it is left to init.

What there is to make is found out once for each stack of layers: they never change.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from functools import lru_cache

import msgspec

_FOLDER, _FILE = 0o755, 0o644
# Bits of a mode that mkdir(2) may leave out, with umask 022 as the daemon has it.
_TAKEN = 0o7777 & ~0o755


class Folder(msgspec.Struct, frozen=True):
    """A folder as the image has it: its owner and mode. `times` (ns) are those of its last
    access and change, () where it is new."""

    mode: int = _FOLDER
    uid: int = 0
    gid: int = 0
    times: tuple[int, ...] = ()


class Stubs(msgspec.Struct, frozen=True):
    """What is to be made: the upper like `root`, `folders` in it, and folders of the image with
    empty files in them, by name."""

    root: Folder
    folders: tuple[str, ...]
    files: tuple[tuple[str, Folder, tuple[str, ...]], ...]


def plan_stubs(lowers: Sequence[str], paths: Iterable[str]) -> Stubs:
    """The stubs for `paths` ("/proc", "/etc/hosts") that no lower has.

    Those below a folder of the image are files, the others folders. `lowers` are the layers,
    top-most first.
    """
    folders: list[str] = []
    files: dict[str, list[str]] = {}
    parents: dict[str, Folder | None] = {}
    for path in paths:
        parent, _, name = path.strip("/").rpartition("/")
        if any(os.path.lexists(f"{lower}/{path}") for lower in lowers):
            continue
        if not parent:
            folders.append(name)
            continue
        if parent not in parents:
            parents[parent] = _of_image(lowers, parent)
        if parents[parent] is not None:
            files.setdefault(parent, []).append(name)
    status = os.stat(lowers[0])
    return Stubs(
        root=Folder(stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid),
        folders=tuple(folders),
        files=tuple(
            (parent, folder, tuple(files[parent]))
            for parent, folder in parents.items()
            if folder is not None
        ),
    )


layers_stubs = lru_cache(maxsize=64)(plan_stubs)
"""`plan_stubs` for layers of images and a tuple of paths."""


def make_upper(upper: str, stubs: Stubs) -> None:
    """Make the upper with what is planned in it."""
    _make_folder(upper, stubs.root)
    for name in stubs.folders:
        os.mkdir(f"{upper}/{name}", _FOLDER)
    for parent, folder, names in stubs.files:
        _make_folder(f"{upper}/{parent}", folder)
        for name in names:
            os.mknod(f"{upper}/{parent}/{name}", stat.S_IFREG | _FILE)
        if folder.times:  # nothing that the container did has changed it
            accessed, changed = folder.times
            os.utime(f"{upper}/{parent}", ns=(accessed, changed))


def _make_folder(path: str, like: Folder) -> None:
    os.mkdir(path, like.mode)
    os.chown(path, like.uid, like.gid)
    if like.mode & _TAKEN:
        os.chmod(path, like.mode)


def _of_image(lowers: Sequence[str], name: str) -> Folder | None:
    """The image's own `name`, or a new one; None if that is no plain folder."""
    for lower in lowers:
        try:
            status = os.lstat(f"{lower}/{name}")
        except FileNotFoundError:
            continue
        if not stat.S_ISDIR(status.st_mode) or os.listxattr(f"{lower}/{name}"):
            return None
        times = (status.st_atime_ns, status.st_mtime_ns)
        return Folder(stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, times)
    return Folder()
