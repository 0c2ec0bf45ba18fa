"""The images of one data root.

    lease ─► blobs and layers made in tmp, renamed into place ─► copy of the record ─► row
    remove   row deleted ─► copy of the record ─► layers and blobs renamed to trash ─► deleted

The row in the database decides whether an image exists; so a crash between any two steps
leaves at most files without a row, which `sweep` gives back at the next start. The copies
are what the rows are rebuilt from if the database is lost.

What a registry client, an archive or a commit brings comes in like this:

    async with store.lease() as lease:
        async with store.ingest_once(lease, digest, size) as writer:      # each blob
            if writer is not None:                                        # not there yet
                await writer.write(…); await writer.commit()
        await store.ensure_layers(lease, config, layers)
        image = await store.add(lease, manifest_json, config_json, tag="name:tag")
"""

from __future__ import annotations

import builtins
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import trio
from msgspec.structs import replace

from supervisor import failpoints
from supervisor.errors import InvalidArgument
from supervisor.oci import config as oci_config
from supervisor.oci import manifest as oci_manifest
from supervisor.oci.config import ConfigFile, ImageConfig
from supervisor.oci.digest import Digest
from supervisor.oci.manifest import Descriptor
from supervisor.store import blobs, image_records
from supervisor.store.content import Content, Needed
from supervisor.store.database import Database, Delete
from supervisor.store.disk import disk_errors
from supervisor.store.files import discard, empty_trash
from supervisor.store.image import Image, from_config
from supervisor.store.image_book import KIND, ImageBook, check_tag, without
from supervisor.store.ingest import Writer
from supervisor.store.layers import Layer, Layers, Progress, layers_of
from supervisor.store.layout import DataRoot
from supervisor.store.lease import Lease
from supervisor.store.removal import ImageUse, Removal, Uses, plan_removal

__all__ = [
    "KIND",
    "Image",
    "ImageConfig",
    "ImageStore",
    "ImageUse",
    "Lease",
    "Writer",
    "check_tag",
]

log = logging.getLogger("orlop.images")


class ImageStore(ImageBook):
    """All images in memory, their layers on disk. `load` first; one per data root."""

    def __init__(self, root: DataRoot, database: Database) -> None:
        super().__init__(root, database)
        self._in_use: Uses = tuple
        self.content = Content(root, self._changing, self._needed)
        self.layers = Layers(self.content)

    # --- starting up --------------------------------------------------------------------

    async def load(self) -> None:
        """Read the records; rebuild them from their copies if the database is `fresh`.

        The daemon calls `database.settle` once everything is rebuilt.
        """
        await super().load()
        for image in self._images:
            self.layers.sizes.update(zip(image.chain, image.layer_sizes, strict=False))

    async def sweep(self, in_use: Uses) -> None:
        """Give back what a crash left behind; once, after containers are loaded.

        Deletes images kept for containers that are gone, layers and blobs of no image and
        no container, and everything in tmp and trash. `in_use` is remembered: no layer that
        a container stands on is ever deleted.
        """
        self._in_use = in_use
        await self.release(in_use)
        async with self._changing:
            needed, leased = self._needed(), self.content.leased()
            layers = {*needed.layers, *leased.layers}
            known = {*needed.blobs, *leased.blobs}
            with disk_errors():
                await trio.to_thread.run_sync(self._discard_orphans, layers, known)
        await self.empty_trash()

    def _discard_orphans(self, layers: set[Path], known: set[Digest]) -> None:
        if not self._complete:
            # Some layers belong to images whose records cannot be read.
            log.warning("layers and blobs without a record are kept: some records are damaged")
            return
        image_records.drop_strangers(self.root, self._images)
        for path in blobs.orphans(self.root, layers, known):
            log.info("%s belongs to nothing: deleted", path)
            discard(path, self.root.trash)

    def _needed(self) -> Needed:
        """What images and containers stand on."""
        layers = {Path(lower) for use in self._in_use() for lower in use.lowers}
        layers.update(path for image in self._images for path in self.lowers(image))
        return Needed({Digest.parse(b) for image in self._images for b in image.blobs}, layers)

    async def empty_trash(self) -> None:
        """Delete what is in the trash; what cannot be deleted is logged and stays."""
        for error in await trio.to_thread.run_sync(empty_trash, self.root.trash):
            log.warning("trash: %s", error)

    # --- bringing in --------------------------------------------------------------------

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[Lease]:
        """For the length of one pull, load, commit, save: what is ingested, unpacked or kept
        under the lease stays. At its end everything goes that no image has taken over.
        """
        try:
            async with self.content.lease() as lease:
                yield lease
        finally:
            with trio.CancelScope(shield=True):
                await self.empty_trash()

    async def keep(self, lease: Lease, image: Image) -> None:
        """Let an image's blobs stay until the lease ends, whatever becomes of the image.

        InvalidArgument if one is not there.
        """
        for digest in map(Digest.parse, image.blobs):
            if not await self.content.hold_blob(lease, digest):
                raise InvalidArgument(f"the blob {digest} of image {image.id} is not there")

    def has_blob(self, digest: Digest) -> bool:
        """Whether a blob is there now. Only `ingest_once` makes sure that it stays."""
        return self.content.has_blob(digest)

    def ingest(self, lease: Lease, digest: Digest, size: int) -> Writer:
        """A writer for a blob of `size` bytes, going on where an earlier one stopped.

        Conflict if another one is writing the same blob now; `ingest_once` is made for that.
        """
        return self.content.ingest(lease, digest, size)

    def ingest_once(
        self, lease: Lease, digest: Digest, size: int
    ) -> AbstractAsyncContextManager[Writer | None]:
        """A writer for a blob, or None when it is there; either way it stays with the lease.

        Many may ask for one blob at a time: the first gets the writer, the others wait and
        find the blob there. If the first gives up (leaves without a commit), the next one
        gets a writer that goes on where it stopped: `writer.offset`. InvalidArgument if the
        blob is there with another size.
        """
        return self.content.ingest_once(lease, digest, size)

    def ingest_unnamed(self, lease: Lease) -> AbstractAsyncContextManager[Writer]:
        """A writer for a blob whose digest is known at its end only: `commit` tells it."""
        return self.content.ingest_unnamed(lease)

    async def ensure_layers(
        self,
        lease: Lease,
        config: ConfigFile,
        layers: Sequence[Descriptor],
        progress: Progress | None = None,
    ) -> None:
        """Unpack what is not unpacked yet of an image's `layers`, lowest first; all of it
        stays with the lease. The blobs must be there.

        Every chain id is unpacked once, also when many ask at the same time.
        `progress(layer, told)` gets {"current": bytes of the blob} at times, {"done": True} when
        that layer is there. Raises InvalidArgument (not the diff id, not a layer),
        Unavailable (disk full).
        """
        await self.layers.ensure(lease, layers_of(config, layers), progress)

    async def ensure_layer(
        self, lease: Lease, layer: Layer, progress: Progress | None = None
    ) -> None:
        """One of `layers_of(config, layers)`, as soon as its blob is there."""
        await self.layers.ensure_one(lease, layer, progress)

    async def add(
        self,
        lease: Lease,
        manifest: bytes,
        config: bytes,
        *,
        tag: str | None = None,
        repo_digest: str | None = None,
        parent: str = "",
    ) -> Image:
        """Make an image of what is there: blobs and layers first, this last.

        `tag` is name[:tag] and moves here if another image has it; `repo_digest` is
        name@digest; `parent` the id of the image that it was committed from. Of an image that
        is known already, the manifest stays the one it has, unless a registry vouches for the
        new one. Raises InvalidArgument, Unavailable.
        """
        new = replace(await self._described(lease, manifest, config), parent=parent)
        # Nothing here takes long, and the caller must know how it ended.
        with trio.CancelScope(shield=True):
            async with self._changing:
                known = self._images.by_id(new.id)
                if known is not None:
                    # What the image has no use for any more goes with the lease.
                    lease.blobs.update(map(Digest.parse, known.blobs))
                image = _merged(known, new, vouched=repo_digest is not None)
                image = await self._give_names(image, tag, repo_digest)
        return image

    async def _described(self, lease: Lease, manifest: bytes, config: bytes) -> Image:
        described, file = oci_manifest.parse(manifest), oci_config.parse(config)
        oci_manifest.require_image(described)
        if described.config.digest != Digest.of(config):
            raise InvalidArgument(
                f"the manifest is of another config: {described.config.digest}, "
                f"not {Digest.of(config)}"
            )
        layers = layers_of(file, described.layers)
        for layer in layers:
            if not (
                await self.content.hold_blob(lease, layer.blob.digest, layer.blob.size)
                and await self.content.hold_layer(lease, layer.chain_id)
            ):
                raise InvalidArgument(f"layer {layer.blob.digest} is not there")
        digests = [
            await self.content.put_blob(lease, manifest),
            await self.content.put_blob(lease, config),
            *(layer.blob.digest for layer in layers),
        ]
        return from_config(
            config,
            layer_sizes=[self.layers.sizes[layer.chain_id] for layer in layers],
            manifest=str(digests[0]),
            blobs=dict.fromkeys(map(str, digests)),
        )

    async def scratch(self, ref: str, binaries: Sequence[str]) -> Image:
        """Make an image of host programs ([] = busybox) and give it the name `ref`.

        A name that another image had moves here. Raises InvalidArgument, NotFound,
        Unavailable (disk full).
        """
        # Here, not above: ELF reading costs the daemon 3 MiB, and few daemons ever need it.
        from supervisor.store import scratch  # noqa: PLC0415

        check_tag(ref)
        with disk_errors():
            built = await trio.to_thread.run_sync(scratch.build, self.root, tuple(binaries))
        async with self.lease() as lease:
            try:
                await self.layers.adopt(lease, built.folder, built.diff_id, built.size)
                await self.content.adopt_blob(lease, built.layer_tar, built.diff_id)
                return await self.add(lease, built.manifest_json, built.config_json, tag=ref)
            finally:
                discard(built.folder, self.root.trash)
                built.layer_tar.unlink(missing_ok=True)

    # --- removing -----------------------------------------------------------------------

    async def remove(
        self, ref: str, *, in_use: Uses | None = None, force: bool = False
    ) -> builtins.list[dict[str, str]]:
        """Untag or delete, as docker does; [{"Untagged": tag} | {"Deleted": id}, …].

        `in_use` gives all containers with their images, at the moment of the decision.
        Raises NotFound, Conflict.
        """
        async with self._changing:
            image, name = self._images.resolve(ref)
            uses = self._uses_of(image, in_use or self._in_use)
            held = image.id in self._held
            plan = plan_removal(image, name, ref, uses, held=held, force=force)
            with trio.CancelScope(shield=True):
                records = await self._carry_out(image, plan)
        if plan.delete:
            await self.empty_trash()
        return records

    async def prune(
        self, wanted: Callable[[Image], bool], *, in_use: Uses | None = None
    ) -> tuple[builtins.list[dict[str, str]], int]:
        """Delete the `wanted` images that nothing uses, by all their names.

        What was done, as `remove` tells it, and the bytes in the layers that went.
        """
        records: builtins.list[dict[str, str]] = []
        sizes: dict[str, int] = {}
        for candidate in self.list():
            async with self._changing:
                image = self._images.by_id(candidate.id)
                if image is None or image.removed or not wanted(image):
                    continue
                if image.id in self._held or self._uses_of(image, in_use or self._in_use):
                    continue
                sizes.update(zip(map(str, image.chain), image.layer_sizes, strict=True))
                plan = Removal(untag=(*image.tags, *image.repo_digests), delete=True)
                with trio.CancelScope(shield=True):
                    records += await self._carry_out(image, plan)
        if records:
            await self.empty_trash()
        return records, sum(sizes.get(record.get("Deleted", ""), 0) for record in records)

    def _uses_of(self, image: Image, in_use: Uses) -> builtins.list[ImageUse]:
        return [use for use in in_use() if use.image_id == image.id]

    async def _carry_out(self, image: Image, plan: Removal) -> builtins.list[dict[str, str]]:
        records = [{"Untagged": name} for name in plan.untag]
        if not plan.delete:
            await self._save([without(image, plan.untag)])
            return records
        records.append({"Deleted": image.id})
        if plan.keep_layers:
            await self._save([replace(image, tags=(), repo_digests=(), removed=True)])
            return records
        layers = await self._delete(image)
        return records + [{"Deleted": str(chain_id)} for chain_id in layers]

    @property
    def has_removed(self) -> bool:
        """Whether there are images that were removed by force and are still in use."""
        return any(image.removed for image in self._images)

    async def release(self, in_use: Uses) -> None:
        """Delete images that were removed by force and have lost their last container since.

        For the engine to call when a container was removed, if it `has_removed` images.
        """
        async with self._changing:
            used = {use.image_id for use in in_use()}
            over = [
                image
                for image in self._images
                if image.removed and image.id not in used and image.id not in self._held
            ]
            with trio.CancelScope(shield=True):
                for image in over:
                    await self._delete(image)
        if over:
            await self.empty_trash()

    async def _delete(self, image: Image) -> builtins.list[Digest]:
        """Delete an image and what only it has; the chain ids that went, top-most first."""
        # Out of sight before the first await: no container can be made of it any more.
        self._images.drop(image.id)
        try:
            with disk_errors():
                failpoints.hit("image.remove")
            await self.database.apply([Delete(KIND, image.id)])
        except BaseException:
            self._images.keep(image)
            raise
        with disk_errors():
            await trio.to_thread.run_sync(image_records.drop_copy, self.root, image.id)
        digests = [Digest.parse(digest) for digest in image.blobs]
        gone = await self.content.collect(digests, list(reversed(image.chain)))
        for chain_id in gone:
            self.layers.sizes.pop(chain_id, None)
        return gone


def _merged(known: Image | None, new: Image, *, vouched: bool) -> Image:
    """The image under both its known and its new description, which have one config."""
    if known is None:
        return new
    if not vouched or known.manifest == new.manifest:
        return replace(known, removed=False)
    # Other manifests that registries know it by stay, with their blobs.
    kept = known.blobs if known.repo_digests else ()
    merged = tuple(dict.fromkeys((*new.blobs, *kept)))
    return replace(known, removed=False, manifest=new.manifest, blobs=merged)
