"""Layers that come without a description: what is in the blob, and what must become of it."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import trio

from supervisor.errors import InvalidArgument
from supervisor.oci.digest import Digest
from supervisor.oci.manifest import Descriptor, layer_type
from supervisor.store.disk import disk_errors
from supervisor.store.images import ImageStore
from supervisor.store.lease import Lease
from supervisor.store.work import work


async def describe_layer(store: ImageStore, lease: Lease, digest: Digest) -> Descriptor:
    """The descriptor of a layer's blob, plain or compressed in whatever way.

    A compression that images do not have (bzip2, xz) is taken off: the descriptor is that of
    another blob then. InvalidArgument if the blob is not there.
    """
    if not await store.content.hold_blob(lease, digest):
        raise InvalidArgument(f"the blob {digest} of a layer is not there")
    path = store.root.blob(digest)
    with disk_errors():
        media_type = layer_type(await trio.to_thread.run_sync(_magic, path))
        if media_type is not None:
            return Descriptor(media_type=media_type, digest=digest, size=path.stat().st_size)
    return await _decompressed(store, lease, path)


async def _decompressed(store: ImageStore, lease: Lease, path: Path) -> Descriptor:
    temporary = store.root.tmp / secrets.token_hex(16)
    try:
        with disk_errors(), path.open("rb") as packed, temporary.open("xb") as output:
            fds = {"input": packed.fileno(), "output": output.fileno()}
            done = await work("decompress", {}, fds=fds)
        digest = Digest.parse(done["digest"])
        await store.content.adopt_blob(lease, temporary, digest)
    finally:
        temporary.unlink(missing_ok=True)
    media_type = layer_type(b"")
    assert media_type is not None
    return Descriptor(media_type=media_type, digest=digest, size=done["size"])


def _magic(path: Path) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(fd, 4, 0)
    finally:
        os.close(fd)
