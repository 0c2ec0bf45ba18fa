"""`orlop top` as an application: keys by textual's Pilot, a daemon that a test writes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, RichLog, Static

from supervisor.cli.failures import DaemonError, Failure
from supervisor.cli.tui import cells, installed
from supervisor.cli.tui.app import Order, Top
from supervisor.cli.tui.detail import Detail
from supervisor.cli.tui.feed import Log, Told, _text
from supervisor.cli.usage import Answer, Usage, Watched
from tests.support.pace import limit
from tests.unit.cli.test_top import MIB, answer, container

Steps = Callable[[Pilot[Any]], Awaitable[None]]
SMALL, LARGE = (80, 24), (160, 40)


class Said:
    """A log: what the test puts in; None is its end."""

    def __init__(self) -> None:
        self.queue: SimpleQueue[list[str] | None] = SimpleQueue()
        self.closed = False

    def batches(self) -> Iterator[list[str]]:
        while (lines := self.queue.get()) is not None:
            yield lines

    def close(self) -> None:
        self.closed = True
        self.queue.put(None)


class FakeDaemon:
    """Answers what the test has put into `now`."""

    def __init__(self, *containers: dict[str, Any]) -> None:
        self.now: Answer | Failure = answer(1.0, *map(whole, containers))
        self.logs: dict[str, Said] = {}
        self.ran: list[tuple[str, list[str]]] = []
        self.histories: list[bool] = []

    def usage(self, *, history: bool) -> Answer:
        self.histories.append(history)
        if isinstance(self.now, Failure):
            raise self.now
        return self.now

    def log(self, name: str) -> Log:
        return self.logs.setdefault(name, Said())

    def run(self, name: str, command: list[str]) -> int:
        self.ran.append((name, command))
        return 3


def whole(one: dict[str, Any]) -> dict[str, Any]:
    about = {"image": "shop:1", "state": "running", "healthy": None, "restarts": 0, "oom_kills": 0}
    return {**about, "end": None, **one}


SHOP = (
    container("api", cpu=0.5, received=10, transmitted=0, memory=1 * MIB),
    container("db", cpu=0.1, received=20, transmitted=5, memory=9 * MIB),
    container("web", cpu=0.9, received=0, transmitted=1, memory=3 * MIB),
)


def play(
    daemon: FakeDaemon, steps: Steps, size: tuple[int, int] = SMALL, seconds: float = 3600
) -> Failure | None:
    """Run the application, with these steps once it shows something; what it ended with."""
    app = Top(daemon, Order(), seconds)

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda: the_table(pilot).row_count)
            await steps(pilot)

    asyncio.run(run())
    return app.return_value


async def until(pilot: Pilot[Any], condition: Callable[[], object]) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + limit(10)
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await pilot.pause(0.01)


async def tell(pilot: Pilot[Any], at: float, *containers: dict[str, Any]) -> None:
    """The daemon's next answer."""
    pilot.app.post_message(Told(answer(at, *map(whole, containers))))
    await pilot.pause()


def names(pilot: Pilot[Any]) -> list[str]:
    """The containers in the table, from top to bottom."""
    table = the_table(pilot)
    return [str(table.get_row_at(at)[0]) for at in range(table.row_count)]


def the_table(pilot: Pilot[Any]) -> DataTable[Any]:
    table: DataTable[Any] = pilot.app.screen_stack[0].query_one(DataTable)
    return table


def shown(pilot: Pilot[Any], place: str) -> str:
    return str(pilot.app.screen.query_one(place, Static).content)


def log_lines(pilot: Pilot[Any]) -> list[str]:
    return [line.text.rstrip() for line in pilot.app.screen.query_one(RichLog).lines]


def test_it_is_installed_here() -> None:
    assert installed()


def test_order_filter_and_the_cursor_that_stays_on_its_container() -> None:
    daemon = FakeDaemon(*SHOP)

    async def steps(pilot: Pilot[Any]) -> None:
        assert names(pilot) == ["web", "api", "db"]
        assert "3 running · 150% of 2 CPUs · by CPU" in shown(pilot, "#title")
        await pilot.press("m")
        assert names(pilot) == ["db", "web", "api"]
        await pilot.press("r")
        assert names(pilot) == ["api", "web", "db"]
        await pilot.press("n")
        assert names(pilot) == ["db", "api", "web"]
        await pilot.press("c", "down")
        assert the_table(pilot).cursor_row == 1  # api
        busier = {**SHOP[0], "now": {**SHOP[0]["now"], "cpu": 1.9}}
        await tell(pilot, 2.0, busier, *SHOP[1:])
        assert names(pilot) == ["api", "web", "db"]
        assert the_table(pilot).cursor_row == 0
        await pilot.press("slash", "b")
        assert sorted(names(pilot)) == ["db", "web"]
        await pilot.press("c")  # a letter of the filter, and no key
        assert names(pilot) == []
        await pilot.press("escape")
        assert len(names(pilot)) == 3
        await tell(pilot, 3.0, SHOP[0])
        assert names(pilot) == ["api"]
        await tell(pilot, 4.0)
        assert "no container runs" in shown(pilot, "#title")
        assert names(pilot) == []
        await pilot.press("q")

    assert play(daemon, steps) is None
    assert daemon.histories == [True]


def test_a_heading_sorts_and_a_wide_terminal_has_more_columns() -> None:
    async def steps(pilot: Pilot[Any]) -> None:
        table = the_table(pilot)
        headings = [str(column.label).strip() for column in table.columns.values()]
        assert headings.count("") == 4  # CPU, memory, waiting, traffic
        assert {"WRITE", "THR %"} <= set(headings)
        await pilot.click(DataTable, offset=(1, 0))
        assert names(pilot) == ["api", "db", "web"]
        await pilot.click(DataTable, offset=(1, 0))
        assert names(pilot) == ["web", "db", "api"]
        await pilot.resize_terminal(*SMALL)
        await until(pilot, lambda: len(table.columns) < len(headings))
        width = sum(column.width for column in table.columns.values())
        assert width <= SMALL[0] - 1
        assert names(pilot) == ["web", "db", "api"]

    play(FakeDaemon(*SHOP), steps, LARGE)


def test_one_container_with_its_log_and_a_command_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = FakeDaemon(*SHOP)

    @contextmanager
    def suspended(_app: Top) -> Iterator[None]:
        yield

    monkeypatch.setattr(Top, "suspend", suspended)

    async def steps(pilot: Pilot[Any]) -> None:
        await pilot.press("down", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, Detail) and "api" in daemon.logs)
        assert shown(pilot, "#name") == "api"
        assert shown(pilot, "#cpu").startswith("CPU 50.0%\n")
        await pilot.press("m", "slash")  # keys of the table: nothing here
        daemon.logs["api"].queue.put(["[red]one[/red]", "two"])
        await until(pilot, lambda: log_lines(pilot) == ["[red]one[/red]", "two"])
        await pilot.press("e", "x", "escape", "e")
        field = pilot.app.screen.query_one("#command")
        field.value = "sh -c 'x y'"  # type: ignore[attr-defined]
        await pilot.press("enter")
        await until(pilot, lambda: "exit status 3" in log_lines(pilot)[-1])
        assert daemon.ran == [("api", ["sh", "-c", "x y"])]
        await pilot.press("e")
        field.value = "sh 'x"  # type: ignore[attr-defined]
        await pilot.press("enter")
        await until(pilot, lambda: "No closing quotation" in log_lines(pilot)[-1])
        await tell(pilot, 2.0, *SHOP[1:])
        assert shown(pilot, "#about") == "removed"
        assert "does not run" in shown(pilot, "#cpu")
        await pilot.press("escape")
        await until(pilot, lambda: daemon.logs["api"].closed)
        assert names(pilot) == ["web", "db"]

    assert play(daemon, steps) is None


def test_a_daemon_that_goes_away_ends_it() -> None:
    daemon = FakeDaemon(*SHOP)
    gone = DaemonError(503, "metrics are off")

    async def steps(pilot: Pilot[Any]) -> None:
        daemon.now = gone
        await until(pilot, lambda: pilot.app.return_value is gone)

    assert play(daemon, steps, seconds=0.05) is gone
    assert daemon.histories[:2] == [True, False]


def test_hundreds_of_containers_are_written_where_they_are_seen() -> None:
    many = [container(f"c{number:03}", cpu=number / 1000) for number in range(300)]

    async def steps(pilot: Pilot[Any]) -> None:
        assert names(pilot)[0] == "c299"
        turned = [{**one, "now": {**one["now"], "cpu": 1 - one["now"]["cpu"]}} for one in many]
        await tell(pilot, 2.0, *turned)
        assert names(pilot)[0] == "c000"
        assert names(pilot)[-1] == "c000"  # not seen, and as it was
        await pilot.press("end")
        await until(pilot, lambda: names(pilot)[-1] == "c299")

    play(FakeDaemon(*many), steps)


# --- words --------------------------------------------------------------------------------------


def test_the_past_of_what_waits_and_of_traffic() -> None:
    watched = Watched()
    begun = {**container("a", received=1, transmitted=2, pressure={"cpu": 0.0, "io": 0.0})}
    begun["history"] = {"received": [5, 6], "transmitted": [1, 1]}
    watched.look(answer(1, begun))
    waits = {"cpu": 0.25, "io": 0.5}
    (row,) = watched.look(answer(2, container("a", received=3, transmitted=4, pressure=waits)))
    assert cells.worst_waits(row) == [0.5]
    assert cells.traffic(row) == [6, 7, 3, 7]


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"started": 40.0}, "i · up 60s"),
        ({"started": 100 - 7300.0, "healthy": False}, "i · up 2h · not healthy"),
        ({"restarts": 2, "oom_kills": 1}, "i · up 95s · 2 restarts · 1 OOM kill"),
        (
            {"state": "exited", "end": {"reason": "oom_killed", "code": 137}},
            "i · exited · last end: oom killed (137)",
        ),
    ],
)
def test_a_container_in_words(fields: dict[str, Any], words: str) -> None:
    about = {**whole(container("a")), "image": "i", **fields}
    assert cells.description(about, now=100.0) == words


def test_figures_in_words() -> None:
    row = Usage(name="a", cpu=0.5, cpu_limit=0.25, throttled=0.1, memory=MIB, memory_limit=2 * MIB)
    found = cells.figures(row, 9 * MIB)
    assert found["cpu"] == "CPU 50.0% of 25%, throttled 10.0%"
    assert found["memory"] == "Memory 1.0M of 2.0M"
    assert found["received"] == "Received --/s"


def test_what_would_move_the_cursor_stays_out_of_the_log() -> None:
    assert _text(b"a\tb\x1b[2J\xff\r") == "a       b�[2J�"
