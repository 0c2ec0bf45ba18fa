"""What /proc says about processes, descriptors and mounts. Races with ending processes are fine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process, told apart from a later one of the same pid by its start time."""

    pid: int
    started: int
    name: str
    parent: int
    zombie: bool

    def __str__(self) -> str:
        return f"{self.pid} {self.name}{' (zombie)' if self.zombie else ''}"


def process(pid: int) -> Process | None:
    """The process `pid`, None when there is none."""
    try:
        head, _, tail = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = tail.split()
    return Process(
        pid=pid,
        started=int(fields[19]),
        name=head.partition("(")[2],
        parent=int(fields[1]),
        zombie=fields[0] == "Z",
    )


def parent(pid: int) -> int:
    """The pid of a process's parent, which of a container's is its shim; AssertionError."""
    found = process(pid)
    assert found is not None, f"there is no process {pid}"
    return found.parent


def processes() -> Iterator[Process]:
    """All processes of this pid namespace."""
    for name in os.listdir("/proc"):
        if name.isdigit() and (found := process(int(name))):
            yield found


def descendants(pid: int) -> list[Process]:
    """The children of `pid`, theirs, and so on."""
    children: dict[int, list[Process]] = {}
    for found in processes():
        children.setdefault(found.parent, []).append(found)
    result: list[Process] = []
    waiting = [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        result += below
        waiting += [child.pid for child in below]
    return result


def descriptors() -> frozenset[str]:
    """This process's open descriptors as `number target`."""
    result = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            result.add(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
        except FileNotFoundError:  # the one that listed the folder
            continue
    return frozenset(result)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A mount of this mount namespace."""

    id: int
    target: str
    fstype: str
    source: str

    def __str__(self) -> str:
        return f"{self.fstype} at {self.target}"


def mounts() -> frozenset[Mount]:
    """The mounts of this process's mount namespace."""
    result = set()
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        head, _, tail = line.partition(" - ")
        fields, (fstype, source, *_) = head.split(), tail.split()
        result.add(Mount(id=int(fields[0]), target=fields[4], fstype=fstype, source=source))
    return frozenset(result)


def cgroup_roots() -> list[Path]:
    """Where cgroup hierarchies of either version are mounted."""
    return [Path(m.target) for m in mounts() if m.fstype in {"cgroup", "cgroup2"}]
