"""A tar's entries made into files below a folder: into a container, or onto the host.

Every name is made in a folder that was opened by the kernel inside the boundaries (`Place`),
without following what stands at that name. A file is written aside and appears whole, or not
at all, where the filesystem can do that (O_TMPFILE).
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from supervisor.errors import InvalidArgument, KernelError
from supervisor.oci.tar import Data, End, Entry, Event, Type
from supervisor.snapshot import file_caps
from supervisor.snapshot.entering import FOLDER, lstat
from supervisor.snapshot.ids import IDENTITY, IdMaps
from supervisor.snapshot.remove import remove
from supervisor.snapshot.tar_pieces import write_all
from supervisor.snapshot.tar_places import Place

_ATTEMPTS = 8  # to replace a name that somebody else keeps making anew
_LATEST = (1 << 63) // 10**9 * 10**9 - 1  # ns: past this a time overflows on its way
_NODES = {Type.CHAR: stat.S_IFCHR, Type.BLOCK: stat.S_IFBLK, Type.FIFO: stat.S_IFIFO}
_NO_TMPFILE = (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL)

Owner = Callable[[Entry], tuple[int, int] | None]
"""The owner of what an entry makes, on the host; None leaves it to who makes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What may be made, and whose it is.

    `keep_types` refuses a folder in place of something else and the reverse; without
    `devices` device nodes are left out (`Extraction.left_out`), without `set_ids` the
    set-user-id and set-group-id bits and capabilities of files.
    """

    owner: Owner
    ids: IdMaps = IDENTITY
    keep_types: bool = True
    devices: bool = True
    set_ids: bool = True


class Extraction:
    """Takes the events of one `TarReader`. `finish` at the end, `abandon` after an error."""

    def __init__(self, place: Place, rules: Rules) -> None:
        self._place = place
        self._rules = rules
        self._parent = ("", place.folder(""))
        self.left_out = 0
        self._file: _File | None = None
        self._times: list[tuple[str, int]] = []  # of folders: set when nothing more goes in

    def take(self, event: Event) -> None:
        """Make what an event says; raises InvalidArgument, OSError."""
        match event:
            case Data(data):
                assert self._file is not None
                self._file.write(data)
            case Entry():
                self._begin(event)
            case End():
                pass

    def finish(self) -> None:
        """Everything was taken: what remains is the folders' times."""
        for path, mtime in reversed(self._times):
            with suppress(OSError, KernelError):  # gone or replaced by now
                folder = self._place.existing(path)
                try:
                    _set_time(folder, mtime)
                finally:
                    os.close(folder)
        self.abandon()

    def abandon(self) -> None:
        """Let go of everything; a file that is not complete never was."""
        if self._file is not None:
            self._file.abandon()
            self._file = None
        if self._parent[1] >= 0:
            os.close(self._parent[1])
            self._parent = ("", -1)

    def file_done(self) -> None:
        """The file that was being written is complete."""
        self._file = None

    def _begin(self, entry: Entry) -> None:
        path = clean(entry.path)
        if path == ".":  # the top itself stays as it is; anything else cannot take its place
            if entry.type is not Type.FOLDER:
                raise InvalidArgument(
                    f'cannot overwrite directory "{self._place.name}" with non-directory'
                )
            return
        if entry.type in (Type.CHAR, Type.BLOCK) and not self._rules.devices:
            self.left_out += 1
            return
        folder, _, name = path.rpartition("/")
        parent = self._open(folder)
        there = lstat(parent, name)
        if there is not None:
            self._check_types(entry, path, there)
        match entry.type:
            case Type.FILE:
                self._file = _File(self, entry, parent, name)
                if not entry.size:
                    self._file.complete()
            case Type.FOLDER:
                self._make_folder(entry, parent, name, path)
            case Type.HARDLINK:
                self._make_link(entry, parent, name)
            case Type.SYMLINK:
                if not entry.link:
                    raise InvalidArgument(f"{entry.path} is a link to nothing")
                self.replace(parent, name, lambda: os.symlink(entry.link, name, dir_fd=parent))
                self._dress(entry, parent, name)
            case _:
                self._make_node(entry, parent, name)

    def _open(self, path: str) -> int:
        """The folder `path`; the one opened last is kept, as entries come by folder."""
        if self._parent[0] != path or self._parent[1] < 0:
            fd = self._place.folder(path)
            os.close(self._parent[1])
            self._parent = (path, fd)
        return self._parent[1]

    def _check_types(self, entry: Entry, path: str, there: os.stat_result) -> None:
        is_folder, becomes_folder = stat.S_ISDIR(there.st_mode), entry.type is Type.FOLDER
        if not self._rules.keep_types or is_folder == becomes_folder:
            return
        words = ("directory", "non-directory") if is_folder else ("non-directory", "directory")
        where = posixpath.join(self._place.name, path)
        raise InvalidArgument(f'cannot overwrite {words[0]} "{where}" with {words[1]}')

    def replace(self, parent: int, name: str, make: Callable[[], None]) -> None:
        """Call `make`, after removing what is at `name` if it must go."""
        for _ in range(_ATTEMPTS):
            try:
                make()
            except FileExistsError:
                self._remove(parent, name)
            else:
                return
        raise InvalidArgument(f"{self._place.name}: {name} is made anew by somebody all the time")

    def _remove(self, parent: int, name: str) -> None:
        try:
            os.unlink(name, dir_fd=parent)
        except FileNotFoundError:
            pass
        except IsADirectoryError:
            if self._rules.keep_types:  # it was none when we looked
                raise
            remove(parent, name)

    def _make_folder(self, entry: Entry, parent: int, name: str, path: str) -> None:
        there = lstat(parent, name)
        if there is None or not stat.S_ISDIR(there.st_mode):
            self.replace(parent, name, lambda: os.mkdir(name, 0o700, dir_fd=parent))
        fd = os.open(name, FOLDER, dir_fd=parent)
        try:
            self.dress(entry, fd)
        finally:
            os.close(fd)
        self._times.append((path, entry.mtime))

    def _make_link(self, entry: Entry, parent: int, name: str) -> None:
        folder, _, target = clean(entry.link).rpartition("/")
        other = self._place.folder(folder)
        try:
            self.replace(
                parent,
                name,
                lambda: os.link(
                    target, name, src_dir_fd=other, dst_dir_fd=parent, follow_symlinks=False
                ),
            )
        except FileNotFoundError:
            raise InvalidArgument(
                f"{entry.path} is a link to {entry.link}, which is not there"
            ) from None
        finally:
            os.close(other)

    def _make_node(self, entry: Entry, parent: int, name: str) -> None:
        if entry.type is Type.CHAR and not (entry.devmajor or entry.devminor):
            # To overlayfs such a node says that something was removed.
            raise InvalidArgument(f"{entry.path} is the device 0:0, which is none")
        mode = _NODES[entry.type] | self._mode(entry)
        device = os.makedev(entry.devmajor, entry.devminor)
        self.replace(parent, name, lambda: os.mknod(name, mode, device, dir_fd=parent))
        self._dress(entry, parent, name)

    def _dress(self, entry: Entry, parent: int, name: str) -> None:
        """Owner and time of what cannot be opened."""
        owner = self._rules.owner(entry)
        if owner is not None:
            os.chown(name, *owner, dir_fd=parent, follow_symlinks=False)
        _set_time(name, entry.mtime, parent)

    def dress(self, entry: Entry, fd: int) -> None:
        """Owner, mode and attributes of an open file or folder; not its time."""
        owner = self._rules.owner(entry)
        if owner is not None:
            os.fchown(fd, *owner)
        os.fchmod(fd, self._mode(entry))
        capabilities = entry.xattrs.get(file_caps.NAME)
        if capabilities and self._rules.set_ids and entry.type is Type.FILE:
            with suppress(OSError):  # as docker: a filesystem without them has none
                file_caps.write(fd, capabilities, self._rules.ids)

    def _mode(self, entry: Entry) -> int:
        if self._rules.set_ids or entry.type is Type.FOLDER:
            return entry.mode & 0o7777
        return entry.mode & 0o1777


class _File:
    """A regular file being written: without a name until it is complete, if that can be."""

    def __init__(self, extraction: Extraction, entry: Entry, parent: int, name: str) -> None:
        self._extraction = extraction
        self._entry = entry
        self._left = entry.size
        self._parent = os.dup(parent)
        self._name = name
        self._named = False
        try:
            self._fd = os.open(".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=parent)
        except OSError as error:
            if error.errno not in _NO_TMPFILE:
                os.close(self._parent)
                raise
            self._fd = self._create()

    def _create(self) -> int:
        found: list[int] = []
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._extraction.replace(
                self._parent,
                self._name,
                lambda: found.append(os.open(self._name, flags, 0o600, dir_fd=self._parent)),
            )
        except BaseException:
            os.close(self._parent)
            raise
        self._named = True
        return found[0]

    def write(self, data: bytes | memoryview) -> None:
        self._left -= len(data)
        write_all(self._fd, data)
        if not self._left:
            self.complete()

    def complete(self) -> None:
        """Dress it and give it its name."""
        extraction, path = self._extraction, f"/proc/self/fd/{self._fd}"
        extraction.dress(self._entry, self._fd)
        _set_time(self._fd, self._entry.mtime)
        if not self._named:
            extraction.replace(
                self._parent,
                self._name,
                lambda: os.link(path, self._name, dst_dir_fd=self._parent, follow_symlinks=True),
            )
        self._named = True
        self._close()
        extraction.file_done()

    def abandon(self) -> None:
        if self._named:
            with suppress(OSError):
                os.unlink(self._name, dir_fd=self._parent)
        self._close()

    def _close(self) -> None:
        os.close(self._fd)
        os.close(self._parent)


def clean(path: str) -> str:
    """The path without leading slashes, "." and ".."; InvalidArgument for one that leads out."""
    cleaned = posixpath.normpath(path.lstrip("/") or ".")
    if cleaned == ".." or cleaned.startswith("../"):
        raise InvalidArgument(f'"{path}" is outside of the folder that is copied into')
    return cleaned


def _set_time(what: int | str, mtime: int, parent: int | None = None) -> None:
    mtime = min(max(mtime, 0), _LATEST)
    if parent is None:
        os.utime(what, ns=(mtime, mtime))
    else:
        os.utime(what, ns=(mtime, mtime), dir_fd=parent, follow_symlinks=False)
