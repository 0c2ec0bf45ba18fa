"""Init's devices: what is in /dev, and the terminal."""

import os
import stat

from supervisor.kernel import mounts, paths, tty
from supervisor.shim.device_nodes import DEV, in_dev, make_node
from supervisor.shim.handshake import send
from supervisor.shim.init_mounts import attach
from supervisor.shim.init_state import Init
from supervisor.spec.types import Device

DEV_LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
    ("core", "/proc/kcore"),
)


def make_devices(init: Init) -> None:
    """Nodes, links and folders of /dev; after the mounts, since /dev is one of them."""
    if init.dev < 0:
        return  # /dev is the image's or a bind: leave it as it is
    made = in_dev(init.spec) if init.prepared.dev >= 0 else ()
    umask = os.umask(0)  # nodes have the modes that are asked for
    for device in init.spec.devices:
        if device not in made:
            make_device(init, device)
    os.umask(umask)
    for name, target in DEV_LINKS:
        try:
            os.symlink(target, name, dir_fd=init.dev)
        except FileExistsError:
            pass  # a bind or a device of the spec took the name


def is_null(node: os.stat_result) -> bool:
    """The null device, by its numbers."""
    return stat.S_ISCHR(node.st_mode) and node.st_rdev == os.makedev(1, 3)


def make_device(init: Init, device: Device) -> None:
    """mknod one device (in a user namespace: bind the shim's) with its mode and owner."""
    if device.path in init.host_devices:
        fd = init.host_devices.pop(device.path)
        attach(init, fd, device.path, folder=False)
        os.close(fd)
        return
    folder, _, name = device.path.rpartition("/")
    if folder == DEV:
        make_node(device, name, init.dev)
        return
    parent = paths.make_dirs_in_root(init.root, folder or "/")
    try:
        make_node(device, name, parent)
    finally:
        os.close(parent)


def open_console(init: Init) -> None:
    """With a terminal: a pty of the container's own devpts, its master sent to the shim."""
    p = init.spec.process
    if not p.terminal:
        if init.stdio[0] < 0:
            null = paths.open_in_root(init.root, "/dev/null", os.O_RDWR | os.O_NOCTTY)
            init.stdio = (null, *init.stdio[1:])
        return
    pts = paths.open_in_root(init.root, "/dev/pts", paths.DIRECTORY)
    master = tty.open_pty_in(pts)
    os.close(pts)
    slave = tty.pty_peer(master)
    if p.console_rows and p.console_columns:
        tty.set_window_size(master, p.console_rows, p.console_columns)
    send(init.sync, {"pty": True}, (master,))
    os.close(master)
    # /dev/console is the slave: bound, not linked, as programs open it by that name.
    bind = mounts.open_tree(slave, "", mounts.OPEN_TREE_CLONE | mounts.AT_EMPTY_PATH)
    attach(init, bind, "/dev/console", folder=False)
    os.close(bind)
    init.stdio = (slave, slave, slave)
