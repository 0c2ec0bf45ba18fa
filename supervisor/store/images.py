"""The images of one data root.

    scratch   build in tmp ─► layer and blobs renamed into place ─► copy of the record ─► row
    remove    row deleted ─► copy of the record ─► layers and blobs renamed to trash ─► deleted

The row in the database decides whether an image exists; so a crash between any two steps
leaves at most files without a row, which `sweep` gives back at the next start. The copies
are what the rows are rebuilt from if the database is lost.
"""

from __future__ import annotations

import builtins
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from supervisor.errors import InvalidArgument
from supervisor.oci import reference
from supervisor.oci.config import ImageConfig, format_time
from supervisor.oci.digest import Digest
from supervisor.store import blobs, image_records
from supervisor.store.database import Database, Delete, Put
from supervisor.store.disk import disk_errors
from supervisor.store.files import discard, empty_trash
from supervisor.store.image import Image, encode, from_config
from supervisor.store.image_index import ImageIndex
from supervisor.store.layout import DataRoot
from supervisor.store.removal import ImageUse, Removal, plan_removal

if TYPE_CHECKING:
    from supervisor.store.scratch import Built

__all__ = ["KIND", "Image", "ImageConfig", "ImageStore", "ImageUse"]

log = logging.getLogger("orlop.images")

KIND = "image"


class ImageStore:
    """All images in memory, their layers on disk. `load` first; one per data root.

    `get`, `list`, `find`, `lowers` and `hold` are plain calls: nothing changes between a
    look-up and a hold without an await in between.
    """

    def __init__(self, root: DataRoot, database: Database) -> None:
        self.root = root
        self.database = database
        self._images = ImageIndex()
        self._held: Counter[str] = Counter()
        self._changing = trio.Lock()
        self._complete = True

    # --- looking ------------------------------------------------------------------------

    def list(self) -> list[Image]:
        """All images, dangling ones too, newest first."""
        visible = [image for image in self._images if not image.removed]
        return sorted(visible, key=lambda image: (-image.created_at, image.id))

    def get(self, ref: str) -> Image:
        """By name[:tag], id, or id prefix; NotFound or InvalidArgument in docker's words."""
        return self._images.resolve(ref)[0]

    def find(self, id: str) -> Image | None:
        """By full id, also one that was removed while containers still stand on its layers."""
        return self._images.by_id(id)

    def lowers(self, image: Image) -> tuple[Path, ...]:
        """The unpacked folders, top-most first."""
        return tuple(self.root.layer(chain_id) for chain_id in reversed(image.chain))

    @contextmanager
    def hold(self, image: Image) -> Iterator[None]:
        """Keep an image from being deleted while a container is made of it."""
        self._held[image.id] += 1
        try:
            yield
        finally:
            self._held[image.id] -= 1
            if not self._held[image.id]:
                del self._held[image.id]

    # --- starting up --------------------------------------------------------------------

    async def load(self) -> None:
        """Read the records; rebuild them from their copies if the database is `fresh`.

        The daemon calls `database.settle` once everything is rebuilt.
        """
        rows = await self.database.all(KIND)
        damaged = [key for kind, key in self.database.damaged if kind == KIND]
        loaded = await trio.to_thread.run_sync(
            image_records.load, self.root, rows, damaged, self.database.fresh
        )
        self._complete = not loaded.lost
        await self.database.apply(Put(KIND, image.id, encode(image)) for image in loaded.rebuilt)
        for image in loaded.images:
            self._images.keep(image)

    async def sweep(self, in_use: Callable[[], Iterable[ImageUse]]) -> None:
        """Give back what a crash left behind; once, after containers are loaded.

        Deletes images kept for containers that are gone, layers and blobs of no image and
        no container, and everything in tmp and trash.
        """
        await self.release(in_use)
        async with self._changing:
            layers = {Path(lower) for use in in_use() for lower in use.lowers}
            layers.update(p for image in self._images for p in self.lowers(image))
            known = {Digest.parse(b) for image in self._images for b in image.blobs}
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

    async def empty_trash(self) -> None:
        """Delete what is in the trash; what cannot be deleted is logged and stays."""
        for error in await trio.to_thread.run_sync(empty_trash, self.root.trash):
            log.warning("trash: %s", error)

    # --- making -------------------------------------------------------------------------

    async def scratch(self, ref: str, binaries: Sequence[str]) -> Image:
        """Make an image of host programs ([] = busybox) and give it the name `ref`.

        A name that another image had moves here. Raises InvalidArgument, NotFound,
        Unavailable (disk full).
        """
        # Here, not above: ELF reading costs the daemon 3 MiB, and few daemons ever need it.
        from supervisor.store import scratch  # noqa: PLC0415

        name = reference.parse(ref).with_default_tag()
        if name.digest is not None:
            raise InvalidArgument("refusing to create a tag with a digest reference")
        with disk_errors():
            built = await trio.to_thread.run_sync(scratch.build, self.root, tuple(binaries))
        image = await self._add(built, name.familiar)
        await self.empty_trash()
        return image

    async def _add(self, built: Built, tag: str) -> Image:
        new = _image_of(built)
        # Nothing here takes long, and what is in tmp must not be left there.
        with trio.CancelScope(shield=True):
            async with self._changing:
                try:
                    with disk_errors():
                        await trio.to_thread.run_sync(self._store, built)
                    known = self._images.by_id(new.id) or new
                    await self._tag(replace(known, removed=False), tag)
                except BaseException:
                    if new.id not in self._images:
                        await self._discard(new)
                        await self.empty_trash()
                    raise
        image = self._images.by_id(new.id)
        assert image is not None  # the lock was given back without a checkpoint
        return image

    def _store(self, built: Built) -> None:
        try:
            blobs.adopt_layer(self.root, built.folder, built.diff_id)
            blobs.adopt_blob(self.root, built.layer_tar, built.diff_id)
            blobs.put_blob(self.root, built.config_json)
            blobs.put_blob(self.root, built.manifest_json)
        finally:
            discard(built.folder, self.root.trash)
            built.layer_tar.unlink(missing_ok=True)

    async def _tag(self, image: Image, tag: str) -> None:
        """Give `image`, new or known, a tag; in one transaction with taking it from another."""
        now = format_time(int(time.time()))
        tags = tuple(sorted({*image.tags, tag}))
        changed = [replace(image, tags=tags, last_tagged=now)]
        before = self._images.by_tag(tag)
        if before is not None and before.id != image.id:
            changed.append(_without(before, [tag]))
        await self._save(changed)

    async def _save(self, images: Sequence[Image]) -> None:
        with disk_errors():
            await trio.to_thread.run_sync(image_records.write_copies, self.root, images)
        await self.database.apply(Put(KIND, image.id, encode(image)) for image in images)
        for image in images:
            self._images.keep(image)

    # --- removing -----------------------------------------------------------------------

    async def remove(
        self,
        ref: str,
        *,
        in_use: Callable[[], Iterable[ImageUse]] = tuple,
        force: bool = False,
    ) -> builtins.list[dict[str, str]]:
        """Untag or delete, as docker does; [{"Untagged": tag} | {"Deleted": id}, …].

        `in_use` gives all containers with their images, at the moment of the decision.
        Raises NotFound, Conflict.
        """
        async with self._changing:
            image, tag = self._images.resolve(ref)
            uses = [use for use in in_use() if use.image_id == image.id]
            held = image.id in self._held
            plan = plan_removal(image, tag, ref, uses, held=held, force=force)
            with trio.CancelScope(shield=True):
                records = await self._carry_out(image, plan)
        if plan.delete:
            await self.empty_trash()
        return records

    async def _carry_out(self, image: Image, plan: Removal) -> builtins.list[dict[str, str]]:
        records = [{"Untagged": tag} for tag in plan.untag]
        if not plan.delete:
            await self._save([_without(image, plan.untag)])
            return records
        records.append({"Deleted": image.id})
        if plan.keep_layers:
            await self._save([replace(image, tags=(), removed=True)])
            return records
        layers = await self._delete(image)
        return records + [{"Deleted": str(chain_id)} for chain_id in layers]

    async def release(self, in_use: Callable[[], Iterable[ImageUse]]) -> None:
        """Delete images that were removed by force and have lost their last container since.

        For the engine to call when a container was removed; costs nothing if there is none.
        """
        if not any(image.removed for image in self._images):
            return
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
            await self.database.apply([Delete(KIND, image.id)])
        except BaseException:
            self._images.keep(image)
            raise
        return await self._discard(image)

    async def _discard(self, image: Image) -> builtins.list[Digest]:
        """Put away the files of an image that is in no record; the chain ids that went."""
        others = list(self._images)
        shared = {chain_id for other in others for chain_id in other.chain}
        layers = [chain_id for chain_id in reversed(image.chain) if chain_id not in shared]
        kept = {digest for other in others for digest in other.blobs}
        gone = [Digest.parse(digest) for digest in image.blobs if digest not in kept]
        with disk_errors():
            await trio.to_thread.run_sync(image_records.drop_copy, self.root, image.id)
            await trio.to_thread.run_sync(blobs.discard_all, self.root, layers, gone)
        return layers


def _image_of(built: Built) -> Image:
    config, manifest = Digest.of(built.config_json), Digest.of(built.manifest_json)
    return from_config(
        built.config_json,
        size=built.size,
        manifest=str(manifest),
        blobs=[str(manifest), str(config), str(built.diff_id)],
    )


def _without(image: Image, tags: Iterable[str]) -> Image:
    return replace(image, tags=tuple(tag for tag in image.tags if tag not in set(tags)))
