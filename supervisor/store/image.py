"""An image as the store knows it, and its record in the database."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from supervisor.errors import InvalidArgument, OrlopError
from supervisor.oci import config as oci_config
from supervisor.oci.chain import chain_ids
from supervisor.oci.config import ConfigFile, ImageConfig
from supervisor.oci.digest import Digest

RECORD_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One image.

    `id` is the digest of `config_json`; `tags` are familiar ("busybox:latest"), sorted;
    `created` and `last_tagged` RFC 3339 text; `size` the bytes in the files of all layers;
    `layers` diff ids, lowest first; `blobs` the digests of all that is stored for it,
    `manifest` among them. `removed` keeps the layers of an image that is gone by name and
    id, for containers that still run on them.
    """

    id: str
    tags: tuple[str, ...] = ()
    created: str = oci_config.ZERO_TIME
    size: int = 0
    layers: tuple[str, ...] = ()
    architecture: str = ""
    variant: str = ""
    os: str = "linux"
    author: str = ""
    comment: str = ""
    config: ImageConfig = field(default_factory=ImageConfig)
    last_tagged: str = oci_config.ZERO_TIME
    manifest: str = ""
    blobs: tuple[str, ...] = ()
    removed: bool = False
    config_json: bytes = field(default=b"", repr=False)

    @property
    def created_at(self) -> int:
        """`created` in seconds since the epoch, as image lists show it."""
        return oci_config.unix_seconds(self.created)

    @property
    def chain(self) -> tuple[Digest, ...]:
        """The chain ids of the layers, lowest first."""
        return chain_ids(Digest.parse(layer) for layer in self.layers)


def from_config(
    config_json: bytes,
    *,
    size: int,
    manifest: str,
    blobs: Iterable[str],
    tags: Iterable[str] = (),
    last_tagged: str = oci_config.ZERO_TIME,
    removed: bool = False,
) -> Image:
    """The image that a config describes; raises InvalidArgument for a config that is none."""
    file: ConfigFile = oci_config.parse(config_json)
    return Image(
        id=str(Digest.of(config_json)),
        tags=tuple(sorted(tags)),
        created=file.created,
        size=size,
        layers=tuple(str(diff_id) for diff_id in file.diff_ids),
        architecture=file.architecture,
        variant=file.variant,
        os=file.os,
        author=file.author,
        comment=file.comment,
        config=file.config,
        last_tagged=last_tagged,
        manifest=manifest,
        blobs=tuple(blobs),
        removed=removed,
        config_json=config_json,
    )


class _Record(msgspec.Struct, omit_defaults=True):
    version: int
    config: str
    size: int
    manifest: str
    blobs: tuple[str, ...]
    tags: tuple[str, ...] = ()
    last_tagged: str = oci_config.ZERO_TIME
    removed: bool = False


def encode(image: Image) -> bytes:
    """The image's record as JSON."""
    return msgspec.json.encode(
        _Record(
            version=RECORD_VERSION,
            config=image.config_json.decode(),
            size=image.size,
            manifest=image.manifest,
            blobs=image.blobs,
            tags=image.tags,
            last_tagged=image.last_tagged,
            removed=image.removed,
        )
    )


def decode(id: str, doc: bytes) -> Image:
    """The inverse of `encode`; ValueError if the record is not that of image `id`."""
    try:
        record = msgspec.json.decode(doc, type=_Record)
        if record.version > RECORD_VERSION:
            raise InvalidArgument(f"record version {record.version} is of a newer orlop")
        image = from_config(
            record.config.encode(),
            size=record.size,
            manifest=record.manifest,
            blobs=record.blobs,
            tags=record.tags,
            last_tagged=record.last_tagged,
            removed=record.removed,
        )
    except (msgspec.DecodeError, UnicodeError, OrlopError) as error:
        raise ValueError(f"record of image {id}: {error}") from None
    if image.id != id:
        raise ValueError(f"record of image {id}: its config is that of {image.id}")
    return image
