"""One fact at a time, in their order, and at once where nothing is to be waited for."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from supervisor.engine.mailbox import Answer, Closed, Letter, Mailbox
from supervisor.errors import Conflict
from supervisor.lifecycle import machine as m


def fact(run: int) -> Letter:
    return Letter(m.GraceOver(run))


class Actor:
    """Deals with facts; those of runs from 100 on take time, until `disk` is set."""

    def __init__(self) -> None:
        self.dealt: list[str] = []
        self.disk = trio.Event()
        self.posts: list[Letter] = []  # what dealing with the next fact reports
        self.mailbox = Mailbox(self.deal)

    def deal(self, letter: Letter) -> Letter | None:
        run = getattr(letter.fact, "run", 0)
        self.dealt.append(f"{run} at once")
        for more in self.posts:
            self.mailbox.deliver(more)
        self.posts = []
        return letter._replace(effects=()) if run >= 100 else None

    async def run(self) -> None:
        while True:
            letter = await self.mailbox.take()
            if letter.effects is not None:
                await self.disk.wait()
            self.dealt.append(f"{getattr(letter.fact, 'run', 0)} by the task")


@pytest.fixture
async def actor(nursery: trio.Nursery) -> Actor:
    made = Actor()
    nursery.start_soon(made.run)
    await wait_all_tasks_blocked()
    return made


async def test_what_takes_no_time_is_done_when_it_is_reported(actor: Actor) -> None:
    actor.mailbox.deliver(fact(1))
    actor.mailbox.deliver(fact(2))
    assert actor.dealt == ["1 at once", "2 at once"]


async def test_nothing_overtakes_what_takes_time(actor: Actor) -> None:
    actor.mailbox.deliver(fact(100))
    actor.mailbox.deliver(fact(1))
    await wait_all_tasks_blocked()
    actor.mailbox.deliver(fact(2))
    await wait_all_tasks_blocked()
    assert actor.dealt == ["100 at once"]
    actor.disk.set()
    actor.mailbox.deliver(fact(3))
    await wait_all_tasks_blocked()
    assert actor.dealt == [
        "100 at once",
        *("100 by the task", "1 by the task", "2 by the task", "3 by the task"),
    ]
    actor.mailbox.deliver(fact(4))
    assert actor.dealt[-1] == "4 at once"


async def test_what_a_fact_brings_about_comes_after_it(actor: Actor) -> None:
    actor.posts = [fact(2), fact(3)]
    actor.mailbox.deliver(fact(1))
    actor.mailbox.deliver(fact(4))
    assert actor.dealt == ["1 at once"]
    await wait_all_tasks_blocked()
    assert actor.dealt[1:] == ["2 by the task", "3 by the task", "4 by the task"]


async def test_what_comes_before_anybody_is_there_waits(nursery: trio.Nursery) -> None:
    actor = Actor()
    actor.mailbox.deliver(fact(1))
    assert actor.dealt == []
    nursery.start_soon(actor.run)
    await wait_all_tasks_blocked()
    actor.mailbox.deliver(fact(2))
    assert actor.dealt == ["1 by the task", "2 at once"]


async def test_a_defect_does_not_shut_the_mailbox(actor: Actor) -> None:
    actor.mailbox._deal = lambda _letter: 1 / 0  # type: ignore[assignment,return-value]
    with pytest.raises(ZeroDivisionError):
        actor.mailbox.deliver(fact(1))
    actor.mailbox._deal = actor.deal
    actor.mailbox.deliver(fact(2))
    assert actor.dealt == ["2 at once"]


async def test_once_closed_nothing_is_taken(nursery: trio.Nursery) -> None:
    mailbox = Actor().mailbox
    mailbox.deliver(fact(1))
    assert mailbox.close() == [fact(1)]
    with pytest.raises(Closed):
        mailbox.deliver(fact(2))


async def test_answers() -> None:
    accepted, refused = Answer(), Answer()
    accepted.accept()
    await accepted.wait()
    refused.refuse(Conflict("no"))
    with pytest.raises(Conflict, match="no"):
        await refused.wait()
