"""What is done with images besides running them: load, save, import, commit, tag, prune.

The image store does it; here it meets containers (which are committed, and stand in the way
of a removal) and the event stream.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio
from msgspec.structs import replace

from supervisor.docker import progress as told
from supervisor.docker.commit import CommitOptions, config_of
from supervisor.docker.image_changes import apply_changes
from supervisor.docker.image_filters import ImageFilter
from supervisor.engine.tree_use import Use
from supervisor.errors import Conflict, InvalidArgument, NotFound, OrlopError
from supervisor.lifecycle.machine import Phase
from supervisor.oci.config import ImageConfig, parse_history
from supervisor.oci.manifest import Descriptor
from supervisor.oci.platform import Platform, of_machine
from supervisor.store import image_make
from supervisor.store.image_make import Making, Upper
from supervisor.store.images import Image, ImageStore

if TYPE_CHECKING:
    from supervisor.engine.container import Container
    from supervisor.engine.engine import Engine
    from supervisor.store.archive_load import Loaded

log = logging.getLogger("orlop.images")

KIND = "image"
Tell = Callable[[dict[str, Any]], None]


class ImageService:
    """The engine's part for the image endpoints. Raises OrlopError."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def _store(self) -> ImageStore:
        return self._engine.images

    # --- archives -----------------------------------------------------------------------

    async def load(
        self, pieces: AsyncIterable[bytes], *, platform: Platform | None, quiet: bool, tell: Tell
    ) -> None:
        """Load an archive's images; `tell` takes docker's messages as they come about."""
        from supervisor.store import archive_load  # noqa: PLC0415 - a daemon is ready without it

        def report(loaded: Loaded) -> None:
            if loaded.replaced is not None:
                old = f"{loaded.tag} already exists, renaming the old one with ID {loaded.replaced}"
                tell({"stream": f"The image {old} to empty string\n"})
            if loaded.tag is not None:
                tell({"stream": f"Loaded image: {loaded.tag}\n"})
            else:
                tell({"stream": f"Loaded image ID: {loaded.image.id}\n"})
            self._emit("load", loaded.image)

        def progress(layer: Descriptor, step: Any) -> None:
            done = layer.size if step.get("done") else min(step.get("current", 0), layer.size)
            tell(told.part("Loading layer", told.short(str(layer.digest)), done, layer.size))

        await archive_load.load(
            self._store, pieces, platform or _host(), report, None if quiet else progress
        )

    @asynccontextmanager
    async def save(self, refs: Sequence[str]) -> AsyncIterator[AsyncIterable[bytes]]:
        """An archive of images in pieces; NotFound before the first of them."""
        from supervisor.store import archive_save  # noqa: PLC0415 - as above

        async with archive_save.saving(self._store, refs) as (images, pieces):
            for image in images:
                self._emit("save", image)
            yield pieces

    # --- making -------------------------------------------------------------------------

    async def import_tar(
        self,
        pieces: AsyncIterable[bytes],
        *,
        tag: str | None,
        comment: str = "",
        changes: Sequence[str] = (),
        platform: Platform | None = None,
    ) -> Image:
        """An image of one layer from a tar of a root filesystem."""
        making = Making(
            config=apply_changes(ImageConfig(), changes),
            tag=tag,
            comment=comment,
            platform=platform,
        )
        image = await image_make.from_tar(self._store, pieces, making)
        self._emit("import", image)
        return image

    async def from_folder(self, folder: str, *, tag: str) -> Image:
        """An image of one layer from a folder of this host."""
        making = Making(config=ImageConfig(), tag=tag, created_by=f"orlop image from {folder}")
        image = await image_make.from_folder(self._store, folder, making)
        self._emit("import", image)
        return image

    async def commit(self, ref: str, options: CommitOptions) -> Image:
        """An image of what a container has written, over its image.

        Nothing in the container runs meanwhile, unless `options.pause` is off.
        """
        container = self._engine.find(ref)
        parent = self._store.find(container.record.image_id)
        if parent is None:
            raise Conflict(
                f"container {container.record.name} runs on a folder of this host, not on an "
                "image: export it, and import that"
            )
        config = config_of(container.record.body, options)
        # What the container was not asked about is the image's.
        config = replace(
            config,
            healthcheck=config.healthcheck or parent.config.healthcheck,
            shell=config.shell or parent.config.shell,
            on_build=config.on_build or parent.config.on_build,
        )
        making = Making(
            config=apply_changes(config, options.changes),
            tag=options.tag,
            author=options.author,
            comment=options.comment,
            created_by=" ".join(container.record.body.cmd or ()),
        )
        record = container.record
        upper = Upper(
            folder=os.fspath(self._engine.host.bundle(container) / "upper"),
            lowers=record.lowers,
            without=record.stubs,
        )
        with self._store.hold(parent):
            async with self._still(container, pause=options.pause):
                # A mount point's folder in the upper alone is nothing that it has written.
                written = await self._engine.archives.changes(container.id)
                image = await image_make.from_upper(
                    self._store, parent, upper if written else None, making
                )
        attributes = {
            "comment": options.comment,
            "imageID": image.id,
            "imageRef": options.tag or "",
        }
        self._engine.host.emit(container.record, "commit", attributes)
        return image

    @asynccontextmanager
    async def _still(self, container: Container, *, pause: bool) -> AsyncIterator[None]:
        """Nobody writes to the container's upper in this block; with `pause` off, somebody may."""
        if container.state.phase in (Phase.REMOVING, Phase.DEAD):
            raise Conflict(f"You cannot commit container {container.id} which is being removed")
        if not container.state.live:
            # One that is started now waits; the block is cut off if that takes too long.
            async with container.tree.copy(lambda: None if container.state.live else Use.READER):
                yield
            return
        paused = pause and await self._pause(container)
        try:
            yield
        finally:
            if paused:
                with trio.CancelScope(shield=True):
                    await self._unpause(container)

    async def _pause(self, container: Container) -> bool:
        """Whether it runs and was paused by this; one that is paused already stays so."""
        if container.state.phase is not Phase.RUNNING:
            return False
        await self._engine.pause(container.id)
        return True

    async def _unpause(self, container: Container) -> None:
        try:
            await self._engine.unpause(container.id)
        except OrlopError as error:  # it ended, or somebody was faster
            log.info("container %s after its commit: %s", container.record.name, error)

    # --- names --------------------------------------------------------------------------

    async def tag(self, ref: str, tag: str) -> None:
        """Give an image another name."""
        image = await self._store.tag(ref, tag)
        self._emit("tag", image, name=tag)

    async def remove(self, ref: str, *, force: bool) -> list[dict[str, str]]:
        """Untag, and delete what has no name any more; docker's rows of what was done."""
        image = self._store.get(ref)
        records = await self._store.remove(ref, in_use=self._engine.uses, force=force)
        self._emit_removal(image, records)
        return records

    async def prune(self, wanted: ImageFilter) -> tuple[list[dict[str, str]], int]:
        """Delete what is wanted of the images that no container is made of; rows and bytes."""
        everything = wanted.dangling is None
        known = {image.id: image for image in self._store.list()}

        def chosen(image: Image) -> bool:
            # As docker: what a tagged image was committed from is no waste, only unnamed.
            return wanted.shown(image) is not None and (
                everything or not self._store.children(image.id)
            )

        records, reclaimed = await self._store.prune(chosen, in_use=self._engine.uses)
        for record in records:
            if record.get("Deleted") in known:
                self._emit("delete", known[record["Deleted"]])
        self._engine.host.bus.publish(KIND, "prune", "", {"reclaimed": str(reclaimed)})
        return records, reclaimed

    # --- looking ------------------------------------------------------------------------

    def history(self, ref: str) -> tuple[Image, list[Any], list[Image]]:
        """An image, its history (oldest first), and its line: itself, its parent and so on."""
        image = self._store.get(ref)
        line = [image]
        while (parent := self._store.find(line[-1].parent)) is not None:
            if parent.removed or parent in line:
                break
            line.append(parent)
        return image, list(parse_history(image.config_json)), line

    def layer_folders(self, ref: str) -> list[str]:
        """The folders of an image's layers, top-most first."""
        return [os.fspath(path) for path in self._store.lowers(self._store.get(ref))]

    def created_of(self, ref: str) -> str:
        """When an image was made; for filters."""
        try:
            return self._store.get(ref).created
        except NotFound as error:
            raise InvalidArgument(error.message) from None

    def containers_of(self) -> dict[str, int]:
        """How many containers there are of each image."""
        numbers: dict[str, int] = {}
        for use in self._engine.uses():
            numbers[use.image_id] = numbers.get(use.image_id, 0) + 1
        return numbers

    def shared_sizes(self) -> dict[str, int]:
        """By image: bytes in layers that another image has, too."""
        users: dict[str, int] = {}
        for image in self._store.list():
            for chain_id in map(str, image.chain):
                users[chain_id] = users.get(chain_id, 0) + 1
        return {
            image.id: sum(
                size
                for chain_id, size in zip(image.chain, image.layer_sizes, strict=False)
                if users[str(chain_id)] > 1
            )
            for image in self._store.list()
        }

    def layers_size(self) -> int:
        """Bytes in all layers, each counted once."""
        sizes = {
            str(chain_id): size
            for image in self._store.list()
            for chain_id, size in zip(image.chain, image.layer_sizes, strict=False)
        }
        return sum(sizes.values())

    # --- events -------------------------------------------------------------------------

    def _emit(self, action: str, image: Image, name: str = "") -> None:
        attributes = {**image.config.labels, "name": name or image.id}
        self._engine.host.bus.publish(KIND, action, image.id, attributes)

    def _emit_removal(self, image: Image, records: Sequence[dict[str, str]]) -> None:
        for record in records:
            if "Untagged" in record:
                self._emit("untag", image)
            elif record.get("Deleted") == image.id:
                self._emit("delete", image)


def _host() -> Platform:
    return of_machine(os.uname().machine)
