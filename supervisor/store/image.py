"""An image as the store knows it, and its record in the database."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from supervisor.errors import InvalidArgument, OrlopError
from supervisor.oci import config as oci_config
from supervisor.oci.chain import chain_ids
from supervisor.oci.config import ConfigFile, ImageConfig
from supervisor.oci.digest import Digest

# 2: layer_sizes and repo_digests; a record of version 1 has one layer and no digests.
RECORD_VERSION = 2


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """One image.

    `id` is the digest of `config_json`; `tags` are familiar ("busybox:latest"), sorted, and
    so are `repo_digests` ("busybox@sha256:…"): the manifests by which registries know it.
    `created` and `last_tagged` RFC 3339 text; `size` the bytes in the files of all layers,
    `layer_sizes` those of each; `layers` diff ids, lowest first; `blobs` the digests of all
    that is stored for it, `manifest` among them: what is saved and pushed. `parent` is the
    image on this host that it was committed from, "" without one. `removed` keeps
    the layers of an image that is gone by name and id, for containers that still run on
    them.
    """

    id: str
    tags: tuple[str, ...] = ()
    repo_digests: tuple[str, ...] = ()
    created: str = oci_config.ZERO_TIME
    size: int = 0
    layer_sizes: tuple[int, ...] = ()
    layers: tuple[str, ...] = ()
    architecture: str = ""
    variant: str = ""
    os: str = "linux"
    author: str = ""
    comment: str = ""
    config: ImageConfig = msgspec.field(default_factory=ImageConfig)
    last_tagged: str = oci_config.ZERO_TIME
    manifest: str = ""
    blobs: tuple[str, ...] = ()
    parent: str = ""
    removed: bool = False
    config_json: bytes = b""

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
    layer_sizes: Iterable[int],
    manifest: str,
    blobs: Iterable[str],
    tags: Iterable[str] = (),
    repo_digests: Iterable[str] = (),
    last_tagged: str = oci_config.ZERO_TIME,
    parent: str = "",
    removed: bool = False,
) -> Image:
    """The image that a config describes; raises InvalidArgument for a config that is none."""
    file: ConfigFile = oci_config.parse(config_json)
    sizes = tuple(layer_sizes)
    return Image(
        id=str(Digest.of(config_json)),
        tags=tuple(sorted(tags)),
        repo_digests=tuple(sorted(repo_digests)),
        created=file.created,
        size=sum(sizes),
        layer_sizes=sizes,
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
        parent=parent,
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
    repo_digests: tuple[str, ...] = ()
    last_tagged: str = oci_config.ZERO_TIME
    removed: bool = False
    layer_sizes: tuple[int, ...] | None = None
    parent: str = ""

    def sizes(self) -> tuple[int, ...]:
        """Bytes in the files of each layer."""
        return (self.size,) if self.layer_sizes is None else self.layer_sizes


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
            repo_digests=image.repo_digests,
            last_tagged=image.last_tagged,
            removed=image.removed,
            layer_sizes=image.layer_sizes,
            parent=image.parent,
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
            layer_sizes=record.sizes(),
            manifest=record.manifest,
            blobs=record.blobs,
            tags=record.tags,
            repo_digests=record.repo_digests,
            last_tagged=record.last_tagged,
            parent=record.parent,
            removed=record.removed,
        )
    except (msgspec.DecodeError, UnicodeError, OrlopError) as error:
        raise ValueError(f"record of image {id}: {error}") from None
    if image.id != id:
        raise ValueError(f"record of image {id}: its config is that of {image.id}")
    return image
