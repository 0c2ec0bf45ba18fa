"""Images from an archive that comes in as a stream: `docker load`.

    pieces ─► worker: files in tmp ─► blobs under a lease ─► layers unpacked ─► images

Of an archive that is both an OCI layout and docker's, the layout is taken: it has the very
manifests, so that every digest survives. Nothing is visible before its image is.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import trio

from supervisor.errors import InvalidArgument, NotFound, Unavailable
from supervisor.oci import archive_layout as layout
from supervisor.oci import archive_names as names
from supervisor.oci import config as oci_config
from supervisor.oci import document, index
from supervisor.oci import manifest as oci_manifest
from supervisor.oci.archive_layout import Archive, DockerImage, File
from supervisor.oci.digest import Digest
from supervisor.oci.index import IndexEntry
from supervisor.oci.manifest import Descriptor
from supervisor.oci.platform import Platform, preference
from supervisor.snapshot.receive import KNOWN
from supervisor.store.disk import disk_errors
from supervisor.store.files import discard
from supervisor.store.image import Image
from supervisor.store.images import ImageStore
from supervisor.store.layer_blobs import describe_layer
from supervisor.store.layers import Progress
from supervisor.store.lease import Lease
from supervisor.store.work_pipes import feed


class Loaded(NamedTuple):
    """An image that was loaded, its tag if it had one, and who had that tag before."""

    image: Image
    tag: str | None
    replaced: str | None = None


Report = Callable[[Loaded], None]


async def load(
    store: ImageStore,
    pieces: AsyncIterable[bytes],
    wanted: Platform,
    report: Report,
    progress: Progress | None = None,
) -> None:
    """Load all images of the archive in `pieces`, compressed or not; `report` each.

    Of what is there for several platforms the one for `wanted` is taken. Raises
    InvalidArgument for a wrong archive, Unavailable on a full disk; the images that were
    reported before are there then, and nothing else.
    """
    async with store.lease() as lease:
        archive = await _receive(store, lease, pieces)
        loader = _Loader(store, lease, archive, progress)
        if archive.find(names.INDEX) and archive.find(names.OCI_LAYOUT):
            await loader.load_layout(wanted, report)
        elif archive.find(names.DOCKER_MANIFEST):
            await loader.load_docker(report)
        else:
            raise InvalidArgument(
                "invalid image archive: it has neither manifest.json (docker save) nor "
                "index.json and oci-layout (OCI)"
            )


async def _receive(store: ImageStore, lease: Lease, pieces: AsyncIterable[bytes]) -> Archive:
    """Everything in the archive as blobs under the lease."""
    folder = store.root.tmp / secrets.token_hex(16)
    try:
        # What the store has needs not be written again; so it must not go meanwhile.
        await store.content.hold_all(lease)
        where = {"folder": str(folder), "blobs": str(store.root.blobs)}
        with disk_errors():
            received = await feed("receive_archive", where, pieces)
        files: dict[str, File] = {}
        for name, number, text, size in received["files"]:
            digest = Digest.parse(text)
            if number != KNOWN:
                await store.content.adopt_blob(lease, folder / str(number), digest)
            elif not await store.content.hold_blob(lease, digest):
                raise Unavailable(f"the blob {digest} was deleted meanwhile: load again")
            files[name] = File(digest=digest, size=size)
        return Archive(files=files, links=dict(received["links"]))
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(_discard, folder, store.root.trash)


def _discard(folder: Path, trash: Path) -> None:
    if folder.exists():
        discard(folder, trash)


class _Loader:
    def __init__(
        self, store: ImageStore, lease: Lease, archive: Archive, progress: Progress | None
    ) -> None:
        self.store = store
        self.lease = lease
        self.archive = archive
        self.progress = progress

    async def load_layout(self, wanted: Platform, report: Report) -> None:
        """The images of an OCI layout."""
        layout.check_layout(await self._read(self.archive.get(names.OCI_LAYOUT)))
        entries = layout.parse_index(await self._read(self.archive.get(names.INDEX)))
        for entry in _chosen(entries, wanted):
            found = await self._find(entry, wanted)
            config = await self._blob(found.manifest.config)
            await self._add(
                found.data, config, found.manifest.layers, layout.name_of(entry), report
            )

    async def _find(self, entry: IndexEntry, wanted: Platform) -> index.Found:
        def there(digest: Digest) -> bool:
            return self.archive.blob(digest) is not None

        # An image for another platform was asked for by whoever put it there alone.
        search = index.find_manifest(entry.descriptor, entry.platform or wanted, there)
        descriptor = next(search)
        while True:
            data = await self._blob(descriptor)
            try:
                descriptor = search.send(data)
            except StopIteration as over:
                found: index.Found = over.value
                return found

    async def load_docker(self, report: Report) -> None:
        """The images of docker's archive."""
        raw = await self._read(self.archive.get(names.DOCKER_MANIFEST))
        for image in layout.parse_docker(raw, self.archive):
            config = await self._read(image.config)
            layers = await self._layers(image, config)
            manifest = oci_manifest.encode(oci_manifest.of_layers(config, layers))
            for tag in image.tags or (None,):
                await self._add(manifest, config, layers, tag, report)

    async def _layers(self, image: DockerImage, config: bytes) -> list[Descriptor]:
        expected = len(oci_config.parse(config).diff_ids)
        if expected != len(image.layers):
            raise InvalidArgument(
                f"invalid manifest, layers length mismatch: expected {expected}, "
                f"got {len(image.layers)}"
            )
        return [await describe_layer(self.store, self.lease, file.digest) for file in image.layers]

    async def _add(
        self,
        manifest: bytes,
        config: bytes,
        layers: Sequence[Descriptor],
        tag: str | None,
        report: Report,
    ) -> None:
        file = oci_config.parse(config)
        await self.store.ensure_layers(self.lease, file, layers, self.progress)
        before = self._holder(tag)
        image = await self.store.add(self.lease, manifest, config, tag=tag)
        replaced = before.id if before is not None and before.id != image.id else None
        report(Loaded(image, tag, replaced))

    def _holder(self, tag: str | None) -> Image | None:
        try:
            return self.store.get(tag) if tag is not None else None
        except NotFound:
            return None

    async def _blob(self, descriptor: Descriptor) -> bytes:
        file = self.archive.blob(descriptor.digest)
        if file is None:
            raise InvalidArgument(f"invalid image archive: blob {descriptor.digest} is not in it")
        if file.size != descriptor.size:
            raise InvalidArgument(
                f"invalid image archive: blob {descriptor.digest} has {file.size} bytes, not "
                f"{descriptor.size} as announced"
            )
        return await self._read(file)

    async def _read(self, file: File) -> bytes:
        """A document of the archive; InvalidArgument for one of absurd size."""
        if file.size > document.MAX_SIZE:
            raise InvalidArgument(
                f"invalid image archive: a document of {file.size} bytes, at most "
                f"{document.MAX_SIZE}"
            )
        with disk_errors():
            return await trio.to_thread.run_sync(self.store.root.blob(file.digest).read_bytes)


def _chosen(entries: Sequence[IndexEntry], wanted: Platform) -> list[IndexEntry]:
    """Which entries to load: of one name for several platforms the best for `wanted`."""
    groups: dict[str, list[IndexEntry]] = {}
    for number, entry in enumerate(entries):
        name = layout.name_of(entry)
        of_many = name is None and entry.platform is None
        groups.setdefault(f"\0{number}" if of_many else name or "", []).append(entry)
    chosen = []
    for group in groups.values():
        ranked = [(_rank(entry, wanted), entry) for entry in group]
        fitting = [(rank, entry) for rank, entry in ranked if rank is not None]
        if len(group) == 1:
            chosen.append(group[0])
        elif fitting:
            chosen.append(min(fitting, key=lambda pair: pair[0])[1])
        else:
            raise NotFound(f"the image archive has nothing for {wanted}")
    return chosen


def _rank(entry: IndexEntry, wanted: Platform) -> int | None:
    if entry.platform is None:
        return index.MAX_ENTRIES
    return preference(wanted, entry.platform)
