"""What images there are, by which names, and their records.

Every change goes to disk before it is seen: the copy of a record, then its row, then memory.
"""

from __future__ import annotations

import builtins
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import trio
from msgspec.structs import replace

from supervisor import failpoints
from supervisor.errors import InvalidArgument
from supervisor.oci import reference
from supervisor.oci.config import format_time
from supervisor.store import image_records
from supervisor.store.database import Database, Put
from supervisor.store.disk import disk_errors
from supervisor.store.image import Image, encode
from supervisor.store.image_index import ImageIndex
from supervisor.store.layout import DataRoot

KIND = "image"
_MOST_KNOWN = 256  # images whose folders need not be looked for again


class ImageBook:
    """The part of the image store that knows images and their names.

    `get`, `list`, `find`, `lowers` and `hold` are plain calls: nothing changes between a
    look-up and a hold without an await in between. Whoever changes anything holds `_changing`.
    """

    def __init__(self, root: DataRoot, database: Database) -> None:
        self.root = root
        self.database = database
        self._images = ImageIndex()
        self._held: Counter[str] = Counter()
        self._changing = trio.Lock()
        self._complete = True
        self._lowers: dict[str, tuple[Image, tuple[Path, ...]]] = {}

    # --- looking ------------------------------------------------------------------------

    def list(self) -> list[Image]:
        """All images, dangling ones too, newest first."""
        visible = [image for image in self._images if not image.removed]
        return sorted(visible, key=lambda image: (-image.created_at, image.id))

    def get(self, ref: str) -> Image:
        """By name[:tag], name@digest, id, or id prefix; NotFound or InvalidArgument in
        docker's words.
        """
        return self._images.resolve(ref)[0]

    def resolve(self, ref: str) -> tuple[Image, str]:
        """As `get`, with the tag or repository digest that found it, "" if its id did."""
        return self._images.resolve(ref)

    def children(self, id: str) -> builtins.list[Image]:
        """Images that were committed from this one."""
        return [image for image in self._images if image.parent == id and not image.removed]

    def find(self, id: str) -> Image | None:
        """By full id, also one that was removed while containers still stand on its layers."""
        return self._images.by_id(id)

    def lowers(self, image: Image) -> tuple[Path, ...]:
        """The unpacked folders, top-most first, down to one whose root hides all below it.

        overlayfs looks for the mark on folders inside a layer, not on the layer's own root.
        """
        known = self._lowers.get(image.id)
        if known is None or known[0] is not image:  # new, or read in again
            if len(self._lowers) >= _MOST_KNOWN:
                self._lowers.clear()
            known = self._lowers[image.id] = (image, self._find_lowers(image))
        return known[1]

    def _find_lowers(self, image: Image) -> tuple[Path, ...]:
        folders: builtins.list[Path] = []
        for chain_id in reversed(image.chain):
            folders.append(self.root.layer(chain_id))
            if _is_opaque(folders[-1]):
                break
        return tuple(folders)

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

    # --- records ------------------------------------------------------------------------

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

    # --- naming -------------------------------------------------------------------------

    async def tag(self, ref: str, tag: str) -> Image:
        """Give the image that `ref` finds another name; NotFound, InvalidArgument."""
        check_tag(tag)
        async with self._changing:
            image = self.get(ref)
            with trio.CancelScope(shield=True):
                image = await self._give_names(image, tag, None)
        return image

    async def note_digest(self, id: str, repo_digest: str) -> None:
        """Note that a registry has the image as name@digest: after a push."""
        async with self._changing:
            image = self._images.by_id(id)
            if image is not None and not image.removed:
                with trio.CancelScope(shield=True):
                    await self._give_names(image, None, repo_digest)

    async def _give_names(self, image: Image, tag: str | None, repo_digest: str | None) -> Image:
        """Give `image`, new or known, names; in one transaction with taking them from others."""
        changed = {image.id: image}
        if tag is not None:
            name = check_tag(tag)
            changed[image.id] = replace(
                changed[image.id],
                tags=tuple(sorted({*image.tags, name})),
                last_tagged=format_time(int(time.time())),
            )
            self._take_from_others(changed, image.id, name)
        if repo_digest is not None:
            name = reference.parse(repo_digest).familiar
            changed[image.id] = replace(
                changed[image.id], repo_digests=tuple(sorted({*image.repo_digests, name}))
            )
            self._take_from_others(changed, image.id, name)
        await self._save(list(changed.values()))
        return changed[image.id]

    def _take_from_others(self, changed: dict[str, Image], id: str, name: str) -> None:
        before = self._images.by_name(name)
        if before is not None and before.id != id:
            changed[before.id] = without(changed.get(before.id, before), [name])

    async def _save(self, images: Sequence[Image]) -> None:
        try:
            with disk_errors():
                failpoints.hit("image.copy")
                await trio.to_thread.run_sync(image_records.write_copies, self.root, images)
                failpoints.hit("image.row")
            await self.database.apply(Put(KIND, image.id, encode(image)) for image in images)
        except BaseException:
            before = {image.id: self._images.by_id(image.id) for image in images}
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(image_records.restore_copies, self.root, before)
            raise
        failpoints.hit("image.answer")
        for image in images:
            self._images.keep(image)


def check_tag(ref: str) -> str:
    """The familiar name with its tag; InvalidArgument for what cannot be an image's name."""
    name = reference.parse(ref).with_default_tag()
    if name.digest is not None:
        raise InvalidArgument("refusing to create a tag with a digest reference")
    return name.familiar


def without(image: Image, names: Iterable[str]) -> Image:
    """The image without some of its names."""
    gone = set(names)
    return replace(
        image,
        tags=tuple(name for name in image.tags if name not in gone),
        repo_digests=tuple(name for name in image.repo_digests if name not in gone),
    )


def _is_opaque(folder: Path) -> bool:
    try:
        return os.getxattr(folder, "trusted.overlay.opaque") == b"y"
    except OSError:  # no such mark, or no such folder: whoever mounts it says that better
        return False
