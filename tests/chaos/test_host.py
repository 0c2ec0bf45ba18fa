"""The host fails the supervisor: its disk, its memory, a process that it cannot kill."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

from tests.api.box import eventually
from tests.chaos.rig import OBEDIENT, PATIENCE, Rig, alive, seconds_since
from tests.support import places
from tests.support.hanging import hanging_files
from tests.support.nest import CONSTANT, OWN_MOUNTS
from tests.support.pace import limit

Tell = Callable[[str], None]
FAILED = {500, 503}


# --- R8: the state folder takes nothing


@contextmanager
def no_writes(rig: Rig) -> Iterator[None]:
    """Every write of the daemon to a file fails (EFBIG), as those to a broken disk do."""
    limits = resource.prlimit(rig.daemon.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(rig.daemon.pid, resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        yield
    finally:
        resource.prlimit(rig.daemon.pid, resource.RLIMIT_FSIZE, limits)


@contextmanager
def read_only(rig: Rig) -> Iterator[None]:
    """The data root is read-only (EROFS) for whoever opens anything in it from now on."""
    enter = ("nsenter", "-t", str(rig.daemon.pid), "-m")
    root = str(rig.daemon.data_root)
    for command in (("mount", "--bind", root, root), ("mount", "-o", "remount,ro,bind", root)):
        subprocess.run([*enter, *command], check=True)
    try:
        yield
    finally:
        subprocess.run([*enter, "umount", "-l", root], check=True)


ASKED = (
    ("POST", "/containers/create?name=new", {"Image": "box", "Cmd": ["true"]}),
    ("POST", "/containers/made/start", None),
    ("POST", "/volumes/create", {"Name": "new"}),
)
# These need the database alone, which is open already.
OF_RECORDS = (
    ("POST", "/containers/made/rename?name=other", None),
    ("POST", "/containers/stays/update", {"RestartPolicy": {"Name": "always"}}),
)


def changes_are_refused(rig: Rig, asked: Collection[tuple[str, str, object]]) -> None:
    """What would change anything says that it cannot, and changes nothing."""
    before = lasting(rig)
    for method, path, body in asked:
        status, answer = rig.daemon.request(method, path, body)
        assert status in FAILED, (path, status, answer)
        assert answer["message"], path
    eventually(lambda: lasting(rig) == before)
    names = sorted(
        name for one in rig.ask("GET", "/containers/json?all=1") for name in one["Names"]
    )
    assert names == ["/ends", "/made", "/stays"]
    assert rig.box.inspect("stays")["HostConfig"]["RestartPolicy"]["Name"] in {"", "no"}


def lasting(rig: Rig) -> set[str]:
    """What it has, but for what OBEDIENT does again and again."""
    return {one for one in rig.remains() if not one.startswith("process sleep 0.05")}


def goes_on(rig: Rig, pid: int) -> None:
    """The container is there, and what needs no disk works."""
    state = rig.state("stays")
    assert state is not None
    assert (state["Status"], state["Pid"]) == ("running", pid)
    assert alive(pid)


def test_a_disk_that_takes_nothing(rig: Rig, tell: Tell) -> None:
    see_through(rig, no_writes, (*ASKED, *OF_RECORDS))
    tell(
        "R8: a disk that takes nothing: 5 of 5 changes refused, containers untouched, then service"
    )


def test_a_data_root_that_is_read_only(rig: Rig, tell: Tell) -> None:
    """In a mount namespace of the daemon's own."""
    rig.daemon.kill()
    rig.daemon.settings = {OWN_MOUNTS: "1"}
    rig.daemon.start()
    see_through(rig, read_only, ASKED)
    tell("R8: a read-only data root: 3 of 3 changes refused, containers untouched, then service")


def see_through(
    rig: Rig,
    broken: Callable[[Rig], AbstractContextManager[None]],
    asked: Collection[tuple[str, str, object]],
) -> None:
    """One container goes on, one ends meanwhile, one is there to be started afterwards."""
    pid = rig.up("stays")
    ending = rig.up("ends", "sh", "-c", "echo up; read x; exit 5", OpenStdin=True)
    rig.create("made", *OBEDIENT)
    with broken(rig):
        changes_are_refused(rig, asked)
        os.kill(ending, 9)
        goes_on(rig, pid)
    eventually(lambda: rig.status("ends") == "exited")
    assert (rig.state("ends") or {})["ExitCode"] == 137
    goes_on(rig, pid)
    rig.ask("POST", "/containers/stays/stop?t=20")
    assert (rig.state("stays") or {})["ExitCode"] == 7
    rig.up("again")
    rig.ask("POST", "/containers/made/start")
    rig.restart()
    assert (rig.state("stays") or {})["ExitCode"] == 7
    assert rig.status("made") == "running"


# --- R10: the kernel's OOM killer takes it


SMALL = 24 << 20


@contextmanager
def little_memory(pid: int) -> Iterator[None]:
    """A process is in a group of the test's own that may have SMALL bytes more than it has."""
    v1 = Path("/sys/fs/cgroup/memory")
    name = "memory.limit_in_bytes" if v1.is_dir() else "memory.max"
    group = (v1 if v1.is_dir() else Path("/sys/fs/cgroup")) / places.random_name()
    group.mkdir()
    try:
        # What it has stays with the group that it had it in.
        (group / name).write_text(str(SMALL))
        (group / "cgroup.procs").write_text(str(pid))
        yield
        eventually(lambda: not (group / "cgroup.procs").read_text())
    finally:
        group.rmdir()


def fill(rig: Rig, connections: ExitStack) -> None:
    """Bodies that are never complete, until the daemon is gone."""
    head = b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n"
    for _ in range(40):
        connection = connections.enter_context(socket.socket(socket.AF_UNIX))
        connection.settimeout(limit(10))
        connection.connect(str(rig.daemon.socket))
        connection.sendall(head + b" " * 3_900_000)


def test_the_supervisor_is_killed_for_its_memory(rig: Rig, tell: Tell) -> None:
    """Its containers are in other groups; the next supervisor finds all as after any kill."""
    pid = rig.up("stays")
    ending = rig.up("ends", "sh", "-c", "echo up; read x; exit 5", OpenStdin=True)
    supervisor = rig.daemon.pid
    with little_memory(supervisor):
        with ExitStack() as connections, suppress(OSError):
            fill(rig, connections)
        assert rig.daemon.warden.wait(supervisor, limit(20)) == -signal.SIGKILL
    assert alive(pid)
    os.kill(ending, 9)
    eventually(lambda: not alive(ending))
    rig.start()
    goes_on(rig, pid)
    eventually(lambda: rig.status("ends") == "exited")
    assert (rig.state("ends") or {})["ExitCode"] == 137
    rig.ask("POST", "/containers/stays/stop?t=20")
    assert (rig.state("stays") or {})["ExitCode"] == 7
    tell("R10: the supervisor OOM-killed: one container goes on, one ended meanwhile, both told")


# --- R14: a process that waits in the kernel, whatever it is sent


def test_a_process_that_cannot_be_killed(rig: Rig, tell: Tell) -> None:
    """A stop says so, in time; nobody else is held up; once the kernel lets go, all is well."""
    rig.daemon.kill()
    rig.daemon.settings = {CONSTANT: "supervisor.engine.engine.KILL_SECONDS=1"}
    rig.daemon.start()
    with hanging_files() as (folder, asked):
        rig.create("stuck", "cat", "/hang/file", HostConfig={"Binds": [f"{folder}:/hang"]})
        rig.ask("POST", "/containers/stuck/start")
        pid = int((rig.state("stuck") or {})["Pid"])
        assert asked.wait(limit(20))
        began = time.monotonic()
        status, answer = rig.daemon.request("POST", "/containers/stuck/stop?t=1", timeout=PATIENCE)
        took = seconds_since(began)
        assert status == 409, answer
        assert "a process waits in the kernel" in answer["message"]
        assert took < limit(6)
        assert waits_in_the_kernel(pid)
        rig.up("free")
        rig.ask("POST", "/containers/free/stop?t=20")
        assert (rig.state("free") or {})["ExitCode"] == 7
        rig.restart()
        assert alive(pid)
        assert rig.status("stuck") == "running"
    eventually(lambda: rig.status("stuck") == "exited", 20)
    assert (rig.state("stuck") or {})["ExitCode"] == 137
    tell(f"R14: a stop of 1 s (and 1 s after SIGKILL) errs after {took:.1f} s, others go on")


def waits_in_the_kernel(pid: int) -> bool:
    """Uninterruptibly."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "D"
