"""What a shim does with its container's cgroup, which the supervisor makes and removes."""

import os

from supervisor.spec.types import Spec


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
