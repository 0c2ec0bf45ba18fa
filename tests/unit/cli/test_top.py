"""`orlop top`: a container's processes, and the table of what all use, once and live."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.cli.commands import top
from supervisor.cli.live_top import HELP, View, screen
from supervisor.cli.paint import Paint
from supervisor.cli.usage import KEPT, Usage, Watched, matching, ordered
from supervisor.cli.usage_table import amount, bars, percent, table
from tests.unit.cli.conftest import Orlop, Spawn
from tests.unit.cli.fake_daemon import PATIENCE, Exchange, FakeDaemon
from tests.unit.cli.test_terminal import Screen

Captured = pytest.CaptureFixture[str]
MIB = 1 << 20


@pytest.fixture
def terminal() -> Iterator[Screen]:
    made = Screen()
    yield made
    made.close()


def plain(text: str, *styles: str) -> str:
    return text


def container(name: str, *, started: float = 5.0, **now: Any) -> dict[str, Any]:
    figures = {"memory": 10 * MIB, "threads": 3, "pressure": {}, **now}
    limits = {"memory": 0, "cpus": 0, "pids": 0}
    return {"id": name, "name": name, "started": started, "limits": limits, "now": figures}


def answer(at: float, *containers: dict[str, Any]) -> dict[str, Any]:
    return {"at": at, "cpus": 2, "memory": 1000 * MIB, "containers": list(containers)}


# --- from answers to rows -----------------------------------------------------------------------


def test_what_goes_on_between_two_answers() -> None:
    watched = Watched()
    begun = container(
        "a", cpu=0.5, pressure={"cpu": 1.0, "io": 0.0}, periods=10, throttled_periods=1
    )
    (row,) = watched.look(answer(100, begun))
    assert (row.cpu, row.cpu_wait, row.throttled) == (0.5, None, 0.0)
    later = container(
        "a", cpu=1.5, pressure={"cpu": 1.5, "io": 9.0}, periods=20, throttled_periods=6
    )
    (row,) = watched.look(answer(102, later))
    assert (row.cpu, row.cpu_wait, row.io_wait, row.memory_wait) == (1.5, 0.25, 1.0, None)
    assert (row.throttled, row.cpu_past) == (0.5, (0.5, 1.5))


def test_another_run_counts_from_nothing() -> None:
    watched = Watched()
    watched.look(answer(100, container("a", cpu=0.5, pressure={"cpu": 9.0})))
    again = container("a", started=101.0, cpu=0.25, pressure={"cpu": 0.5})
    (row,) = watched.look(answer(102, again))
    assert (row.cpu_wait, row.cpu_past) == (None, (0.25,))


def test_only_those_that_run_and_no_others_are_kept() -> None:
    watched = Watched()
    ended = {**container("b"), "now": None}
    assert [row.name for row in watched.look(answer(1, container("a"), ended))] == ["a"]
    assert not watched.look(answer(2))
    assert (watched._before, watched._cpu) == ({}, {})


def test_the_past_is_the_daemons_then_ones_own_and_bounded() -> None:
    watched = Watched()
    with_history = {**container("a", cpu=0.3), "history": {"cpu": [0.1, 0.2], "memory": [1, 2]}}
    (row,) = watched.look(answer(1, with_history))
    assert list(row.cpu_past) == [0.1, 0.2, 0.3]
    assert list(row.memory_past) == [1, 2, 10 * MIB]
    for at in range(2, 100):
        (row,) = watched.look(answer(at, container("a", cpu=at)))
    assert (len(row.cpu_past), row.cpu_past[-1]) == (KEPT, 99)


ROWS = [
    Usage(name="web", cpu=0.5, memory=3, received=5, transmitted=1, io_wait=0.2, pids=2, read=1),
    Usage(name="Api", cpu=0.1, memory=9, received=1, transmitted=9, cpu_wait=0.1, pids=1),
    Usage(name="new"),
]


@pytest.mark.parametrize(
    "sort, names",
    [
        ("cpu", "web Api new"),
        ("memory", "Api web new"),
        ("name", "Api new web"),
        ("network", "Api web new"),
        ("pressure", "web Api new"),
        ("block", "web Api new"),
        ("pids", "web Api new"),
    ],
)
def test_order(sort: str, names: str) -> None:
    assert [row.name for row in ordered(reversed(ROWS), sort)] == names.split()


def test_order_the_other_way_round_and_filter() -> None:
    assert [row.name for row in ordered(ROWS[:2], "cpu", reverse=True)] == ["Api", "web"]
    assert [row.name for row in matching(ROWS, "AP")] == ["Api"]
    assert matching(ROWS, "") == ROWS


# --- from rows to lines -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value, text",
    [
        *((None, "--"), (0, "0"), (999, "999"), (1000, "1.0K"), (1536, "1.5K")),
        *((20_000, "20K"), (10 * MIB, "10M"), (1.5 * 2**50, "1.5P"), (2.0**60, "1024P")),
    ],
)
def test_amounts(value: float | None, text: str) -> None:
    assert amount(value) == text


def test_parts() -> None:
    shown = [percent(part) for part in (None, 0.0, 0.1234, 0.999, 1.0, 12.345)]
    assert shown == ["--", "0.0", "12.3", "99.9", "100", "1234"]


def test_bars() -> None:
    assert bars([0, 0.5, 1.0], 3, 1.0) == "▁▅█"
    assert bars([4.0], 3, 1.0) == "  █"
    assert bars([9, 9, 0, 8], 2, 8) == "▁█"
    assert bars([], 2, 0) == "  "
    assert bars([0.0], 1, 0) == "▁"


def test_the_whole_table() -> None:
    row = Usage(
        name="web",
        cpu=1.25,
        memory=50 * MIB,
        memory_limit=100 * MIB,
        cpu_wait=0.5,
        memory_wait=0.0,
        received=2048,
        transmitted=0,
        read=1,
        written=2,
        pids=7,
        throttled=0.1,
    )
    heading, line = table([row], None, plain, with_bars=False, machine_memory=1 << 40)
    titles = "NAME CPU % MEM LIMIT MEM % CPU-W MEM-W I/O-W NET RX NET TX READ WRITE PIDS THR %"
    assert heading.split() == titles.split()
    cells = "web 125 50M 100M 50.0 50.0 0.0 -- 2.0K 0 1 2 7 10.0"
    assert line.split() == cells.split()
    assert len(heading) == len(line)


names = st.text(st.characters(categories=("L", "N", "P")), min_size=1, max_size=60)


@given(st.integers(1, 200), st.lists(names, max_size=4), st.booleans())
def test_no_line_is_wider_than_the_terminal(width: int, given: list[str], with_bars: bool) -> None:
    rows = [Usage(name=name, cpu=0.1, memory=MIB, cpu_past=(1, 2)) for name in given]
    lines = table(rows, width, plain, with_bars=with_bars, machine_memory=MIB)
    assert len(lines) == 1 + len(rows)
    assert all(len(line) <= width for line in lines)


@pytest.mark.parametrize(
    "width, there, gone",
    [
        (150, ("LIMIT", "WRITE", "THR %"), ()),
        (80, ("MEM %", "CPU-W", "NET TX", "PIDS"), ("LIMIT", "READ")),
        (36, ("CPU %", "MEM"), ("CPU-W", "NET RX")),
    ],
)
def test_what_matters_less_goes_first(
    width: int, there: tuple[str, ...], gone: tuple[str, ...]
) -> None:
    heading = table([], width, plain, with_bars=True)[0]
    assert all(word in heading for word in there)
    assert not any(word in heading for word in gone)


def test_what_is_bad_is_painted() -> None:
    bad = Usage(name="a", cpu_wait=0.6, io_wait=0.2, throttled=0.5, memory=99, memory_limit=100)
    painted: list[tuple[str, ...]] = []

    def paint(text: str, *styles: str) -> str:
        painted.append((text.strip(), *styles))
        return text

    table([bad], None, paint, with_bars=False)
    assert painted[1:] == [
        ("99.0", "red"),
        ("60.0", "red"),
        ("20.0", "yellow"),
        ("50.0", "yellow"),
    ]


# --- keys ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "keys, view",
    [
        ("m", View(sort="memory")),
        ("pr", View(sort="pressure", reverse=True)),
        ("rn", View(sort="network")),
        ("/wex\x7fb\r", View(filter="web")),
        ("/q", View(filter="q", typing=True)),  # a letter of the filter, and no key
        ("/web\r/", View(typing=True)),
        ("/web\x1b", View()),
        ("/web\rq", View(filter="web", over=True)),
        ("/web\r\x1b", View()),
        ("\x1b[B\x1b[B\x1b[A", View(first=1)),
        ("\x1b[A", View()),
        ("\x1b[15~\x1bOBm", View(sort="memory")),
        ("\x1b[1;5Bc", View()),
        ("xyz", View()),
    ],
)
def test_keys(keys: str, view: View) -> None:
    assert View().press(keys) == view


@pytest.mark.parametrize("keys", ["\x03", "/a\x03"])
def test_interrupting(keys: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        View().press(keys)


@pytest.mark.parametrize("height", [1, 5, 8, 24])
def test_the_screen_is_never_higher_than_the_terminal(height: int) -> None:
    rows = [Usage(name=f"c{number:02}", cpu=number / 100) for number in range(12)]
    lines = screen(rows, answer(1), View(), (height, 100), plain)
    assert len(lines) == max(5, height)
    assert lines[0] == "orlop top: 12 running, 66% of 2 CPUs, by CPU"
    assert lines[3].startswith("c11 ")
    assert lines[-1] == HELP
    if height == 8:
        assert "8 more below" in lines[1]
        below = screen(rows, answer(1), View(first=100), (height, 100), plain)
        assert below[6].startswith("c00 ")


def test_the_screen_tells_the_filter() -> None:
    lines = screen(ROWS, answer(1), View(filter="AP", typing=True), (24, 100), plain)
    assert lines[1] == "filter: AP_"
    assert lines[3].startswith("Api ")
    assert lines[4] == ""


# --- the command --------------------------------------------------------------------------------


def test_processes_of_one(daemon: FakeDaemon, orlop: Orlop, capfd: Captured) -> None:
    daemon.on_json(
        "GET", "/containers/web/top", {"Titles": ["PID", "CMD"], "Processes": [["7", "sleep 9"]]}
    )
    assert orlop("top", "web", "-o", "pid,cmd") == 0
    assert capfd.readouterr().out == f"{'PID':<20}CMD\n{'7':<20}sleep 9\n"
    assert daemon.only("GET", "/containers/web/top").query == {"ps_args": "-o pid,cmd"}


@pytest.mark.parametrize("words", [(), ("--once",), ("--once", "--sort", "name")])
def test_once(
    daemon: FakeDaemon,
    orlop: Orlop,
    capfd: Captured,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
) -> None:
    monkeypatch.setattr(top, "_SECONDS", 0.0)
    times = iter((100.0, 101.0))

    def tell(exchange: Exchange) -> None:
        at = next(times)
        waited = {"cpu": (at - 100) / 4}
        busy = container("busy", cpu=0.5, received=0, transmitted=0, pressure=waited)
        exchange.reply(answer(at, container("api", cpu=0.1), busy))

    daemon.on("GET", "/orlop/usage", tell)
    assert orlop("top", *words) == 0
    heading, *lines = capfd.readouterr().out.splitlines()
    assert heading.startswith("NAME ")
    assert [line.split()[0] for line in lines] == (
        ["api", "busy"] if "name" in words else ["busy", "api"]
    )
    assert "25.0" in next(line for line in lines if line.startswith("busy"))


@pytest.mark.parametrize(
    "words, said",
    [
        (("--once", "web"), "only without a container"),
        (("--sort", "size"), "one of cpu, memory"),
    ],
)
def test_misuse(orlop: Orlop, capfd: Captured, words: tuple[str, ...], said: str) -> None:
    assert orlop("top", *words) != 0
    assert said in capfd.readouterr().err


def test_without_metrics_the_daemon_says_so(
    daemon: FakeDaemon, orlop: Orlop, capfd: Captured
) -> None:
    daemon.on_error("GET", "/orlop/usage", 503, "metrics are off")
    assert orlop("top") == 1
    assert capfd.readouterr() == ("", "orlop: Error response from daemon: metrics are off\n")


def test_live(daemon: FakeDaemon, spawn: Spawn, terminal: Screen) -> None:
    shown = [container("busy", cpu=0.5), container("idle", cpu=0.0)]
    daemon.on_json("GET", "/orlop/usage", answer(100, *shown))
    process = spawn("top", "--plain", **terminal.stdio())
    assert b"\x1b[?1049h" in terminal.read_until(b"by CPU")
    terminal.type(b"m")
    terminal.read_until(b"by memory")
    terminal.type(b"/idle\r")
    terminal.read_until(b"filter: idle")
    daemon.on_json("GET", "/orlop/usage", answer(101, *shown, container("third", cpu=0.0)))
    terminal.read_until(b"3 running")  # drawn again without a key
    terminal.type(b"q")
    terminal.read_until(b"\x1b[?1049l")
    assert process.wait(PATIENCE) == 0
    assert terminal.is_as_before()
    assert daemon.requests[0].query == {"history": "1"}
    assert daemon.requests[1].query == {}


@pytest.mark.parametrize("end", ["key", "signal", "daemon"])
def test_the_terminal_is_as_before_however_it_ends(
    daemon: FakeDaemon, spawn: Spawn, terminal: Screen, end: str
) -> None:
    daemon.on_json("GET", "/orlop/usage", answer(100, container("a")))
    process = spawn("top", "--plain", **terminal.stdio())
    terminal.read_until(b"1 running")
    if end == "key":
        terminal.type(b"\x03")
        status = 130
    elif end == "signal":
        os.kill(process.pid, signal.SIGTERM)
        status = 128 + signal.SIGTERM
    else:
        daemon.on_error("GET", "/orlop/usage", 503, "it stops")
        status = 1
    terminal.read_until(b"\x1b[?1049l" if end != "daemon" else b"it stops")
    assert process.wait(PATIENCE) == status
    assert terminal.is_as_before()


def test_a_terminal_without_a_screen_gets_the_table_once(
    daemon: FakeDaemon, spawn: Spawn, terminal: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    daemon.on_json("GET", "/orlop/usage", answer(100, container("a")))
    process = spawn("top", "--plain", **terminal.stdio())
    shown = terminal.read_until(b"\na ")
    assert process.wait(PATIENCE) == 0
    assert b"\x1b[?1049h" not in shown


def test_paint_is_what_the_table_takes() -> None:
    paint = Paint()
    paint.on = True
    (heading,) = table([], None, paint, with_bars=False)
    assert heading.startswith("\x1b[1mNAME")
