"""supervisor.kernel.tty: a pty of a devpts instance of the test's own."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from supervisor.errors import KernelError
from supervisor.kernel import mounts, tty
from tests.kernel.forked import error_of, exit_code, in_child, is_cloexec


def read_exactly(fd: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += os.read(fd, size - len(data))
    return data


def devpts_at(path: Path) -> None:
    mounts.mount("devpts", str(path), "devpts", 0, "newinstance,ptmxmode=0666,mode=0620,gid=5")


@pytest.mark.parametrize("by", ["path", "descriptor"])
def test_a_pty_of_another_instance(by: str, tmp_path: Path) -> None:
    def body() -> None:
        devpts_at(tmp_path)
        root = os.open(tmp_path, os.O_PATH)
        master = tty.open_pty_in(str(tmp_path) if by == "path" else root)
        terminal = tty.pty_peer(master)
        assert os.listdir(tmp_path) == ["0", "ptmx"] or os.listdir(tmp_path) == ["ptmx", "0"]
        assert os.path.samestat(os.fstat(terminal), os.stat(tmp_path / "0"))
        assert is_cloexec(master)
        assert is_cloexec(terminal)
        os.write(master, b"typed\n")
        assert os.read(terminal, 100) == b"typed\n"
        os.write(terminal, b"said\n")
        output = b"typed\r\nsaid\r\n"  # the echo and the terminal's own words
        assert read_exactly(master, len(output)) == output
        for fd in (master, terminal, root):
            os.close(fd)

    before = os.listdir("/dev/pts")
    in_child(body)
    assert os.listdir("/dev/pts") == before


def test_the_peer_needs_no_path(tmp_path: Path) -> None:
    """The master, opened while the instance was mounted, still finds its terminal."""

    def body() -> bool:
        devpts_at(tmp_path)
        master = tty.open_pty_in(str(tmp_path))
        mounts.umount(str(tmp_path), mounts.MNT_DETACH)
        terminal = tty.pty_peer(master)
        result = os.isatty(terminal)
        os.close(terminal)
        os.close(master)
        return result

    assert in_child(body)


def test_window_size(tmp_path: Path) -> None:
    def body() -> list[tuple[int, int]]:
        devpts_at(tmp_path)
        master = tty.open_pty_in(str(tmp_path))
        terminal = tty.pty_peer(master)
        found = [tty.get_window_size(terminal)]
        tty.set_window_size(master, 24, 80)
        found.append(tty.get_window_size(terminal))
        tty.set_window_size(terminal, 65535, 1)
        found.append(tty.get_window_size(master))
        os.close(terminal)
        os.close(master)
        return found

    assert in_child(body) == [[0, 0], [24, 80], [65535, 1]]


def test_the_controlling_terminal_signals(tmp_path: Path) -> None:
    """^C on the master interrupts the session that the terminal controls."""

    def body() -> int:
        devpts_at(tmp_path)
        master = tty.open_pty_in(str(tmp_path))
        terminal = tty.pty_peer(master)
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.setsid()
            tty.make_controlling(terminal)
            os.close(os.open("/dev/tty", os.O_RDWR))
            os.write(terminal, b"ready\n")
            while True:
                signal.pause()
        assert read_exactly(master, 7) == b"ready\r\n"
        os.write(master, b"\x03")
        code = exit_code(pid)
        os.close(terminal)
        os.close(master)
        return code

    assert in_child(body) == -signal.SIGINT


def test_only_a_session_leader_takes_a_terminal(tmp_path: Path) -> None:
    def body() -> str:
        devpts_at(tmp_path)
        master = tty.open_pty_in(str(tmp_path))
        terminal = tty.pty_peer(master)
        try:
            return error_of(tty.make_controlling, terminal)
        finally:
            os.close(terminal)
            os.close(master)

    assert in_child(body) == "EPERM"


def test_errors_say_what_was_asked(tmp_path: Path) -> None:
    with pytest.raises(KernelError) as caught:
        tty.open_pty_in(str(tmp_path))
    assert str(caught.value) == f"open {tmp_path}/ptmx: No such file or directory"
    read_end, write_end = os.pipe()
    for call, arguments, name in (
        (tty.pty_peer, (), "TIOCGPTPEER"),
        (tty.get_window_size, (), "TIOCGWINSZ"),
        (tty.set_window_size, (1, 1), "TIOCSWINSZ"),
    ):
        with pytest.raises(KernelError) as caught:
            call(read_end, *arguments)
        assert (caught.value.syscall, caught.value.path) == ("ioctl", name)
    os.close(read_end)
    os.close(write_end)


def test_no_master_is_left_when_unlocking_fails(tmp_path: Path) -> None:
    """A container can put anything at /dev/ptmx."""
    (tmp_path / "ptmx").touch()
    with pytest.raises(KernelError) as caught:
        tty.open_pty_in(str(tmp_path))
    assert (caught.value.syscall, caught.value.path) == ("ioctl", "TIOCSPTLCK")
