"""Image manifests (OCI image-spec, manifest.md; docker's image manifest v2 schema 2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from supervisor.errors import InvalidArgument
from supervisor.oci import config, document
from supervisor.oci.digest import Digest

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
OCI_LAYER_TAR = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = f"{OCI_LAYER_TAR}+gzip"
OCI_LAYER_ZSTD = f"{OCI_LAYER_TAR}+zstd"
DOCKER_LAYER_TAR = "application/vnd.docker.image.rootfs.diff.tar"
MAX_SIZE = document.MAX_SIZE
MAX_LAYERS = 500
"""Layers of the largest image accepted: as many as overlayfs stacks (OVL_MAX_STACK)."""

_SCHEMA_1 = (
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/vnd.docker.distribution.manifest.v1+json",
)
_LAYERS = frozenset(
    {
        OCI_LAYER_TAR,
        OCI_LAYER_GZIP,
        OCI_LAYER_ZSTD,
        DOCKER_LAYER_TAR,
        f"{DOCKER_LAYER_TAR}.gzip",
        f"{DOCKER_LAYER_TAR}.zstd",
    }
)
_FOREIGN = ("application/vnd.docker.image.rootfs.foreign.", ".nondistributable.")
# Old registries give docker's config one of the latter types; docker takes them, too.
_CONFIGS = frozenset(
    {
        config.MEDIA_TYPE,
        "application/vnd.docker.container.image.v1+json",
        "application/octet-stream",
        "application/json",
        "",
    }
)


class Descriptor(msgspec.Struct, frozen=True, kw_only=True):
    """What a blob is and where: media type, digest, size in bytes."""

    media_type: str
    digest: Digest
    size: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """One platform's image: its config and its layers, lowest first."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    media_type: str = OCI_MANIFEST


class RawDescriptor(msgspec.Struct, rename="camel"):
    """A descriptor as it stands; unknown members and annotations are nothing to us."""

    digest: str
    size: int
    media_type: str = ""
    urls: tuple[str, ...] | None = None

    def checked(self) -> Descriptor:
        """The descriptor, with a digest that may be a file name; raises InvalidArgument."""
        if not 0 <= self.size < 1 << 63:
            raise InvalidArgument(f"invalid manifest: size {self.size}")
        return Descriptor(
            media_type=self.media_type, digest=Digest.parse(self.digest), size=self.size
        )


class _File(msgspec.Struct, rename="camel"):
    schema_version: int
    config: RawDescriptor | None = None
    layers: tuple[RawDescriptor, ...] | None = None
    media_type: str = OCI_MANIFEST
    manifests: Any = None


def encode(manifest: Manifest) -> bytes:
    """The manifest's bytes; their digest is the manifest's."""
    return msgspec.json.encode(
        {
            "schemaVersion": 2,
            "mediaType": manifest.media_type,
            "config": plain(manifest.config),
            "layers": [plain(layer) for layer in manifest.layers],
        }
    )


def plain(descriptor: Descriptor) -> dict[str, Any]:
    """The descriptor as a JSON object."""
    return {
        "mediaType": descriptor.media_type,
        "digest": str(descriptor.digest),
        "size": descriptor.size,
    }


def parse(data: bytes) -> Manifest:
    """Decode a manifest; raises InvalidArgument naming what is wrong."""
    file = document.decode(data, _File, "image manifest")
    refuse_schema_1(file.schema_version, file.media_type)
    if file.schema_version != 2 or file.media_type not in (OCI_MANIFEST, DOCKER_MANIFEST):
        raise InvalidArgument(
            f"unsupported manifest: schema {file.schema_version}, {file.media_type!r:.80}"
        )
    if file.config is None or file.layers is None:
        raise InvalidArgument("invalid image manifest: it has no config or no layers")
    if file.manifests is not None:
        # Who reads it as an index would run something else (CVE-2021-41190).
        raise InvalidArgument("invalid image manifest: it is both a manifest and an index")
    if len(file.layers) > MAX_LAYERS:
        raise InvalidArgument(f"the image has {len(file.layers)} layers, at most {MAX_LAYERS}")
    for layer in file.layers:
        if layer.urls or any(word in layer.media_type for word in _FOREIGN):
            raise InvalidArgument(
                f"the layer {layer.digest!r:.100} is foreign: its content is kept elsewhere, at "
                "addresses that the image chooses, which is refused"
            )
    return Manifest(
        config=file.config.checked(),
        layers=tuple(layer.checked() for layer in file.layers),
        media_type=file.media_type,
    )


def refuse_schema_1(version: int, media_type: str) -> None:
    """InvalidArgument for docker's manifest of before 2016, which names layers unverified."""
    if version == 1 or media_type in _SCHEMA_1:
        raise InvalidArgument(
            "the image has a manifest of docker's schema 1, which is not supported: push it "
            "again with docker 1.10 or later"
        )


def require_image(manifest: Manifest) -> None:
    """InvalidArgument for a manifest of something other than a container's image."""
    if manifest.config.media_type not in _CONFIGS:
        raise InvalidArgument(
            f"this is no container image: its config is of type {manifest.config.media_type!r:.100}"
        )
    require_layers(manifest.layers)


def require_layers(layers: Sequence[Descriptor]) -> None:
    """InvalidArgument for blobs that are no layers by their media type."""
    for layer in layers:
        if layer.media_type not in _LAYERS:
            raise InvalidArgument(
                f"layer {layer.digest} has an unsupported media type {layer.media_type!r:.100}"
            )


def of_layer(config_json: bytes, layer: Digest, layer_size: int) -> Manifest:
    """The manifest of an image with one uncompressed layer."""
    return of_layers(
        config_json, [Descriptor(media_type=OCI_LAYER_TAR, digest=layer, size=layer_size)]
    )


def of_layers(config_json: bytes, layers: Sequence[Descriptor]) -> Manifest:
    """The manifest of an image made here; docker's layers, of a parent, in OCI's terms."""
    return Manifest(
        config=Descriptor(
            media_type=config.MEDIA_TYPE, digest=Digest.of(config_json), size=len(config_json)
        ),
        layers=tuple(replace(layer, media_type=_in_oci_terms(layer)) for layer in layers),
    )


def _in_oci_terms(layer: Descriptor) -> str:
    head, dot, compression = layer.media_type.partition(f"{DOCKER_LAYER_TAR}.")
    if dot and not head:
        return f"{OCI_LAYER_TAR}+{compression}"
    return OCI_LAYER_TAR if layer.media_type == DOCKER_LAYER_TAR else layer.media_type


def layer_type(magic: bytes) -> str | None:
    """The media type of a layer blob by its first four bytes; None for a compression that
    has none (bzip2, xz).
    """
    if magic[:2] == b"\x1f\x8b":
        return OCI_LAYER_GZIP
    if magic == b"\x28\xb5\x2f\xfd":
        return OCI_LAYER_ZSTD
    if magic[:3] == b"BZh" or magic == b"\xfd7zX":
        return None
    return OCI_LAYER_TAR
