"""The folders that an archive is being unpacked into: a chain of open descriptors.

Entries come folder by folder, so the chain from the root to the current folder is nearly
always the way to the next entry, one open and no path to resolve. A folder's owner, mode,
attributes and time are set when it is left: adding a name changes its time, and a set-group-id
bit or default ACL would be inherited by what is made in it. One that is entered again keeps
the time it has got, and what would be inherited is taken off it as long. So no list of all
folders is needed, however many there are.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence

from supervisor.errors import InvalidArgument, Unavailable
from supervisor.kernel.paths import make_dirs_in_root
from supervisor.oci.layer import kept_xattrs
from supervisor.oci.tar import Entry
from supervisor.snapshot.entering import FOLDER
from supervisor.snapshot.remove import remove

OPAQUE_XATTR = "trusted.overlay.opaque"
DEFAULT_ACL = "system.posix_acl_default"
_IMPLIED_MODE = 0o755  # of a folder that no entry describes


class Folder:
    """An open folder and what is to be set on it when it is left; None: nothing."""

    __slots__ = ("fd", "mode", "mtime", "name", "opaque", "owner", "xattrs")

    def __init__(self, fd: int, name: str) -> None:
        self.fd = fd
        self.name = name
        self.owner: tuple[int, int] | None = None
        self.mode: int | None = None
        self.mtime: int | None = None
        self.xattrs: Sequence[tuple[str, bytes]] = ()
        self.opaque = False

    def leave(self) -> None:
        """Set what is to be set, and close."""
        if self.owner is not None:
            os.fchown(self.fd, *self.owner)
        if self.mode is not None:
            os.fchmod(self.fd, self.mode)
        for name, value in self.xattrs:
            set_xattr(self.fd, name, value)
        if self.opaque:
            os.setxattr(self.fd, OPAQUE_XATTR, b"y")
        if self.mtime is not None:
            os.utime(self.fd, ns=(self.mtime, self.mtime))
        os.close(self.fd)


class Folders:
    """The chain from the root to the current folder."""

    def __init__(self, root_fd: int) -> None:
        self._root_fd = root_fd
        self._chain = [Folder(os.dup(root_fd), "")]
        self._path = ""

    def enter(self, path: str) -> int:
        """Make the folder at the clean `path` the current one; its descriptor.

        Missing folders are made. Links on the way are followed inside the root. Raises
        InvalidArgument where something else than a folder is in the way.
        """
        if path == self._path:
            return self._chain[-1].fd
        parts = path.split("/") if path else []
        self._back(parts)
        for number in range(len(self._chain) - 1, len(parts)):
            self._step(parts[number], "/".join(parts[: number + 1]))
        self._path = path
        return self._chain[-1].fd

    @property
    def current(self) -> Folder:
        """The folder last entered or made."""
        return self._chain[-1]

    def make(self, parent: str, name: str, entry: Entry) -> None:
        """Make the folder of an entry, which may be there already, the current one."""
        if name:
            folder = self._make(self.enter(parent), name, entry)
            self._chain.append(folder)
            self._path = f"{parent}/{name}" if parent else name
        else:
            self.enter("")
            folder = self._chain[0]
            folder.owner, folder.mode = (entry.uid, entry.gid), entry.mode
        folder.mtime = entry.mtime
        if entry.xattrs:
            folder.xattrs = [*folder.xattrs, *kept_xattrs(entry.xattrs)]

    def _make(self, parent_fd: int, name: str, entry: Entry) -> Folder:
        # One that belongs to somebody else or has a set-id bit is root's alone until it is left.
        final = not (entry.uid or entry.gid or entry.mode & 0o6000)
        try:
            os.mkdir(name, entry.mode if final else 0o700, dir_fd=parent_fd)
        except FileExistsError:
            folder, final = self._reopen(parent_fd, name), False
        else:
            folder = Folder(os.open(name, FOLDER, dir_fd=parent_fd), name)
        if not final:
            folder.owner, folder.mode = (entry.uid, entry.gid), entry.mode
        return folder

    def close(self) -> None:
        """Leave all folders."""
        self._back([])
        self._chain.pop().leave()

    def _back(self, parts: list[str]) -> None:
        """Leave folders until those that remain are the beginning of `parts`."""
        keep = 0
        chain = self._chain
        for folder, part in zip(chain[1:], parts, strict=False):
            if folder.name != part:
                break
            keep += 1
        while len(chain) > keep + 1:
            chain.pop().leave()

    def _step(self, name: str, path: str) -> None:
        """Go from the current folder into `name`, which is `path` from the root."""
        parent_fd = self._chain[-1].fd
        try:
            fd = os.open(name, FOLDER, dir_fd=parent_fd)
        except FileNotFoundError:
            os.mkdir(name, _IMPLIED_MODE, dir_fd=parent_fd)
            self._chain.append(Folder(os.open(name, FOLDER, dir_fd=parent_fd), name))
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            self._chain.append(self._around(parent_fd, name, path))
        else:
            self._chain.append(_entered_again(fd, name))

    def _around(self, parent_fd: int, name: str, path: str) -> Folder:
        """What is at `path` instead of a folder: a link to one, or a whiteout to replace."""
        status = os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
        if is_whiteout(status):
            folder = self._reopen(parent_fd, name)
            folder.mode = _IMPLIED_MODE
            return folder
        if not stat.S_ISLNK(status.st_mode):
            raise InvalidArgument(f"invalid layer: {path!r:.200} is not a folder")
        found = make_dirs_in_root(self._root_fd, path)
        try:
            return _entered_again(os.open(".", FOLDER, dir_fd=found), name)
        finally:
            os.close(found)

    def _reopen(self, parent_fd: int, name: str) -> Folder:
        """The folder `name`, where something is: it itself if it is one, else a new one.

        One in the place of a whiteout is opaque: what lower layers have there stays hidden.
        """
        status = os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            return _entered_again(os.open(name, FOLDER, dir_fd=parent_fd), name)
        remove(parent_fd, name)
        os.mkdir(name, 0o700, dir_fd=parent_fd)
        folder = Folder(os.open(name, FOLDER, dir_fd=parent_fd), name)
        folder.opaque = is_whiteout(status)
        return folder


def is_whiteout(status: os.stat_result) -> bool:
    """Overlayfs' mark for a deleted name: a character device 0:0."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def set_xattr(target: int | str, name: str, value: bytes) -> None:
    """Set an extended attribute; one that the filesystem does not have is left out.

    As docker has it: a layer may come from a host with other security modules.
    """
    try:
        os.setxattr(target, name, value, follow_symlinks=isinstance(target, int))
    except OSError as error:
        if error.errno == errno.ENOSPC:  # of the disk, or of the block that attributes share
            raise Unavailable(f"no space left for the attribute {name!r:.80} of a file") from error
        if error.errno not in (errno.ENOTSUP, errno.EPERM):
            raise


def _entered_again(fd: int, name: str) -> Folder:
    folder = Folder(fd, name)
    status = os.fstat(fd)
    folder.mtime = status.st_mtime_ns
    if status.st_mode & stat.S_ISGID:
        folder.mode = stat.S_IMODE(status.st_mode)
        os.fchmod(fd, folder.mode & ~stat.S_ISGID)
    acl = default_acl(fd)
    if acl is not None:
        folder.xattrs = ((DEFAULT_ACL, acl),)
        os.removexattr(fd, DEFAULT_ACL)
    return folder


def default_acl(fd: int) -> bytes | None:
    """The ACL that what is made in a folder would inherit."""
    try:
        return os.getxattr(fd, DEFAULT_ACL)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return None
        raise
