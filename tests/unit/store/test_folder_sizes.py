"""What a folder takes is found out by one worker for many, and once for all who ask meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from supervisor.errors import Unavailable
from supervisor.store import folder_sizes
from supervisor.store.folder_sizes import FolderSize, FolderSizes


class Worker:
    """In the place of the worker: a folder takes as much as its number and when it was seen."""

    def __init__(self) -> None:
        self.begun: list[list[str]] = []
        self.go = trio.Event()
        self.dies = False

    async def __call__(self, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        assert operation == "usages"
        self.begun.append(arguments["folders"])
        turn = len(self.begun)
        await self.go.wait()
        if self.dies:
            raise Unavailable("usages: the worker process was killed by signal 9")
        return {"usages": [self._usage(folder, turn) for folder in arguments["folders"]]}

    def _usage(self, folder: str, turn: int) -> dict[str, Any]:
        if folder == "gone":
            return {"error": "it is gone"}
        return {"bytes": 100 * turn + len(folder), "size": 4096 * turn, "inodes": 1}


def seen(content: int) -> FolderSize:
    """What the worker says of what it looked into in the turn that its hundreds tell."""
    return FolderSize(content, on_disk=4096 * (content // 100))


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Worker:
    worker = Worker()
    monkeypatch.setattr(folder_sizes, "work", worker)
    return worker


@pytest.fixture
def sizes() -> FolderSizes:
    return FolderSizes()


class Asking:
    """Questions in tasks of their own, and their answers in the order of the questions."""

    def __init__(self, sizes: FolderSizes, nursery: trio.Nursery) -> None:
        self._sizes = sizes
        self._nursery = nursery
        self.answers: dict[int, dict[str, FolderSize]] = {}
        self._asked = 0

    async def ask(self, *folders: str, by: trio.Nursery | None = None) -> None:
        number, self._asked = self._asked, self._asked + 1

        async def question() -> None:
            self.answers[number] = await self._sizes.of(folders)

        (by or self._nursery).start_soon(question)
        await trio.testing.wait_all_tasks_blocked()


async def test_one_worker_for_all_folders(worker: Worker, sizes: FolderSizes) -> None:
    worker.go.set()
    assert await sizes.of(["a", "bb", "a"]) == {"a": seen(101), "bb": seen(102)}
    assert worker.begun == [["a", "bb"]]


async def test_nothing_is_asked_of_nobody(worker: Worker, sizes: FolderSizes) -> None:
    assert await sizes.of([]) == {}
    assert worker.begun == []


async def test_who_asks_meanwhile_gets_the_same_answer(worker: Worker, sizes: FolderSizes) -> None:
    async with trio.open_nursery() as nursery:
        asking = Asking(sizes, nursery)
        for _ in range(5):
            await asking.ask("a", "bb")
        await asking.ask("bb")
        await asking.ask("bb", "ccc")
        assert worker.begun == [["a", "bb"], ["ccc"]], "only what nobody looks into yet"
        worker.go.set()
    assert [asking.answers[number] for number in range(5)] == [
        {"a": seen(101), "bb": seen(102)}
    ] * 5
    assert asking.answers[5] == {"bb": seen(102)}
    assert asking.answers[6] == {"bb": seen(102), "ccc": seen(203)}
    assert await sizes.of(["a"]) == {"a": seen(301)}, "a later question has an answer of its own"


async def test_a_look_that_is_broken_off_is_begun_by_one_who_waits(
    worker: Worker, sizes: FolderSizes
) -> None:
    async with trio.open_nursery() as nursery:
        asking = Asking(sizes, nursery)
        async with trio.open_nursery() as leaving:
            await asking.ask("a", "bb", by=leaving)
            await asking.ask("a")
            await asking.ask("a")
            leaving.cancel_scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        worker.go.set()
    assert worker.begun == [["a", "bb"], ["a"]], "once, although two had waited"
    assert asking.answers == {1: {"a": seen(201)}, 2: {"a": seen(201)}}


@pytest.mark.parametrize("dies", [True, False])
async def test_what_cannot_be_said_is_left_out(
    worker: Worker, sizes: FolderSizes, dies: bool
) -> None:
    worker.dies = dies
    worker.go.set()
    assert await sizes.of(["gone", "here"]) == ({} if dies else {"here": seen(104)})
    assert len(worker.begun) == 1, "it is not tried again and again"


async def test_each_look_is_told_of_once(worker: Worker, sizes: FolderSizes) -> None:
    told: list[tuple[str, FolderSize]] = []

    def tell(folder: str, size: FolderSize) -> None:
        told.append((folder, size))

    async def ask(*folders: str) -> None:
        await sizes.of(folders, tell)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, "a")
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ask, "a", "gone", "bb")
        await trio.testing.wait_all_tasks_blocked()
        worker.go.set()
    assert sorted(told) == [("a", seen(101)), ("bb", seen(202))]
