"""supervisor.kernel.namespaces: clone3 from a running interpreter, and joining namespaces."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.errors import KernelError
from supervisor.kernel import namespaces, process
from supervisor.kernel.namespaces import NAMESPACE_FLAGS, clone3
from tests.kernel.forked import (
    OUTER,
    error_of,
    exit_code,
    in_child,
    is_cloexec,
    map_ids,
    sleeping_child,
)
from tests.support import procfs

OWN = os.getpid


def unified_root() -> Path:
    """Where cgroup v2 is mounted, also on a hybrid host."""
    return next(Path(m.target) for m in procfs.mounts() if m.fstype == "cgroup2")


@pytest.fixture
def cgroup(cgroup_name: str) -> Iterator[tuple[Path, int]]:
    """A v2 cgroup of the test's own and its fd."""
    folder = unified_root() / cgroup_name
    folder.mkdir()
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    yield folder, fd
    os.close(fd)
    folder.rmdir()


# --- clone3 ---------------------------------------------------------------------------------


def test_parent_and_child_each_get_their_answer() -> None:
    read_end, write_end = os.pipe()
    pid, pidfd = clone3(0)
    if pid == 0:
        os.write(write_end, f"{pid} {pidfd} {os.getpid()} {os.getppid()}".encode())
        os._exit(7)
    assert pid > 0
    assert is_cloexec(pidfd)
    done = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    assert done is not None
    assert (done.si_pid, done.si_status) == (pid, 7)
    assert os.read(read_end, 100).decode() == f"0 -1 {pid} {os.getpid()}"
    for fd in (pidfd, read_end, write_end):
        os.close(fd)


def test_the_interpreter_works_in_the_child() -> None:
    """Threads (a GIL of its own), imports (the import lock), fork and subprocesses."""

    def body() -> str:
        found: list[str] = []
        thread = threading.Thread(target=lambda: found.append(__import__("colorsys").__name__))
        thread.start()
        thread.join(10)
        found.append(str(threading.active_count()))
        found.append(str(threading.current_thread() is threading.main_thread()))
        done = subprocess.run([sys.executable, "-ISc", "print(6*7)"], stdout=subprocess.PIPE)
        found.append(done.stdout.decode().strip())
        return " ".join(found)

    read_end, write_end = os.pipe()
    pid, pidfd = clone3(0)
    if pid == 0:
        try:
            os.write(write_end, body().encode())
        finally:
            os._exit(0)
    os.close(write_end)
    with open(read_end) as pipe:
        assert pipe.read() == "colorsys 1 True 42"
    assert exit_code(pid) == 0
    os.close(pidfd)


def test_at_fork_hooks_run_as_for_fork() -> None:
    def body() -> None:
        order: list[str] = []
        os.register_at_fork(
            before=lambda: order.append("before"),
            after_in_parent=lambda: order.append("parent"),
            after_in_child=lambda: order.append("child"),
        )
        pid, pidfd = clone3(0)
        if pid == 0:
            os._exit(0 if order == ["before", "child"] else 1)
        os.close(pidfd)
        assert exit_code(pid) == 0
        assert order == ["before", "parent"]
        assert error_of(clone3, namespaces.CLONE_NEWNS | namespaces.CLONE_FS) == "EINVAL"
        assert order == ["before", "parent"] * 2

    in_child(body)


def test_a_failed_clone_leaves_the_interpreter_whole() -> None:
    """The import lock was taken before the call: it must be given back."""
    for _ in range(3):
        assert error_of(clone3, namespaces.CLONE_NEWNS | namespaces.CLONE_FS) == "EINVAL"
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(__import__("colorsys").__name__))
    thread.start()
    thread.join(10)
    assert found == ["colorsys"]
    assert not process.has_children()


@pytest.mark.parametrize("oci_type", sorted(NAMESPACE_FLAGS))
def test_a_flag_makes_that_namespace_only(oci_type: str) -> None:
    with sleeping_child(NAMESPACE_FLAGS[oci_type]) as (pid, _):
        different = [
            other
            for other in NAMESPACE_FLAGS
            if namespaces.namespace_inode(pid, other) != namespaces.namespace_inode(OWN(), other)
        ]
    assert different == [oci_type]


def test_all_namespaces_at_once() -> None:
    flags = sum(NAMESPACE_FLAGS.values())
    read_end, write_end = os.pipe()
    pid, pidfd = clone3(flags)
    if pid == 0:
        os.write(write_end, f"{os.getpid()} {os.getppid()}".encode())
        os._exit(0)
    assert exit_code(pid) == 0
    assert os.read(read_end, 100) == b"1 0"
    for fd in (pidfd, read_end, write_end):
        os.close(fd)


@pytest.mark.cgroup
def test_a_child_is_born_into_a_cgroup(cgroup: tuple[Path, int]) -> None:
    folder, fd = cgroup
    pid, pidfd = clone3(0, cgroup_fd=fd)
    if pid == 0:
        signal.pause()
    assert (folder / "cgroup.procs").read_text().split() == [str(pid)]
    assert f"0::/{folder.name}" in Path(f"/proc/{pid}/cgroup").read_text().split()
    process.pidfd_send_signal(pidfd, signal.SIGKILL)
    assert exit_code(pid) == -signal.SIGKILL
    os.close(pidfd)


@pytest.mark.cgroup
def test_a_cgroup_namespace_starts_at_the_cgroup_of_birth(cgroup: tuple[Path, int]) -> None:
    """Only on v2: a v1 cgroup must be joined before its namespace is made."""
    folder, fd = cgroup
    read_end, write_end = os.pipe()
    pid, pidfd = clone3(namespaces.CLONE_NEWCGROUP, cgroup_fd=fd)
    if pid == 0:
        os.write(write_end, Path("/proc/self/cgroup").read_bytes())
        signal.pause()
    assert "0::/" in os.read(read_end, 4096).decode().split()
    assert f"0::/{folder.name}" in Path(f"/proc/{pid}/cgroup").read_text().split()
    os.kill(pid, signal.SIGKILL)
    exit_code(pid)
    for each in (pidfd, read_end, write_end):
        os.close(each)


def test_not_every_folder_is_a_cgroup(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_PATH)
    assert error_of(clone3, 0, cgroup_fd=fd) == "EBADF"
    os.close(fd)


def test_clone_parent_makes_a_sibling() -> None:
    """The clone's parent is its maker's: it outlives the maker, and exits with SIGCHLD."""

    def body() -> list[object]:
        read_end, write_end = os.pipe()
        maker = os.fork()
        if maker == 0:
            pid, pidfd = clone3(namespaces.CLONE_PARENT, exit_signal=0)
            if pid == 0:
                os.write(write_end, str(os.getppid()).encode())
                os._exit(9)
            os._exit(0 if os.waitstatus_to_exitcode(wait_for_none(pid)) == 0 and pidfd > 2 else 1)
        found: list[object] = [exit_code(maker)]
        pid, status = os.waitpid(-1, 0)
        found += [os.waitstatus_to_exitcode(status), pid != maker]
        found.append(int(os.read(read_end, 100)) == os.getpid())
        os.close(read_end)
        os.close(write_end)
        return found

    assert in_child(body) == [0, 9, True, True]


def wait_for_none(pid: int) -> int:
    """0 if `pid` is no child of ours."""
    try:
        return os.waitpid(pid, 0)[1]
    except ChildProcessError:
        return 0


def test_clone_parent_takes_no_exit_signal() -> None:
    assert in_child(lambda: error_of(clone3, namespaces.CLONE_PARENT)) == "EINVAL"


# --- unshare, setns -------------------------------------------------------------------------


def test_setns_by_pidfd_and_by_namespace_file() -> None:
    flags = namespaces.CLONE_NEWUTS | namespaces.CLONE_NEWIPC
    with sleeping_child(flags) as (pid, pidfd):

        def body() -> None:
            namespaces.setns(pidfd, namespaces.CLONE_NEWUTS)
            assert namespaces.namespace_inode(OWN(), "uts") == namespaces.namespace_inode(
                pid, "uts"
            )
            fd = os.open(f"/proc/{pid}/ns/ipc", os.O_RDONLY)
            assert error_of(namespaces.setns, fd, namespaces.CLONE_NEWUTS) == "EINVAL"
            namespaces.setns(fd, namespaces.CLONE_NEWIPC)
            os.close(fd)
            assert namespaces.namespace_inode(OWN(), "ipc") == namespaces.namespace_inode(
                pid, "ipc"
            )

        in_child(body)


def test_unshare_and_its_error() -> None:
    def body() -> None:
        before = namespaces.namespace_inode(OWN(), "network")
        namespaces.unshare(namespaces.CLONE_NEWNET)
        assert namespaces.namespace_inode(OWN(), "network") != before
        assert socket.if_nameindex() == [(1, "lo")]

    in_child(body)
    assert error_of(namespaces.unshare, 1) == "EINVAL"


def test_a_user_namespace_maps_ids() -> None:
    read_end, write_end = os.pipe()
    go_read, go_write = os.pipe()
    pid, pidfd = clone3(namespaces.CLONE_NEWUSER)
    if pid == 0:
        os.read(go_read, 1)
        os.setresuid(0, 0, 0)
        os.write(write_end, f"{os.getuid()}".encode())
        os.read(go_read, 1)
        os._exit(0)
    map_ids(pid, [(0, OUTER, 10)])
    os.write(go_write, b"x")
    assert os.read(read_end, 10) == b"0"
    assert os.stat(f"/proc/{pid}").st_uid in (0, OUTER)
    assert f"Uid:\t{OUTER}\t{OUTER}" in Path(f"/proc/{pid}/status").read_text()
    os.write(go_write, b"x")
    assert exit_code(pid) == 0
    for fd in (pidfd, read_end, write_end, go_read, go_write):
        os.close(fd)


def test_the_namespace_of_nobody() -> None:
    with pytest.raises(KernelError) as caught:
        namespaces.namespace_inode(2**22 + 1, "network")
    assert caught.value.path == f"/proc/{2**22 + 1}/ns/net"


# --- names ----------------------------------------------------------------------------------


def test_host_and_domain_name() -> None:
    def body() -> list[str]:
        namespaces.sethostname("a-host")
        namespaces.setdomainname("a.domain")
        return [socket.gethostname(), Path("/proc/sys/kernel/domainname").read_text().strip()]

    before = socket.gethostname()
    assert in_child(body, flags=namespaces.CLONE_NEWUTS) == ["a-host", "a.domain"]
    assert socket.gethostname() == before


def test_names_that_are_too_long() -> None:
    def body() -> list[str]:
        return [
            error_of(call, "n" * 65) for call in (namespaces.sethostname, namespaces.setdomainname)
        ]

    assert in_child(body, flags=namespaces.CLONE_NEWUTS) == ["EINVAL", "EINVAL"]
