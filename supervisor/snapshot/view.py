"""A container's filesystem as the container sees it, for one worker process.

    {"pid", "start"}                      running: the root of that process's mount namespace
    {"uids", "gids"} and fd "namespace"   the same, opened and checked by who asks
    {…, "bare": true}                     the same without what is mounted below the root
    {"lowers", "upper", "work", …}        at rest: the overlay and the mounts, made here
    {"lowers": [folder]}                  at rest: the folder itself

Whatever is reached through the root is the container's own, and hostile: open it with
`supervisor.kernel.paths.open_in_root` or one name at a time, never by a joined path.
"""

from __future__ import annotations

import os
import select
import stat
from collections.abc import Mapping, Sequence
from typing import Any

from supervisor.errors import Conflict, KernelError
from supervisor.kernel import mounts, paths
from supervisor.kernel.namespaces import CLONE_NEWNS, setns
from supervisor.kernel.process import pidfd_open, start_time
from supervisor.snapshot.ids import IDENTITY, IdMaps, read_maps
from supervisor.snapshot.worker import own_mounts
from supervisor.spec.mounts import parse_options

NO_FDS: Mapping[str, int] = {}


class Tree:
    """`root` is an O_PATH fd of the container's root, `ids` how its owners are the host's."""

    def __init__(self, root: int, ids: IdMaps = IDENTITY) -> None:
        self.root = root
        self.ids = ids


def open_root(view: Mapping[str, Any], fds: Mapping[str, int] = NO_FDS) -> int:
    """An O_PATH fd of the root that `view` names; see `open_tree`."""
    return open_tree(view, fds).root


def open_tree(view: Mapping[str, Any], fds: Mapping[str, int] = NO_FDS) -> Tree:
    """The filesystem that `view` names, to be used until this process ends.

    Running: `pid` and its `start` (proc_pid_stat(5), field 22); Conflict when that process
    has ended. At rest: `lowers` top-most first, `upper` and `work` ("" for none: `lowers[0]`
    itself), `mounts` in order with `destination`, `source` and `options` of mount(8);
    `write` says that changes are to last, else they go nowhere; `read_only` that the
    container's root is; `ids` how many the container has, if it has a user namespace. One
    call a process: it enters a mount namespace.
    """
    bare = bool(view.get("bare"))
    if "namespace" in fds:
        maps = IdMaps([tuple(e) for e in view["uids"]], [tuple(e) for e in view["gids"]])
        return Tree(_root_of(fds["namespace"], bare), maps)
    if "pid" in view:
        return _running(int(view["pid"]), int(view["start"]), bare)
    own_mounts()
    # On disk owners are the container's: a user namespace maps them on the mounts of a run.
    ids = [(0, 0, int(view["ids"]))] if view.get("ids") else None
    return Tree(_at_rest(view), IdMaps(ids, ids) if ids else IDENTITY)


def _running(pid: int, start: int, bare: bool) -> Tree:
    gone = Conflict(f"process {pid} of the container has ended")
    try:
        pidfd = pidfd_open(pid)
        # Kept open: the namespace, and all mounts in it, stay for us if the container ends.
        namespace = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        maps = read_maps(pid)
        started = start_time(pid)
    except (OSError, KernelError):
        raise gone from None
    # What was opened by number is that process's if it was alive after all of it.
    if started != start or select.select([pidfd], [], [], 0)[0]:
        raise gone
    return Tree(_root_of(namespace, bare), maps)


def _root_of(namespace: int, bare: bool) -> int:
    """The root of a mount namespace, whatever its processes have made of theirs (chroot(2)).

    Entering it moves the root and the working folder of this thread: both come back. No
    module is imported in between, or it would be the container's.
    """
    home = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    own = os.open("/", paths.DIRECTORY)
    try:
        setns(namespace, CLONE_NEWNS)
        try:
            root = os.open("/", paths.DIRECTORY)
            return mounts.open_tree(root, "", mounts.OPEN_TREE_CLONE) if bare else root
        finally:
            setns(home, CLONE_NEWNS)
            os.fchdir(own)
            os.chroot(".")
    finally:
        os.close(own)
        os.close(home)


def _at_rest(view: Mapping[str, Any]) -> int:
    lowers = [str(lower) for lower in view["lowers"]]
    upper = str(view.get("upper") or "")
    if not upper:
        root = mounts.open_tree(
            mounts.AT_FDCWD, lowers[0], mounts.OPEN_TREE_CLONE | mounts.AT_RECURSIVE
        )
    elif view.get("write"):
        root = _overlay(lowers, upper, str(view["work"]))
    else:
        root = _scratch_overlay([upper, *lowers], str(view["work"]))
    # Mounts attach only to what is in this namespace. Over "/" it is in nobody's way: our
    # own root stays the folder below.
    mounts.move_mount(root, mounts.AT_FDCWD, "/")
    _attach_all(root, view.get("mounts") or (), bool(view.get("write")))
    if view.get("read_only"):
        mounts.mount_setattr(root, "", set=mounts.MOUNT_ATTR_RDONLY)
    return root


def _scratch_overlay(lowers: Sequence[str], work: str) -> int:
    """An overlay whose changes go into this process's memory.

    The container's upper is a lower here: nothing of it can change, so any number of readers
    may have it at once. Mount points that are missing can be made all the same.
    """
    scratch = new_tmpfs()
    # Over a folder of the bundle, which this namespace needs no more for anything.
    mounts.move_mount(scratch, mounts.AT_FDCWD, work)
    os.close(scratch)
    for name in ("upper", "work"):
        os.mkdir(f"{work}/{name}", 0o755)
    like = os.stat(lowers[0])
    os.chown(f"{work}/upper", like.st_uid, like.st_gid)
    os.chmod(f"{work}/upper", stat.S_IMODE(like.st_mode))
    os.utime(f"{work}/upper", ns=(like.st_atime_ns, like.st_mtime_ns))
    return _overlay(lowers, f"{work}/upper", f"{work}/work")


def new_tmpfs() -> int:
    """A detached tmpfs."""
    context = mounts.fsopen("tmpfs")
    try:
        mounts.fsconfig_string(context, "mode", "0700")
        mounts.fsconfig_create(context)
        return mounts.fsmount(context)
    finally:
        os.close(context)


def _overlay(lowers: Sequence[str], upper: str, work: str) -> int:
    """A detached overlay with the options that a container's own has."""
    context = mounts.fsopen("overlay")
    try:
        mounts.fsconfig_string(context, "source", "overlay")
        for lower in lowers:
            mounts.fsconfig_string(context, "lowerdir+", lower)
        mounts.fsconfig_string(context, "upperdir", upper)
        mounts.fsconfig_string(context, "workdir", work)
        for option in ("redirect_dir", "metacopy", "index"):
            mounts.fsconfig_string(context, option, "off")
        mounts.fsconfig_create(context)
        return mounts.fsmount(context)
    finally:
        os.close(context)


def _attach_all(root: int, wanted: Sequence[Mapping[str, Any]], write: bool) -> None:
    # All sources first: the first destination may hide the source of another.
    sources = [_source(mount, write) for mount in wanted]
    for mount, source in zip(wanted, sources, strict=True):
        if source >= 0:
            _attach(root, source, mount, write)
            os.close(source)


def _source(mount: Mapping[str, Any], write: bool) -> int:
    """A detached copy of a mount's source; -1 for one that is gone, and only read from."""
    options = parse_options(mount.get("options") or ())
    flags = mounts.OPEN_TREE_CLONE | (mounts.AT_RECURSIVE if options.recursive else 0)
    try:
        fd = _open_source(str(mount["source"]), str(mount.get("subpath") or ""))
        try:
            return mounts.open_tree(fd, "", flags)
        finally:
            os.close(fd)
    except OSError:
        if write:  # it would go to the folder below the mount, where nobody sees it
            raise Conflict(
                f"the source of the mount at {mount['destination']} does not exist: "
                f"{mount['source']}"
            ) from None
        return -1


def _open_source(source: str, subpath: str) -> int:
    fd = os.open(source, os.O_PATH | os.O_CLOEXEC)
    if not subpath:
        return fd
    try:
        return paths.open_beneath(fd, subpath, os.O_PATH)
    finally:
        os.close(fd)


def _attach(root: int, source: int, mount: Mapping[str, Any], write: bool) -> None:
    options = parse_options(mount.get("options") or ())
    is_folder = stat.S_ISDIR(os.fstat(source).st_mode)
    make = paths.make_dirs_in_root if is_folder else paths.make_file_in_root
    try:
        target = make(root, str(mount["destination"]))
        try:
            mounts.move_mount(source, target)
        finally:
            os.close(target)
    except KernelError as error:
        if write:  # as above
            raise Conflict(f"cannot mount {mount['destination']}: {error}") from None
        return
    read_only = options.attr_set & mounts.MOUNT_ATTR_RDONLY
    if read_only:
        mounts.mount_setattr(source, "", set=read_only, recursive=not options.flat)
