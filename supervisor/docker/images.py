"""JSON of the image endpoints, and the image list's filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Protocol

import msgspec

from supervisor.docker.create import ImageConfigLike
from supervisor.docker.decode import convert, decode_object
from supervisor.docker.filters import Filters, flag
from supervisor.errors import InvalidArgument
from supervisor.oci.config import unix_seconds

_FILTERS = frozenset({"dangling", "label", "reference"})


class ImageLike(Protocol):
    """An image of the store: `id` "sha256:…", `created` RFC 3339, `layers` diff ids."""

    @property
    def id(self) -> str: ...
    @property
    def tags(self) -> Sequence[str]: ...
    @property
    def created(self) -> str: ...
    @property
    def size(self) -> int: ...
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
    def config(self) -> ImageConfigLike: ...


class ScratchBody(msgspec.Struct, frozen=True, kw_only=True):
    """The programs of the host that go into the image; none = busybox."""

    binaries: tuple[str, ...] = ()


def decode_scratch(raw: bytes) -> ScratchBody:
    """The body of POST /orlop/images/scratch; an empty one is all defaults."""
    body = convert(decode_object(raw), ScratchBody) if raw.strip() else ScratchBody()
    for path in body.binaries:
        if not path or "\0" in path:
            raise InvalidArgument(f"invalid value for binaries: {path!r:.200} is no program's path")
    return body


def check_image_filters(filters: Filters) -> None:
    """InvalidArgument for a filter that the image list does not know."""
    for name in filters:
        if name not in _FILTERS:
            raise InvalidArgument(f"invalid filter '{name:.80}'")


def image_matches(image: ImageLike, filters: Filters) -> bool:
    """True if the list is to show the image; checked filters only.

    `reference` values are patterns of a name, or of name and tag; one must fit. All labels
    must be there.
    """
    dangling = flag(filters, "dangling")
    if dangling is not None and dangling == bool(image.tags):
        return False
    if not all(_has_label(image.config.labels, label) for label in filters.get("label", ())):
        return False
    patterns = filters.get("reference", ())
    return not patterns or any(_refers(tag, p) for tag in image.tags for p in patterns)


def summary_json(image: ImageLike) -> dict[str, Any]:
    """One row of `docker images`."""
    return {
        "Containers": -1,
        "Created": unix_seconds(image.created),
        "Id": image.id,
        "Labels": image.config.labels or None,
        "ParentId": "",
        "RepoDigests": (),
        "RepoTags": image.tags,
        "SharedSize": -1,
        "Size": image.size,
    }


def image_json(image: ImageLike) -> dict[str, Any]:
    """The image with docker's field names and types."""
    config = image.config
    return {
        "Id": image.id,
        "RepoTags": image.tags,
        "RepoDigests": (),
        "Parent": "",
        "Comment": image.comment,
        "Created": image.created,
        "DockerVersion": "",
        "Author": image.author,
        "Architecture": image.architecture,
        "Variant": image.variant,
        "Os": image.os,
        "Size": image.size,
        "GraphDriver": {"Name": "overlay2", "Data": None},
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
            "OnBuild": None,
            "Labels": config.labels or None,
            "StopSignal": config.stop_signal,
        },
    }


def _has_label(labels: Mapping[str, str], wanted: str) -> bool:
    name, equals, value = wanted.partition("=")
    return name in labels and (not equals or labels[name] == value)


def _refers(tag: str, pattern: str) -> bool:
    name, colon, _ = tag.rpartition(":")
    return fnmatchcase(tag, pattern) or (bool(colon) and fnmatchcase(name, pattern))
