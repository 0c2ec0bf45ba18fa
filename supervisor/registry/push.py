"""Pushing: an image of the store to a repository, byte for byte as the store has it.

each layer and the config:  there already? ─► mount from a repository beside it? ─► upload
then the manifest, which makes the image visible there
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import trio

from supervisor.docker import progress
from supervisor.errors import InvalidArgument
from supervisor.oci import manifest as oci_manifest
from supervisor.oci import reference
from supervisor.oci.digest import Digest
from supervisor.oci.manifest import Descriptor
from supervisor.oci.reference import Reference
from supervisor.oci.web_url import WebUrl, check_redirect
from supervisor.registry.failures import LATER, Interrupted, Refused, push_error
from supervisor.registry.repository import Repository
from supervisor.registry.session import Ask
from supervisor.registry.steps import Bar
from supervisor.registry.transport import Body, Reply
from supervisor.store.images import Image, ImageStore
from supervisor.store.layers import first_error

PIECE = 256 * 1024
Tell = Callable[[dict[str, Any]], None]


class Push:
    """One push of `image` as `ref`, which has a tag."""

    def __init__(
        self, store: ImageStore, image: Image, ref: Reference, place: Repository, tell: Tell
    ) -> None:
        self.store = store
        self.image = image
        self.ref = ref
        self.place = place
        self.tell = tell
        self._sources = _sources(image, ref)

    async def run(self) -> Digest:
        """Push; the manifest's digest. Raises OrlopError."""
        try:
            async with self.store.lease() as lease:
                await self.store.keep(lease, self.image)
                digest = await self._run()
        except Refused as error:
            raise push_error(error, self.ref) from None
        await self.store.note_digest(self.image.id, f"{self.ref.familiar_name}@{digest}")
        return digest

    async def _run(self) -> Digest:
        digest = Digest.parse(self.image.manifest)
        data = await trio.Path(self.store.root.blob(digest)).read_bytes()
        manifest = oci_manifest.parse(data)
        names = [progress.short(layer) for layer in self.image.layers]
        for name in names:
            self.tell(progress.step("Preparing", name))
        unique = dict(zip(manifest.layers, names, strict=True))
        queue = iter(unique.items())
        try:
            async with trio.open_nursery() as nursery:
                for _ in range(self.place.session.transport.config.parallel):
                    nursery.start_soon(self._take, queue)
        except ExceptionGroup as group:
            raise first_error(group) from None
        await self._blob(manifest.config, "")
        await self._manifest(manifest.media_type, data)
        size = len(data)
        self.tell(progress.status(f"{self.ref.tag}: digest: {digest} size: {size}"))
        self.tell(progress.aux({"Tag": self.ref.tag, "Digest": str(digest), "Size": size}))
        return digest

    async def _take(self, queue: Iterator[tuple[Descriptor, str]]) -> None:
        for blob, name in queue:
            await self._blob(blob, name)

    async def _blob(self, blob: Descriptor, name: str) -> None:
        """Bring one blob there; `name` "" for the config, of which nobody is told."""
        if await self.place.has_blob(blob):
            self._say("Layer already exists", name)
            return
        reply, source = await self._begin(blob)
        if reply.status == 201:
            self._say(f"Mounted from {source}", name)
            return
        await self._upload(blob, name, reply)
        self._say("Pushed", name)

    def _say(self, text: str, name: str) -> None:
        if name:
            self.tell(progress.step(text, name))

    async def _begin(self, blob: Descriptor) -> tuple[Reply, str]:
        """Begin an upload, or mount the blob from where the registry has it: status 201."""
        path = self.place.path("blobs/uploads/")
        for source in self._sources:
            to = f"{path}?mount={quote(str(blob.digest))}&from={quote(source, safe='')}"
            scopes = (*self.place.push_scopes, f"repository:{source}:pull")
            try:
                reply = await self.place.session.request(Ask("POST", to, scopes), (201, 202))
            except Refused:
                continue  # who may push here may perhaps not read there
            await reply.close()
            return reply, source
        reply = await self.place.session.request(Ask("POST", path, self.place.push_scopes), (202,))
        await reply.close()
        return reply, ""

    async def _upload(self, blob: Descriptor, name: str, begun: Reply) -> None:
        """The blob in one request; begun again where the connection breaks."""
        backoff = self.place.session.backoff()
        bar = Bar("Pushing", name, blob.size, self.tell if name else _nobody)
        path = self.store.root.blob(blob.digest)
        reply = begun
        while True:
            try:
                await self._put(_place(reply), blob, lambda: _pieces(path, bar))
                return
            except Interrupted:
                if not await backoff.pause():
                    raise
            except Refused as error:
                # 404: the upload is unknown there by now, as after a restart.
                if error.http_status not in {404, *LATER} or not await backoff.pause():
                    raise
            ask = Ask("POST", self.place.path("blobs/uploads/"), self.place.push_scopes)
            reply = await self.place.session.request(ask, (202,), backoff)
            await reply.close()

    async def _put(self, place: WebUrl, blob: Descriptor, body: Body) -> None:
        mark = "&" if "?" in place.target else "?"
        to = WebUrl(place.origin, f"{place.target}{mark}digest={quote(str(blob.digest), safe='')}")
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(blob.size)}
        ask = Ask("PUT", to, self.place.push_scopes, headers, body)
        reply = await self.place.session.once(ask, (201, 204))
        await reply.close()

    async def _manifest(self, media_type: str, data: bytes) -> None:
        path = self.place.path(f"manifests/{self.ref.tag}")
        ask = Ask("PUT", path, self.place.push_scopes, {"Content-Type": media_type}, data)
        reply = await self.place.session.request(ask, (200, 201, 202))
        await reply.close()
        said = reply.headers.get("docker-content-digest", "")
        if said and said != self.image.manifest:
            raise InvalidArgument(
                f"the registry stored the manifest as {said:.100}, not as {self.image.manifest}"
            )


def _sources(image: Image, ref: Reference) -> Sequence[str]:
    """Other repositories of the same registry that have the image, as far as is known."""
    known = [reference.parse(name) for name in image.repo_digests]
    names = {one.path for one in known if one.domain == ref.domain and one.path != ref.path}
    return sorted(names)[:3]


def _place(begun: Reply) -> WebUrl:
    """Where an upload goes; InvalidArgument if the registry says that of no place to trust."""
    registry = begun.url.origin
    place = begun.url.join(begun.headers.get("location", ""))
    check_redirect(registry, registry, place.origin)
    return place


async def _pieces(path: Path, bar: Bar) -> AsyncIterator[bytes]:
    sent = 0
    async with await trio.open_file(path, "rb") as file:
        while piece := await file.read(PIECE):
            yield piece
            sent += len(piece)
            bar.at(sent)


def _nobody(_: dict[str, Any]) -> None:
    """Nobody is told."""
