"""Pulling: a reference to an image in the store.

    manifest (mirrors first) ─► the platform's ─► config ─┐
                                                           ├─► row
    layer 1 ─► blob ─► unpacked ───────────────────────────┤
    layer 2     └► blob ─► unpacked …  a few at a time ────┘

Blobs and layers come under a lease, and the row last: nothing partial is ever visible, and
what was there when a pull ended early is gone with the lease. Two pulls of one blob or
layer share it in the store; if one of them ends early, the other goes on with its part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import trio

from supervisor import failpoints
from supervisor.docker import progress
from supervisor.errors import InvalidArgument, NotFound, OrlopError
from supervisor.oci import config as oci_config
from supervisor.oci import manifest as oci_manifest
from supervisor.oci.config import ConfigFile
from supervisor.oci.digest import Digest
from supervisor.oci.index import Found, find_manifest
from supervisor.oci.platform import Platform, normal, preference
from supervisor.oci.reference import Reference
from supervisor.registry.download import download
from supervisor.registry.failures import Interrupted, Refused, pull_error
from supervisor.registry.repository import Document, Repository
from supervisor.registry.steps import LayerSteps
from supervisor.store.images import Image, ImageStore, Lease
from supervisor.store.layers import Layer, first_error, layers_of

Tell = Callable[[dict[str, Any]], None]


class Pull:
    """One pull of `ref`, which has a tag or a digest.

    `places` are where to get it from, in order. `asked` tells whether the user chose the
    platform; then an image of another one is refused.
    """

    def __init__(
        self,
        store: ImageStore,
        ref: Reference,
        places: Sequence[Repository],
        platform: Platform,
        tell: Tell,
        *,
        asked: bool,
    ) -> None:
        self.store = store
        self.ref = ref
        self.places = places
        self.platform = platform
        self.tell = tell
        self.asked = asked

    async def run(self) -> Image:
        """Pull; the image. Raises OrlopError in docker's words."""
        try:
            return await self._run()
        except Refused as error:
            raise pull_error(error, self.ref) from None

    async def _run(self) -> Image:
        current = await self._current()
        if current is not None:
            image, digest = current
            return self._done(image, digest, new=False)
        document = await self._document()
        name = self.ref.tag if self.ref.digest is None else str(self.ref.digest)
        found = await self._for_platform(document)
        oci_manifest.require_image(found.manifest)
        known = self.store.find(str(found.manifest.config.digest))
        config_json = await self._config(found, known)
        file = self._checked(oci_config.parse(config_json))
        layers = layers_of(file, found.manifest.layers)
        # From the first message on, errors have no HTTP status any more.
        self.tell(progress.status(f"Pulling from {self.ref.path}", name))
        async with self.store.lease() as lease:
            fetched = await self._layers(lease, layers, known)
            image = await self.store.add(
                lease,
                found.data,
                config_json,
                tag=self.ref.familiar if self.ref.digest is None else None,
                repo_digest=f"{self.ref.familiar_name}@{document.descriptor.digest}",
            )
        new = fetched or known is None or known.removed
        return self._done(image, str(document.descriptor.digest), new=new)

    def _done(self, image: Image, digest: str, *, new: bool) -> Image:
        self.tell(progress.status(f"Digest: {digest}"))
        what = "Downloaded newer image for" if new else "Image is up to date for"
        self.tell(progress.status(f"Status: {what} {self.ref.familiar}"))
        return image

    async def _current(self) -> tuple[Image, str] | None:
        """The image that is here, if the registry still has just that; nothing is sent then
        that counts as a pull where pulls are counted.
        """
        if self.ref.digest is not None:
            return None
        try:
            image = self.store.get(self.ref.familiar)
        except NotFound:
            return None
        if not self._fits(image.os, image.architecture, image.variant):
            return None  # the same tag may lead to another image for the wanted platform
        try:
            digest = await self.places[0].look_up(self.ref.tag)
        except (Interrupted, Refused):
            return None  # asking for the manifest itself will tell why
        if f"{self.ref.familiar_name}@{digest}" not in image.repo_digests:
            return None
        self.tell(progress.status(f"Pulling from {self.ref.path}", self.ref.tag))
        return image, str(digest)

    # --- which image --------------------------------------------------------------------

    async def _document(self) -> Document:
        """What the reference names, from the first place that has it; that and those after
        it are what layers are got from.
        """
        wanted = self.ref.digest or self.ref.tag
        problem: OrlopError | None = None
        for number, place in enumerate(self.places):
            try:
                document = await place.document(wanted)
            except OrlopError as error:
                problem = error
                continue
            self.places = self.places[number:]
            return document
        assert problem is not None
        raise problem

    async def _for_platform(self, document: Document) -> Found:
        search = find_manifest(document.descriptor, self.platform)
        wanted, data = next(search), document.data
        while True:
            try:
                wanted = search.send(data)
            except StopIteration as end:
                found: Found = end.value
                return found
            data = (await self._by_digest(wanted.digest)).data

    async def _by_digest(self, digest: Digest) -> Document:
        for place in self.places[:-1]:
            try:
                return await place.document(digest)
            except OrlopError:
                continue
        return await self.places[-1].document(digest)

    async def _config(self, found: Found, known: Image | None) -> bytes:
        if known is not None:
            return known.config_json
        for place in self.places[:-1]:
            try:
                return await place.small_blob(found.manifest.config, oci_config.MAX_SIZE)
            except OrlopError:
                continue
        return await self.places[-1].small_blob(found.manifest.config, oci_config.MAX_SIZE)

    def _checked(self, file: ConfigFile) -> ConfigFile:
        if file.os and file.os.lower() != "linux":
            raise InvalidArgument(
                f'image operating system "{file.os:.40}" cannot be used on this platform'
            )
        if self.asked and not self._fits(file.os, file.architecture, file.variant):
            actual = normal(file.os, file.architecture, file.variant)
            raise NotFound(
                f"image with reference {self.ref.familiar} was found but does not match the "
                f"specified platform: wanted {self.platform}, actual: {actual}"
            )
        return file

    def _fits(self, os: str, architecture: str, variant: str) -> bool:
        found = Platform(os=os, architecture=architecture, variant=variant)
        return preference(self.platform, found) is not None

    # --- its layers ---------------------------------------------------------------------

    async def _layers(self, lease: Lease, layers: Sequence[Layer], known: Image | None) -> bool:
        """All layers, a few blobs at a time; whether anything had to be got."""
        steps = {layer.chain_id: LayerSteps(layer, self.tell) for layer in layers}
        missing = [layer for layer in layers if not self._is_there(layer)]
        for layer in layers if missing or known is None or known.removed else ():
            steps[layer.chain_id].begin(there=layer not in missing)
        queue = iter(layers)
        try:
            async with trio.open_nursery() as nursery:
                for _ in range(self.places[0].session.transport.config.parallel):
                    nursery.start_soon(self._take, lease, queue, steps, nursery)
        except ExceptionGroup as group:
            raise first_error(group) from None
        return bool(missing)

    def _is_there(self, layer: Layer) -> bool:
        return (
            self.store.has_blob(layer.blob.digest)
            and self.store.root.layer(layer.chain_id).is_dir()
        )

    async def _take(
        self,
        lease: Lease,
        queue: Iterator[Layer],
        steps: dict[Digest, LayerSteps],
        nursery: trio.Nursery,
    ) -> None:
        """Get the blobs of the next layers, lowest first; each is unpacked meanwhile."""
        for layer in queue:
            step = steps[layer.chain_id]
            async with self.store.ingest_once(lease, layer.blob.digest, layer.blob.size) as writer:
                if writer is not None:
                    failpoints.hit("pull.blob")
                    await download(self.places, layer.blob, writer, step.downloading)
            step.downloaded()
            nursery.start_soon(self._unpack, lease, layer, step)

    async def _unpack(self, lease: Lease, layer: Layer, step: LayerSteps) -> None:
        await self.store.ensure_layer(lease, layer, step.unpacking)
        step.complete()
