"""R13: other processes have the pids that a container had."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path

from tests.api.box import eventually
from tests.chaos.rig import FULL, Rig, alive, shim

Tell = Callable[[str], None]
TIMES = 20 if FULL else 1
LAST_PID = Path("/proc/sys/kernel/ns_last_pid")
TRIES = 50


class TakenError(Exception):
    """Somebody else's process has the pid."""


@contextmanager
def stranger(pid: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process of nobody's that has this pid, which is free; TakenError."""
    other = fork_as(pid)
    try:
        yield other
    finally:
        other.kill()
        other.wait()


def fork_as(pid: int) -> subprocess.Popen[bytes]:
    """The kernel gives pids one after the other, unless somebody else comes between."""
    for _ in range(TRIES):
        LAST_PID.write_text(str(pid - 1))
        other = subprocess.Popen(["sleep", "100000"])
        if other.pid == pid:
            return other
        other.kill()
        other.wait()
    raise TakenError


def test_no_stranger_is_signalled(rig: Rig, tell: Tell) -> None:
    taken = 0
    for _ in range(TIMES):
        while True:
            try:
                meet_strangers(rig)
            except TakenError:  # on a machine where others fork as well
                taken += 1
                assert taken < 10 + TIMES
                rig.restart()
                rig.remove_all()
            else:
                break
    tell(f"R13: {TIMES} times strangers have a container's and its shim's pid: 0 signalled")


def meet_strangers(rig: Rig) -> None:
    """The next daemon finds them where a container and its shim were."""
    program = rig.up("victim")
    pids = program, shim(rig, "victim")
    eventually(lambda: f'"pid":{program}' in on_disk(rig))  # the next daemon knows it
    last = int(LAST_PID.read_text())
    rig.daemon.kill()
    for pid in reversed(pids):
        with suppress(ProcessLookupError):  # it died with its shim
            os.kill(pid, signal.SIGKILL)
    eventually(partial(are_gone, pids))
    try:
        with stranger(pids[0]) as one, stranger(pids[1]) as two:
            LAST_PID.write_text(str(last))
            rig.start()
            eventually(lambda: rig.status("victim") == "exited")
            state = rig.state("victim") or {}
            assert (state["ExitCode"], state["Pid"]) == (137, 0)
            rig.ask("POST", "/containers/victim/stop?t=0")
            rig.ask("DELETE", "/containers/victim?force=1")
            assert alive(one.pid)
            assert alive(two.pid)
            assert one.poll() is two.poll() is None
    finally:
        LAST_PID.write_text(str(last))


def on_disk(rig: Rig) -> str:
    """What the database has of the victim."""
    path = rig.daemon.data_root / "orlop.db"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        found = database.execute("SELECT doc FROM records WHERE kind = 'container'")
        return "".join(bytes(doc).decode() for (doc,) in found)


def are_gone(pids: Iterable[int]) -> bool:
    """Reaped, too."""
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)
