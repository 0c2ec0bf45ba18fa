"""The facts about one container: dealt with one at a time, in the order they are reported.

Most are dealt with where they are reported, with no turn of the event loop in between. In the
mailbox is what comes while another one is being dealt with, or before there is anybody to deal
with it, and what is left of one that takes time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import trio

from supervisor.engine.queue import Closed, Queue
from supervisor.errors import OrlopError
from supervisor.lifecycle import machine as m

__all__ = ["Answer", "Closed", "Letter", "Mailbox"]


class Answer:
    """The outcome of a request: accepted, or refused with an error."""

    def __init__(self) -> None:
        self._event = trio.Event()
        self._error: OrlopError | None = None

    def accept(self) -> None:
        """The request was taken."""
        self._event.set()

    def refuse(self, error: OrlopError) -> None:
        """The request was not taken."""
        self._error = error
        self._event.set()

    async def wait(self) -> None:
        """Return or raise, as it was answered."""
        if not self._event.is_set():
            await self._event.wait()
        if self._error is not None:
            raise self._error


class Letter(NamedTuple):
    """A fact to decide about, and who waits for the answer, if anybody does.

    `effects`: it is decided about, and these are still to be carried out.
    """

    fact: m.Fact
    answer: Answer | None = None
    effects: tuple[m.Effect, ...] | None = None


class Mailbox:
    """`deal` deals with a letter at once, or gives back what of it takes time."""

    def __init__(self, deal: Callable[[Letter], Letter | None]) -> None:
        self._deal = deal
        self._letters: Queue[Letter] = Queue()
        self._busy = True  # until somebody takes letters

    def deliver(self, letter: Letter) -> None:
        """Deal with it, as soon as all that came before is dealt with; Closed."""
        if self._busy or self._letters:
            self._letters.put(letter)
            return
        self._busy = True
        try:
            left = self._deal(letter)
        finally:
            self._busy = False
        if left is not None:
            self._letters.put(left)

    async def take(self) -> Letter:
        """The next letter that was left; whoever takes it has dealt with the one before."""
        self._busy = False
        letter = await self._letters.take()
        self._busy = True
        return letter

    def close(self) -> list[Letter]:
        """Let nothing more in; what has not been dealt with."""
        self._letters.close()
        self._busy = True
        return self._letters.drain()
