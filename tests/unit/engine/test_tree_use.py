"""Who may have a container's writable layer at the same time, who waits, who is cut off."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing

from supervisor.engine.tree_use import COPY_PATIENCE, START_PATIENCE, TreeUse, Use
from supervisor.errors import Conflict


class Copies:
    """Starts copies and knows which of them are in."""

    def __init__(self, tree: TreeUse, nursery: trio.Nursery) -> None:
        self._tree = tree
        self._nursery = nursery
        self.inside: set[str] = set()
        self.errors: dict[str, str] = {}
        self._ends: dict[str, trio.Event] = {}

    async def begin(self, name: str, use: Use | Callable[[], Use | None]) -> None:
        """Begin a copy that lasts until `end`; returns when it is in or waits."""
        self._ends[name] = trio.Event()
        self._nursery.start_soon(self._copy, name, use if callable(use) else lambda: use)
        await trio.testing.wait_all_tasks_blocked()

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await trio.testing.wait_all_tasks_blocked()

    async def _copy(self, name: str, choose: Callable[[], Use | None]) -> None:
        try:
            async with self._tree.copy(choose):
                self.inside.add(name)
                try:
                    await self._ends[name].wait()
                finally:
                    self.inside.discard(name)
        except Conflict as error:
            self.errors[name] = error.message


@pytest.fixture
def tree() -> TreeUse:
    return TreeUse(lambda: "web")


@pytest.fixture
def copies(tree: TreeUse, nursery: trio.Nursery) -> Copies:
    return Copies(tree, nursery)


async def test_readers_share_and_a_writer_is_alone(copies: Copies) -> None:
    await copies.begin("r1", Use.READER)
    await copies.begin("r2", Use.READER)
    await copies.begin("w1", Use.WRITER)
    assert copies.inside == {"r1", "r2"}
    await copies.end("r1")
    assert copies.inside == {"r2"}
    await copies.end("r2")
    assert copies.inside == {"w1"}
    await copies.begin("w2", Use.WRITER)
    await copies.begin("r3", Use.READER)
    assert copies.inside == {"w1"}
    await copies.end("w1")
    assert len(copies.inside) == 1
    await copies.end("w2")
    await copies.end("r3")
    assert not copies.errors


async def test_a_run_waits_for_copies_at_rest(
    tree: TreeUse, copies: Copies, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    begun = trio.Event()

    async def run() -> None:
        await tree.begin_run()
        begun.set()

    await copies.begin("r", Use.READER)
    nursery.start_soon(run)
    await trio.sleep(START_PATIENCE / 2)
    assert not begun.is_set()
    await copies.begin("late", Use.READER)
    assert copies.inside == {"r"}, "a start that waits lets no more copies in"
    await copies.end("r")
    assert begun.is_set()
    await trio.sleep(COPY_PATIENCE + 1)
    assert "late" in copies.errors


@pytest.mark.parametrize("use", [Use.READER, Use.WRITER])
async def test_a_copy_that_holds_up_a_start_is_cut_off(
    tree: TreeUse, copies: Copies, use: Use, autojump_clock: trio.testing.MockClock
) -> None:
    await copies.begin("slow", use)
    before = trio.current_time()
    await tree.begin_run()
    assert trio.current_time() - before == pytest.approx(START_PATIENCE)
    assert not copies.inside
    assert copies.errors["slow"] == "container web was started: the copy was cut off"


async def test_a_copy_inside_outlasts_its_run_and_not_the_next(
    tree: TreeUse, copies: Copies, autojump_clock: trio.testing.MockClock
) -> None:
    await tree.begin_run()
    await copies.begin("in", Use.INSIDE)
    tree.end_run()
    assert copies.inside == {"in"}
    # The old mount is there as long as it is: nobody else may mount the same upper.
    await copies.begin("r", Use.READER)
    assert copies.inside == {"in"}
    await copies.end("in")
    assert copies.inside == {"r"}
    await copies.end("r")
    await tree.begin_run()
    await copies.begin("in2", Use.INSIDE)
    tree.end_run()
    await tree.begin_run()
    assert "was started" in copies.errors["in2"]


async def test_where_to_copy_is_chosen_when_there_is_room(tree: TreeUse, copies: Copies) -> None:
    uses: list[Use | None] = [None]
    await tree.begin_run()
    await copies.begin("c", lambda: uses[-1])
    assert not copies.inside
    uses.append(Use.INSIDE)
    tree.changed()
    await trio.testing.wait_all_tasks_blocked()
    assert copies.inside == {"c"}
    await copies.end("c")


async def test_nobody_waits_for_ever(
    tree: TreeUse, copies: Copies, autojump_clock: trio.testing.MockClock
) -> None:
    await tree.begin_run()
    await copies.begin("r", Use.READER)
    await trio.sleep(COPY_PATIENCE + 1)
    assert "try again" in copies.errors["r"]


async def test_a_removal_cuts_off_at_once_and_lets_nobody_in(
    tree: TreeUse, copies: Copies, autojump_clock: trio.testing.MockClock
) -> None:
    await copies.begin("w", Use.WRITER)
    await copies.begin("waits", Use.WRITER)
    before = trio.current_time()
    await tree.close()
    await trio.testing.wait_all_tasks_blocked()
    assert trio.current_time() == before
    assert copies.errors == {
        "w": "container web is being removed: the copy was cut off",
        "waits": "removal of container web is already in progress",
    }
    await copies.begin("late", Use.READER)
    assert "already in progress" in copies.errors["late"]


async def test_a_copy_that_fails_leaves_the_tree_free(tree: TreeUse) -> None:
    with pytest.raises(ZeroDivisionError):
        async with tree.copy(lambda: Use.WRITER):
            raise ZeroDivisionError
    with trio.CancelScope() as scope:
        async with tree.copy(lambda: Use.WRITER):
            scope.cancel()
            await trio.sleep_forever()
    await tree.begin_run()
