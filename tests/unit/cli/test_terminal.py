"""`-it` on a real pseudo-terminal: raw mode, size, detach keys, and the way back."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.cli.conftest import Spawn
from tests.unit.cli.fake_container import Attached, FakeContainer
from tests.unit.cli.fake_daemon import Exchange, FakeDaemon

ID = "c" * 64
DETACH = b"\x10\x11"


class Screen:
    """A terminal: what a user types and sees."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()
        self.resize(30, 100)
        self.before = termios.tcgetattr(self.slave)

    def stdio(self) -> dict[str, Any]:
        """Options of Popen for a process on this terminal."""
        slave = self.slave

        def control() -> None:
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        return {"stdin": slave, "stdout": slave, "stderr": slave, "preexec_fn": control}

    def resize(self, rows: int, columns: int) -> None:
        """As dragging the window's corner does, SIGWINCH included."""
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self.master, keys)

    def read_until(self, text: bytes) -> bytes:
        """What is shown up to and with `text`."""
        shown = b""
        while text not in shown:
            ready, _, _ = select.select([self.master], [], [], 20)
            assert ready, f"{text!r} did not come after {shown!r}"
            shown += os.read(self.master, 4096)
        return shown

    def is_as_before(self) -> bool:
        """Whether the terminal's modes are those that it began with."""
        return termios.tcgetattr(self.slave) == self.before

    def close(self) -> None:
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def screen() -> Iterator[Screen]:
    it = Screen()
    yield it
    it.close()


def shell(client: Attached) -> int:
    """Echoes in capitals until "exit N"."""
    client.out(b"\r\n/ # ")
    typed = b""
    while data := client.read():
        typed += data
        client.out(data.upper())
        if typed.endswith(b"\r") and typed.startswith(b"exit"):
            return int(typed.split()[1])
    return 0


def test_keys_go_through_raw_and_the_terminal_is_restored(
    daemon: FakeDaemon, spawn: Spawn, screen: Screen
) -> None:
    container = FakeContainer(daemon, shell, tty=True)
    process = spawn("run", "-it", "--rm", "busybox", "sh", **screen.stdio())
    screen.read_until(b"/ # ")
    assert not screen.is_as_before()
    screen.type(b"\x03a\x1a")  # Ctrl-C and Ctrl-Z are the container's
    screen.read_until(b"\x03A\x1a")
    screen.type(b"\x7f")
    container.signals.clear()
    assert process.poll() is None
    process.terminate()
    assert container.signalled.wait(20)
    assert container.signals == ["TERM"]


def test_exit_status_of_an_interactive_shell(
    daemon: FakeDaemon, spawn: Spawn, screen: Screen
) -> None:
    FakeContainer(daemon, shell, tty=True)
    process = spawn("run", "-it", "busybox", "sh", **screen.stdio())
    screen.read_until(b"/ # ")
    screen.type(b"exit 3\r")
    assert process.wait(20) == 3
    assert screen.is_as_before()


def test_size_is_told_at_create_at_start_and_at_every_change(
    daemon: FakeDaemon, spawn: Spawn, screen: Screen
) -> None:
    container = FakeContainer(daemon, shell, tty=True)
    process = spawn("run", "-it", "busybox", "sh", **screen.stdio())
    screen.read_until(b"/ # ")
    assert container.resized.wait(20)
    container.resized.clear()
    screen.type(b"x")
    screen.read_until(b"X")  # the client is in its loop: SIGWINCH is handled
    screen.resize(40, 120)
    assert container.resized.wait(20)
    assert container.sizes == [(30, 100), (40, 120)]
    assert container.signals == []
    body = daemon.only("POST", "/containers/create").body
    assert (body["Tty"], body["HostConfig"]["ConsoleSize"]) == (True, [30, 100])
    assert process.poll() is None


def test_the_detach_keys_end_the_client_with_0_and_not_the_container(
    daemon: FakeDaemon, spawn: Spawn, screen: Screen
) -> None:
    typed = b""

    def body(client: Attached) -> int:
        nonlocal typed
        client.out(b"ready")
        while not typed.endswith(DETACH):
            typed += client.read()
        return 77  # the stream ends here: the server has seen the keys

    FakeContainer(daemon, body, tty=True)
    process = spawn("run", "-it", "busybox", "sh", **screen.stdio())
    screen.read_until(b"ready")
    screen.type(b"a\x10")
    time.sleep(0.1)  # the sequence arrives in two pieces
    screen.type(b"\x11")
    assert process.wait(20) == 0
    assert typed == b"a" + DETACH
    assert screen.is_as_before()


def test_detaching_does_not_hang_on_a_server_that_misses_the_keys(
    daemon: FakeDaemon, spawn: Spawn, screen: Screen
) -> None:
    def body(client: Attached) -> int:
        client.out(b"ready")
        client.read_all()
        return 0

    FakeContainer(daemon, body, tty=True)
    process = spawn("run", "-it", "--detach-keys", "ctrl-a", "busybox", **screen.stdio())
    screen.read_until(b"ready")
    screen.type(b"\x01")
    assert process.wait(20) == 0
    assert daemon.only("POST", f"/containers/{ID}/attach").query["detachKeys"] == "ctrl-a"


def test_attach_redraws_and_says_so_when_detached(
    daemon: FakeDaemon, spawn: Spawn, screen: Screen
) -> None:
    def body(client: Attached) -> int:
        client.out(b"ready")
        while DETACH not in client.read():
            pass
        return 0

    container = FakeContainer(daemon, body, tty=True)
    container.run_now()
    view = {
        "Id": ID,
        "Config": {"Tty": True, "OpenStdin": True},
        "State": {"Running": True, "Paused": False, "Restarting": False},
    }
    daemon.on_json("GET", "/containers/web/json", view)
    process = spawn("attach", "web", **screen.stdio())
    screen.read_until(b"ready")
    screen.type(DETACH)
    screen.read_until(b"orlop: read escape sequence")
    assert process.wait(20) == 1
    assert container.sizes == [(31, 101), (30, 100)]


def exec_session(daemon: FakeDaemon, status: int | None) -> None:
    def start(exchange: Exchange) -> None:
        sock = exchange.hijack(tty=True, early=b"early ")
        sock.sendall(b"$ ")
        while data := sock.recv(100):
            if b"\r" in data or DETACH in data:
                break
        sock.shutdown(1)

    daemon.on_json("POST", "/containers/web/exec", {"Id": "e1"}, 201)
    daemon.on("POST", "/exec/e1/start", start)
    daemon.on_json("POST", "/exec/e1/resize", {})
    daemon.on_json("GET", "/exec/e1/json", {"ExitCode": status, "Running": status is None})


def test_exec_on_a_terminal(daemon: FakeDaemon, spawn: Spawn, screen: Screen) -> None:
    exec_session(daemon, 4)
    process = spawn("exec", "-it", "web", "sh", **screen.stdio())
    screen.read_until(b"early $ ")
    screen.type(b"exit 4\r")
    assert process.wait(20) == 4
    assert screen.is_as_before()
    start = daemon.only("POST", "/exec/e1/start").body
    assert start == {"Detach": False, "Tty": True, "ConsoleSize": [30, 100]}
    assert daemon.only("POST", "/exec/e1/resize").query == {"h": "30", "w": "100"}


def test_a_terminated_exec_restores_the_terminal(
    daemon: FakeDaemon, spawn: Spawn, screen: Screen
) -> None:
    exec_session(daemon, None)
    process = spawn("exec", "-it", "web", "sh", **screen.stdio())
    screen.read_until(b"$ ")
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 128 + signal.SIGTERM
    assert screen.is_as_before()


def test_detaching_from_exec(daemon: FakeDaemon, spawn: Spawn, screen: Screen) -> None:
    exec_session(daemon, None)
    process: subprocess.Popen[bytes] = spawn("exec", "-it", "web", "sh", **screen.stdio())
    screen.read_until(b"$ ")
    screen.type(DETACH)
    screen.read_until(b"orlop: read escape sequence")
    assert process.wait(20) == 1
