"""Image archives, commits and the rest of the image service, in memory."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from supervisor.docker.commit import CommitOptions
from supervisor.docker.image_filters import ImageFilter
from supervisor.errors import Conflict, InvalidArgument, NotFound
from supervisor.oci.config import HistoryEntry
from supervisor.oci.platform import Platform
from supervisor.store.image import Image

if TYPE_CHECKING:
    from tests.unit.api.fake_engine import FakeEngine


class FakeImageService:
    """What was asked for is in `made`; a body of b"broken" is no archive."""

    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine
        self.made: list[tuple[str, dict[str, Any]]] = []

    def _new(self, how: str, tag: str | None, **asked: Any) -> Image:
        self.made.append((how, {"tag": tag, **asked}))
        base = self._engine.images.images[0]
        image = replace(base, id=f"sha256:{secrets.token_hex(32)}", tags=(tag,) if tag else ())
        self._engine.images.images.append(image)
        return image

    async def load(
        self,
        pieces: AsyncIterable[bytes],
        *,
        platform: Platform | None,
        quiet: bool,
        tell: Callable[[dict[str, Any]], None],
    ) -> None:
        body = b"".join([piece async for piece in pieces])
        if body == b"broken":
            raise InvalidArgument("invalid image archive")
        if not quiet:
            detail = {"current": 1, "total": 2}
            tell({"status": "Loading layer", "id": "abc", "progressDetail": detail})
        tell({"stream": "Loaded image: loaded:1\n"})
        self._new("load", "loaded:1", size=len(body), platform=platform)
        if body == b"half":
            raise InvalidArgument("the second image is broken")

    @asynccontextmanager
    async def save(self, refs: Sequence[str]) -> AsyncIterator[AsyncIterable[bytes]]:
        images = [self._engine.images.get(ref) for ref in refs]

        async def pieces() -> AsyncIterator[bytes]:
            for image in images:
                yield image.id.encode()

        yield pieces()

    async def import_tar(
        self,
        pieces: AsyncIterable[bytes],
        *,
        tag: str | None,
        comment: str = "",
        changes: Sequence[str] = (),
        platform: Platform | None = None,
    ) -> Image:
        body = b"".join([piece async for piece in pieces])
        return self._new(
            "import", tag, comment=comment, changes=list(changes), platform=platform, body=body
        )

    async def from_folder(self, folder: str, *, tag: str) -> Image:
        return self._new("from", tag, folder=folder)

    async def commit(self, ref: str, options: CommitOptions) -> Image:
        self._engine.find(ref)
        return self._new("commit", options.tag, options=options)

    async def tag(self, ref: str, tag: str) -> None:
        image = self._engine.images.get(ref)
        self._replace(image, tags=(*image.tags, tag))

    def _replace(self, image: Image, **changes: Any) -> None:
        images = self._engine.images.images
        images[images.index(image)] = replace(image, **changes)

    async def remove(self, ref: str, *, force: bool) -> Sequence[dict[str, str]]:
        image = self._engine.images.get(ref)
        if not force and self.containers_of().get(image.id):
            raise Conflict(f"conflict: unable to remove {ref}")
        self._engine.images.images.remove(image)
        return [*({"Untagged": tag} for tag in image.tags), {"Deleted": image.id}]

    async def prune(self, wanted: ImageFilter) -> tuple[Sequence[dict[str, str]], int]:
        gone = [image for image in self._engine.images.images if wanted.shown(image)]
        for image in gone:
            self._engine.images.images.remove(image)
        return [{"Deleted": image.id} for image in gone], sum(image.size for image in gone)

    def history(self, ref: str) -> tuple[Image, Sequence[HistoryEntry], Sequence[Image]]:
        image = self._engine.images.get(ref)
        return image, [HistoryEntry(created=image.created, created_by="made")], [image]

    def layer_folders(self, ref: str) -> Sequence[str]:
        self._engine.images.get(ref)
        return ["/layers/top", "/layers/base"]

    def created_of(self, ref: str) -> str:
        try:
            return self._engine.images.get(ref).created
        except NotFound as error:
            raise InvalidArgument(error.message) from None

    def containers_of(self) -> dict[str, int]:
        numbers: dict[str, int] = {}
        for view in self._engine.list():
            numbers[view.image_id] = numbers.get(view.image_id, 0) + 1
        return numbers

    def shared_sizes(self) -> dict[str, int]:
        return {image.id: 5 for image in self._engine.images.images}
