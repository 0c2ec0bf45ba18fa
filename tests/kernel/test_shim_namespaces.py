"""Namespaces that a container is given at its start, and its own that somebody else wires."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from supervisor.errors import Conflict, InitError, InvalidArgument, KernelError
from supervisor.kernel import namespaces, process
from supervisor.kernel.namespaces import PROC_NAMES, namespace_inode
from supervisor.shim import init
from supervisor.shim.init_state import Init
from supervisor.spec.types import Mount
from tests.kernel.forked import in_child, sleeping_child
from tests.support.shim_rig import SECONDS, Container, ShimRig, descriptors, running_rig

ANOTHERS = f"container:{'d' * 64}"
MAPPED = {"userns": "private:100000:65536"}
KINDS = ("network", "pid", "ipc")


@pytest.fixture(scope="module")
def rig() -> Iterator[ShimRig]:
    with running_rig() as rig:
        yield rig


@contextmanager
def opened(pid: int, *kinds: str) -> Iterator[dict[str, int]]:
    """Descriptors of namespaces of a process."""
    with ExitStack() as stack:
        found = {}
        for kind in kinds:
            fd = os.open(f"/proc/{pid}/ns/{PROC_NAMES[kind]}", os.O_RDONLY | os.O_CLOEXEC)
            found[kind] = fd
            stack.callback(os.close, fd)
        yield found


def inodes(pid: int) -> dict[str, int]:
    return {kind: namespace_inode(pid, kind) for kind in PROC_NAMES}


def held(rig: ShimRig, *args: str, **options: Any) -> Any:
    return rig.container(*args, hold=True, **options)


def open_namespaces(pid: int) -> list[str]:
    """Namespaces that a process has open as files; zygote and shims have the one of `hollow`."""
    return [name for name in descriptors(pid) if name.partition(":[")[0] in PROC_NAMES.values()]


def kept(rig: ShimRig, pid: int) -> list[str]:
    """What a shim has open: what the zygote has, and until its end the mounts of PID 1 `pid`."""
    names = open_namespaces(rig.process.pid)
    pidfd = process.pidfd_open(pid)
    try:
        os.close(namespaces.mount_namespace_of(pidfd))
    except KernelError:
        return names  # before Linux 6.11
    finally:
        os.close(pidfd)
    return sorted([*names, f"mnt:[{inodes(pid)['mount']}]"])


def settled(container: Container) -> Sequence[str]:
    """The shim's descriptors once it is done with all that it was asked."""
    container.shim.call("state")
    return descriptors(container.shim_pid)


def new_network() -> int:
    """A network namespace that no process is in."""
    with sleeping_child(namespaces.CLONE_NEWNET) as (pid, _):
        return os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def fill(network: int) -> None:
    """Leave a mark in a network namespace, as whoever makes its devices would."""

    def body() -> None:
        namespaces.setns(network, namespaces.CLONE_NEWNET)
        Path("/proc/sys/net/core/somaxconn").write_text("77")

    in_child(body)


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# --- given ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kinds", [("network",), ("pid",), ("pid", "network")])
def test_joins_what_it_is_given(rig: ShimRig, kinds: tuple[str, ...]) -> None:
    with held(rig, "sleep", "1000") as donor:
        pid = donor.start()
        wanted = inodes(pid)
        asked = dict.fromkeys(kinds, ANOTHERS)
        with held(rig, "sleep", "1000", **asked) as joiner, opened(pid, *kinds) as given:
            joined = joiner.start(**given)
            theirs = inodes(joined)
            assert {k for k in PROC_NAMES if wanted[k] == theirs[k]} == {*kinds, "user"}
            # The shim stays where it was, for the pids of execs, and keeps none of the files.
            assert namespace_inode(joiner.shim_pid, "pid") == namespace_inode(os.getpid(), "pid")
            children = os.stat(f"/proc/{joiner.shim_pid}/ns/pid_for_children").st_ino
            assert children == namespace_inode(os.getpid(), "pid")
            assert sorted(open_namespaces(joiner.shim_pid)) == kept(rig, joined)


def test_no_namespace_stays_open_in_the_program(rig: ShimRig) -> None:
    asked = dict.fromkeys(KINDS, ANOTHERS)
    with held(rig, "sleep", "1000") as donor:
        pid = donor.start()
        with held(rig, "sleep", "1000", **asked) as joiner:
            with opened(pid, "network", "pid", "ipc", "mount") as given:
                inside = joiner.start(**given)
            assert open_namespaces(inside) == []


def test_a_wired_network_is_joined_and_left_as_it_is(rig: ShimRig) -> None:
    """The supervisor's own namespace, for a container in networks: lo is its maker's affair."""
    made = new_network()
    try:
        with held(rig, "cat", "/sys/class/net/lo/flags", network="bridge") as container:
            container.start(network=made)
            assert container.exited().code == 0
            assert int(container.output(), 16) & 1 == 0
    finally:
        os.close(made)


def test_sysctls_go_to_the_namespace_that_was_given(rig: ShimRig) -> None:
    made = new_network()
    script = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start"
    try:
        sysctls = {"net.ipv4.ip_unprivileged_port_start": "77"}
        with held(rig, "sh", "-c", script, network="bridge", sysctls=sysctls) as container:
            container.start(network=made)
            assert container.exited().code == 0
            assert container.output() == "77\n"
    finally:
        os.close(made)


def test_shared_memory_comes_with_ipc(rig: ShimRig) -> None:
    with held(rig, "sh", "-c", "echo hello >/dev/shm/word; sleep 1000", ipc="shareable") as donor:
        pid = donor.start()
        eventually(lambda: os.path.exists(f"/proc/{pid}/root/dev/shm/word"))
        script = "cat /dev/shm/word; echo there >/dev/shm/other; mount | grep -c ' /dev/shm '"
        with (
            held(rig, "sh", "-c", script, ipc=ANOTHERS) as joiner,
            opened(pid, "ipc", "mount") as given,
        ):
            joiner.start(**given)
            assert joiner.exited().code == 0, joiner.output()
            assert joiner.output() == "hello\n1\n"
        assert os.path.exists(f"/proc/{pid}/root/dev/shm/other")


def test_execs_of_a_joined_pid_namespace(rig: ShimRig, tmp_path: Any) -> None:
    """Their pids are those of the shim's namespace, so that their ends are noticed."""
    with held(rig, "sleep", "1000") as donor:
        pid = donor.start()
        with held(rig, "sleep", "1000", pid=ANOTHERS) as joiner, opened(pid, "pid") as given:
            joiner.start(**given)
            path = tmp_path / "process.json"
            path.write_text(json.dumps({"args": ["sh", "-c", "exit 7"]}))
            fd = os.open(path, os.O_RDONLY)
            try:
                told = joiner.shim.call("exec", (fd,), exec="e1")
            finally:
                os.close(fd)
            event = joiner.shim.event("exec_exited")
            assert (event["code"], event["pid"]) == (7, told["pid"])


def test_a_donor_of_pids_takes_the_joiner_with_it(rig: ShimRig) -> None:
    with held(rig, "sleep", "1000") as donor:
        pid = donor.start()
        with held(rig, "sleep", "1000", pid=ANOTHERS) as joiner, opened(pid, "pid") as given:
            joiner.start(**given)
            donor.shim.call("signal", signal=signal.SIGKILL)
            record = joiner.exited()
            assert (record.code, record.signal, record.error) == (137, 9, None)


def test_a_pid_namespace_that_has_ended(rig: ShimRig) -> None:
    with held(rig, "sleep", "1000") as donor, opened(donor.start(), "pid") as given:
        donor.shim.call("signal", signal=signal.SIGKILL)
        donor.exited()
        with held(rig, "sleep", "1000", pid=ANOTHERS) as joiner:
            with pytest.raises(InitError, match="has ended with its container") as error:
                joiner.start(**given)
            assert error.value.step == "namespaces"
            assert joiner.exited().error is not None


WRONG: list[tuple[dict[str, str], tuple[str, ...], int, str]] = [
    ({"network": ANOTHERS}, (), 0, "gives no namespace, the namespaces network was expected"),
    ({"network": ANOTHERS, "pid": ANOTHERS}, ("pid",), 1, "gives the namespaces pid, .* network"),
    ({"ipc": ANOTHERS}, ("ipc",), 1, "the namespaces ipc, mount was expected"),
    ({}, ("network",), 1, "gives the namespaces network, no namespace was expected"),
    ({"network": ANOTHERS}, ("network",), 0, "1 names came with 0 descriptors"),
    ({"network": ANOTHERS}, ("network",), 2, "1 names came with 2 descriptors"),
    ({"network": ANOTHERS}, ("network", "network"), 2, "a name twice"),
    ({"network": ANOTHERS}, ("time",), 1, "gives the namespaces time"),
]


@pytest.mark.parametrize("options, names, count, message", WRONG)
def test_a_start_that_gives_something_else(
    rig: ShimRig, options: dict[str, str], names: tuple[str, ...], count: int, message: str
) -> None:
    with held(rig, "true", **options) as container:
        before = settled(container).count("/dev/null")
        null = os.open("/dev/null", os.O_RDONLY)
        try:
            with pytest.raises(InitError, match=message) as error:
                container.shim.call("start", (null,) * count, namespaces=list(names))
        finally:
            os.close(null)
        assert error.value.step == "namespaces"
        assert container.exited().error is not None
        assert settled(container).count("/dev/null") == before


def test_a_file_that_is_no_such_namespace(rig: ShimRig) -> None:
    with held(rig, "true", network=ANOTHERS) as container:
        with opened(os.getpid(), "uts") as given, pytest.raises(InitError) as error:
            container.start(network=given["uts"])
        assert (error.value.step, error.value.errno) == ("join namespaces", errno.EINVAL)
        assert container.exited().error is not None


def test_nothing_can_be_given_to_an_init_that_is_there(rig: ShimRig) -> None:
    with rig.container("true") as container:
        pid = container.created()
        refused = pytest.raises(InvalidArgument, match="init is there already")
        with opened(os.getpid(), "network") as given, refused:
            container.start(**given)
        settled(container)
        assert sorted(open_namespaces(container.shim_pid)) == kept(rig, pid)
        container.start()
        assert container.exited().code == 0


def test_the_mounts_go_when_the_end_is_told(rig: ShimRig) -> None:
    with held(rig, "sleep", "1000") as container:
        pid = container.start()
        assert sorted(open_namespaces(container.shim_pid)) == kept(rig, pid)
        os.kill(pid, signal.SIGKILL)
        assert container.shim.event("exited")["record"]["signal"] == signal.SIGKILL
        settled(container)  # and nobody has acknowledged it yet
        assert open_namespaces(container.shim_pid) == open_namespaces(rig.process.pid)


def test_a_folder_of_the_hosts_is_free_before_the_end_is_told(rig: ShimRig, tmp_path: Path) -> None:
    bind = Mount(destination="/mnt", type="bind", source=str(tmp_path), options=("rbind",))
    with held(rig, "sleep", "1000", binds=(bind,)) as container:
        container.start()
        assert open_namespaces(container.shim_pid) == open_namespaces(rig.process.pid)


@pytest.mark.parametrize("options", [{"network": ANOTHERS}, {"network": "bridge", **MAPPED}])
def test_what_comes_with_the_start_needs_hold(rig: ShimRig, options: dict[str, str]) -> None:
    with rig.container("true", **options) as container:
        record = container.exited()
        assert record.error is not None
        assert "namespaces network can be given only with the start" in str(record.error["message"])


# --- wired ----------------------------------------------------------------------------------


def wired(rig: ShimRig, *args: str, **options: Any) -> Any:
    return held(rig, *args, network="bridge", **MAPPED, **options)


def offered(container: Container) -> tuple[int, int]:
    """The id of the start, and the descriptor of the network that was made for it."""
    number = container.shim.send("start")
    container.shim.event("network")
    return number, container.shim.fds.pop()


def test_the_network_is_filled_before_the_program_runs(rig: ShimRig) -> None:
    script = "cat /proc/sys/net/core/somaxconn /sys/class/net/lo/flags"
    with wired(rig, "sh", "-c", script) as container:
        number, fd = offered(container)
        fill(fd)
        os.close(fd)
        assert container.shim.call("state")["phase"] == "preparing"
        container.shim.call("wired")
        assert container.shim.reply(number)["pid"] > 0
        assert container.exited().code == 0
        mark, flags = container.output().split()
        assert mark == "77"
        assert int(flags, 16) & 1  # init made it: lo is up


def test_the_network_belongs_to_the_containers_user_namespace(rig: ShimRig) -> None:
    with wired(rig, "ip", "link", "set", "lo", "mtu", "1400", cap_add=("NET_ADMIN",)) as container:
        number, fd = offered(container)
        os.close(fd)
        container.shim.call("wired")
        container.shim.reply(number)
        assert container.exited().code == 0, container.output()


def test_a_network_that_could_not_be_made(rig: ShimRig) -> None:
    with wired(rig, "true") as container:
        number, fd = offered(container)
        os.close(fd)
        container.shim.call("wired", error="no address is left in 10.0.0.0/30")
        with pytest.raises(InitError, match=r"^no address is left in 10\.0\.0\.0/30$") as error:
            container.shim.reply(number)
        assert error.value.step == "network"
        record = container.exited()
        assert record.error == error.value.to_json()


def test_wired_where_nothing_waits(rig: ShimRig) -> None:
    with held(rig, "sleep", "1000") as container:
        with pytest.raises(Conflict, match="does not wait for a network"):
            container.shim.call("wired")
        container.start()
        with pytest.raises(Conflict, match="does not wait for a network"):
            container.shim.call("wired")


def test_killed_while_its_network_is_wired(rig: ShimRig) -> None:
    with wired(rig, "true") as container:
        number, fd = offered(container)
        os.close(fd)
        container.shim.call("signal", signal=signal.SIGKILL)
        with pytest.raises(InitError, match="init ended before the start"):
            container.shim.reply(number)
        record = container.exited()
        assert (record.code, record.signal, record.killed) == (137, signal.SIGKILL, True)
        with pytest.raises(Conflict):
            container.shim.call("wired")


def test_a_supervisor_that_goes_away_meanwhile(rig: ShimRig) -> None:
    with wired(rig, "true") as container:
        _, fd = offered(container)
        os.close(fd)
        container.shim.connection.close()
        container.shim = container.reconnect()
        eventually(lambda: container.shim.call("state")["phase"] == "exited")
        record = container.record()
        assert record is not None
        assert record.error is not None
        assert record.error["step"] == "network"
        assert "supervisor went away" in str(record.error["message"])


def test_nothing_of_the_container_waits_for_its_network(rig: ShimRig) -> None:
    with wired(rig, "true") as container:
        _, fd = offered(container)
        os.close(fd)
        shim = container.shim_pid
        assert not container.group.populated()
        assert Path(f"/proc/{shim}/task/{shim}/children").read_text() == ""
        container.shim.call("wired")
        assert container.exited().code == 0


def test_no_start_of_another_kind_waits(rig: ShimRig) -> None:
    with held(rig, "true", network="none", **MAPPED) as container:
        container.start()
        assert container.exited().code == 0
        assert container.shim.fds == []


@pytest.mark.parametrize("alive", [True, False])
def test_an_init_ends_whose_shim_died_before_it_was_tied_to_it(*, alive: bool) -> None:
    near, sync = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if not alive:
        near.close()
    pid = os.fork()
    if pid == 0:
        near.close()
        init.tie_to_shim(cast("Init", SimpleNamespace(sync=sync)))
        os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == (9 if alive else 0)
    near.close()
    sync.close()
