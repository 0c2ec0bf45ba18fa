"""Figures that never change, for the handlers that show them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from supervisor.errors import NotFound

Write = Callable[[bytes], Awaitable[None]]


class FakeMetering:
    """`left` objects are there for a stream; `asked` has what was compared with, `answers`
    the operations that were answered, with their status, `pulls` how many there were."""

    def __init__(self) -> None:
        self.left = 3
        self.asked: list[tuple[Any, bool]] = []
        self.pulls = 0
        self.answers: list[tuple[str, int]] = []

    def operation(self, operation: str) -> AbstractContextManager[None]:
        return nullcontext()

    def pulling(self) -> AbstractContextManager[None]:
        self.pulls += 1
        return nullcontext()

    def answered(self, operation: str, status: int, begun: float) -> None:
        self.answers.append((operation, status))

    async def scrape(self, accept: str) -> tuple[str, Callable[[Write], Awaitable[None]]]:
        async def write_all(write: Write) -> None:
            await write(b"a 1\n")
            await write(b"b 2\n")

        return f"text/plain; for={accept}", write_all

    async def usage(self, *, history: bool) -> Callable[[Write], Awaitable[None]]:
        async def write_all(write: Write) -> None:
            await write(b'{"history":')
            await write(b"true}" if history else b"false}")

        return write_all

    def stats(
        self, container_id: str, before: Any = None, *, compare: bool = False
    ) -> tuple[Mapping[str, Any], Any]:
        self.asked.append((before, compare))
        if not self.left:
            raise NotFound(f"No such container: {container_id}")
        self.left -= 1
        return {"id": container_id}, self.left
