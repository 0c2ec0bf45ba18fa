"""Making what has no content: links, devices, FIFOs; from the descriptor of their folder."""

from __future__ import annotations

import os
import stat

from supervisor.oci.layer import kept_xattrs
from supervisor.oci.tar import Entry, Type
from supervisor.snapshot.folders import set_xattr

SET_ID = 0o6000


def symlink(folder_fd: int, name: str, entry: Entry) -> None:
    """Make a symlink."""
    os.symlink(entry.link, name, dir_fd=folder_fd)
    _set_attributes(folder_fd, name, entry)


def device(folder_fd: int, name: str, entry: Entry) -> None:
    """Make a device node."""
    kind = stat.S_IFCHR if entry.type is Type.CHAR else stat.S_IFBLK
    number = os.makedev(entry.devmajor, entry.devminor)
    os.mknod(name, kind | entry.mode, number, dir_fd=folder_fd)
    _set_attributes(folder_fd, name, entry)


def fifo(folder_fd: int, name: str, entry: Entry) -> None:
    """Make a FIFO."""
    os.mkfifo(name, entry.mode, dir_fd=folder_fd)
    _set_attributes(folder_fd, name, entry)


def _set_attributes(folder_fd: int, name: str, entry: Entry) -> None:
    """Owner, attributes and time of what cannot be opened."""
    if entry.uid or entry.gid:
        os.chown(name, entry.uid, entry.gid, dir_fd=folder_fd, follow_symlinks=False)
    if entry.mode & SET_ID and entry.type is not Type.SYMLINK:
        os.chmod(name, entry.mode, dir_fd=folder_fd)  # it is what we have just made: no link
    if entry.xattrs:
        os.fchdir(folder_fd)  # there is no setxattrat before Linux 6.13
        for key, value in kept_xattrs(entry.xattrs):
            set_xattr(name, key, value)
    set_times(folder_fd, name, entry.mtime)


def set_times(folder_fd: int, name: str, mtime: int) -> None:
    """Set the time of a name itself."""
    os.utime(name, ns=(mtime, mtime), dir_fd=folder_fd, follow_symlinks=False)


def hard_link(from_fd: int, name: str, to_fd: int, new_name: str) -> None:
    """Make a further name for what `name` itself is."""
    os.link(name, new_name, src_dir_fd=from_fd, dst_dir_fd=to_fd, follow_symlinks=False)
