"""What a test must not leave behind: mounts, network namespaces, cgroups, processes, descriptors.

Taken before and after a test, two snapshots differ by what it left. Other test runs may share
the machine: processes and descriptors are told apart by descent (this process is a subreaper,
so an orphan of ours stays our descendant), the rest by the run's marks in its name while another
run is there; while none is, all of it counts but for what has another's mark: daemons of the
bench, and those started by hand, tell nobody that they are there.
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path

from tests.support import places, procfs

PR_SET_CHILD_SUBREAPER = 36
LOCK = Path("/run/orlop-tests.lock")
NETWORK_NAMESPACES = Path("/run/netns")
OURS = ("processes", "descriptors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The state of this machine as far as tests may change it, each entry printable."""

    mounts: frozenset[str]
    network_namespaces: frozenset[str]
    cgroups: frozenset[str]
    processes: frozenset[str]
    descriptors: frozenset[str]

    @classmethod
    def take(cls) -> Snapshot:
        """The state now."""
        found = [p for p in procfs.descendants(os.getpid()) if not _stands_by(p.pid)]
        return cls(
            mounts=frozenset(f"{mount} (mount {mount.id})" for mount in procfs.mounts()),
            network_namespaces=frozenset(_names(NETWORK_NAMESPACES)),
            cgroups=frozenset(cgroups()),
            processes=frozenset(f"{process}, started {process.started}" for process in found),
            descriptors=procfs.descriptors(),
        )

    def left(self, later: Snapshot, marks: Sequence[str] | None = None) -> list[str]:
        """What `later` has beyond this one, as sentences; with `marks`, only what has one."""
        return [
            f"{field.name.replace('_', ' ')}: {entry}"
            for field in fields(self)
            for entry in sorted(getattr(later, field.name) - getattr(self, field.name))
            if field.name in OURS or _counts(entry, marks)
        ]


def _counts(entry: str, marks: Sequence[str] | None) -> bool:
    if marks is None:
        return not places.is_anothers(entry)
    return any(mark in entry for mark in marks)


def _stands_by(pid: int) -> bool:
    """A zygote, or a shim without a container: as many as one daemon needs, ever new ones."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0")
        return command in (b"orlop-zygote", b"orlop-shim")
    except (FileNotFoundError, ProcessLookupError):
        return False


def cgroups(prefix: str = "orlop") -> list[str]:
    """The folders below `prefix…` in every hierarchy, those included."""
    return [
        folder
        for root in procfs.cgroup_roots()
        for top in root.glob(f"{prefix}*/")
        for folder, _, _ in os.walk(top)
    ]


def settle(before: Snapshot, marks: Sequence[str] | None = None, *, seconds: float) -> list[str]:
    """What is left of a test after at most `seconds`: the kernel takes its time to clean up."""
    deadline = time.monotonic() + seconds
    while True:
        reap_orphans()
        left = before.left(Snapshot.take(), marks)
        if not left or time.monotonic() >= deadline:
            return left
        gc.collect()  # a descriptor held by a traceback's cycle is no leak
        time.sleep(0.02)


def become_subreaper() -> None:
    """From now on the orphans of our descendants become our children, not those of PID 1."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap_orphans() -> None:
    """Collect our ended children: between tests nobody waits for them any more."""
    for process in procfs.descendants(os.getpid()):
        if process.zombie and process.parent == os.getpid():
            with suppress(ChildProcessError):
                os.waitpid(process.pid, os.WNOHANG)


class Presence:
    """A shared lock that tells test runs of each other."""

    def __init__(self, path: Path = LOCK) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(self.fd, fcntl.LOCK_SH)

    def alone(self) -> bool:
        """No other run of the tests is on this machine now."""
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            result = False
        else:
            result = True
        # Changing a lock's kind may lose it for a moment, also when the change fails.
        fcntl.flock(self.fd, fcntl.LOCK_SH)
        return result

    def close(self) -> None:
        """This run is over. The file stays: removing it would race with another run's open."""
        os.close(self.fd)


class Watch:
    """From its making on: what is left of that time. `folder` is where this run's files are."""

    def __init__(self, presence: Presence, folder: Path) -> None:
        self._presence = presence
        self._alone = presence.alone()
        self._marks = (*places.marks(), f"{folder}/")
        self._before = Snapshot.take()

    def left(self, seconds: float) -> list[str]:
        """What is left after at most `seconds`, as sentences."""
        alone = self._alone and self._presence.alone()
        return settle(self._before, None if alone else self._marks, seconds=seconds)


def _names(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
