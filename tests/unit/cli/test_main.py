"""The `orlop` command itself: help, unknown commands, daemons that are not there, its cost."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor import __version__
from supervisor.cli.context import Context
from supervisor.cli.main import COMMANDS, find, main
from tests.unit.cli.conftest import Orlop, Spawn
from tests.unit.cli.fake_daemon import Exchange, FakeDaemon

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", [n for n in COMMANDS if n != "daemon"])
def test_every_command_has_help(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    out, err = capfd.readouterr()
    assert out.startswith(f"Usage:  orlop {name} [OPTIONS]")
    assert max(map(len, out.splitlines())) <= 100
    assert err == ""


@pytest.mark.parametrize("name", ["scratch", "ls", "rm", "inspect"])
def test_image_commands_have_help(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["image", name, "--help"]) == 0
    assert capfd.readouterr().out.startswith(f"Usage:  orlop image {name} [OPTIONS]")


def test_help_lists_every_command(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capfd.readouterr().out
    assert [n for n, (_, s) in COMMANDS.items() if f"  {n:<10}{s}\n" not in shown] == []
    assert main([]) == 0
    assert capfd.readouterr().out == shown


def test_version(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capfd.readouterr().out == f"Orlop version {__version__}\n"


def test_an_unknown_command_is_status_1(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["pss"]) == 1
    line = "orlop: unknown command: orlop pss (did you mean 'ps'?); see 'orlop --help'\n"
    assert capfd.readouterr() == ("", line)


@pytest.mark.parametrize("words", [["ps", "--nope"], ["run", "--nope"], ["--nope", "ps"]])
def test_an_unknown_flag_is_status_125(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 125
    assert capfd.readouterr().err.startswith("orlop: unknown flag: --nope; see 'orlop ")


@pytest.mark.parametrize(
    "words, status",
    [(["ps"], 1), (["run", "b"], 125), (["run", "-d", "b"], 125), (["create", "b"], 1),
     (["exec", "a", "b"], 1), (["rm", "a", "b"], 1), (["logs", "a"], 1), (["wait", "a"], 1)],
)  # fmt: skip
def test_no_daemon_is_one_line_with_the_socket_and_the_way_out(
    words: list[str], status: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    address = f"unix://{tmp_path}/none.sock"
    assert main(["-H", address, *words]) == status
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"orlop: cannot connect to the daemon at {address} (No such file")
    assert "orlop daemon" in err


def test_a_socket_that_nobody_serves(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    assert main(["-H", f"unix://{path}", "ps"]) == 1
    assert "Connection refused" in capfd.readouterr().err


def test_a_path_that_is_too_long_for_a_socket(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["-H", "unix:///" + "x" * 200, "ps"]) == 1
    assert "too long" in capfd.readouterr().err


@pytest.mark.parametrize("host", ["tcp://", "tcp://h:x", "ssh://h", "/run/x.sock", "unix://x"])
def test_other_addresses_are_refused(host: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["-H", host, "ps"]) == 1
    assert "invalid --host" in capfd.readouterr().err


def test_the_address_comes_from_the_environment(
    daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ORLOP_HOST", daemon.address)
    daemon.on_json("GET", "/containers/json", [])
    assert main(["ps", "-q"]) == 0
    assert capfd.readouterr() == ("", "")


def test_a_daemon_that_goes_away_in_the_middle(
    daemon: FakeDaemon, orlop: Orlop, capfd: pytest.CaptureFixture[str]
) -> None:
    def leave(exchange: Exchange) -> None:
        exchange.hijacked = True

    daemon.on("GET", "/containers/json", leave)
    assert orlop("ps") == 1
    assert capfd.readouterr().err.startswith(f"orlop: lost the daemon at {daemon.address}")


def test_an_error_that_is_no_json_is_shown_as_it_is(
    daemon: FakeDaemon, orlop: Orlop, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(exchange: Exchange) -> None:
        exchange.begin(502, content_length="11")
        exchange.piece(b"bad gateway")
        exchange.end()

    daemon.on("GET", "/containers/json", fail)
    assert orlop("ps") == 1
    assert capfd.readouterr().err == "orlop: Error response from daemon: bad gateway\n"


def test_words_that_are_no_text_are_refused(
    daemon: FakeDaemon, orlop: Orlop, capfd: pytest.CaptureFixture[str]
) -> None:
    assert orlop("create", "busybox", os.fsdecode(b"\xff")) == 1
    assert "not valid UTF-8" in capfd.readouterr().err
    assert daemon.requests == []


def test_names_of_containers_cannot_leave_their_place_in_the_path(
    daemon: FakeDaemon, orlop: Orlop, capfd: pytest.CaptureFixture[str]
) -> None:
    assert orlop("stop", "../info?x=y#") == 1
    assert daemon.paths() == ["POST /containers/../info?x=y#/stop"]
    assert orlop("stop", "/") == 1
    assert "value is empty" in capfd.readouterr().err


def test_find_gives_the_function() -> None:
    assert find("ps").__name__ == "ps"


def test_daemon_becomes_the_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _path, words: calls.append(words))
    monkeypatch.setattr(sys, "path", ["/elsewhere"])
    find("daemon")(["--data-root", "/d"], Context())
    find("daemon")(["--data-root", "/d"], Context("unix:///x"))
    find("daemon")(["--host=unix:///y"], Context("unix:///x"))
    begin = [sys.executable, "-P", "-m", "supervisor.daemon"]
    assert calls == [
        [*begin, "--data-root", "/d"],
        [*begin, "--host", "unix:///x", "--data-root", "/d"],
        [*begin, "--host=unix:///y"],
    ]


PROBE = """
import json, resource, sys
from supervisor.cli.main import main
status = main(sys.argv[1:])
sys.stdout.flush()
usage = resource.getrusage(resource.RUSAGE_SELF)
cpu = usage.ru_utime + usage.ru_stime
print(json.dumps([status, sorted(sys.modules), cpu]), file=sys.stderr)
"""

BANNED = {
    "asyncio", "dataclasses", "datetime", "email", "h11", "http.client", "httpx", "inspect",
    "logging", "msgspec", "pathlib", "pyroute2", "rich", "ssl", "subprocess", "threading", "trio",
    "urllib.parse", "urllib.request",
}  # fmt: skip


def test_ps_loads_and_costs_little(daemon: FakeDaemon, tmp_path: Path) -> None:
    # As installed: with bytecode, which the first run writes.
    env = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path / "bytecode")}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    container = {
        "Id": "c" * 64,
        "Names": ["/web"],
        "Image": "busybox",
        "Command": "sh",
        "Created": 1795231736,
        "Ports": [],
        "Labels": {},
        "State": "running",
        "Status": "Up 3 minutes",
    }
    daemon.on_json("GET", "/containers/json", [container] * 50)
    costs = []
    for _ in range(4):
        done = subprocess.run(
            [sys.executable, "-c", PROBE, "-H", daemon.address, "ps", "-a"],
            cwd=ROOT,
            env=env,
            capture_output=True,
            timeout=30,
        )
        status, modules, cpu = json.loads(done.stderr)
        assert status == 0
        assert done.stdout.count(b"\n") == 51
        assert BANNED & set(modules) == set()
        costs.append(cpu)
    assert min(costs) < 0.080, f"CPU seconds of ps: {costs}"


def test_output_that_cannot_be_written_is_one_line(daemon: FakeDaemon, spawn: Spawn) -> None:
    daemon.on_json("GET", "/containers/json", [])
    with Path("/dev/full").open("w") as full:
        process = spawn("ps", stdout=full)
    _, err = process.communicate(timeout=20)
    assert (err, process.returncode) == (b"orlop: [Errno 28] No space left on device\n", 1)


def test_closed_streams_do_not_become_sockets(daemon: FakeDaemon) -> None:
    daemon.on_json("GET", "/containers/json", [])
    shell = f'exec "{sys.executable}" -m supervisor.cli -H {daemon.address} ps <&- >&-'
    done = subprocess.run(["sh", "-c", shell], cwd=ROOT, capture_output=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, b"")


def test_an_answer_that_does_not_upgrade(
    daemon: FakeDaemon, orlop: Orlop, capfd: pytest.CaptureFixture[str]
) -> None:
    daemon.on_json("POST", "/containers/create", {"Id": "c" * 64}, 201)
    daemon.on_json("POST", f"/containers/{'c' * 64}/attach", {})
    assert orlop("run", "busybox") == 125
    assert "status 200 where it should upgrade" in capfd.readouterr().err
