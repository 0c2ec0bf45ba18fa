"""What a shim does with its container's cgroup, which the supervisor makes and removes."""

import os

from supervisor.kernel import mounts
from supervisor.spec.types import Spec


def clone_folders(spec: Spec) -> dict[str, int]:
    """Detached mounts of the container's cgroup by its path in each hierarchy, where it sees them.

    In a cgroup namespace of its own that is what a new mount would show. Making one waits for the
    lock that all cgroups of the host share, and for whoever is making or removing one.
    """
    if not spec.makes("cgroup") or not any(mount.type == "cgroup" for mount in spec.mounts):
        return {}
    folders = dict.fromkeys(spec.cgroup.v1.values())
    if spec.cgroup.unified:
        folders[spec.cgroup.unified] = None
    clones: dict[str, int] = {}
    try:
        for folder in folders:
            clones[folder] = mounts.open_tree(mounts.AT_FDCWD, folder, mounts.OPEN_TREE_CLONE)
    except OSError:
        for fd in clones.values():
            os.close(fd)
        raise
    return clones


def open_tasks(spec: Spec) -> tuple[int, ...]:
    """Open the v1 `tasks` files: the right to move is checked at open, init needs none."""
    return tuple(
        os.open(f"{folder}/tasks", os.O_WRONLY | os.O_CLOEXEC)
        for folder in dict.fromkeys(spec.cgroup.v1.values())
    )


def kill_all(spec: Spec) -> None:
    """SIGKILL whatever is left in the container's cgroup (cgroup.kill, Linux 5.14)."""
    if spec.cgroup.unified:
        try:
            fd = os.open(f"{spec.cgroup.unified}/cgroup.kill", os.O_WRONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            os.write(fd, b"1")
        finally:
            os.close(fd)
