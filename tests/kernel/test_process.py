"""supervisor.kernel.process: each attribute as the kernel reports it afterwards."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from supervisor.errors import KernelError
from supervisor.kernel import capabilities, process
from supervisor.kernel._call import check, syscall
from tests.kernel.forked import OUTER, error_of, exit_code, in_child, is_cloexec, sleeping_child
from tests.support.pace import limit

PR_GET_DUMPABLE = 3
KEYCTL_GET_KEYRING_ID = 0
KEY_SPEC_SESSION_KEYRING = -3
CAP_CHOWN = 1 << 0
CAP_KILL = 1 << 5


def status(name: str) -> str:
    """A line of /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        key, _, value = line.partition(":\t")
        if key == name:
            return value
    raise AssertionError(f"no {name} in /proc/self/status")


# --- pidfds ---------------------------------------------------------------------------------


def test_a_pidfd_signals_and_tells_the_end() -> None:
    with sleeping_child() as (pid, _):
        fd = process.pidfd_open(pid)
        assert is_cloexec(fd)
        process.pidfd_send_signal(fd, 0)
        assert select.select([fd], [], [], 0)[0] == []
    assert select.select([fd], [], [], 5)[0] == [fd]
    assert error_of(process.pidfd_send_signal, fd, 0) == "ESRCH"
    os.close(fd)


def test_the_signal_arrives() -> None:
    pid = os.fork()
    if pid == 0:
        while True:
            signal.pause()
    fd = process.pidfd_open(pid)
    process.pidfd_send_signal(fd, signal.SIGUSR1)
    assert exit_code(pid) == -signal.SIGUSR1
    os.close(fd)


def test_no_pidfd_of_nobody() -> None:
    with pytest.raises(KernelError) as caught:
        process.pidfd_open(2**22 + 1)
    assert caught.value.path == str(2**22 + 1)
    assert error_of(process.pidfd_open, -1) == "EINVAL"


# --- prctl ----------------------------------------------------------------------------------


def test_parent_death_signal() -> None:
    def body() -> int:
        process.set_child_subreaper(True)
        parent = os.fork()
        if parent == 0:
            read_end, write_end = os.pipe()
            if os.fork() == 0:
                process.set_parent_death_signal(signal.SIGUSR2)
                os.write(write_end, b"x")
                while True:
                    signal.pause()
            os.read(read_end, 1)
            os._exit(0)
        exit_code(parent)
        return os.waitstatus_to_exitcode(os.waitpid(-1, 0)[1])

    assert in_child(body) == -signal.SIGUSR2


def test_a_subreaper_gets_the_orphans() -> None:
    def orphan_comes_here(enabled: bool) -> bool:
        process.set_child_subreaper(enabled)
        parent = os.fork()
        if parent == 0:
            if os.fork() == 0:
                os._exit(0)
            os._exit(0)
        exit_code(parent)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return False
        return True

    assert in_child(lambda: orphan_comes_here(True))
    assert not in_child(lambda: orphan_comes_here(False))


def test_no_new_privileges() -> None:
    def body() -> list[str]:
        before = status("NoNewPrivs")
        process.set_no_new_privileges()
        return [before, status("NoNewPrivs")]

    assert in_child(body) == ["0", "1"]


def test_dumpable() -> None:
    def body() -> list[int]:
        found = []
        for enabled in (False, True):
            process.set_dumpable(enabled)
            found.append(ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0))
        return found

    assert in_child(body) == [0, 1]


def test_the_name_is_cut_at_fifteen_bytes() -> None:
    def body() -> str:
        process.set_process_name("orlop: a long name")
        return Path("/proc/self/comm").read_text()

    assert in_child(body) == "orlop: a long n\n"


@pytest.mark.parametrize("keep", [True, False])
def test_capabilities_kept_when_root_is_left(keep: bool) -> None:
    def body() -> int:
        process.set_keep_capabilities(keep)
        os.setresuid(OUTER, OUTER, OUTER)
        return capabilities.get_capabilities()[1]

    assert bool(in_child(body)) is keep


def test_filesystem_ids(short_folder: Path) -> None:
    os.chmod(short_folder, 0o777)

    def body() -> None:
        effective, permitted, inheritable = capabilities.get_capabilities()
        process.set_filesystem_ids(OUTER, OUTER + 1)
        lowered = capabilities.get_capabilities()[0]
        assert not lowered & CAP_CHOWN
        assert lowered & CAP_KILL
        (short_folder / "file").touch()
        capabilities.set_capabilities(effective, permitted, inheritable)
        assert capabilities.get_capabilities()[0] == effective
        process.set_filesystem_ids(0, 0)
        assert capabilities.get_capabilities()[0] == effective
        (short_folder / "root's").touch()

    in_child(body)
    found = os.stat(short_folder / "file")
    assert (found.st_uid, found.st_gid) == (OUTER, OUTER + 1)
    assert os.stat(short_folder / "root's").st_uid == 0


def test_filesystem_ids_that_are_refused() -> None:
    def body() -> str:
        os.setresgid(OUTER, OUTER, OUTER)
        os.setresuid(OUTER, OUTER, OUTER)
        return error_of(process.set_filesystem_ids, 0, 0)

    assert in_child(body) == "EPERM"


# --- descriptors and signals ----------------------------------------------------------------


def test_close_range() -> None:
    def body() -> list[bool]:
        kept, low, high = (os.open("/", os.O_PATH) for _ in range(3))
        os.dup2(low, 200)
        process.close_range(low, 2**32 - 1)
        still = []
        for fd in (kept, low, high, 200):
            try:
                os.fstat(fd)
                still.append(True)
            except OSError:
                still.append(False)
        os._exit(0 if still == [True, False, False, False] else 1)

    pid = os.fork()
    if pid == 0:
        try:
            body()
        finally:
            os._exit(2)
    assert exit_code(pid) == 0
    assert error_of(process.close_range, 9, 3) == "EINVAL"


@pytest.mark.parametrize("kept", [(), (5,), (3,), (9, 5, -1, 5), (3, 4, 9), (200, 7)])
def test_only_some_are_kept(kept: tuple[int, ...]) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            null = os.open("/dev/null", os.O_RDONLY)
            for fd in {3, 4, 5, 7, 9, 200} - {null}:
                os.dup2(null, fd)
            process.close_all_but(*kept)
            os._exit(0 if process.descriptors() == {0, 1, 2, *kept} - {-1} else 1)
        finally:
            os._exit(2)
    assert exit_code(pid) == 0


def test_signals_are_as_at_the_start_of_the_world() -> None:
    def body() -> dict[str, list[str]]:
        for name in (signal.SIGUSR1, signal.SIGRTMIN, signal.SIGRTMAX, signal.SIGCHLD):
            signal.signal(name, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: None)
        # 32 and 33 are libc's own: only the raw call sets them.
        ignore = (1).to_bytes(8, "little") + bytes(24)
        for number in (32, 33):
            check(syscall("rt_sigaction", number, ignore, None, 8), "rt_sigaction")
        signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGUSR2, signal.SIGRTMIN + 3})
        lines = ("SigIgn", "SigCgt", "SigBlk")
        before = [status(line) for line in lines]
        process.reset_signals()
        return {"before": before, "after": [status(line) for line in lines]}

    found = in_child(body)
    assert "0" * 16 not in found["before"]
    assert found["after"] == ["0" * 16] * 3


def test_a_program_after_reset_ignores_nothing() -> None:
    """The interpreter ignores SIGPIPE, and execve passes that on."""

    def ignored(reset: bool) -> str:
        done = subprocess.run(
            ["grep", "SigIgn", "/proc/self/status"],
            stdout=subprocess.PIPE,
            restore_signals=False,
            preexec_fn=process.reset_signals if reset else lambda: None,
        )
        return done.stdout.decode().split()[1]

    assert int(ignored(False), 16) != 0
    assert int(ignored(True), 16) == 0


def test_reset_signals_is_fast() -> None:
    """It is on the way of every start: a small part of a millisecond, with room for load."""

    def body() -> float:
        times = []
        for _ in range(20):
            begin = time.perf_counter()
            process.reset_signals()
            times.append(time.perf_counter() - begin)
        return min(times)

    assert in_child(body) < limit(0.000_3)


# --- the rest -------------------------------------------------------------------------------


def test_start_time_of_a_process_with_an_odd_name() -> None:
    def body() -> None:
        before = process.start_time(os.getpid())
        process.set_process_name("a) R (1 2 3")
        assert process.start_time(os.getpid()) == before
        ticks = os.sysconf("SC_CLK_TCK")
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - before / ticks
        assert -0.1 < age < 60

    in_child(body)


def test_start_time_of_nobody() -> None:
    assert error_of(process.start_time, 2**22 + 1) == "ENOENT"


def test_exit_status_before_anybody_has_reaped() -> None:
    for code in (7, -9):
        pid = os.fork()
        if pid == 0:
            os.kill(os.getpid(), max(0, -code))
            os._exit(code)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert os.waitstatus_to_exitcode(process.exit_status(pid)) == code
        os.waitpid(pid, 0)
        assert error_of(process.exit_status, pid) == "ENOENT"


def test_oom_score_adj() -> None:
    def body() -> str:
        process.set_oom_score_adj(777)
        return Path("/proc/self/oom_score_adj").read_text()

    assert in_child(body) == "777\n"
    with pytest.raises(KernelError) as caught:
        process.set_oom_score_adj(1001)
    assert str(caught.value) == "write /proc/self/oom_score_adj: Invalid argument"


def session_keyring() -> int:
    number = syscall("keyctl", KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0)
    return check(number, "keyctl")


def test_a_session_keyring_of_its_own() -> None:
    def body() -> list[int]:
        before = session_keyring()
        process.join_new_session_keyring()
        return [before, session_keyring()]

    before, after = in_child(body)
    assert before != after


def test_the_kernel_layer_loads_nothing_heavy() -> None:
    """The zygote's memory is every shim's: what it imports is counted."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "import supervisor.kernel.mounts, supervisor.kernel.paths, supervisor.kernel.namespaces,"
        " supervisor.kernel.process, supervisor.kernel.capabilities, supervisor.kernel.bpf,"
        " supervisor.kernel.tty, supervisor.kernel.netdev, supervisor.kernel.inotify;"
        "print(*sys.modules)"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-ISc", code, root], stdout=subprocess.PIPE, check=True, text=True
    )
    heavy = {
        "argparse",
        "asyncio",
        "inspect",
        "logging",
        "pathlib",
        "subprocess",
        "threading",
        "trio",
    }
    assert heavy & set(done.stdout.split()) == set()
