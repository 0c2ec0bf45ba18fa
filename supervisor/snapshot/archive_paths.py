"""Paths of copy requests: as docker cleans them, opened inside a container's root."""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from dataclasses import dataclass

from supervisor.errors import InvalidArgument, KernelError, NotFound, OrlopError, Unavailable
from supervisor.kernel import paths
from supervisor.kernel.mounts import statfs_magic
from supervisor.snapshot.tar_out import NODE, Shown
from supervisor.snapshot.view import Tree

_MAX_LINKS = 40
_FULL = (errno.ENOSPC, errno.EDQUOT)
_LATER = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO)
# include/uapi/linux/magic.h: filesystems that are windows into the kernel. Their files have
# no content to copy, may be endless, and some do something when they are read.
KERNEL_FILESYSTEMS = frozenset(
    {
        0x9FA0,  # proc
        0x62656572,  # sysfs
        0x27E0EB,  # cgroup
        0x63677270,  # cgroup2
        0x1CD1,  # devpts
        0x19800202,  # mqueue
        0x64626720,  # debugfs
        0x74726163,  # tracefs
        0x73636673,  # securityfs
        0xF97CFF8C,  # selinuxfs
        0xCAFE4A11,  # bpf
        0x62656570,  # configfs
        0x6165676C,  # pstore
        0x42494E4D,  # binfmt_misc
        0xDE5E81E4,  # efivarfs
        0x6E736673,  # nsfs
    }
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A path as it was asked for.

    `path` is absolute, without "..", and keeps a slash or "/." at its end, which ask for a
    folder; `base` is what docker calls it, the name of the top of a tar of it.
    """

    path: str
    base: str

    @property
    def wants_folder(self) -> bool:
        """Whether anything else than a folder is not what was asked for."""
        return self.path.endswith(("/", "/."))


def asked(path: str) -> Asked:
    """What `path` asks for; InvalidArgument for one that names nothing."""
    if not path or "\0" in path:
        raise InvalidArgument(f"invalid path {path!r:.200}: give a path in the container")
    clean = posixpath.normpath("/" + path.lstrip("/"))
    if posixpath.basename(path) == ".":
        clean = posixpath.join(clean, ".")
    elif path.endswith("/") and clean != "/":
        clean += "/"
    return Asked(clean, _base(clean))


def _base(path: str) -> str:
    """As Go's filepath.Base."""
    return posixpath.basename(path.rstrip("/")) or "/"


def open_asked(tree: Tree, what: Asked) -> int:
    """An O_PATH fd of what is asked for: a link itself, unless a folder is wanted.

    Raises NotFound (also for what is the kernel's, in /proc and the like), InvalidArgument.
    """
    flags = os.O_PATH | (os.O_DIRECTORY if what.wants_folder else os.O_NOFOLLOW)
    try:
        fd = paths.open_in_root(tree.root, what.path, flags)
    except KernelError as error:
        raise refused(error, what.path) from None
    if statfs_magic(fd) in KERNEL_FILESYSTEMS and not _is_mount_root(fd):
        os.close(fd)
        raise NotFound(f"Could not find the file {what.path}: it is the kernel's, no file to copy")
    return fd


def _is_mount_root(fd: int) -> bool:
    """Whether `fd` is the top folder of its filesystem: the one above is of another."""
    status = os.fstat(fd)
    if not stat.S_ISDIR(status.st_mode):
        return False
    return os.stat("..", dir_fd=fd).st_dev != status.st_dev


def contained(root: int) -> Shown:
    """Which folders a copy out of the container with this root goes into.

    Not the kernel's own filesystems, and not the /dev of a running container, whose nodes
    mean nothing elsewhere: these show as empty folders, which they are in the image.
    """
    top = os.fstat(root)
    try:
        dev = os.stat("dev", dir_fd=root, follow_symlinks=False)
    except OSError:
        dev = top
    nodes = (dev.st_dev, dev.st_ino) if dev.st_dev != top.st_dev else None

    def shown(status: os.stat_result, fd: int) -> bool:
        if status.st_dev == top.st_dev:
            return True
        if (status.st_dev, status.st_ino) == nodes:
            return False
        return statfs_magic(fd) not in KERNEL_FILESYSTEMS

    return shown


def final_target(root: int, path: str) -> str:
    """Where a link leads: every link on the way followed, as far as there is something.

    For people and for clients that ask again with it; nothing here relies on it.
    """
    pending = [part for part in reversed(path.split("/")) if part not in ("", ".")]
    done: list[str] = []
    links = 0
    while pending:
        part = pending.pop()
        if part == "..":
            del done[-1:]
            continue
        target = _link(root, "/".join([*done, part]))
        if target is None:
            done.append(part)
            continue
        links += 1
        if links > _MAX_LINKS:
            raise InvalidArgument(f"{path}: too many levels of symbolic links")
        if target.startswith("/"):
            done.clear()
        pending += [part for part in reversed(target.split("/")) if part not in ("", ".")]
    return "/" + "/".join(done)


def _link(root: int, path: str) -> str | None:
    """The target of the link at `path`; None for anything else, or nothing."""
    try:
        fd = paths.open_in_root(root, path, NODE)
    except KernelError:
        return None
    try:
        return os.readlink("", dir_fd=fd) if stat.S_ISLNK(os.fstat(fd).st_mode) else None
    finally:
        os.close(fd)


def refused(error: OSError, path: str) -> OrlopError:
    """What the caller is told when the kernel refuses something about `path`."""
    why = (error.strerror or "").lower()
    if error.errno == errno.ENOENT:
        return NotFound(f"Could not find the file {path}")
    if error.errno in _FULL:
        return Unavailable(f"{path}: no space left on device")
    if error.errno in _LATER:
        return Unavailable(f"{path}: {why}")
    if error.errno == errno.EROFS:
        return InvalidArgument(f"{path} is on a filesystem that is mounted read-only")
    if error.errno == errno.EBUSY:
        return InvalidArgument(f"{path} is in use as a mount point and cannot be replaced")
    return InvalidArgument(f"{path}: {why}")
