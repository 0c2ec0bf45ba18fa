"""Images as one tar, for other hosts: an OCI layout and docker's archive at once.

Blobs go out as they are in the store, so every digest survives; nothing is made on disk,
and one piece at a time is in memory.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager

import trio

from supervisor.errors import Internal
from supervisor.oci import archive_layout as layout
from supervisor.oci import archive_names as names
from supervisor.oci import manifest as oci_manifest
from supervisor.oci import reference
from supervisor.oci.archive_layout import SavedImage
from supervisor.oci.digest import Digest
from supervisor.oci.manifest import Descriptor
from supervisor.oci.tar import END, Entry, Type, encode_header, padding
from supervisor.store.disk import disk_errors
from supervisor.store.images import Image, ImageStore

PIECE = 1 << 20


@asynccontextmanager
async def saving(
    store: ImageStore, refs: Sequence[str]
) -> AsyncIterator[tuple[list[Image], AsyncGenerator[bytes]]]:
    """The images that `refs` name, and their archive in pieces of at most PIECE bytes.

    A name without tag stands for all its tags, an id for an image without any. The blobs
    stay for the length of the block, whatever becomes of the images. Raises NotFound.
    """
    async with store.lease() as lease:
        chosen = _choose(store, refs)
        for image, _ in chosen.values():
            await store.keep(lease, image)
        with disk_errors():
            saved = await trio.to_thread.run_sync(_describe, store, list(chosen.values()))
        async with aclosing(_pieces(store, saved)) as pieces:
            yield [image for image, _ in chosen.values()], pieces


def _choose(store: ImageStore, refs: Iterable[str]) -> dict[str, tuple[Image, tuple[str, ...]]]:
    """Images by id with the tags to save them by, in the order of `refs`."""
    chosen: dict[str, tuple[Image, tuple[str, ...]]] = {}
    for ref in refs:
        for image, tags in _found(store, ref):
            _, before = chosen.get(image.id, (image, ()))
            chosen[image.id] = image, tuple(dict.fromkeys((*before, *tags)))
    return chosen


def _found(store: ImageStore, ref: str) -> list[tuple[Image, list[str]]]:
    if not reference.is_full_id(ref):
        wanted = reference.parse(ref)
        if not wanted.tag and wanted.digest is None:
            of_name = [(image, _tags_of(image, wanted.familiar_name)) for image in store.list()]
            if any(tags for _, tags in of_name):
                return [(image, tags) for image, tags in of_name if tags]
    image, name = store.resolve(ref)
    return [(image, [name] if name in image.tags else [])]


def _tags_of(image: Image, name: str) -> list[str]:
    return [tag for tag in image.tags if tag.rpartition(":")[0] == name]


def _describe(
    store: ImageStore, images: Sequence[tuple[Image, tuple[str, ...]]]
) -> list[SavedImage]:
    saved = []
    for image, tags in images:
        digest = Digest.parse(image.manifest)
        data = store.root.blob(digest).read_bytes()
        manifest = oci_manifest.parse(data)
        itself = Descriptor(media_type=manifest.media_type, digest=digest, size=len(data))
        saved.append(
            SavedImage(
                manifest=itself,
                config=manifest.config,
                layers=manifest.layers,
                tags=tags,
            )
        )
    return saved


async def _pieces(store: ImageStore, images: Sequence[SavedImage]) -> AsyncGenerator[bytes]:
    blobs = {
        descriptor.digest: descriptor.size
        for image in images
        for descriptor in (image.manifest, image.config, *image.layers)
    }
    yield _folder("blobs")
    for algorithm in sorted({digest.algorithm for digest in blobs}):
        yield _folder(f"blobs/{algorithm}")
    for digest in sorted(blobs, key=str):
        yield encode_header(Entry(names.blob_name(digest), size=blobs[digest]))
        async with aclosing(_content(store, digest, blobs[digest])) as content:
            async for piece in content:
                yield piece
        yield padding(blobs[digest])
    yield _file(names.INDEX, layout.index_json(images))
    yield _file(names.DOCKER_MANIFEST, layout.docker_json(images))
    yield _file(names.OCI_LAYOUT, layout.LAYOUT_JSON)
    yield _file(names.REPOSITORIES, layout.repositories_json(images))
    yield END


async def _content(store: ImageStore, digest: Digest, size: int) -> AsyncGenerator[bytes]:
    with disk_errors(), store.root.blob(digest).open("rb", buffering=0) as file:
        while data := await trio.to_thread.run_sync(file.read, PIECE):
            size -= len(data)
            if size < 0:
                break
            yield data
    if size:
        raise Internal(f"the blob {digest} is damaged: it has another size than its image says")


def _folder(name: str) -> bytes:
    return encode_header(Entry(name, Type.FOLDER, 0o755))


def _file(name: str, content: bytes) -> bytes:
    return encode_header(Entry(name, size=len(content))) + content + padding(len(content))
