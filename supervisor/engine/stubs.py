"""Empty files and folders for a container's own mounts, where its image has nothing there.

Init would make them, through the overlay, at eight times the price and while somebody waits
for the start. Here they are made in the new upper itself, as overlayfs would have made them;
wherever the image is not as plain as most are, nothing is done and it is left to init.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

_FOLDER, _FILE = 0o755, 0o644


def make_stubs(upper: Path, lowers: Sequence[str], paths: Iterable[str]) -> None:
    """Make `paths` ("/proc", "/etc/hosts") in the empty upper, unless a lower has them.

    Those below a folder of the image are files, the others folders. `lowers` are the layers,
    top-most first.
    """
    parents: dict[str, bool] = {}
    for path in paths:
        parent, _, name = path.strip("/").rpartition("/")
        if any(os.path.lexists(f"{lower}/{path}") for lower in lowers):
            continue
        if not parent:
            _make_folder(upper / name)
        elif parents.setdefault(parent, False) or _make_parent(upper / parent, lowers, parent):
            parents[parent] = True
            fd = os.open(upper / parent / name, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE)
            os.fchmod(fd, _FILE)  # whatever the umask
            os.close(fd)
    for parent, made in parents.items():
        if made:
            _as_before(upper / parent, lowers, parent)


def _make_folder(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(_FOLDER)


def _make_parent(folder: Path, lowers: Sequence[str], name: str) -> bool:
    """The upper's own `name`, merged with the image's; False if that is no plain folder."""
    for lower in lowers:
        try:
            status = os.lstat(f"{lower}/{name}")
        except FileNotFoundError:
            continue
        if not stat.S_ISDIR(status.st_mode) or os.listxattr(f"{lower}/{name}"):
            return False
        _make_folder(folder)
        folder.chmod(stat.S_IMODE(status.st_mode))
        os.chown(folder, status.st_uid, status.st_gid)
        return True
    _make_folder(folder)
    return True


def _as_before(folder: Path, lowers: Sequence[str], name: str) -> None:
    """Give it the time of the image's: nothing that the container did has changed it."""
    for lower in lowers:
        try:
            status = os.lstat(f"{lower}/{name}")
        except FileNotFoundError:
            continue
        os.utime(folder, ns=(status.st_atime_ns, status.st_mtime_ns))
        return
