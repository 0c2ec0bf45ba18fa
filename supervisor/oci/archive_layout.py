"""Archives of images: what `docker save`, skopeo, umoci and buildx write into one tar.

    oci-layout, index.json, blobs/sha256/HEX      OCI image-layout.md
    manifest.json, HEX.json, HEX/layer.tar, …     docker's, with links between equal layers

docker 25 and later write both into one, and so do we. Names in an archive are looked up in
what the archive has; they never become paths.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from supervisor.errors import InvalidArgument, OrlopError
from supervisor.oci import document, index, reference
from supervisor.oci.archive_names import blob_name, normal_name
from supervisor.oci.digest import Digest
from supervisor.oci.index import IndexEntry
from supervisor.oci.manifest import Descriptor, plain

LAYOUT_JSON = b'{"imageLayoutVersion":"1.0.0"}'
IMAGE_NAME = "io.containerd.image.name"
REF_NAME = "org.opencontainers.image.ref.name"

MAX_IMAGES = 1000
_MAX_LINKS = 16


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A file of an archive: the digest of its content, and its size in bytes."""

    digest: Digest
    size: int


class Archive(msgspec.Struct, frozen=True, kw_only=True):
    """What an archive has: files and links by their normal names ("a/layer.tar")."""

    files: Mapping[str, File]
    links: Mapping[str, str] = msgspec.field(default_factory=dict)

    def find(self, name: str) -> File | None:
        """The file of a name, over links; InvalidArgument for a name that leads outside."""
        name = normal_name(name)
        for _ in range(_MAX_LINKS):
            if name in self.files:
                return self.files[name]
            if name not in self.links:
                return None
            name = self.links[name]
        raise InvalidArgument(f"invalid image archive: {name!r:.100} is one of too many links")

    def get(self, name: str) -> File:
        """As `find`, InvalidArgument for what is not there."""
        file = self.find(name)
        if file is None:
            raise InvalidArgument(f"invalid image archive: {name!r:.200} is not in it")
        return file

    def blob(self, digest: Digest) -> File | None:
        """A blob of an OCI layout."""
        return self.files.get(blob_name(digest))


class DockerImage(msgspec.Struct, frozen=True, kw_only=True):
    """One image of a docker archive; `tags` are familiar."""

    config: File
    layers: tuple[File, ...]
    tags: tuple[str, ...]


class SavedImage(msgspec.Struct, frozen=True, kw_only=True):
    """One image to be saved: its manifest, what that lists, and the tags to save it by."""

    manifest: Descriptor
    config: Descriptor
    layers: tuple[Descriptor, ...]
    tags: tuple[str, ...]


class _DockerImage(msgspec.Struct, rename="pascal"):
    config: str
    repo_tags: tuple[str, ...] | None = None
    layers: tuple[str, ...] | None = None


class _Layout(msgspec.Struct, rename="camel"):
    image_layout_version: str


def parse_index(data: bytes) -> tuple[IndexEntry, ...]:
    """The entries of an archive's index.json; raises InvalidArgument."""
    entries = index.parse(data)
    if len(entries) > MAX_IMAGES:
        raise InvalidArgument(f"the image archive has more than {MAX_IMAGES} images")
    return entries


def check_layout(data: bytes) -> None:
    """InvalidArgument for the layout of another version."""
    version = document.decode(data, _Layout, "oci-layout").image_layout_version
    if not version.startswith("1."):
        raise InvalidArgument(f"unsupported OCI image layout version {version!r:.40}")


def name_of(entry: IndexEntry) -> str | None:
    """The tag that an entry of index.json was saved by, familiar; None without one."""
    name = entry.annotations.get(IMAGE_NAME, "")
    if not name:
        name = entry.annotations.get(REF_NAME, "")
        if not {"/", ":"} & set(name):
            return None  # a bare tag: of what, it does not say
    try:
        parsed = reference.parse(name).with_default_tag()
    except OrlopError:
        return None  # other programs write other things there
    return parsed.familiar if parsed.digest is None else None


def parse_docker(data: bytes, archive: Archive) -> tuple[DockerImage, ...]:
    """The images of an archive's manifest.json; raises InvalidArgument."""
    raw = document.decode(data, tuple[_DockerImage, ...], "manifest.json")
    if len(raw) > MAX_IMAGES:
        raise InvalidArgument(f"the image archive has more than {MAX_IMAGES} images")
    return tuple(
        DockerImage(
            config=archive.get(image.config),
            layers=tuple(archive.get(layer) for layer in image.layers or ()),
            tags=tuple(_tag(tag) for tag in image.repo_tags or ()),
        )
        for image in raw
    )


def _tag(text: str) -> str:
    try:
        parsed = reference.parse(text)
    except OrlopError as error:
        raise InvalidArgument(f"invalid tag {text!r:.200}: {error}") from None
    if parsed.digest is not None or not parsed.tag:
        raise InvalidArgument(f"invalid tag {text!r:.200}")
    return parsed.familiar


def index_json(images: Iterable[SavedImage]) -> bytes:
    """index.json of an archive: one entry for each tag, one for an image without any."""
    manifests = []
    for image in images:
        for tag in image.tags or ("",):
            entry = plain(image.manifest)
            if tag:
                parsed = reference.parse(tag)
                entry["annotations"] = {IMAGE_NAME: str(parsed), REF_NAME: parsed.tag}
            manifests.append(entry)
    return msgspec.json.encode(
        {"schemaVersion": 2, "mediaType": index.OCI_INDEX, "manifests": manifests}
    )


def docker_json(images: Iterable[SavedImage]) -> bytes:
    """manifest.json of an archive."""
    return msgspec.json.encode(
        [
            {
                "Config": blob_name(image.config.digest),
                "RepoTags": list(image.tags) or None,
                "Layers": [blob_name(layer.digest) for layer in image.layers],
            }
            for image in images
        ]
    )


def repositories_json(images: Iterable[SavedImage]) -> bytes:
    """repositories of an archive: name → tag → top layer, for readers of before 2016."""
    names: dict[str, dict[str, str]] = {}
    for image in images:
        for tag in image.tags:
            name, _, version = tag.rpartition(":")
            top = image.layers[-1].digest.encoded if image.layers else ""
            names.setdefault(name, {})[version] = top
    return msgspec.json.encode(names)
