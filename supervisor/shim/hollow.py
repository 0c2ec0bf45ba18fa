"""An empty mount namespace: what each container's own is a copy of.

A new mount namespace is a copy of its maker's, and a container wants none of what the host has
mounted: to copy it all and throw it away again (pivot_root(2), umount2(2)) costs a millisecond
and more, most of it waiting for other processors (RCU). So the zygote makes one namespace with
nothing but an empty read-only folder, and shims go there for the moment in which they clone
init. The container's root is then mounted on top of that folder, as a host's is on top of its
initial RAM file system: what lies below cannot be walked to, and would be empty.
"""

import os
import signal

from supervisor.errors import KernelError
from supervisor.kernel import mounts, namespaces

ATTRIBUTES = mounts.MOUNT_ATTR_RDONLY | mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NODEV


def make() -> int:
    """An fd of such a namespace, which lives as long as somebody has one."""
    emptied, tell = os.pipe2(os.O_CLOEXEC)
    pid, pidfd = namespaces.clone3(namespaces.CLONE_NEWNS)
    if pid == 0:
        try:
            empty()
            os.write(tell, b"\0")
            signal.pause()
        finally:
            os._exit(1)
    os.close(tell)
    try:
        if not os.read(emptied, 1):
            raise KernelError("unshare", "an empty mount namespace", 0)
        return os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.kill(pid, signal.SIGKILL)  # our own unreaped child: the pid cannot be another's
        os.waitpid(pid, 0)
        os.close(pidfd)
        os.close(emptied)


def empty() -> None:
    """Leave nothing of this mount namespace but a folder."""
    mounts.mount("", "/", "", mounts.MS_REC | mounts.MS_PRIVATE, "")
    context = mounts.fsopen("tmpfs")
    mounts.fsconfig_string(context, "source", "orlop")
    mounts.fsconfig_string(context, "mode", "555")
    mounts.fsconfig_create(context)
    folder = mounts.fsmount(context, ATTRIBUTES)
    mounts.move_mount(folder, mounts.AT_FDCWD, "/")
    os.fchdir(folder)
    # With both arguments "." (pivot_root(2), NOTES) the old root lies on the new one.
    mounts.pivot_root(".", ".")
    mounts.umount(".", mounts.MNT_DETACH)
