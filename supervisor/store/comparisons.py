"""What writable layers have changed: one worker for all who ask while others are at work.

Unlike a size, an answer is as new as its question: what is being compared already is no answer
to who asks now. So questions gather while WORKERS compare, and the next worker takes all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import trio

from supervisor.errors import BY_CODE, Internal, OrlopError
from supervisor.store.work import work

WORKERS = 2
"""Workers at a time: a tree of millions of files does not keep all others waiting."""

Change = tuple[int, str]
"""Its kind, the API's number, and the path with a slash in front."""


class Comparisons:
    """Asks workers; see above."""

    def __init__(self) -> None:
        self._waiting: list[_Question] = []  # for a worker
        self._working = 0
        self._news = trio.Event()

    async def of(self, upper: str, lowers: Sequence[str]) -> list[Change]:
        """How the folder `upper` differs from `lowers`, top-most first (snapshot.changes).

        Raises the OrlopError that the comparison raised.
        """
        question = self._waiting_for(upper) or self._ask(upper, lowers)
        question.askers += 1
        try:
            while question.answer is None:
                if question in self._waiting and self._working < WORKERS:
                    await self._work()
                else:
                    await self._news.wait()
        finally:
            question.askers -= 1
        if isinstance(question.answer, OrlopError):
            raise type(question.answer)(question.answer.message)
        return question.answer

    def _waiting_for(self, upper: str) -> _Question | None:
        return next((one for one in self._waiting if one.upper == upper), None)

    def _ask(self, upper: str, lowers: Sequence[str]) -> _Question:
        question = _Question(upper, lowers)
        self._waiting.append(question)
        return question

    async def _work(self) -> None:
        asked, self._waiting = [one for one in self._waiting if one.askers], []
        self._working += 1
        try:
            await self._compare(asked)
            # One tree may have been the end of the worker, and of what the others asked.
            for one in asked:
                if one.answer is None:
                    await self._compare([one])
        finally:
            self._working -= 1
            # Without an answer if who asked first has gone: it is for the others to go on.
            self._waiting += [one for one in asked if one.answer is None]
            self._tell()

    async def _compare(self, asked: Sequence[_Question]) -> None:
        """Have them answered; if the worker fails, only an only one is sure to be."""

        def told(progress: Mapping[str, Any]) -> None:
            asked[progress["number"]].take(progress)
            self._tell()

        trees = [{"upper": one.upper, "lowers": list(one.lowers)} for one in asked]
        try:
            await work("changes_of_many", {"trees": trees}, progress=told)
        except OrlopError as error:
            if len(asked) == 1:
                asked[0].answer = error

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()


class _Question:
    """`answer` is None until there is one; `askers` wait for it."""

    def __init__(self, upper: str, lowers: Sequence[str]) -> None:
        self.upper = upper
        self.lowers = lowers
        self.askers = 0
        self.answer: list[Change] | OrlopError | None = None

    def take(self, told: Mapping[str, Any]) -> None:
        """What the worker has said of it."""
        error = told.get("error")
        if error is None:
            self.answer = [(int(kind), str(path)) for kind, path in told["changes"]]
        else:
            self.answer = BY_CODE.get(error["code"], Internal)(error["message"])
