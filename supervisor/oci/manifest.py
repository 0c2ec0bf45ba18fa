"""Image manifests (OCI image-spec, manifest.md; docker's image manifest v2 schema 2)."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from supervisor.errors import InvalidArgument
from supervisor.oci import config
from supervisor.oci.digest import Digest

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
OCI_LAYER_TAR = "application/vnd.oci.image.layer.v1.tar"
MAX_SIZE = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """What a blob is and where: media type, digest, size in bytes."""

    media_type: str
    digest: Digest
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One platform's image: its config and its layers, lowest first."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    media_type: str = OCI_MANIFEST


class _Descriptor(msgspec.Struct, rename="camel"):
    media_type: str
    digest: str
    size: int

    def checked(self) -> Descriptor:
        if self.size < 0:
            raise InvalidArgument(f"invalid manifest: size {self.size}")
        return Descriptor(
            media_type=self.media_type, digest=Digest.parse(self.digest), size=self.size
        )


class _File(msgspec.Struct, rename="camel"):
    schema_version: int
    config: _Descriptor
    layers: tuple[_Descriptor, ...]
    media_type: str = OCI_MANIFEST


def encode(manifest: Manifest) -> bytes:
    """The manifest's bytes; their digest is the manifest's."""
    return msgspec.json.encode(
        {
            "schemaVersion": 2,
            "mediaType": manifest.media_type,
            "config": _plain(manifest.config),
            "layers": [_plain(layer) for layer in manifest.layers],
        }
    )


def _plain(descriptor: Descriptor) -> dict[str, str | int]:
    return {
        "mediaType": descriptor.media_type,
        "digest": str(descriptor.digest),
        "size": descriptor.size,
    }


def parse(data: bytes) -> Manifest:
    """Decode a manifest; raises InvalidArgument naming what is wrong."""
    if len(data) > MAX_SIZE:
        raise InvalidArgument(f"image manifest is larger than {MAX_SIZE} bytes")
    try:
        file = msgspec.json.decode(data, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidArgument(f"invalid image manifest: {error}") from None
    if file.schema_version != 2 or file.media_type not in (OCI_MANIFEST, DOCKER_MANIFEST):
        raise InvalidArgument(
            f"unsupported manifest: schema {file.schema_version}, {file.media_type!r:.80}"
        )
    return Manifest(
        config=file.config.checked(),
        layers=tuple(layer.checked() for layer in file.layers),
        media_type=file.media_type,
    )


def of_layer(config_json: bytes, layer: Digest, layer_size: int) -> Manifest:
    """The manifest of an image with one uncompressed layer."""
    return Manifest(
        config=Descriptor(
            media_type=config.MEDIA_TYPE, digest=Digest.of(config_json), size=len(config_json)
        ),
        layers=(Descriptor(media_type=OCI_LAYER_TAR, digest=layer, size=layer_size),),
    )
