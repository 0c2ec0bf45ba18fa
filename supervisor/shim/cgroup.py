"""What a shim does with its container's cgroup, which the supervisor makes and removes."""

import os
from dataclasses import dataclass, field

from supervisor.kernel import mounts, paths
from supervisor.spec.types import Spec


@dataclass(slots=True)
class Reached:
    """What init needs of its cgroup, as descriptors.

    `folders`: mounts of it by its path in each hierarchy, where the container sees them. In a
    cgroup namespace of its own that is what a new mount would show; making one waits for the lock
    that all cgroups of the host share, and for whoever is making or removing one. `tasks`: see
    `open_tasks`. `unified`: its v2 folder, -1 where there is none.
    """

    folders: dict[str, int] = field(default_factory=dict)
    tasks: tuple[int, ...] = ()
    unified: int = -1

    def close(self) -> None:
        """Let go of all."""
        for fd in (*self.folders.values(), *self.tasks, self.unified):
            if fd >= 0:
                os.close(fd)


def reach(spec: Spec) -> Reached:
    """Open it; KernelError or OSError where it is not there, or not all of it yet."""
    reached, unified = Reached(), spec.cgroup.unified
    folders = dict.fromkeys((*spec.cgroup.v1.values(), *((unified,) if unified else ())))
    sees = spec.makes("cgroup") and any(mount.type == "cgroup" for mount in spec.mounts)
    try:
        reached.tasks = open_tasks(spec)
        if unified:
            reached.unified = os.open(unified, paths.DIRECTORY)
        for folder in folders if sees else ():
            clone = mounts.open_tree(mounts.AT_FDCWD, folder, mounts.OPEN_TREE_CLONE)
            reached.folders[folder] = clone
    except OSError:
        reached.close()
        raise
    return reached


def open_tasks(spec: Spec) -> tuple[int, ...]:
    """Open the v1 `tasks` files: the right to move is checked at open, who moves needs none."""
    opened: list[int] = []
    try:
        for folder in dict.fromkeys(spec.cgroup.v1.values()):
            opened.append(os.open(f"{folder}/tasks", os.O_WRONLY | os.O_CLOEXEC))  # noqa: PERF401
    except OSError:
        for fd in opened:
            os.close(fd)
        raise
    return tuple(opened)


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
