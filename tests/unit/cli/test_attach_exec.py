"""`orlop exec`, `start -a`, `attach`, without a terminal."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.wire import stdcopy
from tests.unit.cli.conftest import Orlop, Spawn
from tests.unit.cli.fake_container import Attached, FakeContainer
from tests.unit.cli.fake_daemon import Exchange, FakeDaemon

ID = "c" * 64
Captured = pytest.CaptureFixture[str]


def exec_session(daemon: FakeDaemon, status: int, output: bytes = b"") -> None:
    def start(exchange: Exchange) -> None:
        sock = exchange.hijack(early=output)
        sock.sendall(stdcopy.frame(stdcopy.STDOUT, b"".join(iter(lambda: sock.recv(99), b""))))
        sock.shutdown(1)

    daemon.on_json("POST", "/containers/web/exec", {"Id": "e1"}, 201)
    daemon.on("POST", "/exec/e1/start", start)
    daemon.on_json("GET", "/exec/e1/json", {"ExitCode": status, "Running": False})


def test_exec(daemon: FakeDaemon, spawn: Spawn) -> None:
    exec_session(daemon, 5, stdcopy.frame(stdcopy.STDERR, b"early"))
    process = spawn(
        *("exec", "-i", "-e", "X=1", "-u", "nobody", "-w", "/tmp", "--privileged"),
        *("web", "sh", "-c", "cat; exit 5"),
    )
    assert process.communicate(b"abc\n", timeout=20) == (b"abc\n", b"early")
    assert process.returncode == 5
    assert daemon.only("POST", "/containers/web/exec").body == {
        "User": "nobody",
        "Privileged": True,
        "Tty": False,
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "Detach": False,
        "DetachKeys": "",
        "Env": ["X=1"],
        "WorkingDir": "/tmp",
        "Cmd": ["sh", "-c", "cat; exit 5"],
    }
    assert daemon.only("POST", "/exec/e1/start").body == {"Detach": False, "Tty": False}


def test_exec_of_a_missing_program_is_127(
    daemon: FakeDaemon, orlop: Orlop, capfd: Captured
) -> None:
    exec_session(daemon, 127, stdcopy.frame(stdcopy.STDOUT, b"exec failed: /nope\r\n"))
    assert orlop("exec", "web", "/nope") == 127
    assert capfd.readouterr().out == "exec failed: /nope\r\n"


def test_detached_exec_says_nothing(daemon: FakeDaemon, orlop: Orlop, capfd: Captured) -> None:
    daemon.on_json("POST", "/containers/web/exec", {"Id": "e1"}, 201)
    daemon.on_json("POST", "/exec/e1/start")
    assert orlop("exec", "-d", "web", "sleep", "1") == 0
    assert capfd.readouterr() == ("", "")
    assert daemon.only("POST", "/exec/e1/start").body == {"Detach": True, "Tty": False}
    assert daemon.only("POST", "/containers/web/exec").body["Detach"] is True


def test_exec_in_a_stopped_container(daemon: FakeDaemon, orlop: Orlop, capfd: Captured) -> None:
    daemon.on_error("POST", "/containers/web/exec", 409, "container web is not running")
    assert orlop("exec", "web", "ls") == 1
    assert (
        "orlop: Error response from daemon: container web is not running" in capfd.readouterr().err
    )


def view(**state: bool) -> dict[str, Any]:
    return {
        "Id": ID,
        "Config": {"Tty": False, "OpenStdin": False},
        "HostConfig": {"AutoRemove": False},
        "State": {"Running": True, "Paused": False, "Restarting": False, **state},
    }


def test_start_attached(daemon: FakeDaemon, orlop: Orlop, capfd: Captured) -> None:
    def body(client: Attached) -> int:
        client.out(b"again\n")
        return 3

    container = FakeContainer(daemon, body)
    daemon.on_json("GET", "/containers/web/json", view(Running=False))
    assert orlop("start", "-a", "web") == 3
    assert capfd.readouterr().out == "again\n"
    assert container.order == ["attach", "wait", "start"]
    assert orlop("start", "-a", "web", "other") == 1
    assert "cannot start and attach multiple containers" in capfd.readouterr().err


def test_attach_ends_with_the_container(daemon: FakeDaemon, orlop: Orlop, capfd: Captured) -> None:
    def body(client: Attached) -> int:
        client.out(b"tick\n")
        return 143

    container = FakeContainer(daemon, body)
    container.run_now()
    daemon.on_json("GET", "/containers/web/json", view())
    assert orlop("attach", "--no-stdin", "web") == 143
    assert capfd.readouterr().out == "tick\n"
    assert container.order == ["attach", "wait"]
    assert daemon.only("POST", f"/containers/{ID}/wait").query == {}


@pytest.mark.parametrize(
    "state, message",
    [
        ({"Running": False}, "cannot attach to a stopped container, start it first"),
        ({"Paused": True}, "cannot attach to a paused container, unpause it first"),
        ({"Restarting": True}, "cannot attach to a restarting container"),
    ],
)
def test_attach_needs_a_running_container(
    daemon: FakeDaemon, orlop: Orlop, capfd: Captured, state: dict[str, bool], message: str
) -> None:
    daemon.on_json("GET", "/containers/web/json", view(**state))
    assert orlop("attach", "web") == 1
    assert message in capfd.readouterr().err


def test_wrong_detach_keys_are_refused_first(
    daemon: FakeDaemon, orlop: Orlop, capfd: Captured
) -> None:
    assert orlop("run", "--detach-keys", "ctrl-1", "busybox") == 125
    assert 'invalid argument "ctrl-1" for "--detach-keys" flag' in capfd.readouterr().err
    assert daemon.requests == []
