"""Containers' records are copied into their bundles, behind what is going on.

A write to a file system can last as long as the fsync that another file is in the middle of, so
it is nobody's to wait for: a copy follows its row within AFTER_SECONDS, made by another thread.
A container that is gone by then never has one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

import trio

from supervisor.engine.record import Record
from supervisor.lifecycle.machine import Phase
from supervisor.store import record_copies
from supervisor.store.layout import DataRoot

log = logging.getLogger("orlop.host")

AFTER_SECONDS = 1.0


class Copies:
    """`is_made` says of an id that such a container is in service, not still being created:
    what has a copy was acknowledged, and is restored if its row is lost.
    """

    def __init__(self, root: DataRoot) -> None:
        self.is_made: Callable[[str], bool] = lambda _id: True
        self._root = root
        self._changed: dict[str, Record] = {}
        self._woken = trio.Event()
        self._failing = False

    def note(self, record: Record) -> None:
        """The record has changed: let it be copied soon, as it is then."""
        self._changed[record.id] = record
        self._woken.set()

    async def run(self) -> None:
        """Copy until cancelled, and then what is left."""
        try:
            while True:
                await self._woken.wait()
                await trio.sleep(AFTER_SECONDS)
                with trio.CancelScope(shield=True):
                    write = partial(self._write, self._take())
                    await trio.to_thread.run_sync(write)
        finally:
            self._write(self._take())

    def _take(self) -> dict[str, bytes]:
        """What is to be copied, by id."""
        self._woken = trio.Event()
        changed, self._changed = self._changed, {}
        return {
            record.id: record.encode()
            for record in changed.values()
            if self.is_made(record.id) and record.state.phase is not Phase.REMOVING
        }

    def _write(self, documents: dict[str, bytes]) -> None:
        for key, document in documents.items():
            try:
                record_copies.add(self._root.bundle(key), document)
            except FileNotFoundError:
                continue  # it was removed meanwhile
            except OSError as error:
                if not self._failing:  # said once, while it lasts
                    log.warning("container %s: no copy of its record: %s", key[:12], error)
                self._failing = True
            else:
                self._failing = False
