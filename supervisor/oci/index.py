"""Image indexes (OCI image-index.md) and docker's manifest lists: one image, many platforms.

An index leads to a manifest by digest, perhaps over another index. Finding one is a
generator that asks for documents and never reads: it serves a registry and an archive.

    search = find_manifest(descriptor, platform)
    wanted = next(search)
    while True: wanted = search.send(document of `wanted`)   # until StopIteration: Found
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import NamedTuple

import msgspec

from supervisor.errors import InvalidArgument, NotFound
from supervisor.oci import document, manifest
from supervisor.oci.digest import Digest
from supervisor.oci.manifest import Descriptor, Manifest, RawDescriptor
from supervisor.oci.platform import Platform, preference

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFEST_TYPES = (OCI_INDEX, manifest.OCI_MANIFEST, DOCKER_LIST, manifest.DOCKER_MANIFEST)
"""What `find_manifest` reads: the Accept header of a registry client."""

MAX_ENTRIES = 1000
MAX_DEPTH = 3
MAX_DOCUMENTS = 64
_ATTESTATION = "vnd.docker.reference.type"


class IndexEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of an index; `platform` is None where the index does not say."""

    descriptor: Descriptor
    platform: Platform | None = None
    annotations: dict[str, str] = msgspec.field(default_factory=dict)


class Found(NamedTuple):
    """The manifest that a search led to: its descriptor, its bytes, and what they say."""

    descriptor: Descriptor
    data: bytes
    manifest: Manifest


class _Platform(msgspec.Struct):
    os: str
    architecture: str
    variant: str | None = None


class _Entry(RawDescriptor, rename="camel"):
    platform: _Platform | None = None
    annotations: dict[str, str] | None = None


class _File(msgspec.Struct, rename="camel"):
    schema_version: int
    manifests: tuple[_Entry, ...] | None = None
    media_type: str = ""
    layers: document.Empty | tuple[document.Empty, ...] | None = None
    config: document.Empty | None = None


class _Head(msgspec.Struct, rename="camel"):
    schema_version: int
    media_type: str = ""
    manifests: tuple[document.Empty, ...] | None = None


def parse(data: bytes) -> tuple[IndexEntry, ...]:
    """Decode an index; raises InvalidArgument naming what is wrong."""
    file = document.decode(data, _File, "image index")
    if file.schema_version != 2 or file.media_type not in ("", OCI_INDEX, DOCKER_LIST):
        raise InvalidArgument(
            f"unsupported image index: schema {file.schema_version}, {file.media_type!r:.80}"
        )
    if file.layers is not None or file.config is not None:
        # Who reads it as a manifest would run something else (CVE-2021-41190).
        raise InvalidArgument("invalid image index: it is both an index and a manifest")
    entries = file.manifests or ()
    if len(entries) > MAX_ENTRIES:
        raise InvalidArgument(f"the image index has more than {MAX_ENTRIES} entries")
    return tuple(
        IndexEntry(
            descriptor=entry.checked(),
            platform=_platform(entry.platform),
            annotations=entry.annotations or {},
        )
        for entry in entries
    )


def find_manifest(
    root: Descriptor, wanted: Platform, there: Callable[[Digest], bool] = lambda _: True
) -> Generator[Descriptor, bytes, Found]:
    """Search for the manifest for `wanted`, below or at `root`; yields what it must read.

    What an index lists and is not `there` is passed over: archives hold one platform of
    many. Whoever drives it verifies digests. Raises InvalidArgument for documents that are
    wrong, nested too deeply or too many; NotFound when no platform fits.
    """
    search = _Search(wanted, there)
    found = yield from search.below(root, 0)
    if found is None:
        others = ", ".join(sorted(search.seen)) or "none"
        raise NotFound(
            f"no matching manifest for {wanted} in the manifest list entries (there are: {others})"
        )
    return found


class _Search:
    def __init__(self, wanted: Platform, there: Callable[[Digest], bool]) -> None:
        self.wanted = wanted
        self.there = there
        self.seen: set[str] = set()
        self.visited: set[Digest] = set()

    def below(self, at: Descriptor, depth: int) -> Generator[Descriptor, bytes, Found | None]:
        self._count(at, depth)
        data = yield at
        if _is_index(data, at.media_type):
            for entry in self._ranked(parse(data)):
                if entry.descriptor.digest in self.visited:
                    continue
                found = yield from self.below(entry.descriptor, depth + 1)
                if found is not None:
                    return found
            return None
        return Found(at, data, manifest.parse(data))

    def _count(self, at: Descriptor, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise InvalidArgument(f"image indexes are nested more than {MAX_DEPTH} deep")
        self.visited.add(at.digest)
        if len(self.visited) > MAX_DOCUMENTS:
            raise InvalidArgument(f"the image index leads to more than {MAX_DOCUMENTS} documents")

    def _ranked(self, entries: tuple[IndexEntry, ...]) -> list[IndexEntry]:
        """What may lead to the platform, best first; the order of the index decides a draw."""
        ranked: list[tuple[int, IndexEntry]] = []
        for entry in entries:
            if _ATTESTATION in entry.annotations:
                continue  # about another entry, not an image
            rank: int | None = MAX_ENTRIES
            if entry.platform is not None:
                self.seen.add(str(entry.platform))
                rank = preference(self.wanted, entry.platform)
            if rank is not None and self.there(entry.descriptor.digest):
                ranked.append((rank, entry))
        ranked.sort(key=lambda pair: pair[0])
        return [entry for _, entry in ranked]


def _is_index(data: bytes, announced: str) -> bool:
    """What a document is: what it says, else what it was announced as, else what it has."""
    head = document.decode(data, _Head, "image manifest")
    manifest.refuse_schema_1(head.schema_version, head.media_type or announced)
    media_type = head.media_type or announced
    if media_type in MANIFEST_TYPES:
        return media_type in (OCI_INDEX, DOCKER_LIST)
    return head.manifests is not None


def _platform(raw: _Platform | None) -> Platform | None:
    if raw is None or not raw.os or raw.os == "unknown":
        return None
    return Platform(os=raw.os, architecture=raw.architecture, variant=raw.variant or "")
