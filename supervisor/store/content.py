"""Blobs and layers: who needs them, how they come in, and when they go.

    lease ─► ingest blobs ─► unpack layers ─► the image's row ─► end of the lease
                                                                  └► what no row took goes

Whatever is deleted is deleted under `changing`, after looking at every image, every
container and every lease; and whoever finds a blob or layer and wants to rely on it says
so in its lease under the same lock. So nothing goes between a look and its use.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import trio

from supervisor.errors import Conflict, InvalidArgument, OrlopError
from supervisor.oci.digest import Digest
from supervisor.store import blobs
from supervisor.store.disk import disk_errors
from supervisor.store.ingest import Partial, Partials, Writer
from supervisor.store.layout import DataRoot
from supervisor.store.lease import Lease

log = logging.getLogger("orlop.images")


class Needed(NamedTuple):
    """What images and containers stand on: digests of blobs, folders of layers."""

    blobs: Collection[Digest]
    layers: Collection[Path]


class Content:
    """Blobs and layers of one data root; `needed` tells what images and containers need."""

    def __init__(self, root: DataRoot, changing: trio.Lock, needed: Callable[[], Needed]) -> None:
        self.root = root
        self.changing = changing
        self._needed = needed
        self._leases: set[Lease] = set()
        self._partials = Partials(root)

    # --- leases -------------------------------------------------------------------------

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[Lease]:
        """Keep from garbage collection what is ingested or found under the lease."""
        lease = Lease()
        self._leases.add(lease)
        try:
            yield lease
        finally:
            with trio.CancelScope(shield=True):
                await self._end(lease)

    async def _end(self, lease: Lease) -> None:
        for partial in self._partials.end(lease):
            await trio.to_thread.run_sync(partial.drop)
        async with self.changing:
            self._leases.discard(lease)
            try:
                await self.collect(lease.blobs, lease.layers)
            except OrlopError as error:
                log.warning("what a lease held stays until the next start: %s", error)

    async def collect(self, digests: Iterable[Digest], layers: Iterable[Digest]) -> list[Digest]:
        """Put away those of the given that nobody needs; the chain ids that went, in order.

        `changing` must be held. Raises Unavailable or Internal.
        """
        needed = self._needed()
        leased = {digest for lease in self._leases for digest in lease.blobs}
        held = {chain_id for lease in self._leases for chain_id in lease.layers}
        blobs_over = [d for d in digests if d not in needed.blobs and d not in leased]
        layers_over = [
            c for c in layers if c not in held and self.root.layer(c) not in needed.layers
        ]
        if blobs_over or layers_over:
            with disk_errors():
                await trio.to_thread.run_sync(blobs.discard_all, self.root, layers_over, blobs_over)
        return layers_over

    def leased(self) -> Needed:
        """What all leases hold."""
        return Needed(
            {digest for lease in self._leases for digest in lease.blobs},
            {self.root.layer(c) for lease in self._leases for c in lease.layers},
        )

    # --- blobs --------------------------------------------------------------------------

    def has_blob(self, digest: Digest) -> bool:
        """Whether the blob is there now; `hold_blob` is what one may rely on."""
        return self.root.blob(digest).is_file()

    async def hold_blob(self, lease: Lease, digest: Digest, size: int | None = None) -> bool:
        """Whether the blob is there; if so it stays at least until the lease ends.

        InvalidArgument if it is there with another `size`.
        """
        async with self.changing:
            try:
                found = self.root.blob(digest).stat().st_size
            except FileNotFoundError:
                return False
            lease.blobs.add(digest)
        if size is not None and found != size:
            raise InvalidArgument(f"blob {digest} has {found} bytes, not {size} as announced")
        return True

    async def hold_all(self, lease: Lease) -> None:
        """Let every blob that is there now stay at least until the lease ends."""
        async with self.changing:
            lease.blobs |= {*self._needed().blobs, *self.leased().blobs}

    def ingest(self, lease: Lease, digest: Digest, size: int) -> Writer:
        """A writer for the blob, going on where an earlier one under a living lease stopped.

        Conflict if another one is writing the same blob now: `ingest_once` waits for it.
        """
        partial = self._partials.of(lease, digest, size)
        if partial.turn.locked():
            raise Conflict(f"blob {digest} is being written already")
        return Writer(partial, lambda p, found: self._adopt(lease, p, found))

    @asynccontextmanager
    async def ingest_once(
        self, lease: Lease, digest: Digest, size: int
    ) -> AsyncIterator[Writer | None]:
        """A writer for the blob, or None when it is there already, held by the lease then.

        Whoever else is writing the same blob is waited for. If that one gives up, what it
        had written is gone on with: look at `offset`.
        """
        partial = self._partials.of(lease, digest, size)
        async with partial.turn:
            if await self.hold_blob(lease, digest, size):
                yield None
            else:
                yield Writer(partial, lambda p, found: self._adopt(lease, p, found))

    @asynccontextmanager
    async def ingest_unnamed(self, lease: Lease) -> AsyncIterator[Writer]:
        """A writer for a blob whose size and digest are known at its end only (sha256)."""
        partial = Partial(self.root, None, None)
        try:
            yield Writer(partial, lambda p, found: self._adopt(lease, p, found))
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(partial.drop)

    async def put_blob(self, lease: Lease, data: bytes) -> Digest:
        """Store bytes that are in memory."""
        digest = Digest.of(data)
        if not await self.hold_blob(lease, digest):
            async with self.changing:
                lease.blobs.add(digest)
                with disk_errors(), trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(blobs.put_blob, self.root, data)
        return digest

    async def adopt_blob(self, lease: Lease, temporary: Path, digest: Digest) -> None:
        """Take over a synced file of the tmp folder whose content has this digest."""
        async with self.changing:
            lease.blobs.add(digest)
            with disk_errors(), trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(blobs.adopt_blob, self.root, temporary, digest)

    async def _adopt(self, lease: Lease, partial: Partial, digest: Digest) -> None:
        await self.adopt_blob(lease, partial.path, digest)
        partial.forget()

    # --- layers -------------------------------------------------------------------------

    async def hold_layer(self, lease: Lease, chain_id: Digest) -> bool:
        """Whether the layer is there; if so it stays at least until the lease ends."""
        async with self.changing:
            found = self.root.layer(chain_id).is_dir()
            if found:
                lease.layers.add(chain_id)
        return found

    async def adopt_layer(self, lease: Lease, temporary: Path, chain_id: Digest) -> None:
        """Take over a synced folder of the tmp folder as the layer with this chain id."""
        async with self.changing:
            lease.layers.add(chain_id)
            with disk_errors(), trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(blobs.adopt_layer, self.root, temporary, chain_id)
