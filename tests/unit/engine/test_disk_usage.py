"""The size of a writable layer is found out once for all who ask at the same time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import trio

from supervisor.engine import disk_usage
from supervisor.engine.disk_usage import written


class Looks:
    """In the place of the worker: counts, and takes as long as it is told."""

    def __init__(self) -> None:
        self.begun = 0
        self.go = trio.Event()

    async def __call__(self, _engine: Any, _container: Any) -> int:
        self.begun += 1
        await self.go.wait()
        return 100 + self.begun


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    looks = Looks()
    monkeypatch.setattr(disk_usage, "_measure", looks)
    return looks


def container(*, writable: bool = False) -> Any:
    return SimpleNamespace(record=SimpleNamespace(rootfs_writable=writable), measuring=None)


async def ask(of: Any, answers: list[int]) -> None:
    answers.append(await written(None, of))  # type: ignore[arg-type]


async def test_who_asks_meanwhile_gets_the_same_answer(
    looks: Looks, autojump_clock: trio.testing.MockClock
) -> None:
    it, other = container(), container()
    answers: list[int] = []
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(ask, it, answers)
        nursery.start_soon(ask, other, [])
        await trio.testing.wait_all_tasks_blocked()
        assert looks.begun == 2
        looks.go.set()
    assert len(set(answers)) == 1
    assert len(answers) == 5
    await ask(it, answers)
    assert looks.begun == 3, "a later question has an answer of its own"


async def test_one_that_is_broken_off_is_begun_by_the_next(
    looks: Looks, autojump_clock: trio.testing.MockClock
) -> None:
    it = container()
    answers: list[int] = []
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as first:
            async with trio.open_nursery() as leaving:
                leaving.start_soon(ask, it, answers)
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(ask, it, answers)
                await trio.testing.wait_all_tasks_blocked()
                first.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert (looks.begun, answers) == (2, [])
        looks.go.set()
    assert answers == [102]


async def test_a_folder_that_is_written_to_itself_has_no_layer(looks: Looks) -> None:
    assert await written(None, container(writable=True)) == 0  # type: ignore[arg-type]
    assert looks.begun == 0
