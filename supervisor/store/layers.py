"""Unpacked layers: each chain id once, whoever asks for it and however many at once."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import trio

from supervisor import failpoints
from supervisor.errors import InvalidArgument
from supervisor.oci.chain import chain_ids
from supervisor.oci.config import ConfigFile
from supervisor.oci.digest import Digest
from supervisor.oci.manifest import Descriptor, require_layers
from supervisor.store.content import Content
from supervisor.store.disk import disk_errors
from supervisor.store.files import discard
from supervisor.store.lease import Lease
from supervisor.store.work import work

Progress = Callable[[Descriptor, Mapping[str, Any]], None]
"""Told of a layer that is being unpacked: {"current": bytes of its blob}; {"done": True} last."""


class Layer(NamedTuple):
    """One layer of an image: its name in the store, what its tar must be, and its blob."""

    chain_id: Digest
    diff_id: Digest
    blob: Descriptor


def layers_of(config: ConfigFile, blobs: Sequence[Descriptor]) -> tuple[Layer, ...]:
    """The layers of a config with the blobs of its manifest, lowest first.

    InvalidArgument where their numbers differ, or a blob is no layer.
    """
    require_layers(blobs)
    if len(config.diff_ids) != len(blobs):
        raise InvalidArgument(
            f"invalid image: its config has {len(config.diff_ids)} layers, "
            f"its manifest {len(blobs)}"
        )
    chain = chain_ids(config.diff_ids)
    return tuple(map(Layer, chain, config.diff_ids, blobs))


class Layers:
    """Unpacks layers of one data root; `sizes` are the bytes in the files of known ones."""

    def __init__(self, content: Content) -> None:
        self.content = content
        self.sizes: dict[Digest, int] = {}
        self._turns: dict[Digest, list[trio.Lock]] = {}
        # Unpacking takes a core, then waits for the disk: a few more than there are cores.
        self._cores = trio.CapacityLimiter(2 * (os.cpu_count() or 1))

    async def ensure(
        self, lease: Lease, layers: Sequence[Layer], progress: Progress | None = None
    ) -> None:
        """Every layer unpacked and held by the lease; their blobs must be there.

        Raises InvalidArgument for a layer that is not what its diff id says or is no layer,
        Unavailable on a full disk; then nothing of it is visible.
        """
        try:
            async with trio.open_nursery() as nursery:
                for layer in layers:
                    nursery.start_soon(self.ensure_one, lease, layer, progress)
        except ExceptionGroup as group:
            raise first_error(group) from None

    async def ensure_one(
        self, lease: Lease, layer: Layer, progress: Progress | None = None
    ) -> None:
        """One layer unpacked and held by the lease; whoever is at it already is waited for."""
        with self._turn(layer.chain_id) as turn:
            async with turn:
                if not await self._known(lease, layer.chain_id):
                    async with self._cores:
                        await self._unpack(lease, layer, progress)
        if progress is not None:
            progress(layer.blob, {"done": True})

    @contextmanager
    def _turn(self, chain_id: Digest) -> Iterator[trio.Lock]:
        # A lock is forgotten with the last who waits for it. If its holder is cancelled or
        # fails, the next one finds no layer and does the work.
        waiting = self._turns.setdefault(chain_id, [])
        lock = waiting[0] if waiting else trio.Lock()
        waiting.append(lock)
        try:
            yield lock
        finally:
            waiting.pop()
            if not waiting:
                del self._turns[chain_id]

    async def _known(self, lease: Lease, chain_id: Digest) -> bool:
        if not await self.content.hold_layer(lease, chain_id):
            return False
        if chain_id not in self.sizes:  # of an image whose record was lost
            folder = str(self.content.root.layer(chain_id))
            self.sizes[chain_id] = (await work("usage", {"folder": folder}))["bytes"]
        return True

    async def unpack_first(self, lease: Lease, blob: Descriptor) -> Digest:
        """Unpack the first layer of a new image, whatever its diff id is, which is told."""
        async with self._cores, self._unpacked(lease, blob, "", None) as (folder, done):
            diff_id = Digest.parse(done["diff_id"])
            await self.adopt(lease, folder, diff_id, done["size"])
            return diff_id

    async def _unpack(self, lease: Lease, layer: Layer, progress: Progress | None) -> None:
        diff_id = str(layer.diff_id)
        async with self._unpacked(lease, layer.blob, diff_id, progress) as (folder, done):
            await self.adopt(lease, folder, layer.chain_id, done["size"])

    @asynccontextmanager
    async def _unpacked(
        self, lease: Lease, blob: Descriptor, diff_id: str, progress: Progress | None
    ) -> AsyncIterator[tuple[Path, dict[str, Any]]]:
        """A folder in tmp with what the blob holds, durable; gone with the block."""
        root = self.content.root
        if not await self.content.hold_blob(lease, blob.digest, blob.size):
            raise InvalidArgument(f"the blob {blob.digest} of a layer is not there")
        folder = root.tmp / secrets.token_hex(16)
        try:
            with disk_errors(), root.blob(blob.digest).open("rb") as packed:
                failpoints.hit("image.unpack")
                done = await work(
                    "unpack",
                    {"folder": str(folder), "diff_id": diff_id, "compression": "auto"},
                    fds={"input": packed.fileno()},
                    progress=progress and (lambda told: progress(blob, told)),
                )
            yield folder, done
        finally:
            await self._give_back(folder)

    async def adopt(self, lease: Lease, folder: Path, chain_id: Digest, size: int) -> None:
        """Take over a durable folder of tmp as a layer with `size` bytes in its files."""
        self.sizes[chain_id] = size
        await self.content.adopt_layer(lease, folder, chain_id)

    async def _give_back(self, folder: Path) -> None:
        if folder.exists():
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(discard, folder, self.content.root.trash)


def first_error(group: BaseException) -> BaseException:
    """The first error in a nursery's group that is not a group itself."""
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group
