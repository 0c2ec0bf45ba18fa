"""stop, kill, rm, wait and the like: what is asked, what is printed, what fails."""

from __future__ import annotations

import threading

import pytest

from tests.unit.cli.conftest import Orlop
from tests.unit.cli.fake_daemon import Exchange, FakeDaemon

ID = "c" * 64
Captured = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    "words, path, query",
    [
        (["stop", "web"], "stop", {}),
        (["stop", "-t", "1", "-s", "INT", "web"], "stop", {"t": "1", "signal": "INT"}),
        (["stop", "--time=0", "web"], "stop", {"t": "0"}),
        (["restart", "-t", "-1", "web"], "restart", {"t": "-1"}),
        (["kill", "web"], "kill", {}),
        (["kill", "-s", "KILL", "web"], "kill", {"signal": "KILL"}),
        (["pause", "web"], "pause", {}),
        (["unpause", "web"], "unpause", {}),
        (["start", "web"], "start", {}),
    ],
)
def test_posts_echo_the_name(
    daemon: FakeDaemon,
    orlop: Orlop,
    capfd: Captured,
    words: list[str],
    path: str,
    query: dict[str, str],
) -> None:
    daemon.on_json("POST", f"/containers/web/{path}", status=204)
    assert orlop(*words) == 0
    assert capfd.readouterr() == ("web\n", "")
    assert daemon.only("POST", f"/containers/web/{path}").query == query


def test_starting_what_runs_is_no_error(daemon: FakeDaemon, orlop: Orlop) -> None:
    daemon.on_json("POST", "/containers/web/start", status=304)
    assert orlop("start", "web") == 0


def test_one_failure_does_not_keep_the_others(
    daemon: FakeDaemon, orlop: Orlop, capfd: Captured
) -> None:
    daemon.on_json("POST", "/containers/a/stop", status=204)
    daemon.on_error("POST", "/containers/b/stop", 404, "No such container: b")
    daemon.on_json("POST", "/containers/c/stop", status=204)
    assert orlop("stop", "a", "b", "c") == 1
    out, err = capfd.readouterr()
    assert (out, err) == ("a\nc\n", "orlop: Error response from daemon: No such container: b\n")


def test_stops_are_under_way_at_the_same_time(
    daemon: FakeDaemon, orlop: Orlop, capfd: Captured
) -> None:
    both = threading.Barrier(2, timeout=20)

    def stop(exchange: Exchange) -> None:
        both.wait()
        exchange.reply(status=204)

    daemon.on("POST", "/containers/a/stop", stop)
    daemon.on("POST", "/containers/b/stop", stop)
    assert orlop("stop", "a", "b") == 0
    assert capfd.readouterr().out == "a\nb\n"


def test_rm(daemon: FakeDaemon, orlop: Orlop, capfd: Captured) -> None:
    daemon.on_json("DELETE", "/containers/web", status=204)
    assert orlop("rm", "-fv", "web") == 0
    assert capfd.readouterr() == ("web\n", "")
    assert daemon.only("DELETE", "/containers/web").query == {"force": "1", "v": "1"}


def test_rm_of_what_is_not_there_fails_unless_forced(
    daemon: FakeDaemon, orlop: Orlop, capfd: Captured
) -> None:
    daemon.on_error("DELETE", "/containers/x", 404, "No such container: x")
    line = "orlop: Error response from daemon: No such container: x\n"
    assert orlop("rm", "x") == 1
    assert capfd.readouterr() == ("", line)
    assert orlop("rm", "-f", "x") == 0
    assert capfd.readouterr() == ("", line)


def test_wait_prints_the_codes(daemon: FakeDaemon, orlop: Orlop, capfd: Captured) -> None:
    daemon.on_json("POST", "/containers/a/wait", {"StatusCode": 137})
    daemon.on_json("POST", "/containers/b/wait", {"StatusCode": 0, "Error": None})
    assert orlop("wait", "a", "b") == 0
    assert capfd.readouterr().out == "137\n0\n"


def test_rename_says_nothing(daemon: FakeDaemon, orlop: Orlop, capfd: Captured) -> None:
    daemon.on_json("POST", "/containers/web/rename", status=204)
    assert orlop("rename", "/web", "web2") == 0
    assert capfd.readouterr() == ("", "")
    assert daemon.only("POST", "/containers/web/rename").query == {"name": "web2"}


def test_update(daemon: FakeDaemon, orlop: Orlop, capfd: Captured) -> None:
    daemon.on_json("POST", "/containers/web/update", {"Warnings": ["careful"]})
    assert orlop("update", "-m", "64m", "web") == 0
    assert capfd.readouterr() == ("web\n", "WARNING: careful\n")
    assert daemon.only("POST", "/containers/web/update").body == {"Memory": 67108864}
    assert orlop("update", "web") == 1
    assert "you must provide one or more flags" in capfd.readouterr().err


def test_top_lines_up(daemon: FakeDaemon, orlop: Orlop, capfd: Captured) -> None:
    answer = {"Titles": ["PID", "COMMAND"], "Processes": [["15650", "sh"], ["16528", "sleep 5"]]}
    daemon.on_json("GET", "/containers/web/top", answer)
    assert orlop("top", "web", "-o", "pid,comm") == 0
    assert capfd.readouterr().out == (
        "PID                 COMMAND\n15650               sh\n16528               sleep 5\n"
    )
    assert daemon.only("GET", "/containers/web/top").query == {"ps_args": "-o pid,comm"}
