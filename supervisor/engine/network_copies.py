"""Networks' records once more, as files: what networks are restored from if their rows are lost."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from dataclasses import replace

import msgspec
import trio

from supervisor.engine.network_records import Network, decode, encode
from supervisor.errors import ProtocolError, Unavailable
from supervisor.store.row_copies import RowCopies

log = logging.getLogger("orlop.networks")


class NetworkCopies:
    """`files` None keeps nothing. Addresses in use are no part of a copy: containers tell them."""

    def __init__(self, files: RowCopies | None) -> None:
        self._files = files
        self._there: dict[str, bytes] = {}

    async def lost(self, known: Collection[str]) -> list[Network]:
        """The networks that have a copy and are not `known` by their rows; once, at the start."""
        found = []
        self._there = await self._read()
        for key, document in self._there.items():
            if key in known:
                continue
            try:
                found.append(decode(document))
            except ProtocolError as error:
                log.warning("network %s: the copy of its record: %s", key, error)
                continue
            log.warning("network %s: its record is restored", found[-1].name)
        return found

    async def mend(self, networks: Iterable[Network]) -> None:
        """Write the copies that were missing then, or not what they should be."""
        for network in networks:
            if network.ledgers and self._there.get(network.id) != _document(network):
                await self.keep(network)
        self._there = {}

    async def keep(self, network: Network) -> None:
        """Write one; if that fails, the next start tries again."""
        if self._files is None:
            return
        try:
            await trio.to_thread.run_sync(self._files.write, network.id, _document(network))
        except OSError as error:
            log.warning("network %s: no copy of its record: %s", network.name, error)

    async def drop(self, network_id: str) -> None:
        """Delete one; Unavailable if that fails."""
        if self._files is None:
            return
        try:
            await trio.to_thread.run_sync(self._files.drop, network_id)
        except OSError as error:
            raise Unavailable(f"the network's copy {error.filename}: {error.strerror}") from None

    async def _read(self) -> dict[str, bytes]:
        if self._files is None:
            return {}
        try:
            return await trio.to_thread.run_sync(self._files.read)
        except OSError as error:
            log.warning("the copies of networks cannot be read: %s", error)
            return {}


def _document(network: Network) -> bytes:
    """The same whatever addresses were given out of it."""
    empty = network.holding(())
    ledgers = tuple(replace(ledger, next=0) for ledger in empty.ledgers)
    return encode(msgspec.structs.replace(empty, ledgers=ledgers))
