"""What the steps of a container's init work on."""

import socket
from dataclasses import dataclass, field

from supervisor.shim import become
from supervisor.shim.rootfs import Prepared
from supervisor.spec.types import Spec


@dataclass(slots=True)
class Init:
    """What init works on. All fds are its own copies, close-on-exec, gone at execve.

    `host_proc` is the host's /proc; `cgroup_tasks` are the v1 `tasks` files opened by the shim;
    `cgroup_folders` mounts of its cgroup by the path on the host; `stdio` the pipes' far ends
    ((-1, -1, -1) with a terminal, -1 for a closed stdin); `given` the namespaces to join;
    `start_at_once`: the start was asked for before there was an init; `unseen`: the container's
    process is born at the end, in a pid namespace where it may be traced.
    """

    spec: Spec
    sync: socket.socket
    prepared: Prepared
    host_proc: int
    cgroup_tasks: tuple[int, ...]
    stdio: tuple[int, int, int]
    given: dict[str, int] = field(default_factory=dict)
    start_at_once: bool = False
    unseen: bool = False
    host_devices: dict[str, int] = field(default_factory=dict)
    joined_mounts: dict[str, int] = field(default_factory=dict)
    cgroup_folders: dict[str, int] = field(default_factory=dict)
    root: int = -1
    proc: int = -1
    pid_namespace: int = -1
    dev: int = -1
    becoming: become.Becoming | None = None

    @property
    def mapped(self) -> bool:
        """Whether it is in a user namespace, its own or another container's."""
        return bool(self.spec.uid_mappings)

    def let_go(self) -> None:
        """Drop all that this holds: the frames of a child by vfork hold it for ever."""
        if self.becoming is not None:
            let_go(self.becoming)
        let_go(self)


def let_go(held: object) -> None:
    """Empty an object with slots, whoever still has it."""
    for name in type(held).__slots__:  # type: ignore[attr-defined]
        delattr(held, name)
