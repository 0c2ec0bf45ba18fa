"""Making files of a layer's entries, in a folder that nobody else writes to.

Every call names one part of a path, from the descriptor of its folder, and follows no link:
what is made is in the folder that `Folders` leads to, whatever the entries before have made.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from supervisor.errors import InvalidArgument, Unavailable
from supervisor.kernel.paths import DIRECTORY, open_in_root
from supervisor.oci.layer import Action, Step, decide, kept_xattrs
from supervisor.oci.tar import Data, Entry, Event, Type
from supervisor.snapshot.folders import Folders, is_whiteout, set_xattr
from supervisor.snapshot.nodes import SET_ID, device, fifo, hard_link, set_times, symlink
from supervisor.snapshot.remove import remove

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FULL = (errno.ENOSPC, errno.EDQUOT)
# The kernel's way of saying that an entry asks for what cannot be.
_REFUSED = (
    errno.EEXIST,
    errno.EINVAL,
    errno.EISDIR,
    errno.ELOOP,
    errno.EMLINK,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EOVERFLOW,
    errno.EPERM,
    errno.ERANGE,
    errno.E2BIG,
)
_CHECK_SPACE_EVERY = 8 << 20  # bytes of files


class LayerWriter:
    """Unpacks events of one archive below `root_fd`. umask must be 0."""

    def __init__(self, root_fd: int) -> None:
        self._root_fd = root_fd
        self._folders = Folders(root_fd)
        self._entry = Entry("")  # the file that is being written
        self._fd = -1
        self._left = 0  # bytes of it still to come
        self._promised = 0  # bytes of files since the free space was looked at
        self._make: dict[Type, Callable[[int, str, Entry], None]] = {
            Type.FILE: self._file,
            Type.SYMLINK: symlink,
            Type.CHAR: device,
            Type.BLOCK: device,
            Type.FIFO: fifo,
        }

    def handle(self, events: list[Event]) -> None:
        """Make what the events say; raises InvalidArgument, Unavailable, OSError."""
        for event in events:
            if type(event) is Data:
                self._write(event.data)
            elif type(event) is Entry:
                self._begin(event)

    def close(self) -> None:
        """Set the last folders' times; the archive is complete."""
        try:
            self._folders.close()
        except OSError as error:
            raise refused(error, "/") from error

    def _begin(self, entry: Entry) -> None:
        try:
            step = decide(entry)
            if step.action is Action.WRITE:
                self._write_entry(step, entry)
            else:
                self._mark(step, entry)
                self._left = entry.size  # of no meaning: passed over
        except OSError as error:
            raise refused(error, entry.path) from error

    def _write_entry(self, step: Step, entry: Entry) -> None:
        if entry.type is Type.FOLDER:
            self._folders.make(step.parent, step.name, entry)
            return
        folder_fd = self._folders.enter(step.parent)
        if entry.type is Type.HARDLINK:
            self._link(folder_fd, step)
            return
        make = self._make[entry.type]
        try:
            make(folder_fd, step.name, entry)
        except FileExistsError:
            remove(folder_fd, step.name)
            make(folder_fd, step.name, entry)

    def _file(self, folder_fd: int, name: str, entry: Entry) -> None:
        self._promised += entry.size
        if self._promised > _CHECK_SPACE_EVERY:
            self._check_space(entry)
        self._fd = os.open(name, _NEW_FILE, entry.mode, dir_fd=folder_fd)
        self._entry = entry
        self._left = entry.size
        if not entry.size:
            self._finish()

    def _check_space(self, entry: Entry) -> None:
        space = os.fstatvfs(self._root_fd)
        free = space.f_bavail * space.f_frsize
        if self._promised > free:
            raise Unavailable(
                f"no space left on device: {entry.path!r:.200} has {entry.size} bytes, "
                f"and {free} are free"
            )
        self._promised = 0

    def _write(self, data: bytes | memoryview) -> None:
        self._left -= len(data)
        if self._fd < 0:
            return
        try:
            written = os.write(self._fd, data)
            while written < len(data):
                written += os.write(self._fd, data[written:])
            if not self._left:
                self._finish()
        except OSError as error:
            raise refused(error, self._entry.path) from error

    def _finish(self) -> None:
        """Set owner, mode, attributes and time, in the order in which none undoes another.

        chown takes set-id bits and writing takes security.capability away.
        """
        fd, entry = self._fd, self._entry
        if entry.uid or entry.gid:
            os.fchown(fd, entry.uid, entry.gid)
        if entry.mode & SET_ID:
            os.fchmod(fd, entry.mode)
        if entry.xattrs:
            for name, value in kept_xattrs(entry.xattrs):
                set_xattr(fd, name, value)
        os.utime(fd, ns=(entry.mtime, entry.mtime))
        os.close(fd)
        self._fd = -1

    def _link(self, folder_fd: int, step: Step) -> None:
        """Another name for a file of this layer; of the link itself where that is one."""
        parent, _, name = step.link.rpartition("/")
        try:
            found = open_in_root(self._root_fd, parent or ".", DIRECTORY)
        except OSError as error:
            raise _no_link(step) from error
        try:
            status = os.stat(name, dir_fd=found, follow_symlinks=False)
            if is_whiteout(status) or stat.S_ISDIR(status.st_mode):
                raise _no_link(step)
            if (parent, name) == (step.parent, step.name):
                raise InvalidArgument(f"invalid layer: {step.link!r:.200} is a link to itself")
            try:
                hard_link(found, name, folder_fd, step.name)
            except FileExistsError:
                remove(folder_fd, step.name)
                hard_link(found, name, folder_fd, step.name)
        except FileNotFoundError:
            raise _no_link(step) from None
        finally:
            os.close(found)

    def _mark(self, step: Step, entry: Entry) -> None:
        """Hide what lower layers have. What this very layer has is not hidden by it."""
        if step.action is Action.SKIP:
            return
        folder_fd = self._folders.enter(step.parent)
        if step.action is Action.OPAQUE:
            self._folders.current.opaque = True
            return
        try:
            os.mknod(step.name, stat.S_IFCHR, 0, dir_fd=folder_fd)
        except FileExistsError:
            status = os.stat(step.name, dir_fd=folder_fd, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                path = f"{step.parent}/{step.name}" if step.parent else step.name
                self._folders.enter(path)
                self._folders.current.opaque = True
        else:
            set_times(folder_fd, step.name, entry.mtime)


def refused(error: OSError, path: str) -> Exception:
    """The error for an entry that the kernel did not make."""
    if error.errno in _FULL:
        return Unavailable(f"no space left on device: {path!r:.200}")
    if error.errno in _REFUSED:
        return InvalidArgument(f"invalid layer: {path!r:.200}: {error.strerror}")
    return error


def _no_link(step: Step) -> InvalidArgument:
    return InvalidArgument(
        f"invalid layer: a hard link to {step.link!r:.200}, which is no file of this layer"
    )
