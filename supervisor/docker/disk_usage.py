"""GET /system/df: what takes how much room on the disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from supervisor.docker.images import ImageLike, ImageNumbers, summary_json
from supervisor.docker.listing import summary_json as container_json
from supervisor.docker.views import ContainerView
from supervisor.docker.volumes import VolumeLike, volume_json
from supervisor.errors import InvalidArgument

OBJECTS = ("container", "image", "volume", "build-cache")
"""Values of the query parameter `type`."""


class ImageUsage(msgspec.Struct, frozen=True, kw_only=True):
    """An image: how many containers are made of it, bytes in layers that others have, too."""

    image: ImageLike
    containers: int
    shared_size: int


class ContainerUsage(msgspec.Struct, frozen=True, kw_only=True):
    """A container: bytes it has written, bytes of all it sees as its root."""

    view: ContainerView
    written: int
    whole: int


class VolumeUsage(msgspec.Struct, frozen=True, kw_only=True):
    """A volume: bytes of disk, and how many containers have it."""

    volume: VolumeLike
    size: int
    users: int


class DiskUsage(msgspec.Struct, frozen=True, kw_only=True):
    """None for what was not asked about; `layers_size` counts each layer once."""

    layers_size: int = 0
    images: Sequence[ImageUsage] | None = None
    containers: Sequence[ContainerUsage] | None = None
    volumes: Sequence[VolumeUsage] | None = None


def wanted_objects(types: Sequence[str]) -> frozenset[str]:
    """What `type` parameters ask about, all without any; InvalidArgument for others."""
    for name in types:
        if name not in OBJECTS:
            raise InvalidArgument(f"unknown object type: {name:.40}")
    return frozenset(types or OBJECTS)


def disk_usage_json(usage: DiskUsage, now_ns: int) -> dict[str, Any]:
    """Docker's answer; `now_ns` is the wall clock."""
    return {
        "LayersSize": usage.layers_size,
        "Images": None if usage.images is None else [_image(row) for row in usage.images],
        "Containers": None
        if usage.containers is None
        else [_container(row, now_ns) for row in usage.containers],
        "Volumes": None if usage.volumes is None else [_volume(row) for row in usage.volumes],
        "BuildCache": [],
    }


def _image(row: ImageUsage) -> dict[str, Any]:
    numbers = ImageNumbers(containers=row.containers, shared_size=row.shared_size)
    return summary_json(row.image, None, numbers)


def _container(row: ContainerUsage, now_ns: int) -> dict[str, Any]:
    sizes = {"SizeRw": row.written, "SizeRootFs": row.whole}
    return {**container_json(row.view, now_ns), **sizes}


def _volume(row: VolumeUsage) -> dict[str, Any]:
    return {
        **volume_json(row.volume),
        "UsageData": {"RefCount": row.users, "Size": row.size},
    }
