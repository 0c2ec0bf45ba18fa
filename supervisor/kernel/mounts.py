"""Mounts, by mount(2) and by the file-descriptor based API (Linux 5.2; mount_setattr 5.12).

A detached mount (from `fsmount`, or from `open_tree` with OPEN_TREE_CLONE) belongs to no
mount namespace that a process lives in: it goes away when its last fd is closed, so a crash
between its making and `move_mount` leaves nothing.
Sources: mount(2), pivot_root(2), mount_setattr(2), include/uapi/linux/mount.h.
"""

from __future__ import annotations

import errno
import os
import struct
from ctypes import c_char_p, c_int, c_long, c_size_t, c_uint, c_ulong, create_string_buffer
from typing import NamedTuple

from supervisor.errors import KernelError
from supervisor.kernel._call import SYS, check, encode, failed, prototype, syscall_prototype

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_SYNCHRONOUS = 0x10
MS_REMOUNT = 0x20
MS_DIRSYNC = 0x80
MS_NOSYMFOLLOW = 0x100
MS_NOATIME = 0x400
MS_NODIRATIME = 0x800
MS_BIND = 0x1000
MS_MOVE = 0x2000
MS_REC = 0x4000
MS_SILENT = 0x8000
MS_UNBINDABLE = 0x20000
MS_PRIVATE = 0x40000
MS_SLAVE = 0x80000
MS_SHARED = 0x100000
MS_RELATIME = 0x200000
MS_STRICTATIME = 0x1000000
MS_LAZYTIME = 0x2000000

MNT_FORCE = 0x1
MNT_DETACH = 0x2
MNT_EXPIRE = 0x4
UMOUNT_NOFOLLOW = 0x8

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR__ATIME = 0x70
MOUNT_ATTR_RELATIME = 0x0
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_IDMAP = 0x100000
MOUNT_ATTR_NOSYMFOLLOW = 0x200000

MOVE_MOUNT_F_SYMLINKS = 0x1
MOVE_MOUNT_F_AUTOMOUNTS = 0x2
MOVE_MOUNT_F_EMPTY_PATH = 0x4
MOVE_MOUNT_T_SYMLINKS = 0x10
MOVE_MOUNT_T_AUTOMOUNTS = 0x20
MOVE_MOUNT_T_EMPTY_PATH = 0x40
MOVE_MOUNT_SET_GROUP = 0x100
MOVE_MOUNT_BENEATH = 0x200

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_NO_AUTOMOUNT = 0x800
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

OPEN_TREE_CLONE = 0x1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC

_FSOPEN_CLOEXEC = 0x1
_FSMOUNT_CLOEXEC = 0x1
_FSCONFIG_SET_FLAG = 0
_FSCONFIG_SET_STRING = 1
_FSCONFIG_SET_FD = 5
_FSCONFIG_CMD_CREATE = 6

_mount = prototype("mount", c_char_p, c_char_p, c_char_p, c_ulong, c_char_p)
_umount2 = prototype("umount2", c_char_p, c_int)
_fstatfs = prototype("fstatfs", c_int, c_char_p)
_pivot_root = syscall_prototype(c_char_p, c_char_p)
_fsopen = syscall_prototype(c_char_p, c_uint)
_fsconfig = syscall_prototype(c_int, c_uint, c_char_p, c_char_p, c_int)
_fsmount = syscall_prototype(c_int, c_uint, c_uint)
_open_tree = syscall_prototype(c_int, c_char_p, c_uint)
_move_mount = syscall_prototype(c_int, c_char_p, c_int, c_char_p, c_uint)
_mount_setattr = syscall_prototype(c_int, c_char_p, c_uint, c_char_p, c_size_t)


def mount(
    source: str | None, target: str, fstype: str | None, flags: int = 0, data: str | None = None
) -> None:
    """mount(2). `target` follows symlinks: never a path that a container chose."""
    words = (None if word is None else encode(word, "mount") for word in (source, target, fstype))
    text = None if data is None else encode(data, "mount")
    check(_mount(*words, flags, text), "mount", target)


def umount(target: str, flags: int = 0) -> None:
    """umount2(2) with MNT_* and UMOUNT_NOFOLLOW flags."""
    check(_umount2(encode(target, "umount2"), flags), "umount2", target)


def pivot_root(new: str, old: str) -> None:
    """Make `new` the root of this mount namespace and put the old root on `old`.

    pivot_root(".", ".") stacks the old root on the new one; umount(".", MNT_DETACH) drops it.
    """
    words = (encode(new, "pivot_root"), encode(old, "pivot_root"))
    check(_pivot_root(SYS["pivot_root"], *words), "pivot_root", new)


def fsopen(fstype: str) -> int:
    """A new filesystem context; closing it before `fsmount` forgets it."""
    result = _fsopen(SYS["fsopen"], encode(fstype, "fsopen"), _FSOPEN_CLOEXEC)
    return check(result, "fsopen", fstype)


def fsconfig_string(fd: int, key: str, value: str) -> None:
    """Set a parameter with a text value (at most 255 bytes; use `fsconfig_fd` for folders)."""
    _configure(fd, _FSCONFIG_SET_STRING, key, encode(value, "fsconfig"), 0)


def fsconfig_flag(fd: int, key: str) -> None:
    """Set a parameter that has no value ("ro")."""
    _configure(fd, _FSCONFIG_SET_FLAG, key, None, 0)


def fsconfig_fd(fd: int, key: str, value_fd: int) -> None:
    """Set a parameter to an open file; overlay takes its layers so since Linux 6.13.

    The mount through which `value_fd` was opened (its idmapping too) is what overlay uses.
    """
    _configure(fd, _FSCONFIG_SET_FD, key, None, value_fd)


def fsconfig_create(fd: int) -> None:
    """Make the superblock from what was configured."""
    _configure(fd, _FSCONFIG_CMD_CREATE, None, None, 0)


def fsmount(fd: int, attrs: int = 0) -> int:
    """A detached mount (MOUNT_ATTR_* flags) of the context's superblock."""
    result = _fsmount(SYS["fsmount"], fd, _FSMOUNT_CLOEXEC, attrs)
    return _check_context(result, fd, "fsmount", "")


def open_tree(dirfd: int, path: str, flags: int) -> int:
    """An O_PATH fd of a mount; with OPEN_TREE_CLONE, of a detached copy of it.

    AT_EMPTY_PATH is added for path "" and AT_SYMLINK_NOFOLLOW is the caller's choice.
    AT_RECURSIVE copies the mounts below too.
    """
    flags |= OPEN_TREE_CLOEXEC | (0 if path else AT_EMPTY_PATH)
    return check(
        _open_tree(SYS["open_tree"], dirfd, encode(path, "open_tree"), flags), "open_tree", path
    )


def move_mount(from_fd: int, to_fd: int, path: str = "", flags: int = 0) -> None:
    """Attach the mount at `from_fd` onto `to_fd` itself (path ""), or `path` from `to_fd`.

    Symlinks in the last part of `path` are not followed unless flags says so.
    """
    flags |= MOVE_MOUNT_F_EMPTY_PATH | (0 if path else MOVE_MOUNT_T_EMPTY_PATH)
    target = encode(path, "move_mount")
    check(_move_mount(SYS["move_mount"], from_fd, b"", to_fd, target, flags), "move_mount", path)


def mount_setattr(
    fd: int,
    path: str,
    *,
    set: int = 0,
    clear: int = 0,
    propagation: int = 0,
    userns_fd: int = -1,
    recursive: bool = False,
) -> None:
    """Change a mount's MOUNT_ATTR_* flags, its propagation (one MS_*), its idmapping.

    path "" means the mount at `fd` itself; otherwise the last part is not followed.
    `userns_fd` makes it an idmapped mount: allowed once, on a detached mount, of a
    filesystem that knows idmapping (EINVAL otherwise).
    """
    flags = AT_SYMLINK_NOFOLLOW if path else AT_EMPTY_PATH
    flags |= AT_RECURSIVE if recursive else 0
    if userns_fd >= 0:
        set |= MOUNT_ATTR_IDMAP
    # struct mount_attr: attr_set, attr_clr, propagation, userns_fd
    attr = struct.pack("=4Q", set, clear, propagation, max(userns_fd, 0))
    target = encode(path, "mount_setattr")
    result = _mount_setattr(SYS["mount_setattr"], fd, target, flags, attr, len(attr))
    check(result, "mount_setattr", path)


def statfs_magic(fd: int) -> int:
    """The filesystem's magic number (statfs(2), linux/magic.h)."""
    # struct statfs is 120 bytes and starts with f_type on 64-bit machines.
    buffer = create_string_buffer(256)
    check(_fstatfs(fd, buffer), "fstatfs")
    return c_long.from_buffer(buffer).value


def _configure(fd: int, command: int, key: str | None, value: bytes | None, aux: int) -> None:
    name = None if key is None else encode(key, "fsconfig")
    result = _fsconfig(SYS["fsconfig"], fd, command, name, value, aux)
    _check_context(result, fd, "fsconfig", key or "")


def _check_context(result: int, fd: int, syscall: str, about: str) -> int:
    """`check`, with what the filesystem said in the context's log in the error's path."""
    try:
        return check(result, syscall, about)
    except KernelError as error:
        words = ": ".join(word for word in (about, _context_log(fd)) if word)
        raise KernelError(syscall, words, error.errno or 0) from None


def _context_log(fd: int) -> str:
    """The messages waiting in a filesystem context, joined; each read(2) gives one."""
    lines: list[str] = []
    while True:
        try:
            line = os.read(fd, 4096)
        except OSError:  # ENODATA: no more messages; anything else: nothing to add
            return "; ".join(lines)
        # "e " error, "w " warning, "i " information
        lines.append(line.decode(errors="replace")[2:].strip())


class MountInfo(NamedTuple):
    """One line of /proc/PID/mountinfo (proc_pid_mountinfo(5)), unescaped."""

    mount_id: int
    parent_id: int
    device: str
    root: str
    mount_point: str
    options: tuple[str, ...]
    tags: tuple[str, ...]  # propagation: "shared:N", "master:N", "unbindable"
    fstype: str
    source: str
    super_options: tuple[str, ...]


def mountinfo(pid: int | str = "self") -> list[MountInfo]:
    """All mounts that the process sees, in order of mounting."""
    path = f"/proc/{pid}/mountinfo"
    try:
        with open(path, "rb") as file:
            return [_parse(line) for line in file]
    except OSError as error:
        raise failed(error, "read", path) from None


def _parse(line: bytes) -> MountInfo:
    head, separator, tail = line.rstrip(b"\n").partition(b" - ")
    fields, fs = head.split(b" "), tail.split(b" ")
    if not separator or len(fields) < 6 or len(fs) != 3:
        raise KernelError("mountinfo", os.fsdecode(line), errno.EPROTO)
    return MountInfo(
        mount_id=int(fields[0]),
        parent_id=int(fields[1]),
        device=fields[2].decode(),
        root=_unescape(fields[3]),
        mount_point=_unescape(fields[4]),
        options=tuple(fields[5].decode().split(",")),
        tags=tuple(tag.decode() for tag in fields[6:]),
        fstype=_unescape(fs[0]),
        source=_unescape(fs[1]),
        super_options=tuple(_unescape(word) for word in fs[2].split(b",")),
    )


def _unescape(field: bytes) -> str:
    r"""Undo the kernel's \ooo escapes of space, tab, newline, backslash and hash."""
    first, *rest = field.split(b"\\")
    return os.fsdecode(first + b"".join(bytes((int(s[:3], 8),)) + s[3:] for s in rest))
