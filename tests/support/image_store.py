"""An image store on a folder of its own, to be closed and opened again, and what is on its disk."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

from supervisor.oci.digest import Digest
from supervisor.oci.platform import Platform, of_machine
from supervisor.store import archive_load, archive_save
from supervisor.store.archive_load import Loaded
from supervisor.store.database import Database
from supervisor.store.images import Image, ImageStore
from supervisor.store.layout import DataRoot

HOST = of_machine(os.uname().machine)
PIECE = 100_000


class OpenStore:
    """`store` after `open`; `close` gives everything back."""

    def __init__(self, path: Path) -> None:
        self.root = DataRoot(path)
        self.root.prepare()
        self.store: ImageStore
        self.database: Database

    async def open(self) -> ImageStore:
        """Open and clean up, as the daemon does when it starts."""
        self.database, _ = await Database.open_or_quarantine(self.root.db)
        self.store = ImageStore(self.root, self.database)
        await self.store.load()
        await self.store.sweep(tuple)
        await self.database.settle()
        return self.store

    async def close(self) -> None:
        """Close the database and give the lock back."""
        await self.database.close()
        self.root.release()

    def disk(self) -> set[str]:
        """What is below the folders of images, relative to the root."""
        folders = ("blobs/sha256", "images", "layers", "tmp", "trash")
        return {f"{f}/{name}" for f in folders for name in os.listdir(self.root.path / f)}

    def expected(self) -> set[str]:
        """What there should be on the disk: the files of all images, and nothing else."""
        return {name for image in self.store.list() for name in files_of(image)}


def files_of(image: Image) -> set[str]:
    """All that the disk has of an image."""
    return {
        *(f"blobs/sha256/{Digest.parse(blob).encoded}" for blob in image.blobs),
        *(f"layers/{chain_id.encoded}" for chain_id in image.chain),
        f"images/{image.id.removeprefix('sha256:')}.json",
    }


async def pieces(data: bytes, size: int = PIECE) -> AsyncIterator[bytes]:
    """`data` as a client sends it."""
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def load(store: ImageStore, archive: bytes, wanted: Platform = HOST) -> list[Loaded]:
    """Load an archive; what was reported."""
    loaded: list[Loaded] = []
    await archive_load.load(store, pieces(archive), wanted, loaded.append)
    return loaded


async def save(store: ImageStore, *refs: str) -> bytes:
    """The archive of some images."""
    async with archive_save.saving(store, refs) as (_, parts):
        return b"".join([part async for part in parts])
