"""A shim whose container has ended takes the next one: as good as new, or not at all."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.errors import InitError
from supervisor.shim.shim import MOST_CONTAINERS
from tests.kernel.test_init import wait_gone
from tests.support.shim_rig import SECONDS, Container, ShimRig, descriptors, running_rig

pytestmark = pytest.mark.kernel

# Its own end of the supervisor's socket, and what wakes its loop; the mount namespace of `hollow`.
IDLE = ["/dev/null"] * 3 + ["anon_inode:[eventpoll]", "mnt"] + ["socket"] * 3


@pytest.fixture(scope="module")
def rig() -> Iterator[ShimRig]:
    with running_rig() as rig:
        yield rig


def ended(container: Container, code: int = 0) -> None:
    """Start it, and wait for its end."""
    container.start()
    record = container.exited()
    assert (record.code, record.error) == (code, None), record


def stayed(rig: ShimRig, *args: str, by: socket.socket | None = None) -> tuple[int, socket.socket]:
    """The shim, and where to ask it for the next container, after one that ran `args`."""
    with rig.container(*args, hold=True, by=by) as container:
        ended(container)
        connection = container.stay()
        assert connection is not None
        return container.shim_pid, connection


def test_it_takes_the_next_container(rig: ShimRig) -> None:
    """With nothing of the last one: folder, output, environment, descriptors, command line."""
    pid, first = stayed(rig, "sh", "-c", "echo of the first")
    with first:
        holds(pid, IDLE)
        assert os.readlink(f"/proc/{pid}/cwd") == "/"
        assert Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0") == b"orlop-shim"
        script = "echo of the second; pwd; env; ls /proc/self/fd; exit 3"
        with rig.container("sh", "-c", script, hold=True, by=first, env=("A=1",)) as container:
            assert container.shim_pid == pid
            assert os.readlink(f"/proc/{pid}/cwd") == str(container.bundle)
            ended(container, 3)
            lines = container.output().split()
            assert {"of", "the", "second", "A=1"} <= set(lines)
            assert "first" not in lines
            assert lines[-4:] == ["0", "1", "2", "3"]  # the last is the folder that ls reads
            again = container.stay()
            assert again is not None
    with again:
        holds(pid, IDLE)
    wait_gone(pid)  # nobody wants it any more


def holds(pid: int, wanted: list[str]) -> None:
    """Wait until it has these descriptors: it says that it stays before it makes itself ready."""
    deadline = time.monotonic() + SECONDS
    while (found := kinds(pid)) != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.01)


def kinds(pid: int) -> list[str]:
    """What its descriptors are."""
    return sorted(name.partition(":[" if name[0] != "a" else "\n")[0] for name in descriptors(pid))


def test_many_one_after_the_other_but_not_for_ever(rig: ShimRig) -> None:
    """What each leaves behind in memory is little, and bounded by a number of containers."""
    pid, first = stayed(rig, "true")
    connection: socket.socket | None = first
    sizes = []
    while connection is not None:
        with connection, rig.container("true", hold=True, by=connection) as container:
            assert container.shim_pid == pid
            ended(container)
            sizes.append(resident(pid))
            connection = container.stay()
    assert len(sizes) == MOST_CONTAINERS
    assert sizes[-1] - sizes[9] < 1024, sizes
    wait_gone(pid)


def resident(pid: int) -> int:
    """What of its memory is its own, in KiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty"))


def test_one_with_an_exec_session_goes(rig: ShimRig) -> None:
    with rig.container("sleep", "1000", hold=True) as container:
        container.start()
        fd = memory_file(json.dumps({"args": ["true"]}))
        container.shim.call("exec", (fd,), exec="e1")
        os.close(fd)
        container.shim.call("signal", signal=9)
        container.exited()
        assert container.stay() is None
        wait_gone(container.shim_pid)


def memory_file(text: str) -> int:
    """A file with this content, in memory only."""
    fd = os.memfd_create("test")
    os.write(fd, text.encode())
    return fd


def test_one_whose_client_still_reads_goes(rig: ShimRig) -> None:
    near, far = socket.socketpair()
    with near, rig.container("sh", "-c", "head -c 3000000 /dev/zero", hold=True) as container:
        with far:
            container.shim.call("attach", (far.fileno(),), stdin=False, framed=True)
        container.start()
        taken = 0
        while taken < 2_000_000:
            taken += len(near.recv(1 << 16))
        record = container.exited()
        assert record.code == 0
        assert container.stay() is None
        while data := near.recv(1 << 16):
            taken += len(data)
        assert taken >= 3_000_000


def test_a_failed_start_is_no_reason_to_go(rig: ShimRig) -> None:
    with rig.container("/nowhere", hold=True) as container:
        with pytest.raises(InitError, match="no such file"):
            container.start()
        container.exited()
        connection = container.stay()
        assert connection is not None
        pid = container.shim_pid
    with connection:
        again, last = stayed(rig, "true", by=connection)
        last.close()
        assert again == pid


def test_no_memory_to_be_set_up_in_is_no_end_of_the_shim(rig: ShimRig) -> None:
    """Init shares the shim's memory then: the OOM killer must not take both."""
    with rig.container("true", hold=True) as container:
        v1 = container.group.paths.v1
        folder = Path(v1["memory"] if v1 else container.group.paths.unified)
        (folder / ("memory.limit_in_bytes" if v1 else "memory.max")).write_text("4096")
        with pytest.raises(InitError):
            container.start()
        assert container.exited().error is not None
        assert container.shim.call("state")["phase"] == "exited"
