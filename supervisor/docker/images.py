"""JSON of the image endpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from supervisor.docker.create import ImageConfigLike
from supervisor.docker.decode import convert, decode_object
from supervisor.docker.image_filters import Names
from supervisor.errors import InvalidArgument
from supervisor.oci import platform
from supervisor.oci.config import unix_seconds
from supervisor.oci.platform import Platform

UNKNOWN = -1
"""A size or number that was not asked for."""


class ImageConfigShown(ImageConfigLike, Protocol):
    """What an image's config says, also what does nothing for a container."""

    @property
    def on_build(self) -> Sequence[str]: ...
    @property
    def shell(self) -> Sequence[str]: ...
    @property
    def healthcheck(self) -> dict[str, Any] | None: ...


class ImageLike(Protocol):
    """An image of the store: `id` "sha256:…", `created` RFC 3339, `layers` diff ids."""

    @property
    def id(self) -> str: ...
    @property
    def tags(self) -> Sequence[str]: ...
    @property
    def repo_digests(self) -> Sequence[str]: ...
    @property
    def parent(self) -> str: ...
    @property
    def created(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def layer_sizes(self) -> Sequence[int]: ...
    @property
    def layers(self) -> Sequence[object]: ...
    @property
    def architecture(self) -> str: ...
    @property
    def variant(self) -> str: ...
    @property
    def os(self) -> str: ...
    @property
    def author(self) -> str: ...
    @property
    def comment(self) -> str: ...
    @property
    def last_tagged(self) -> str: ...
    @property
    def config(self) -> ImageConfigShown: ...


class ScratchBody(msgspec.Struct, frozen=True, kw_only=True):
    """The programs of the host that go into the image; none = busybox."""

    binaries: tuple[str, ...] = ()


class FolderBody(msgspec.Struct, frozen=True, kw_only=True):
    """The folder of the host that becomes an image's only layer."""

    path: str


def decode_scratch(raw: bytes) -> ScratchBody:
    """The body of POST /orlop/images/scratch; an empty one is all defaults."""
    body = convert(decode_object(raw), ScratchBody) if raw.strip() else ScratchBody()
    for path in body.binaries:
        if not path or "\0" in path:
            raise InvalidArgument(f"invalid value for binaries: {path!r:.200} is no program's path")
    return body


def decode_folder(raw: bytes) -> FolderBody:
    """The body of POST /orlop/images/from that names a folder."""
    body = convert(decode_object(raw), FolderBody)
    if not body.path.startswith("/") or "\0" in body.path:
        raise InvalidArgument(f"invalid value for path: {body.path!r:.200} is no absolute path")
    return body


class ImageNumbers(msgspec.Struct, frozen=True, kw_only=True):
    """What a row of the list has besides the image: containers made of it, shared bytes."""

    containers: int = UNKNOWN
    shared_size: int = UNKNOWN


def summary_json(
    image: ImageLike, names: Names | None = None, numbers: ImageNumbers | None = None
) -> dict[str, Any]:
    """One row of `docker images`, shown by `names` (None: all it has)."""
    names = names or Names(tuple(image.tags), tuple(image.repo_digests))
    numbers = numbers or ImageNumbers()
    return {
        "Containers": numbers.containers,
        "Created": unix_seconds(image.created),
        "Id": image.id,
        "Labels": image.config.labels or None,
        "ParentId": image.parent,
        "RepoDigests": names.digests,
        "RepoTags": names.tags,
        "SharedSize": numbers.shared_size,
        "Size": image.size,
    }


def image_json(image: ImageLike, layer_folders: Sequence[str] = ()) -> dict[str, Any]:
    """The image with docker's field names and types; `layer_folders` top-most first."""
    config = image.config
    return {
        "Id": image.id,
        "RepoTags": image.tags,
        "RepoDigests": image.repo_digests,
        "Parent": image.parent,
        "Comment": image.comment,
        "Created": image.created,
        "DockerVersion": "",
        "Author": image.author,
        "Architecture": image.architecture,
        "Variant": image.variant,
        "Os": image.os,
        "Size": image.size,
        "GraphDriver": {"Name": "overlay2", "Data": _folders(layer_folders)},
        "RootFS": {"Type": "layers", "Layers": [str(layer) for layer in image.layers]},
        "Metadata": {"LastTagTime": image.last_tagged},
        "Config": {
            "User": config.user,
            "ExposedPorts": {port: {} for port in config.exposed_ports} or None,
            "Env": config.env,
            "Cmd": config.cmd or None,
            "Volumes": {path: {} for path in config.volumes} or None,
            "WorkingDir": config.cwd,
            "Entrypoint": config.entrypoint or None,
            "OnBuild": config.on_build or None,
            "Labels": config.labels or None,
            "StopSignal": config.stop_signal,
            **({"Healthcheck": config.healthcheck} if config.healthcheck else {}),
            **({"Shell": config.shell} if config.shell else {}),
        },
    }


def _folders(folders: Sequence[str]) -> dict[str, str] | None:
    """Docker's names for an image's folders, without those of mounts that nobody makes here."""
    if not folders:
        return None
    lower = {"LowerDir": ":".join(folders[1:])} if len(folders) > 1 else {}
    return {**lower, "UpperDir": folders[0]}


class _PlatformBody(msgspec.Struct):
    os: str = "linux"
    architecture: str = ""
    variant: str = ""


def decode_platform(text: str) -> Platform | None:
    """The query parameter `platform`: os/arch[/variant], or docker's JSON of one; None for ""."""
    if not text.startswith("{"):
        return platform.parse(text) if text else None
    body = convert(decode_object(text.encode()), _PlatformBody)
    return platform.parse("/".join(filter(None, (body.os, body.architecture, body.variant))))
