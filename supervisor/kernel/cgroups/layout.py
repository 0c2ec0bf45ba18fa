"""Which cgroup hierarchies this host has, and where: from mountinfo, nothing is assumed."""

from __future__ import annotations

from dataclasses import dataclass, field

from supervisor.kernel._call import failed
from supervisor.kernel.cgroups import files

V2_CONTROLLERS = ("cpu", "cpuset", "io", "memory", "pids")
V1_CONTROLLERS = ("blkio", "cpu", "cpuacct", "cpuset", "memory", "pids")
"""The controllers that Orlop has a use for. v1's freezer and devices are v2's business."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """`kind`: "unified" (v2 alone), "hybrid" (v2 for life and death, v1 for limits), "v1"
    (no v2 at all: containers cannot be killed or paused as a whole), "none".

    `unified` is where v2 is mounted ("" = nowhere), `v1` each controller's hierarchy;
    several controllers may share one. `controllers` are those usable for limits, in the
    names of the version they are of ("io" or "blkio").
    """

    kind: str
    unified: str = ""
    v1: dict[str, str] = field(default_factory=dict)
    controllers: frozenset[str] = frozenset()


def detect(root: str = "/sys/fs/cgroup", proc: str = "/proc") -> Layout:
    """The hierarchies mounted at or below `root`, as `proc`/self/mountinfo has them.

    KernelError where mountinfo cannot be read.
    """
    unified = ""
    v1: dict[str, str] = {}
    for mount_point, fstype, words in _mounts(f"{proc}/self/mountinfo"):
        if mount_point != root and not mount_point.startswith(f"{root}/"):
            continue
        if fstype == "cgroup2" and not unified:
            unified = mount_point
        elif fstype == "cgroup":
            for controller in V1_CONTROLLERS:
                if controller in words:
                    v1.setdefault(controller, mount_point)
    if v1:
        kind = "hybrid" if unified else "v1"
        return Layout(kind=kind, unified=unified, v1=v1, controllers=frozenset(v1))
    if not unified:
        return Layout(kind="none")
    offered = files.read(f"{unified}/cgroup.controllers").split()
    usable = frozenset(offered).intersection(V2_CONTROLLERS)
    return Layout(kind="unified", unified=unified, controllers=usable)


def _mounts(path: str) -> list[tuple[str, str, list[str]]]:
    """(mount point, filesystem type, superblock options) of each mount (proc(5))."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except OSError as error:
        raise failed(error, "read", path) from None
    found = []
    for line in lines:
        # Fields before " - " vary in number; blanks in paths are escaped.
        head, _, tail = line.partition(" - ")
        fstype, _, options = tail.split(" ", 2)
        found.append((head.split(" ")[4], fstype, options.split(",")))
    return found
