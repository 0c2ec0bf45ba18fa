"""Copying into and out of a container's filesystem: the operations behind `docker cp`.

archive_stat  {view, path}                                → the path's status
archive_get   {view, path}, output                        → first its status, then a tar
archive_put   {view, path, keep_types, user}, input       takes a tar, plain or compressed
"""

from __future__ import annotations

import errno
import os
import signal
import stat
from collections.abc import Mapping
from typing import Any

from supervisor.errors import InvalidArgument, KernelError, NotFound
from supervisor.kernel import capabilities, paths, process
from supervisor.kernel.mounts import statfs_magic
from supervisor.oci.tar import Limits, TarReader
from supervisor.snapshot.archive_paths import (
    KERNEL_FILESYSTEMS,
    Asked,
    asked,
    contained,
    final_target,
    open_asked,
    refused,
)
from supervisor.snapshot.decompress import Source, decompressed, kind
from supervisor.snapshot.operations import Tell
from supervisor.snapshot.tar_in import Extraction, Owner, Rules
from supervisor.snapshot.tar_out import TarWriter
from supervisor.snapshot.tar_pieces import write_all
from supervisor.snapshot.tar_places import InRoot
from supervisor.snapshot.view import Tree, open_tree
from supervisor.spec import users

ENTRIES = 50_000_000
"""Of one upload: what the tree that is made of them can bear decides, as with any program."""

_ACCOUNTS = ("/etc/passwd", "/etc/group")


def run_stat(arguments: dict[str, Any], fds: Mapping[str, int], tell: Tell) -> dict[str, Any]:
    """Operation "archive_stat"; see `path_stat` for its result."""
    tree, what = open_tree(arguments["view"], fds), asked(arguments["path"])
    fd = open_asked(tree, what)
    return path_stat(tree, what, fd)


def run_get(arguments: dict[str, Any], fds: Mapping[str, int], tell: Tell) -> dict[str, Any]:
    """Operation "archive_get": tells the status before the first byte."""
    tree, what = open_tree(arguments["view"], fds), asked(arguments["path"])
    fd = open_asked(tree, what)
    if stat.S_ISSOCK(os.fstat(fd).st_mode):
        raise InvalidArgument(f"{what.path} is a socket, which no tar can have")
    tell(path_stat(tree, what, fd))
    pieces = TarWriter(tree.ids).whole(fd, what.base, contained(tree.root))
    for piece in pieces:
        write_all(fds["output"], piece)
    return {}


def path_stat(tree: Tree, what: Asked, fd: int) -> dict[str, Any]:
    """name, size, mode (of stat(2)), mtime_ns, link_target."""
    status = os.fstat(fd)
    is_link = stat.S_ISLNK(status.st_mode)
    return {
        "name": what.base,
        "size": status.st_size,
        "mode": status.st_mode,
        "mtime_ns": status.st_mtime_ns,
        "link_target": final_target(tree.root, what.path) if is_link else "",
    }


def run_put(arguments: dict[str, Any], fds: Mapping[str, int], tell: Tell) -> dict[str, Any]:
    """Operation "archive_put": the tar's entries into the folder `path`.

    `keep_types` refuses to replace a folder by something else and the reverse; `user` (of
    the container's config) becomes the owner of everything, "" keeps the tar's owners.
    """
    tree, what = open_tree(arguments["view"], fds), asked(arguments["path"])
    top = _open_destination(tree, what)
    owner = _owner(tree, arguments["user"])
    _become_root_of(tree)
    rules = Rules(owner=owner, ids=tree.ids, keep_types=bool(arguments["keep_types"]))
    source = Source(fds["input"])
    reader = TarReader(Limits(entries=ENTRIES, depth=4096))
    extraction = Extraction(InRoot(tree.root, what.path, top), rules)
    try:
        for part in decompressed(source, kind(source.peek())):
            for event in reader.feed(part):
                extraction.take(event)
        reader.close()
        extraction.finish()
    except OSError as error:
        raise refused(error, str(error.filename or what.path)) from None
    finally:
        extraction.abandon()
    return {}


def _open_destination(tree: Tree, what: Asked) -> int:
    """The folder to copy into, all links followed; NotFound, InvalidArgument."""
    try:
        fd = paths.open_in_root(tree.root, what.path, paths.DIRECTORY)
    except KernelError as error:
        if error.errno == errno.ENOTDIR:
            raise InvalidArgument("extraction point is not a directory") from None
        raise refused(error, what.path) from None
    if statfs_magic(fd) in KERNEL_FILESYSTEMS:
        raise InvalidArgument(f"{what.path} is the kernel's own: nothing can be copied there")
    if os.fstatvfs(fd).f_flag & os.ST_RDONLY:
        if os.fstat(fd).st_dev == os.fstat(tree.root).st_dev:
            raise InvalidArgument("container rootfs is marked read-only")
        raise InvalidArgument("mounted volume is marked read-only")
    return fd


def _owner(tree: Tree, user: str) -> Owner:
    """Who owns what an entry makes, on the host."""
    if not user:
        return lambda entry: tree.ids.outside(entry.uid, entry.gid)
    passwd, group = (_account_file(tree.root, path) for path in _ACCOUNTS)
    try:
        found = users.lookup(user, (), passwd, group)
    except NotFound as error:
        raise InvalidArgument(error.message) from None
    owner = tree.ids.outside(found.uid, found.gid)
    return lambda entry: owner


def _account_file(root: int, path: str) -> bytes:
    """The beginning of a file of the container; b"" where it is none."""
    try:
        fd = paths.open_in_root(root, path, os.O_PATH)
    except KernelError:
        return b""
    try:
        # Looked at before it is opened: opening alone makes some devices act, and no cgroup
        # keeps this process from the host's.
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return b""
        with open(f"/proc/self/fd/{fd}", "rb") as file:
            return file.read(users.FILE_LIMIT)
    finally:
        os.close(fd)


def _become_root_of(tree: Tree) -> None:
    """Make files as the container's root.

    Through the mounts of a user namespace the host's own root is nobody who could own one.
    """
    uid, gid = tree.ids.outside(0, 0)
    if (uid, gid) == (0, 0):
        return
    effective, permitted, inheritable = capabilities.get_capabilities()
    process.set_filesystem_ids(uid, gid)
    # setfsuid(2) to a non-zero id takes the file capabilities away, and forgets the parent.
    capabilities.set_capabilities(effective, permitted, inheritable)
    process.set_parent_death_signal(signal.SIGKILL)
