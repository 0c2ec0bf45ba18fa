"""`orlop logs` of several containers: whose line it is, in which order, and none torn."""

from __future__ import annotations

import os
import pty
import threading
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.cli import log_lines
from supervisor.cli.log_lines import Line, Lines
from supervisor.wire.stdcopy import STDERR, STDOUT, frame
from tests.unit.cli.conftest import Orlop, Spawn
from tests.unit.cli.fake_daemon import PATIENCE, Exchange, FakeDaemon

Captured = pytest.CaptureFixture[str]
Send = Callable[[Exchange], None]


def stamp(second: int) -> bytes:
    return b"2026-11-21T04:22:%02d.000000000Z " % second


def add(daemon: FakeDaemon, name: str, send: Send | None = None, *, tty: bool = False) -> str:
    """A container whose log is what `send` sends; its id."""
    id = f"{name:0<64}"
    daemon.on_json("GET", f"/containers/{name}/json", {"Id": id, "Name": f"/{name}"})

    def answer(exchange: Exchange) -> None:
        kind = "raw" if tty else "multiplexed"
        exchange.begin(200, content_type=f"application/vnd.docker.{kind}-stream")
        if send is not None:
            send(exchange)
        exchange.end()

    daemon.on("GET", f"/containers/{id}/logs", answer)
    return id


def saying(*pieces: bytes, stream: int = STDOUT) -> Send:
    def send(exchange: Exchange) -> None:
        for piece in pieces:
            exchange.piece(frame(stream, piece))

    return send


# --- lines, however they come -------------------------------------------------------------------


@given(st.data())
def test_lines_come_out_whole_wherever_they_are_cut(data: st.DataObject) -> None:
    text = st.binary(max_size=20).map(lambda one: one.replace(b"\n", b""))
    wanted = data.draw(st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), text), max_size=8))
    sent = b"".join(frame(stream, line + b"\n") for stream, line in wanted)
    lines, at = Lines(framed=True, stamped=False), 0
    found: list[Line] = []
    while at < len(sent):
        size = data.draw(st.integers(1, 30))
        found += lines.feed(sent[at : at + size])
        at += size
    assert found == [Line(b"", stream, line) for stream, line in wanted]
    assert list(lines.close()) == []


def test_the_parts_of_both_streams_are_put_together() -> None:
    lines = Lines(framed=True, stamped=True)
    parts = [(STDOUT, b"T1 one "), (STDERR, b"T2 bad\n"), (STDOUT, b"two\nT3 ")]
    found = [line for stream, part in parts for line in lines.feed(frame(stream, part))]
    assert found == [Line(b"T2", STDERR, b"bad"), Line(b"T1", STDOUT, b"one two")]
    assert list(lines.close()) == [Line(b"T3", STDOUT, b"")]


def test_a_line_that_does_not_end_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_lines, "MAX_LINE", 10)
    lines = Lines(framed=False, stamped=True)
    assert list(lines.feed(b"T1 " + b"x" * 6)) == []
    assert list(lines.feed(b"xx")) == [Line(b"T1", STDOUT, b"x" * 8)]
    assert list(lines.feed(b"y y\nT2 z\n")) == [
        *(Line(b"T1", STDOUT, b"y y"), Line(b"T2", STDOUT, b"z")),
    ]


# --- complete logs ------------------------------------------------------------------------------


def test_lines_are_in_order_of_time(daemon: FakeDaemon, orlop: Orlop, capfd: Captured) -> None:
    web = add(daemon, "web", saying(stamp(1) + b"w1\n", stamp(4) + b"w4 no end"))
    add(daemon, "database", saying(stamp(2) + b"d2\n" + stamp(3) + b"d3\n"))
    add(daemon, "tty", lambda exchange: exchange.piece(stamp(5) + b"t5\r\n"), tty=True)
    assert orlop("logs", "--tail", "9", "web", "database", "tty") == 0
    assert capfd.readouterr().out.splitlines() == [
        "web      | w1",
        "database | d2",
        "database | d3",
        "web      | w4 no end",
        "tty      | t5",
    ]
    query = daemon.only("GET", f"/containers/{web}/logs").query
    assert query == {"stdout": "1", "stderr": "1", "tail": "9", "timestamps": "1"}


def test_streams_stay_apart_and_times_are_shown_when_asked_for(
    daemon: FakeDaemon, orlop: Orlop, capfd: Captured
) -> None:
    add(daemon, "a", saying(stamp(1) + b"out\n"))
    add(daemon, "b", saying(stamp(2) + b"err\n", stream=STDERR))
    assert orlop("logs", "-t", "a", "b") == 0
    assert capfd.readouterr() == (
        f"a | {stamp(1).decode()}out\n",
        f"b | {stamp(2).decode()}err\n",
    )
    assert orlop("logs", "--no-prefix", "a", "b") == 0
    assert capfd.readouterr() == ("out\n", "err\n")


def test_what_is_named_twice_is_there_once(
    daemon: FakeDaemon, orlop: Orlop, capfd: Captured
) -> None:
    id = add(daemon, "web", saying(stamp(1) + b"one\n"))
    daemon.on_json("GET", f"/containers/{id[:12]}/json", {"Id": id, "Name": "/web"})
    assert orlop("logs", "web", id[:12]) == 0
    assert capfd.readouterr().out == "web | one\n"


def test_a_wrong_name_is_told_before_anything_is_printed(
    daemon: FakeDaemon, orlop: Orlop, capfd: Captured
) -> None:
    add(daemon, "web", saying(stamp(1) + b"one\n"))
    daemon.on_error("GET", "/containers/wbe/json", 404, "No such container: wbe")
    assert orlop("logs", "-f", "web", "wbe") == 1
    error = "orlop: Error response from daemon: No such container: wbe\n"
    assert capfd.readouterr() == ("", error)
    assert not any(path.endswith("/logs") for path in daemon.paths())


def test_all_with_a_label(daemon: FakeDaemon, orlop: Orlop, capfd: Captured) -> None:
    listed = [{"Id": add(daemon, name), "Names": [f"/{name}"]} for name in ("b", "a")]
    add(daemon, "a", saying(stamp(1) + b"one\n"))
    daemon.on_json("GET", "/containers/json", listed[1:])
    assert orlop("logs", "--label", "tier=x", "--label", "shop") == 0
    assert capfd.readouterr().out == "a | one\n"  # of how many there are is not known before
    query = daemon.only("GET", "/containers/json").query
    assert query == {"all": "1", "filters": '{"label":{"shop":true,"tier=x":true}}'}
    daemon.on_json("GET", "/containers/json", [])
    assert orlop("logs", "--label", "none=such") == 1
    assert capfd.readouterr().err == "orlop: no container has the label none=such\n"


@pytest.mark.parametrize(
    "words, said",
    [((), "requires"), (("web", "--all"), "takes one of"), (("-a", "--label", "x"), "")],
)
def test_which_containers_is_said_in_one_way(
    orlop: Orlop, capfd: Captured, words: tuple[str, ...], said: str
) -> None:
    assert orlop("logs", *words) == 1
    assert f"'orlop logs' {said}" in capfd.readouterr().err


# --- logs that go on ----------------------------------------------------------------------------


def test_no_line_is_torn_by_another(daemon: FakeDaemon, spawn: Spawn) -> None:
    begun, printed = threading.Event(), threading.Event()

    def half(exchange: Exchange) -> None:
        exchange.piece(frame(STDOUT, b"first ha"))
        begun.set()
        assert printed.wait(PATIENCE)
        exchange.piece(frame(STDOUT, b"lf\nlast"))

    def whole(exchange: Exchange) -> None:
        assert begun.wait(PATIENCE)
        exchange.piece(frame(STDOUT, b"whole\n"))

    add(daemon, "slow", half)
    add(daemon, "quick", whole)
    process = spawn("logs", "-f", "slow", "quick")
    assert process.stdout is not None
    assert process.stdout.readline() == b"quick | whole\n"  # though `slow` came first
    printed.set()
    assert process.stdout.read() == b"slow  | first half\nslow  | last\n"
    assert process.wait(PATIENCE) == 0


def test_interrupted_they_end_at_once_and_quietly(daemon: FakeDaemon, spawn: Spawn) -> None:
    def follow(exchange: Exchange) -> None:
        exchange.piece(frame(STDOUT, b"tick\n"))
        with suppress(ConnectionResetError):
            assert exchange.socket.recv(1) == b""
        raise BrokenPipeError

    for name in ("a", "b"):
        add(daemon, name, follow)
    process = spawn("logs", "-f", "a", "b")
    assert process.stdout is not None
    assert {process.stdout.readline() for _ in "ab"} == {b"a | tick\n", b"b | tick\n"}
    process.send_signal(2)
    assert process.wait(PATIENCE) == 130
    assert process.stderr is not None
    assert process.stderr.read() == b""


def test_nobody_takes_the_output_any_more(daemon: FakeDaemon, spawn: Spawn) -> None:
    gone = threading.Event()

    def follow(exchange: Exchange) -> None:
        exchange.piece(frame(STDOUT, b"tick\n"))
        assert gone.wait(PATIENCE)
        exchange.piece(frame(STDOUT, b"tock\n"))
        with suppress(ConnectionResetError):
            exchange.socket.recv(1)
        raise BrokenPipeError

    for name in ("a", "b"):
        add(daemon, name, follow)
    process = spawn("logs", "-f", "a", "b")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    gone.set()
    assert process.wait(PATIENCE) == 141


def test_one_that_cannot_be_read_is_told_and_the_others_go_on(
    daemon: FakeDaemon, orlop: Orlop, capfd: Captured
) -> None:
    gone = add(daemon, "gone")
    daemon.on_error("GET", f"/containers/{gone}/logs", 404, "No such container: gone")
    add(daemon, "web", saying(b"one\n"))
    assert orlop("logs", "-f", "gone", "web") == 1
    captured = capfd.readouterr()
    assert captured.out == "web  | one\n"
    assert captured.err == "orlop: Error response from daemon: No such container: gone\n"


# --- colours ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words, environment, coloured",
    [((), {}, True), (("--no-color",), {}, False), ((), {"NO_COLOR": "1"}, False)],
)
def test_names_are_in_colours_on_a_terminal(
    daemon: FakeDaemon,
    spawn: Spawn,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    environment: dict[str, str],
    coloured: bool,
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    add(daemon, "a", saying(stamp(1) + b"one\n"))
    add(daemon, "b", saying(stamp(2) + b"two\n", stream=STDERR))
    terminal, end = pty.openpty()
    process = spawn("logs", *words, "a", "b", stdout=end)
    os.close(end)
    shown = b""
    with suppress(OSError):  # EIO: the other end is closed
        while piece := os.read(terminal, 1000):
            shown += piece
    os.close(terminal)
    assert process.wait(PATIENCE) == 0
    assert shown == (b"\x1b[36ma |\x1b[0m one\r\n" if coloured else b"a | one\r\n")
    assert process.stderr is not None
    assert process.stderr.read() == b"b | two\n"  # no terminal
