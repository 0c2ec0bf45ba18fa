"""Processes in groups, and metrics that look at them."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from metrics.model import Container, Limits, Roots, Settings
from metrics.serve.sampler import Sampler
from supervisor.kernel import namespaces
from supervisor.kernel.cgroups import Group, Hierarchy
from supervisor.spec.cgroup import writes_v1, writes_v2
from supervisor.spec.types import Resources

WAIT_SECONDS = 20.0
MIB = 1 << 20


def wait_for(condition: Callable[[], bool]) -> bool:
    """The condition holds within WAIT_SECONDS."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def limit(hierarchy: Hierarchy, group: Group, resources: Resources) -> None:
    """Write the limits; all of them must exist on this host."""
    convert = writes_v2 if hierarchy.layout.kind == "unified" else writes_v1
    assert group.write(convert(resources, hierarchy.controllers)) == []


class Child:
    """A forked process that has done its part and waits, or has ended."""

    def __init__(self, pid: int, done: int) -> None:
        self.pid = pid
        self._done = done

    def wait_until_done(self) -> None:
        """It has acted, and sits still."""
        assert os.read(self._done, 1) == b"x"

    def end(self) -> resource.struct_rusage:
        """Kill and reap it; what the kernel says that it used."""
        os.kill(self.pid, signal.SIGKILL)
        _, _, usage = os.wait4(self.pid, 0)
        self.pid = 0
        return usage


@contextmanager
def child_in(group: Group, act: Callable[[], object]) -> Iterator[Child]:
    """A child that joins the group as containers do, acts, then sits still until it is killed."""
    tasks = [os.open(f"{path}/tasks", os.O_WRONLY) for path in group.paths.v1.values()]
    folder = group.fd()
    done, tell = os.pipe()
    pid, pidfd = namespaces.clone3(0, cgroup_fd=folder)
    if pid == 0:
        try:
            for task in tasks:
                os.write(task, b"0")
            kept = act()
            os.write(tell, b"x")
            while True:
                signal.pause()
                del kept  # never: it is held until the end
        finally:
            os._exit(255)
    for fd in (*tasks, folder, pidfd, tell):
        os.close(fd)
    child = Child(pid, done)
    try:
        yield child
    finally:
        os.close(done)
        if child.pid:
            child.end()


def burn(seconds: float) -> None:
    """Use so much CPU time."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        sum(range(10_000))


def container(name: str, **limits: int) -> Container:
    """A description."""
    return Container(
        id=f"{name:x<64}",
        name=name,
        image="docker.io/library/alpine:3.20",
        cgroup=f"/orlop/{name}",
        limits=Limits(**limits),
    )


@contextmanager
def watching(groups: dict[str, Group], **settings: float) -> Iterator[Sampler]:
    """A sampler that has these groups as running containers; their id is `container(name).id`."""
    sampler = Sampler(Settings(**settings), Roots())  # type: ignore[arg-type]
    for name, group in groups.items():
        sampler.containers.add(container(name))
        sampler.containers.started(container(name).id, group.paths, at=time.time())
    try:
        yield sampler
    finally:
        sampler.close()


_LOOP_CTL_GET_FREE = 0x4C82
_LOOP_SET_FD, _LOOP_CLR_FD = 0x4C00, 0x4C01


@contextmanager
def loop_device(file: Path) -> Iterator[tuple[str, str]]:
    """A block device with the file's content: its path and its number (loop(4))."""
    for _ in range(16):
        with open("/dev/loop-control", "rb") as control:
            number = fcntl.ioctl(control, _LOOP_CTL_GET_FREE)
        path = f"/dev/loop{number}"
        with open(path, "r+b", buffering=0) as loop, open(file, "r+b") as content:
            try:
                fcntl.ioctl(loop, _LOOP_SET_FD, content.fileno())
            except OSError as error:
                if error.errno != errno.EBUSY:  # somebody else was faster
                    raise
                continue
            try:
                yield path, Path(f"/sys/block/loop{number}/dev").read_text().strip()
            finally:
                fcntl.ioctl(loop, _LOOP_CLR_FD)
            return
    raise AssertionError("no loop device is free")
