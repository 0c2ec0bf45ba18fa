"""The names of all failpoints, and what ORLOP_FAILPOINTS may say of them.

    create.record=kill;start.cgroup=error:ENOSPC*2;rm.snapshot=delay:0.5@1

A daemon reads it once, at its start, and gives it on to its zygote, whose forks are the shims.
`*N`: the first N times only; `@N`: not the first N times. Each process counts for itself.
"""

import errno
import os
import signal
import time

from supervisor import failpoints
from supervisor.errors import InvalidArgument

# What is about to happen, or has just happened, when the process comes by.
POINTS = {
    "create.record": "a new container's record is about to be handed to the database",
    "create.folders": "the record is handed over, its folders are about to be made",
    "create.volumes": "record and folders are there, new volumes are about to be made and filled",
    "create.answer": "a new container is in service, its client does not know yet",
    "container.record": "a container's next state is about to be handed to the database",
    "start.bundle": "the run's configuration is about to be written",
    "start.spawn": "the zygote is about to be asked for a shim",
    "start.cgroup": "the run's cgroup is about to be made",
    "start.limits": "the cgroup is there, its limits are about to be written",
    "start.launch": "there is a shim, it is about to be asked to start",
    "start.started": "the shim says that the program runs, nobody else has heard of it",
    "shim.rootfs": "the shim is about to prepare the root filesystem",
    "shim.clone": "the shim is about to clone init",
    "shim.cloned": "init is cloned, the shim has not heard of it yet",
    "init.execve": "init is complete and about to become the container's program",
    "exec.execve": "a session's process is complete and about to become its program",
    "shim.started": "the program runs, the shim has told nobody",
    "shim.record": "the container has ended, the shim is about to write the exit record",
    "shim.told": "the exit record is on disk, the shim has told nobody",
    "stop.signal": "the stop signal is about to be sent",
    "stop.kill": "a container's cgroup is about to be killed",
    "exit.taken": "the shim has told of the end, the supervisor has not acted upon it",
    "exit.acknowledge": "the end is settled, the shim is about to be let go",
    "exit.cgroup": "a run is over, its cgroup is about to be removed",
    "rm.volumes": "a removed container's anonymous volumes are about to go",
    "rm.snapshot": "a removed container's folders are about to go to the trash",
    "rm.forget": "the folders are gone, the record is about to be deleted",
    "rm.answer": "the record is deleted, nobody knows yet",
    "trash.empty": "what is in the trash is about to be deleted",
    "image.blob": "a blob is complete and about to be renamed to its place",
    "image.unpack": "a layer is about to be unpacked",
    "image.layer": "a layer is unpacked and about to be renamed to its place",
    "image.copy": "an image's blobs and layers are there, the copy of its record is not",
    "image.row": "the copy of the record is there, its row is about to be written",
    "image.answer": "the image is there, its client does not know yet",
    "image.remove": "an image is about to lose its row",
    "image.collect": "an image's layers and blobs are about to go to the trash",
    "pull.blob": "a layer's blob is about to be downloaded",
    "volume.row": "a new volume's row is about to be written",
    "volume.folder": "a new volume's folder is made, what is in it is not",
    "volume.remove": "a volume's folder is about to go to the trash",
    "volume.forget": "a volume's folder is gone, its row is about to be deleted",
    "network.row": "a new network's row is about to be written",
    "network.bridge": "the row is written, the network's bridge is about to be made",
    "network.connect": "a running container is about to come into one more network",
    "network.connected": "it is in that network, its record does not say so yet",
    "network.remove": "a network's bridge is gone, its row is about to be deleted",
    "database.commit": "a transaction is about to be made",
    "database.committed": "a transaction is durable, nobody who waits for it knows",
    "recover.settle": "a restarted supervisor is about to settle a run without a shim",
    "recover.sweep": "all is adopted, what belongs to nobody is about to be removed",
}

# What comes there cannot fail, so that an error would show nothing about the product.
CANNOT_FAIL = frozenset(
    {
        *("create.answer", "container.record", "start.launch", "start.started", "shim.cloned"),
        *("shim.started", "shim.told", "stop.signal", "exit.taken", "exit.acknowledge"),
        *("rm.answer", "image.answer", "pull.blob", "volume.row", "volume.forget"),
        *("network.row", "network.connect", "network.connected", "network.remove"),
        *("database.committed", "recover.settle", "recover.sweep"),
    }
)


class Point:
    """What is done at one place; `times` < 0 is for ever."""

    def __init__(self, name: str, action: str, value: float, *, skip: int, times: int) -> None:
        self.name = name
        self.action = action
        self.value = value
        self.skip = skip
        self.times = times

    def __call__(self) -> None:
        """Somebody comes by."""
        if self.skip:
            self.skip -= 1
            return
        if self.times == 0:
            return
        self.times -= 1
        os.write(2, f"failpoint {self.name}: {self.action}\n".encode())  # the daemon's log
        if self.action == "delay":
            time.sleep(self.value)
        elif self.action == "error":
            number = int(self.value)
            raise OSError(number, f"{os.strerror(number)} (failpoint {self.name})")
        else:
            os.kill(os.getpid(), signal.SIGKILL)
            os._exit(128 + signal.SIGKILL)  # PID 1 of a namespace ignores its own SIGKILL


def switch_on(text: str) -> None:
    """Arm what the variable says; InvalidArgument says what is wrong with it."""
    failpoints.arm({point.name: point for point in parse(text)})


def parse(text: str) -> list[Point]:
    """The points of NAME=ACTION;…; InvalidArgument."""
    points = [_point(entry.strip()) for entry in text.split(";") if entry.strip()]
    names = [point.name for point in points]
    for name in names:
        if names.count(name) > 1:
            raise _wrong(f"{name} is given twice")
    return points


def _point(entry: str) -> Point:
    name, _, action = entry.partition("=")
    if name not in POINTS:
        raise _wrong(f"no failpoint {name!r}; there are {', '.join(POINTS)}")
    action, counts = _counts(action)
    skip, times = counts.get("@", 0), counts.get("*", -1)
    word, colon, value = action.partition(":")
    if word == "kill" and not colon:
        return Point(name, word, 0, skip=skip, times=times)
    if word == "delay":
        return Point(name, word, _seconds(entry, value), skip=skip, times=times)
    if word == "error":
        if name in CANNOT_FAIL:
            raise _wrong(f"{entry!r}: {name} cannot fail: give kill or delay:SECONDS")
        number = getattr(errno, value, None)
        if not isinstance(number, int):
            raise _wrong(f"{entry!r}: no errno {value!r}; give one such as error:ENOSPC")
        return Point(name, word, number, skip=skip, times=times)
    raise _wrong(f"{entry!r}: give kill, error:ERRNO or delay:SECONDS, then *TIMES or @SKIPPED")


def _counts(action: str) -> tuple[str, dict[str, int]]:
    """The action without its `*N` and `@N`, and these numbers by their signs."""
    found: dict[str, int] = {}
    while True:
        head = action.rstrip("0123456789")
        sign, digits = head[-1:], action[len(head) :]
        if not digits or sign not in ("*", "@") or sign in found:
            return action, found
        found[sign] = int(digits)
        action = head[:-1]


def _seconds(entry: str, value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 3600:
        raise _wrong(f"{entry!r}: a delay is from 0 to 3600 seconds, as delay:0.5")
    return seconds


def _wrong(text: str) -> InvalidArgument:
    return InvalidArgument(f"{failpoints.VARIABLE}: {text}")
