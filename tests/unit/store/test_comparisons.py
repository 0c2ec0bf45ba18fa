"""Comparing: who asks while all workers are at work shares the next one; no answer is old."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from supervisor.errors import InvalidArgument, OrlopError, Unavailable
from supervisor.store import comparisons
from supervisor.store.comparisons import WORKERS, Comparisons


class Worker:
    """In the place of the worker: a tree has changed in what turn it was compared."""

    def __init__(self) -> None:
        self.begun: list[list[str]] = []
        self.go = trio.Event()

    async def __call__(
        self, operation: str, arguments: dict[str, Any], *, progress: Callable[[Any], None]
    ) -> dict[str, Any]:
        assert operation == "changes_of_many"
        uppers = [tree["upper"] for tree in arguments["trees"]]
        self.begun.append(uppers)
        turn = len(self.begun)
        await self.go.wait()
        for number, upper in enumerate(uppers):
            if upper == "deadly":
                raise Unavailable("changes_of_many: the worker process was killed by signal 9")
            if upper == "bad":
                error = {"code": "invalid_argument", "message": "too deep"}
                progress({"number": number, "error": error})
            else:
                progress({"number": number, "changes": [[1, f"/{upper}/{turn}"]]})
        return {}


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Worker:
    worker = Worker()
    monkeypatch.setattr(comparisons, "work", worker)
    return worker


class Asking:
    """Questions in tasks of their own, one after the other, and what came of them."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.comparisons = Comparisons()
        self.answers: dict[int, list[tuple[int, str]] | OrlopError] = {}
        self._nursery = nursery
        self._scopes: list[trio.CancelScope] = []

    async def ask(self, *uppers: str) -> None:
        for upper in uppers:
            scope = trio.CancelScope()
            self._nursery.start_soon(self._one, len(self._scopes), upper, scope)
            self._scopes.append(scope)
            await trio.testing.wait_all_tasks_blocked()

    async def hang_up(self, number: int) -> None:
        self._scopes[number].cancel()
        await trio.testing.wait_all_tasks_blocked()

    async def _one(self, number: int, upper: str, scope: trio.CancelScope) -> None:
        with scope:
            try:
                self.answers[number] = await self.comparisons.of(upper, ("lower",))
            except OrlopError as error:
                self.answers[number] = error


BUSY = [f"busy{number}" for number in range(WORKERS)]


async def test_who_asks_while_all_work_shares_the_next_worker(worker: Worker) -> None:
    async with trio.open_nursery() as nursery:
        asking = Asking(nursery)
        await asking.ask(*BUSY, "a", "b", "a", "busy0")
        assert worker.begun == [[upper] for upper in BUSY]
        worker.go.set()
    assert worker.begun[WORKERS:] == [["a", "b", "busy0"]]
    turn = WORKERS + 1
    own = [[(1, f"/busy{number}/{number + 1}")] for number in range(WORKERS)]
    shared = [[(1, f"/{upper}/{turn}")] for upper in ("a", "b", "a", "busy0")]
    assert [asking.answers[number] for number in range(len(own + shared))] == own + shared
    again = await asking.comparisons.of("a", ("lower",))
    assert again == [(1, f"/a/{turn + 1}")]


async def test_who_worked_for_others_hangs_up(worker: Worker) -> None:
    async with trio.open_nursery() as nursery:
        asking = Asking(nursery)
        await asking.ask(*BUSY, "a", "b")
        await asking.hang_up(0)  # now one of those who wait works for both
        assert worker.begun[WORKERS:] == [["a", "b"]]
        await asking.ask("a")
        await asking.hang_up(WORKERS)
        await asking.hang_up(WORKERS + 1)
        worker.go.set()
    left = WORKERS + 2
    assert asking.answers[left] == [(1, f"/a/{len(worker.begun)}")]
    assert asking.answers.keys() == {*range(1, WORKERS), left}


async def test_an_error_is_its_trees_alone(worker: Worker) -> None:
    async with trio.open_nursery() as nursery:
        asking = Asking(nursery)
        await asking.ask(*BUSY, "a", "bad", "deadly", "b")
        worker.go.set()
    bad, deadly = asking.answers[WORKERS + 1], asking.answers[WORKERS + 2]
    assert isinstance(bad, InvalidArgument)
    assert bad.message == "too deep"
    assert isinstance(deadly, Unavailable)
    assert [isinstance(asking.answers[WORKERS + number], list) for number in (0, 3)] == [True] * 2
    assert worker.begun[WORKERS:] == [["a", "bad", "deadly", "b"], ["deadly"], ["b"]]
