"""JSON of the volume endpoints, the list's filters, and what a volume may be called."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from supervisor.docker.decode import convert, decode_object
from supervisor.docker.filters import Filters, check_known, fits_labels, flag
from supervisor.errors import InvalidArgument
from supervisor.spec.mount_points import DRIVER

ANONYMOUS_LABEL = "com.docker.volume.anonymous"
NAME_CHARACTERS = "[a-zA-Z0-9][a-zA-Z0-9_.-]"
MAX_NAME = 255  # a folder's name (NAME_MAX)

_NAME = re.compile(NAME_CHARACTERS + "+", re.ASCII)
_LIST_FILTERS = frozenset({"dangling", "driver", "label", "name"})
_PRUNE_FILTERS = frozenset({"all", "label", "label!"})


class VolumeLike(Protocol):
    """A volume: `created` RFC 3339, `mountpoint` its folder on the host."""

    @property
    def name(self) -> str: ...
    @property
    def labels(self) -> Mapping[str, str]: ...
    @property
    def options(self) -> Mapping[str, str]: ...
    @property
    def created(self) -> str: ...
    @property
    def mountpoint(self) -> str: ...


class VolumeBody(msgspec.Struct, rename="pascal", frozen=True, kw_only=True):
    """The body of POST /volumes/create; without a name it gets one."""

    name: str = ""
    driver: str = ""
    driver_opts: dict[str, str] = {}
    labels: dict[str, str] = {}
    cluster_volume_spec: dict[str, Any] | None = None


def decode_volume(raw: bytes) -> VolumeBody:
    """The request body; InvalidArgument for what cannot be."""
    body = convert(decode_object(raw), VolumeBody)
    if body.cluster_volume_spec is not None:
        raise InvalidArgument("ClusterVolumeSpec: cluster volumes are not supported")
    if body.driver not in ("", DRIVER):
        raise InvalidArgument(
            f"create {body.name:.80}: volume driver {body.driver!r:.80} not found: give {DRIVER}"
        )
    if body.name:
        check_volume_name(body.name)
    return body


def check_volume_name(name: str) -> None:
    """InvalidArgument, in docker's words, for what cannot be a volume's name."""
    if len(name) == 1 and _NAME.fullmatch(name * 2):
        raise InvalidArgument(
            f"create {name}: volume name is too short, names should be at least two "
            "alphanumeric characters"
        )
    if not _NAME.fullmatch(name):
        raise InvalidArgument(
            f'create {name:.80}: "{name:.80}" includes invalid characters for a local volume '
            f'name, only "{NAME_CHARACTERS}" are allowed. If you intended to pass a host '
            "directory, use absolute path"
        )
    if len(name) > MAX_NAME:
        raise InvalidArgument(
            f"create {name:.40}…: the volume's name has {len(name)} characters, "
            f"{MAX_NAME} are possible"
        )


def volume_json(volume: VolumeLike) -> dict[str, Any]:
    """The volume with docker's field names and types."""
    return {
        "CreatedAt": volume.created,
        "Driver": DRIVER,
        "Labels": dict(volume.labels) or None,
        "Mountpoint": volume.mountpoint,
        "Name": volume.name,
        "Options": dict(volume.options) or None,
        "Scope": "local",
    }


def check_list_filters(filters: Filters) -> None:
    """InvalidArgument for a filter that the list does not know."""
    check_known(filters, _LIST_FILTERS)


def check_prune_filters(filters: Filters) -> None:
    """InvalidArgument for a filter that pruning does not know."""
    check_known(filters, _PRUNE_FILTERS)


def volume_matches(volume: VolumeLike, filters: Filters, *, used: bool) -> bool:
    """True if the list is to show the volume; `used`: a container has it. Checked filters only.

    A name matches in part, all labels must be there.
    """
    dangling = flag(filters, "dangling")
    if dangling is not None and dangling == used:
        return False
    names, drivers = filters.get("name", ()), filters.get("driver", ())
    return (
        (not names or any(name in volume.name for name in names))
        and (not drivers or DRIVER in drivers)
        and fits_labels(volume.labels, filters.get("label", ()))
    )


def prune_matches(volume: VolumeLike, filters: Filters, *, everything: bool) -> bool:
    """True if an unused volume is to go: an anonymous one, or any with `everything`."""
    return (everything or ANONYMOUS_LABEL in volume.labels) and fits_labels(
        volume.labels, filters.get("label", ()), filters.get("label!", ())
    )


def pruned_json(names: Sequence[str], reclaimed: int) -> dict[str, Any]:
    """The answer to a pruning; `reclaimed` in bytes."""
    return {"VolumesDeleted": names, "SpaceReclaimed": reclaimed}
