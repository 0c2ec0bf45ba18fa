"""Opening paths that somebody else may change while we look: openat2(2), Linux 5.6.

A container's files are hostile: a path is never resolved by joining strings, but by the
kernel inside a root (RESOLVE_IN_ROOT) or one part at a time from an fd reached that way.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from ctypes import c_char_p, c_int, c_size_t, c_uint

from supervisor.errors import KernelError
from supervisor.kernel._call import SYS, check, encode, failed, prototype, syscall_prototype
from supervisor.kernel.mounts import statfs_magic

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10
RESOLVE_CACHED = 0x20

DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC  # a place only, nothing to read

RENAME_NOREPLACE = 0x1
RENAME_EXCHANGE = 0x2

PROC_SUPER_MAGIC = 0x9FA0

_IN_ROOT = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
# A concurrent rename or mount makes the kernel give up with EAGAIN rather than risk an
# escape; callers are told to retry, and an attacker renaming in a loop must not stop us long.
_ATTEMPTS = 128
_MAX_LINKS = 40  # as the kernel (MAXSYMLINKS, path_resolution(7))

_openat2 = syscall_prototype(c_int, c_char_p, c_char_p, c_size_t)
_mkdirat = prototype("mkdirat", c_int, c_char_p, c_uint)
_renameat2 = prototype("renameat2", c_int, c_char_p, c_int, c_char_p, c_uint)


def openat2(dirfd: int, path: str, flags: int, *, mode: int = 0, resolve: int = 0) -> int:
    """Open `path` from `dirfd`; `mode` only with O_CREAT; `resolve` of RESOLVE_*.

    Raises KernelError: EXDEV for an escape (RESOLVE_BENEATH), ELOOP for a forbidden link,
    EAGAIN when the tree kept changing through many attempts.
    """
    name = encode(path, "openat2")
    how = struct.pack("=3Q", flags | os.O_CLOEXEC, mode, resolve)  # struct open_how
    for _ in range(_ATTEMPTS):
        result = _openat2(SYS["openat2"], dirfd, name, how, len(how))
        try:
            return check(result, "openat2", path)
        except KernelError as error:
            if error.errno not in (errno.EAGAIN, errno.EINTR):
                raise
    raise KernelError("openat2", path, errno.EAGAIN)


def open_beneath(folder_fd: int, path: str, flags: int) -> int:
    """Open a relative `path`; EXDEV if it, or a link on its way, leads out of the folder."""
    return openat2(folder_fd, path, flags, resolve=RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)


def renameat2(from_fd: int, name: str, to_fd: int, new_name: str, flags: int) -> None:
    """Rename between folders; EEXIST with RENAME_NOREPLACE if something is there."""
    old, new = encode(name, "renameat2"), encode(new_name, "renameat2")
    check(_renameat2(from_fd, old, to_fd, new, flags), "renameat2", new_name)


def open_in_root(root_fd: int, path: str, flags: int, mode: int = 0) -> int:
    """Open `path` as a process with root directory `root_fd` would; no magic links."""
    return openat2(root_fd, path, flags, mode=mode, resolve=_IN_ROOT)


def make_dirs_in_root(root_fd: int, path: str, mode: int = 0o755) -> int:
    """An O_PATH fd of the folder `path` inside the root; missing parts are made.

    Symlinks are followed inside the root, dangling ones too (their target is made).
    The process's umask takes its bits from `mode`.
    """
    try:
        return open_in_root(root_fd, path, DIRECTORY)
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise
    with _Walk(root_fd, path, mode) as walk:
        fd = walk.run(file_mode=None)
        try:
            if not stat.S_ISDIR(os.fstat(fd).st_mode):
                raise KernelError("openat2", path, errno.ENOTDIR)
        except KernelError:
            os.close(fd)
            raise
        return fd


def make_file_in_root(root_fd: int, path: str, mode: int = 0o644) -> int:
    """An O_PATH fd of what is not a folder at `path` inside the root.

    When it is missing an empty file is made, and its folders (0755), as `make_dirs_in_root`
    does. Raises KernelError EISDIR if a folder is there.
    """
    try:
        fd = open_in_root(root_fd, path, os.O_PATH)
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise
    else:
        return _no_folder(fd, path)
    with _Walk(root_fd, path, 0o755) as walk:
        return _no_folder(walk.run(file_mode=mode), path)


def _no_folder(fd: int, path: str) -> int:
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        os.close(fd)
        raise KernelError("openat2", path, errno.EISDIR)
    return fd


def is_proc(fd: int) -> bool:
    """Whether it is a file or folder of a proc filesystem."""
    return statfs_magic(fd) == PROC_SUPER_MAGIC


class _Walk:
    """A resolution of one path in user space, creating what is missing.

    Each part is one name opened without following, from an fd that was reached from the
    root in the same way; ".." goes back to the fd we came from, never to the parent the
    folder has by now. So no rename by somebody else leads out of the root.
    """

    def __init__(self, root_fd: int, path: str, mode: int) -> None:
        self._path = path
        self._mode = mode
        self._links = 0
        self._parts = _split(path)
        self._stack = [os.dup(root_fd)]

    def __enter__(self) -> _Walk:
        return self

    def __exit__(self, *_: object) -> None:
        self._unwind(0)

    def run(self, file_mode: int | None) -> int:
        """Walk; a missing last part becomes a folder, or a file of `file_mode`."""
        while self._parts:
            part = self._parts.pop()
            if part == "..":
                self._unwind(max(len(self._stack) - 1, 1))
                continue
            fd = self._open(part)
            if fd < 0:
                self._make(part, None if self._parts else file_mode)
                fd = self._open(part)
            if fd < 0:  # removed again under our hands
                raise KernelError("openat2", self._path, errno.ENOENT)
            self._enter(fd)
        return self._stack.pop()

    def _open(self, part: str) -> int:
        """An O_PATH fd of `part`, itself when it is a symlink; -1 if it is missing."""
        try:
            return openat2(self._stack[-1], part, os.O_PATH | os.O_NOFOLLOW)
        except KernelError as error:
            if error.errno == errno.ENOENT:
                return -1
            raise KernelError("openat2", self._path, error.errno or 0) from None

    def _make(self, part: str, file_mode: int | None) -> None:
        parent = self._stack[-1]
        try:
            if file_mode is None:
                check(_mkdirat(parent, encode(part, "mkdirat"), self._mode), "mkdirat", self._path)
            else:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
                os.close(openat2(parent, part, flags, mode=file_mode))
        except KernelError as error:
            if error.errno != errno.EEXIST:  # somebody else made it: as good
                raise KernelError(error.syscall, self._path, error.errno or 0) from None

    def _enter(self, fd: int) -> None:
        """Step onto `fd`; a symlink is replaced by the parts of its target."""
        kind = stat.S_IFMT(os.fstat(fd).st_mode)
        if kind != stat.S_IFLNK:
            self._stack.append(fd)
            if self._parts and kind != stat.S_IFDIR:  # "file/.." leads nowhere
                raise KernelError("openat2", self._path, errno.ENOTDIR)
            return
        try:
            target = self._read_link(fd)
        finally:
            os.close(fd)
        if target.startswith("/"):
            self._unwind(1)
        self._parts.extend(_split(target))

    def _read_link(self, fd: int) -> str:
        self._links += 1
        # What a link in proc says is not where it leads (magic links): never follow its text.
        if self._links > _MAX_LINKS or is_proc(fd):
            raise KernelError("openat2", self._path, errno.ELOOP)
        try:
            return os.readlink("", dir_fd=fd)
        except OSError as error:
            raise failed(error, "readlinkat", self._path) from None

    def _unwind(self, depth: int) -> None:
        while len(self._stack) > depth:
            os.close(self._stack.pop())


def _split(path: str) -> list[str]:
    """The path's parts, last first (a stack to pop from)."""
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]
