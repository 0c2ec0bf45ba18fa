"""Records in SQLite, written by one thread with group commit.

    put, delete, apply, submit ──► queue ──► thread: takes all that is there
                                             one transaction, one fsync
    Ticket.wait  ◄── event loop ◄─────────── tells every writer of the group

What is queued while a commit runs goes into the following one, so sixteen writers share
an fsync instead of waiting for sixteen. A write once submitted is carried out whole,
whether or not anybody still waits for it: cancelling a waiter only ends its waiting.

The thread is our own and not one of trio's: SQLite's connection stays with one thread,
and a write may be submitted by code that cannot await.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import trio

from supervisor.errors import Unavailable
from supervisor.store.table import CorruptDatabase, Delete, Put, RecordTable, quarantine

__all__ = ["CorruptDatabase", "Database", "Delete", "Put", "Ticket"]

log = logging.getLogger("orlop.database")

T = TypeVar("T")

_OWN_KIND = "database"
_SETTLED = "settled"


class Ticket:
    """A write that was handed in. It happens, waited for or not."""

    def __init__(self, operations: tuple[Put | Delete, ...]) -> None:
        self.operations = operations
        self._over = trio.Event()
        self._error: BaseException | None = None

    @property
    def done(self) -> bool:
        """Whether it has happened, well or badly."""
        return self._over.is_set()

    async def wait(self) -> None:
        """Return once the write is durable; raises OrlopError if it could not be made."""
        if not self._over.is_set():
            await self._over.wait()
        if self._error is not None:
            raise self._error.with_traceback(None)

    def _answer(self, error: BaseException | None) -> None:
        self._error = error
        self._over.set()


class _Call:
    """Something else to do on the thread, in its turn among the writes."""

    def __init__(self, function: Callable[[], object]) -> None:
        self.function = function
        self.value: object = None
        self.error: BaseException | None = None
        self.over = trio.Event()

    def _answer(self, value: object, error: BaseException | None) -> None:
        self.value, self.error = value, error
        self.over.set()


class Database:
    """Open with `Database.open` or `open_or_quarantine`; used from one event loop.

    `quarantined` is where a damaged file was put aside at opening, else None. `fresh` is
    true as long as nobody has called `settle`: the file is new, and if the data root is
    not, then the records were lost and must be rebuilt from what lies beside them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.quarantined: Path | None = None
        self.fresh = True
        self._trio = trio.lowlevel.current_trio_token()
        self._queue: queue.SimpleQueue[Ticket | _Call | None] = queue.SimpleQueue()
        self._table: RecordTable | None = None
        self._closed = False
        self._failing = False
        # A daemon thread: a crash-only process must not be kept from ending by it.
        self._thread = threading.Thread(target=self._serve, name="orlop-database", daemon=True)

    @classmethod
    async def open(cls, path: Path) -> Database:
        """Open or make the file; raises CorruptDatabase, or Unavailable for anything else."""
        database = cls(path)
        database._thread.start()
        try:
            await database._call(database._open_table)
            database.fresh = not await database.all(_OWN_KIND)
        except BaseException:
            with trio.CancelScope(shield=True):
                await database.close()
            raise
        return database

    @classmethod
    async def open_or_quarantine(cls, path: Path) -> tuple[Database, bool]:
        """Open; put a damaged file aside and start empty. True if that was needed."""
        try:
            return await cls.open(path), False
        except CorruptDatabase as error:
            found = error
        aside = await trio.to_thread.run_sync(quarantine, path)
        log.error("%s; it is now %s", found, aside)
        database = await cls.open(path)
        database.quarantined = aside
        return database, True

    def submit(self, operations: Iterable[Put | Delete]) -> Ticket:
        """Hand in one transaction without waiting; order of submission is order of effect."""
        ticket = Ticket(tuple(operations))
        if self._closed:
            raise Unavailable("the database is closed")
        self._queue.put(ticket)
        return ticket

    async def apply(self, operations: Iterable[Put | Delete]) -> None:
        """Carry out all operations as one transaction; returns when it is durable."""
        await self.submit(operations).wait()

    async def put(self, kind: str, key: str, doc: bytes) -> None:
        """Store one record; returns when it is durable."""
        await self.apply((Put(kind, key, doc),))

    async def delete(self, kind: str, key: str) -> None:
        """Remove one record, if it is there; returns when that is durable."""
        await self.apply((Delete(kind, key),))

    async def all(self, kind: str) -> list[tuple[str, bytes]]:
        """(key, doc) of all records of a kind, by key; sees every write submitted before.

        Damaged records are left out, and logged.
        """
        records = await self._call(lambda: self._opened().read(kind))
        for damaged in sorted(self.damaged):
            if damaged[0] == kind:
                log.error("%s: the record of %s %s is damaged", self.path, *damaged)
        return records

    @property
    def damaged(self) -> frozenset[tuple[str, str]]:
        """(kind, key) of records found damaged and not written anew since."""
        return frozenset(self._table.damaged) if self._table else frozenset()

    async def settle(self) -> None:
        """Note that the records are complete: what was lost, if anything, is rebuilt."""
        if self.fresh:
            await self.put(_OWN_KIND, _SETTLED, b"")
            self.fresh = False

    async def close(self) -> None:
        """Carry out what is queued, then close the file; closing twice is fine."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        await trio.to_thread.run_sync(self._thread.join)

    async def _call(self, function: Callable[[], T]) -> T:
        if self._closed:
            raise Unavailable("the database is closed")
        call = _Call(function)
        self._queue.put(call)
        await call.over.wait()
        if call.error is not None:
            raise call.error
        return call.value  # type: ignore[return-value] # it is what `function` returned

    # --- on the thread ------------------------------------------------------------------

    def _serve(self) -> None:
        closing = False
        while not closing:
            writes: list[Ticket] = []
            for job in self._take():
                if isinstance(job, Ticket):
                    writes.append(job)
                    continue
                self._commit(writes)
                writes = []
                if job is None:
                    closing = True
                else:
                    self._perform(job)
            self._commit(writes)
        if self._table is not None:
            self._table.close()

    def _take(self) -> list[Ticket | _Call | None]:
        jobs = [self._queue.get()]
        # The size may only grow meanwhile: nobody else takes.
        jobs += [self._queue.get() for _ in range(self._queue.qsize())]
        return jobs

    def _commit(self, tickets: list[Ticket]) -> None:
        if not tickets:
            return
        failure: BaseException | None = None
        try:
            self._opened().write(op for ticket in tickets for op in ticket.operations)
        except BaseException as error:  # noqa: BLE001 # raised again in whoever waits
            failure = error
        if failure is not None and len(tickets) > 1:
            # One bad write must not fail the others that happened to share its group.
            for ticket in tickets:
                self._commit([ticket])
            return
        if failure is not None and not self._failing:
            log.error("writes fail: %s", failure)  # once, not for every write while it lasts
        if failure is None and self._failing:
            log.warning("%s: writes succeed again", self.path)
        self._failing = failure is not None
        self._tell(_answer_all, tickets, failure)

    def _perform(self, call: _Call) -> None:
        try:
            value = call.function()
        except BaseException as error:  # noqa: BLE001 # as above
            self._tell(call._answer, None, error)
        else:
            self._tell(call._answer, value, None)

    def _tell(self, function: Callable[..., object], *arguments: object) -> None:
        try:
            self._trio.run_sync_soon(function, *arguments)
        except trio.RunFinishedError:
            log.debug("%s: the event loop ended before its last answers", self.path)
        except OSError as error:  # it has the answer, and hears of it with whatever comes next
            log.error("%s: waking the event loop: %s", self.path, error)  # noqa: TRY400

    def _open_table(self) -> None:
        self._table = RecordTable(self.path)

    def _opened(self) -> RecordTable:
        if self._table is None:
            raise Unavailable(f"the database {self.path} is not open")
        return self._table


def _answer_all(tickets: list[Ticket], error: BaseException | None) -> None:
    for ticket in tickets:
        ticket._answer(error)
