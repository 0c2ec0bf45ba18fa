"""User namespaces of containers: the id maps, and a namespace fd to idmap mounts with."""

import os
import signal

from supervisor.errors import KernelError
from supervisor.kernel import namespaces
from supervisor.spec.types import IdMapping, Spec


def may_share_memory(spec: Spec) -> bool:
    """Whether nobody in the container can look into a process that still has the shim's memory.

    Root of a user namespace may trace what is in it, and so may who has CAP_SYS_PTRACE.
    """
    return not spec.uid_mappings and "CAP_SYS_PTRACE" not in spec.process.capabilities.bounding


def open_mapped(spec: Spec) -> int:
    """An fd of a user namespace with the container's maps, for mount_setattr(IDMAP).

    Mounts are idmapped before the container's own namespace exists, so a short-lived child
    makes one with the same maps; the fd keeps it alive.
    """
    pid, pidfd = namespaces.clone3(namespaces.CLONE_NEWUSER)
    if pid == 0:
        signal.pause()
        os._exit(0)
    try:
        write_maps(pid, spec)
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.kill(pid, signal.SIGKILL)  # our own unreaped child: the pid cannot be another's
        os.waitpid(pid, 0)
        os.close(pidfd)


def write_maps(pid: int, spec: Spec) -> None:
    """Write uid_map and gid_map of our child `pid` (user_namespaces(7))."""
    for name, mappings in (("uid_map", spec.uid_mappings), ("gid_map", spec.gid_mappings)):
        path = f"/proc/{pid}/{name}"
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text(mappings).encode())
        except OSError as error:
            raise KernelError("write", path, error.errno or 0) from None
        finally:
            os.close(fd)


def text(mappings: tuple[IdMapping, ...]) -> str:
    """The map file's lines: inside, outside, count."""
    return "".join(f"{m.container_id} {m.host_id} {m.size}\n" for m in mappings)


def root_of(spec: Spec) -> int:
    """The host id of the container's root."""
    return spec.uid_mappings[0].host_id if spec.uid_mappings else 0
