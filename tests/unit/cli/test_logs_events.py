"""`orlop logs` and `orlop events`: streams that are printed as they come."""

from __future__ import annotations

import json

import pytest

from supervisor.wire import stdcopy
from tests.unit.cli.conftest import Orlop, Spawn
from tests.unit.cli.fake_daemon import Exchange, FakeDaemon

ID = "c" * 64
Captured = pytest.CaptureFixture[str]


def send_logs(exchange: Exchange, *, tty: bool = False) -> None:
    kind = "raw" if tty else "multiplexed"
    exchange.begin(200, content_type=f"application/vnd.docker.{kind}-stream")
    if tty:
        exchange.piece(b"raw\x01\n")
    else:
        frames = stdcopy.frame(stdcopy.STDOUT, b"one\n") + stdcopy.frame(stdcopy.STDERR, b"two\n")
        exchange.piece(frames[:5])
        exchange.piece(frames[5:])
    exchange.end()


def test_logs_of_both_streams(daemon: FakeDaemon, orlop: Orlop, capfd: Captured) -> None:
    daemon.on("GET", "/containers/web/logs", send_logs)
    assert orlop("logs", "--tail", "3", "-t", "web") == 0
    assert capfd.readouterr() == ("one\n", "two\n")
    query = {"stdout": "1", "stderr": "1", "tail": "3", "timestamps": "1"}
    assert daemon.only("GET", "/containers/web/logs").query == query


def test_logs_of_a_terminal_are_not_framed(
    daemon: FakeDaemon, orlop: Orlop, capfd: Captured
) -> None:
    daemon.on("GET", "/containers/web/logs", lambda exchange: send_logs(exchange, tty=True))
    assert orlop("logs", "-f", "--since", "1795231748.5", "--until", "1795231749", "web") == 0
    assert capfd.readouterr().out == "raw\x01\n"
    query = daemon.only("GET", "/containers/web/logs").query
    assert (query["follow"], query["since"], query["until"], query["tail"]) == (
        *("1", "1795231748.5", "1795231749"),
        "all",
    )


def test_interrupted_logs_are_130(daemon: FakeDaemon, spawn: Spawn) -> None:
    def follow(exchange: Exchange) -> None:
        exchange.begin(200, content_type="application/vnd.docker.raw-stream")
        exchange.piece(b"tick\n")
        assert exchange.socket.recv(1) == b""

    daemon.on("GET", "/containers/web/logs", follow)
    process = spawn("logs", "-f", "web")
    assert process.stdout is not None
    assert process.stdout.readline() == b"tick\n"
    process.send_signal(2)
    assert process.wait(20) == 130
    assert process.stderr is not None
    assert process.stderr.read() == b""


def test_logs_since_nonsense(orlop: Orlop, capfd: Captured) -> None:
    assert orlop("logs", "--since", "yesterday", "web") == 125
    assert 'invalid argument "yesterday" for "--since" flag' in capfd.readouterr().err


OOM = {
    "Type": "container",
    "Action": "oom",
    "Actor": {"ID": ID, "Attributes": {"name": "web", "image": "busy\nbox"}},
    "time": 1795231830,
    "timeNano": 1795231830083911644,
}


def send_events(exchange: Exchange) -> None:
    exchange.begin(200, content_type="application/json")
    lines = (json.dumps(OOM) + "\n") * 2
    exchange.piece(lines[:100].encode())
    exchange.piece(lines[100:].rstrip().encode())
    exchange.end()


def test_events_as_docker_shows_them(
    daemon: FakeDaemon, orlop: Orlop, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.on("GET", "/events", send_events)
    assert orlop("events", "--filter", "type=container", "--until", "5") == 0
    line, again = capfd.readouterr().out.splitlines()
    assert line == again
    assert line.endswith(f" container oom {ID} (image=busy\\nbox, name=web)")
    assert line[19:29] == ".083911644"
    query = {"filters": '{"type":{"container":true}}', "until": "5"}
    assert daemon.only("GET", "/events").query == query


@pytest.mark.parametrize("shape", ["json", "{{json .}}"])
def test_events_as_json(daemon: FakeDaemon, orlop: Orlop, capfd: Captured, shape: str) -> None:
    daemon.on("GET", "/events", send_events)
    assert orlop("events", "--format", shape) == 0
    assert [json.loads(line) for line in capfd.readouterr().out.splitlines()] == [OOM, OOM]
