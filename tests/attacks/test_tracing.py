"""S2 with CAP_SYS_PTRACE: a tracer in the container takes what joins it, from its birth on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from supervisor.kernel import namespaces, process
from supervisor.shim import exec_stage
from supervisor.shim.exec_stage import ExecStage
from supervisor.spec.capabilities import DEFAULT, mask
from supervisor.spec.types import Capabilities, Process
from tests.api.box import Box, eventually
from tests.attacks.hostile import begin, execute
from tests.attacks.rounds import rounds
from tests.support import places, procfs

PROGRAMS = [Path(__file__).with_name(name) for name in ("tracer.c", "holder.c")]
NAME = "orlop-shim"
"""What a process is called until it is the container's program."""
OF_THE_HOST = {"UsernsMode": "host"}
MAY_TRACE = (*DEFAULT, "CAP_SYS_PTRACE")
SLOW = f"PATH={'/none:' * 3_000}/bin"
"""Has a process look for its program for a while, all set up and in sight."""
FILTERED = 2  # SECCOMP_MODE_FILTER
NAMESPACES = (
    namespaces.CLONE_NEWNS
    | namespaces.CLONE_NEWPID
    | namespaces.CLONE_NEWNET
    | namespaces.CLONE_NEWUTS
    | namespaces.CLONE_NEWIPC
    | namespaces.CLONE_NEWCGROUP
)


@pytest.fixture(scope="module")
def tracer() -> Iterator[Path]:
    """A folder with the programs."""
    with places.short_folder() as folder:
        for source in PROGRAMS:
            command = ["gcc", "-O1", "-static", "-o", str(folder / source.stem), str(source)]
            subprocess.run(command, check=True)
        yield folder


@contextmanager
def running(box: Box, folder: Path, program: str, **host: Any) -> Iterator[str]:
    """A container with one of the programs, until that has ended because it was told to."""
    host = {"Binds": [f"{folder}:/trace:ro"], "CapAdd": ["SYS_PTRACE"], **OF_THE_HOST, **host}
    it = begin(box, f"/trace/{program} /stop", HostConfig=host)
    eventually(lambda: "ready" in box.logs(it))
    yield it
    pid = box.state(it)["Pid"]
    Path(f"/proc/{pid}/root/stop").touch()  # no exec session: it would be caught, too
    box.wait_for(it, "exited")


@contextmanager
def tracing(box: Box, tracer: Path, **host: Any) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A container that traces, and what it has caught at the end."""
    caught: list[dict[str, str]] = []
    with running(box, tracer, f"tracer {NAME}", **host) as it:
        yield it, caught
    lines = box.logs(it).splitlines()
    caught += [dict(word.split("=", 1) for word in line.split()[1:]) for line in lines[1:-1]]
    assert lines[-1].startswith("seen "), lines


def repeat(few: int, session: Callable[[dict[str, Any]], object]) -> None:
    """Sessions or starts; what is to be in each one's body. Some are surely caught."""
    for number in range(rounds(few)):
        session({"Env": [SLOW]} if number % 16 == 0 else {})


def check(
    caught: list[dict[str, str]], capabilities: int, uid: str = "0", cgroup: str = "own"
) -> None:
    """Nothing that the container does not have anyway."""
    assert caught, "none was caught: this shows nothing"
    for one in caught:
        assert int(one["BND"], 16) == capabilities, one
        assert int(one["PRM"], 16) in (capabilities, 0), one
        assert one["UID"] == uid, one
        assert int(one["FILTER"]) == FILTERED, one
        assert one["CGROUP"] == cgroup, one
        opened = sorted(link.partition(":")[0] for link in one["OPEN"].split(",") if link)
        assert len(opened) <= 4, one
        assert set(opened) <= {"pipe", "socket", "/dev/null", "/dev/pts/0"}, one
        assert opened.count("socket") <= 1, one


@pytest.mark.parametrize("user, uid", [("", "0"), ("1234", "1234")], ids=["root", "user"])
def test_a_tracer_gets_nothing_by_a_joining_process(
    box: Box, tracer: Path, user: str, uid: str
) -> None:
    with tracing(box, tracer) as (it, caught):

        def session(body: dict[str, Any]) -> None:
            for terminal in (False, True):
                assert execute(box, it, "true", User=user, Tty=terminal, **body) == ""

        repeat(6, session)
    check(caught, mask(MAY_TRACE), uid)


def test_a_tracer_gets_nothing_by_a_session_of_who_is_joined(box: Box, tracer: Path) -> None:
    """Sessions of a container that may not trace, seen by one that joined its processes."""
    joined = begin(box, HostConfig=OF_THE_HOST)
    with tracing(box, tracer, PidMode=f"container:{joined}") as (_, caught):
        repeat(6, lambda body: execute(box, joined, "true", **body))
    check(caught, mask(DEFAULT), cgroup="other")  # its own is not the tracer's


def test_a_tracer_gets_nothing_by_who_joins(box: Box, tracer: Path) -> None:
    """Neither by its init nor by its sessions."""
    with tracing(box, tracer) as (it, caught):

        def joiner(body: dict[str, Any]) -> None:
            host = {"PidMode": f"container:{it}", **OF_THE_HOST}
            joining = begin(box, HostConfig=host, **body)
            assert execute(box, joining, "true", **body) == ""
            box.daemon.request("DELETE", f"/containers/{joining}?force=1")

        repeat(4, joiner)
    check(caught, mask(DEFAULT), cgroup="other")


def test_a_tracer_hides_no_end(box: Box, tracer: Path) -> None:
    """A process that is traced is its parent's to reap only when the tracer has let it go."""
    with running(box, tracer, "holder") as it:
        for number in range(rounds(3)):
            pids = end_two(box, it, held=2 * number)
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def end_two(box: Box, it: str, held: int) -> list[int]:
    """One that joins `it` ends by itself, one is killed; `it` has `held` processes already."""
    joins = {"PidMode": f"container:{it}", **OF_THE_HOST}
    ends, stays = (
        begin(box, script, HostConfig=joins)
        for script in ("while [ ! -e /go ]; do :; done; exit 7", "while :; do :; done")
    )
    eventually(lambda: box.logs(it).count("holds") >= held + 2)
    pids = [int(box.state(ref)["Pid"]) for ref in (ends, stays)]
    shims = [procfs.parent(pid) for pid in pids]
    Path(f"/proc/{pids[0]}/root/go").touch()
    box.wait_for(ends, "exited")
    box.daemon.request("POST", f"/containers/{stays}/kill")
    box.wait_for(stays, "exited")
    for ref, code in ((ends, 7), (stays, 137)):
        assert (box.state(ref)["ExitCode"], box.state(ref)["Error"]) == (code, "")
        box.daemon.request("DELETE", f"/containers/{ref}")
    left = [procfs.process(pid) for pid in pids]
    assert all(one and one.zombie for one in left), "none was held: this shows nothing"
    eventually(lambda: not any(Path(f"/proc/{shim}").exists() for shim in shims))
    return pids


def test_the_tracer_catches_a_naive_session(box: Box, tracer: Path) -> None:
    """One that becomes what it is to be only when it is in the container's sight."""
    with tracing(box, tracer) as (it, caught):
        pid = int(box.state(it)["Pid"])
        while "PRM=000001ff" not in box.logs(it):  # nor does it take long
            _execute_naively(pid)
    assert any(int(one["PRM"], 16) & ~mask(MAY_TRACE) and one["WRITE"] == "1" for one in caught)
    assert any(one["CGROUP"] == "other" for one in caught)
    with pytest.raises(AssertionError):
        check(caught, mask(MAY_TRACE))


def _execute_naively(init: int) -> None:
    """A session by the way of containers in which nobody may trace."""
    middle = os.fork()
    if middle == 0:
        try:
            _be_the_shim(init)
        finally:
            os._exit(1)
    _, status = os.waitpid(middle, 0)
    assert status == 0


def _be_the_shim(init: int) -> None:
    process.set_process_name(NAME)
    null = os.open("/dev/null", os.O_RDWR)
    near, sync = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sets = dict.fromkeys(("bounding", "effective", "permitted"), MAY_TRACE)
    stage = ExecStage(
        process=Process(args=("true",), capabilities=Capabilities(**sets)),
        sync=sync,
        pidfd=process.pidfd_open(init),
        namespace_flags=NAMESPACES,
        cgroup_fd=-1,
        cgroup_tasks=(),
        stdio=(null, null, null),
    )
    signal.alarm(60)
    if os.fork() == 0:
        exec_stage.main(stage)
    sync.close()
    while near.recv(4096):
        pass
    os.wait()
    os.wait()
    os._exit(0)
