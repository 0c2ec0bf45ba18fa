"""Device nodes: made by init, and for a container in a user namespace, where mknod is refused,
by the shim.

The shim's are on file systems of the host's user namespace, or they could not be opened; their
mounts are idmapped, so that they belong to whom the spec says.
"""

import os
import stat
from collections.abc import Iterable

from supervisor.kernel import mounts
from supervisor.shim.filesystem import new_filesystem
from supervisor.spec.mounts import MountOptions, parse_options
from supervisor.spec.types import Device, Spec

DEV = "/dev"


def make_node(device: Device, name: str, parent: int) -> None:
    """The node itself, in the folder `parent`, while the umask is 0."""
    kind = {"c": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}[device.type]
    os.mknod(name, kind | device.mode, os.makedev(device.major, device.minor), dir_fd=parent)
    if device.uid or device.gid:
        os.chown(name, device.uid, device.gid, dir_fd=parent, follow_symlinks=False)


def make_dev(spec: Spec, userns_fd: int) -> int:
    """The container's /dev with the nodes that `in_dev` tells; -1 where it is not a new tmpfs."""
    options = _dev_options(spec)
    if options is None:
        return -1
    nodes = ((os.path.basename(device.path), device) for device in in_dev(spec))
    return _folder(options, nodes, userns_fd)


def make_others(spec: Spec, userns_fd: int) -> int:
    """A folder of the nodes that are not `in_dev`, each named by its index; -1 for none."""
    made = in_dev(spec)
    nodes = [(str(i), device) for i, device in enumerate(spec.devices) if device not in made]
    return _folder(MountOptions(), nodes, userns_fd) if nodes else -1


def in_dev(spec: Spec) -> tuple[Device, ...]:
    """The devices that come with /dev where the shim makes it: those directly in it."""
    if _dev_options(spec) is None:
        return ()
    mounted = {mount.destination for mount in spec.mounts}
    return tuple(
        device
        for device in spec.devices
        if os.path.dirname(device.path) == DEV and device.path not in mounted
    )


def _dev_options(spec: Spec) -> MountOptions | None:
    for mount in spec.mounts:
        if mount.destination == DEV and mount.type == "tmpfs":
            options = parse_options(mount.options)
            # Ids mean others in the container's user namespace: left to init.
            return None if {"uid", "gid"} & dict(options.data).keys() else options
    return None


def _folder(options: MountOptions, nodes: Iterable[tuple[str, Device]], userns_fd: int) -> int:
    folder = new_filesystem("tmpfs", options)
    umask = os.umask(0)
    try:
        for name, device in nodes:
            make_node(device, name, folder)
        mounts.mount_setattr(folder, "", set=mounts.MOUNT_ATTR_IDMAP, userns_fd=userns_fd)
    except OSError:
        os.close(folder)
        raise
    finally:
        os.umask(umask)
    return folder
