"""Init's mounts: those of the spec, made or taken over from the shim, put below the root."""

import errno
import os
import stat
from collections.abc import Mapping
from contextlib import suppress

from supervisor.errors import InitError
from supervisor.kernel import mounts, paths
from supervisor.shim.device_nodes import DEV
from supervisor.shim.filesystem import new_filesystem
from supervisor.shim.init_state import Init
from supervisor.spec.mounts import MountOptions, parse_options
from supervisor.spec.types import Mount


def make_mounts(init: Init) -> None:
    """All mounts of the spec, in its order, each target resolved inside the root (openat2)."""
    for index, mount in enumerate(init.spec.mounts):
        try:
            make_mount(init, index, mount)
        except OSError as error:
            raise InitError(
                step="mount",
                path=mount.destination,
                errno=error.errno or 0,
                message=f"mount {mount.type} at {mount.destination}: {error}",
            ) from None


def make_mount(init: Init, index: int, mount: Mount) -> None:
    """Make one mount of the spec and move it to its destination."""
    options = parse_options(mount.options)
    if mount.type == "bind":
        source = init.prepared.binds[index]
        attach(init, source, mount.destination, stat.S_ISDIR(os.fstat(source).st_mode))
        change_attributes(source, options)
        return
    if mount.type == "joined":
        source = init.joined_mounts.pop(mount.destination)
        attach(init, source, mount.destination, folder=True)
        os.close(source)
        return
    if mount.type == "cgroup":
        make_cgroup_mount(init, mount, options)
        return
    if mount.destination == DEV and init.prepared.dev >= 0:
        init.dev = init.prepared.dev
        attach(init, init.dev, DEV, folder=True)
        return
    if mount.type == "proc" and not options.data and init.proc >= 0:
        fd, init.proc = init.proc, -1
        mounts.mount_setattr(fd, "", set=options.attr_set)
    elif mount.type == "proc":
        fd = new_filesystem("proc", options, init.pid_namespace)
    else:
        fd = new_filesystem(mount.type, options)
    attach(init, fd, mount.destination, folder=True)
    if mount.destination == DEV:
        init.dev = fd
    else:
        os.close(fd)


def change_attributes(fd: int, options: MountOptions) -> None:
    """Set a bind's flags (recursively: an `ro` bind has no writable submount) and propagation."""
    if options.flat:
        mounts.mount_setattr(fd, "", set=options.attr_set, clear=options.attr_clear)
        mounts.mount_setattr(fd, "", propagation=options.propagation, recursive=True)
    elif options.attr_set or options.attr_clear or options.propagation:
        mounts.mount_setattr(
            fd,
            "",
            set=options.attr_set,
            clear=options.attr_clear,
            propagation=options.propagation,
            recursive=True,
        )


def attach(init: Init, fd: int, destination: str, folder: bool) -> None:
    """Move a detached mount to its destination, which is made where it is not there."""
    if folder and init.dev >= 0 and os.path.dirname(destination) == DEV:
        # Most are not there yet, and nothing else is in a new /dev: no walk along links.
        with suppress(FileExistsError):
            os.mkdir(os.path.basename(destination), 0o755, dir_fd=init.dev)
    target = (paths.make_dirs_in_root if folder else paths.make_file_in_root)(
        init.root, destination
    )
    try:
        _check_target(init, target, destination)
        mounts.move_mount(fd, target)
    finally:
        os.close(target)


def _check_target(init: Init, target: int, destination: str) -> None:
    """Refuse where a link of the image's leads a mount over proc, and so its masks, or the root."""
    if os.path.samestat(os.fstat(target), os.fstat(init.root)):
        where = "to /"
    elif not f"{destination}/".startswith("/proc/") and paths.is_proc(target):
        where = "into /proc"
    else:
        return
    raise InitError(
        step="mount",
        path=destination,
        errno=errno.ELOOP,
        message=f"mount at {destination}: a link in the image leads {where}",
    )


def make_cgroup_mount(init: Init, mount: Mount, options: MountOptions) -> None:
    """The container's own cgroup at /sys/fs/cgroup: v2, or on a hybrid host one folder each.

    Mounted inside the cgroup namespace, a hierarchy's root is the container's cgroup.
    """
    cgroup = init.spec.cgroup
    if not cgroup.v1:
        fd = _hierarchy(init, cgroup.unified, "cgroup2", options)
        mounts.mount_setattr(fd, "", set=options.attr_set)
        attach(init, fd, mount.destination, folder=True)
        os.close(fd)
        return
    base = new_filesystem("tmpfs", MountOptions(data=(("mode", "755"),)))
    attach(init, base, mount.destination, folder=True)
    for folder, controllers in by_folder(cgroup.v1).items():
        # A hierarchy with two controllers (systemd's cpu,cpuacct) is mounted by naming both.
        one = MountOptions(data=tuple((controller, None) for controller in controllers))
        _mount_in(base, ",".join(controllers), _hierarchy(init, folder, "cgroup", one))
        if len(controllers) > 1:
            for controller in controllers:
                os.symlink(",".join(controllers), controller, dir_fd=base)
    if cgroup.unified:
        fd = _hierarchy(init, cgroup.unified, "cgroup2", MountOptions(data=options.data))
        _mount_in(base, "unified", fd)
    mounts.mount_setattr(base, "", set=options.attr_set, recursive=True)
    os.close(base)


def _hierarchy(init: Init, folder: str, fstype: str, options: MountOptions) -> int:
    """A detached mount of a hierarchy, from the container's own `folder` in it downwards.

    In the host's cgroup namespace it is of all that is there.
    """
    fd = init.cgroup_folders.pop(folder, -1)
    return fd if fd >= 0 else new_filesystem(fstype, options)


def by_folder(v1: Mapping[str, str]) -> dict[str, list[str]]:
    """Controllers grouped by the folder of the hierarchy that they share."""
    folders: dict[str, list[str]] = {}
    for controller in sorted(v1):
        folders.setdefault(v1[controller], []).append(controller)
    return folders


def _mount_in(base: int, name: str, fd: int) -> None:
    os.mkdir(name, 0o555, dir_fd=base)
    mounts.move_mount(fd, base, name)
    os.close(fd)
