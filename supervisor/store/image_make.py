"""Images made here: of a tar, of a folder of the host, of what a container has written."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import AsyncIterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import trio

from supervisor.docker.times import rfc3339_nano
from supervisor.errors import Conflict, InvalidArgument
from supervisor.oci import manifest as oci_manifest
from supervisor.oci.chain import chain_ids
from supervisor.oci.config import ImageConfig
from supervisor.oci.derive import Step, derive
from supervisor.oci.digest import Digest
from supervisor.oci.manifest import OCI_LAYER_TAR, Descriptor
from supervisor.oci.platform import Platform, of_machine
from supervisor.store.disk import disk_errors
from supervisor.store.image import Image
from supervisor.store.images import ImageStore, check_tag
from supervisor.store.layer_blobs import describe_layer
from supervisor.store.layers import Layer
from supervisor.store.lease import Lease
from supervisor.store.work import work

EMPTY_TAR = Digest.of(bytes(1024))
"""The diff id of a layer with nothing in it: docker's images leave that layer out."""


class Making(msgspec.Struct, frozen=True, kw_only=True):
    """What a new image is to say of itself; `tag` None leaves it without a name.

    InvalidArgument for a tag that is none: before the work, not after it.
    """

    config: ImageConfig
    tag: str | None = None
    author: str = ""
    comment: str = ""
    created_by: str = ""
    platform: Platform | None = None

    def __post_init__(self) -> None:
        if self.tag is not None:
            check_tag(self.tag)

    def step(self, diff_id: Digest | None) -> Step:
        """The step that adds a layer, now."""
        return Step(
            diff_id=diff_id,
            created=rfc3339_nano(time.time_ns()),
            created_by=self.created_by,
            author=self.author,
            comment=self.comment,
        )


async def from_tar(store: ImageStore, pieces: AsyncIterable[bytes], making: Making) -> Image:
    """An image whose only layer is this tar, compressed in whatever way or not.

    Raises InvalidArgument for what is no tar, Unavailable on a full disk.
    """
    async with store.lease() as lease:
        async with store.ingest_unnamed(lease) as writer:
            async for piece in pieces:
                await writer.write(piece)
            if not writer.offset:
                raise InvalidArgument("the tar of the root filesystem is empty")
            digest = await writer.commit()
        blob = await describe_layer(store, lease, digest)
        return await _of_one_layer(store, lease, blob, making)


async def from_folder(store: ImageStore, folder: str, making: Making) -> Image:
    """An image whose only layer is a copy of a folder of this host.

    Raises InvalidArgument for what is no folder or cannot be put into a layer.
    """
    if not Path(folder).is_dir():
        raise InvalidArgument(f"{folder}: it is no folder of this host")
    if store.root.path.resolve().is_relative_to(Path(folder).resolve()):
        raise InvalidArgument(f"{folder}: the images themselves are kept below it")
    async with store.lease() as lease:
        blob, _ = await _packed(store, lease, "pack_tree", {"folder": folder})
        return await _of_one_layer(store, lease, blob, making)


async def _of_one_layer(store: ImageStore, lease: Lease, blob: Descriptor, making: Making) -> Image:
    diff_id = await store.layers.unpack_first(lease, blob)
    platform = making.platform or of_machine(os.uname().machine)
    config = derive(None, making.config, making.step(diff_id), platform)
    manifest = oci_manifest.encode(oci_manifest.of_layers(config, [blob]))
    return await store.add(lease, manifest, config, tag=making.tag)


class Upper(msgspec.Struct, frozen=True, kw_only=True):
    """What a container has written: its folder, the layers below it (top-most first), and
    the paths where it has nothing that is its own (mount points).
    """

    folder: str
    lowers: Sequence[str]
    without: Sequence[str] = ()


async def from_upper(
    store: ImageStore, parent: Image, upper: Upper | None, making: Making
) -> Image:
    """An image on top of `parent` with what a container has written over it (None: nothing).

    The caller sees to it that nobody writes to it meanwhile. Raises Unavailable on a full
    disk, Conflict for what no layer can have.
    """
    if len(parent.layers) >= oci_manifest.MAX_LAYERS:
        raise Conflict(f"the image has {len(parent.layers)} layers: no more can be stacked")
    async with store.lease() as lease:
        await store.keep(lease, parent)
        blobs = list(await _layer_blobs(store, parent))
        diff_id = None if upper is None else await _stack(store, lease, parent, upper, blobs)
        platform = of_machine(os.uname().machine)
        config = derive(parent.config_json, making.config, making.step(diff_id), platform)
        manifest = oci_manifest.encode(oci_manifest.of_layers(config, blobs))
        return await store.add(lease, manifest, config, tag=making.tag, parent=parent.id)


async def _stack(
    store: ImageStore, lease: Lease, parent: Image, upper: Upper, blobs: list[Descriptor]
) -> Digest | None:
    """Put what a container has written on top of `blobs`; its diff id, None for nothing."""
    where = {
        "folder": upper.folder,
        "lowers": list(upper.lowers),
        "without": list(upper.without),
    }
    blob, diff_id = await _packed(store, lease, "pack", where)
    if diff_id == EMPTY_TAR:
        return None
    blobs.append(blob)
    *_, chain_id = chain_ids([*map(Digest.parse, parent.layers), diff_id])
    await store.ensure_layer(lease, Layer(chain_id, diff_id, blob))
    return diff_id


async def _layer_blobs(store: ImageStore, image: Image) -> Sequence[Descriptor]:
    with disk_errors():
        path = store.root.blob(Digest.parse(image.manifest))
        return oci_manifest.parse(await trio.to_thread.run_sync(path.read_bytes)).layers


async def _packed(
    store: ImageStore, lease: Lease, operation: str, arguments: Mapping[str, Any]
) -> tuple[Descriptor, Digest]:
    """What a packing operation writes, as a blob under the lease; its descriptor and diff id."""
    temporary = store.root.tmp / secrets.token_hex(16)
    try:
        with disk_errors(), temporary.open("xb") as output:
            done = await work(operation, arguments, fds={"output": output.fileno()})
            await trio.to_thread.run_sync(os.fsync, output.fileno())
        diff_id = Digest.parse(done["diff_id"])
        await store.content.adopt_blob(lease, temporary, diff_id)
    finally:
        temporary.unlink(missing_ok=True)
    return (
        Descriptor(media_type=OCI_LAYER_TAR, digest=diff_id, size=done["tar_size"]),
        diff_id,
    )
