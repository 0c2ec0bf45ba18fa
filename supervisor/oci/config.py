"""The image configuration (OCI image-spec, config.md; docker's image JSON is a superset).

An image's id is the digest of exactly these bytes, so a config is decoded for reading
and never encoded again. Go writes null for an empty list or map; here those are () and {}.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from supervisor.errors import InvalidArgument
from supervisor.oci.digest import Digest

MEDIA_TYPE = "application/vnd.oci.image.config.v1+json"
MAX_SIZE = 4 << 20
"""Bytes of the largest config accepted; docker's limit for a manifest is the same 4 MiB."""
ZERO_TIME = "0001-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """How a container of an image runs by default.

    `volumes` are absolute paths, `exposed_ports` "80/tcp"; `healthcheck` is docker's
    object as it stands (Test, Interval and so on in nanoseconds), None without one.
    """

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    cwd: str = ""
    user: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    stop_signal: str = ""
    volumes: tuple[str, ...] = ()
    exposed_ports: tuple[str, ...] = ()
    healthcheck: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFile:
    """A decoded image configuration; `created` is RFC 3339 text, `diff_ids` lowest first."""

    architecture: str
    os: str
    created: str = ZERO_TIME
    author: str = ""
    comment: str = ""
    variant: str = ""
    diff_ids: tuple[Digest, ...] = ()
    config: ImageConfig = ImageConfig()


class _Section(msgspec.Struct, rename="pascal", omit_defaults=True):
    user: str | None = None
    exposed_ports: dict[str, Any] | None = None
    env: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    volumes: dict[str, Any] | None = None
    working_dir: str | None = None
    labels: dict[str, str] | None = None
    stop_signal: str | None = None
    healthcheck: dict[str, Any] | None = None


class _RootFs(msgspec.Struct):
    type: str
    diff_ids: tuple[str, ...] | None


class _History(msgspec.Struct, omit_defaults=True):
    created: str = ""
    created_by: str = ""
    comment: str = ""


class _File(msgspec.Struct, omit_defaults=True):
    architecture: str
    os: str
    rootfs: _RootFs
    created: str | None = None
    author: str | None = None
    comment: str | None = None
    variant: str | None = None
    config: _Section | None = None
    history: tuple[_History, ...] | None = None


def parse(data: bytes) -> ConfigFile:
    """Decode a config; raises InvalidArgument naming what is wrong."""
    if len(data) > MAX_SIZE:
        raise InvalidArgument(f"image config is larger than {MAX_SIZE} bytes")
    try:
        file = msgspec.json.decode(data, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidArgument(f"invalid image config: {error}") from None
    if file.rootfs.type != "layers":
        raise InvalidArgument(f"invalid image config: rootfs type {file.rootfs.type!r:.40}")
    return ConfigFile(
        architecture=file.architecture,
        os=file.os,
        created=file.created or ZERO_TIME,
        author=file.author or "",
        comment=file.comment or "",
        variant=file.variant or "",
        diff_ids=tuple(Digest.parse(diff_id) for diff_id in file.rootfs.diff_ids or ()),
        config=_image_config(file.config or _Section()),
    )


def _image_config(section: _Section) -> ImageConfig:
    return ImageConfig(
        entrypoint=section.entrypoint or (),
        cmd=section.cmd or (),
        env=section.env or (),
        cwd=section.working_dir or "",
        user=section.user or "",
        labels=section.labels or {},
        stop_signal=section.stop_signal or "",
        volumes=tuple(sorted(section.volumes or ())),
        exposed_ports=tuple(sorted(section.exposed_ports or ())),
        healthcheck=section.healthcheck,
    )


def encode(file: ConfigFile, *, created_by: str) -> bytes:
    """The config of a new image whose layers all come from one step, `created_by`."""
    config = file.config
    section = _Section(
        user=config.user or None,
        exposed_ports={port: {} for port in config.exposed_ports} or None,
        env=config.env or None,
        entrypoint=config.entrypoint or None,
        cmd=config.cmd or None,
        volumes={path: {} for path in config.volumes} or None,
        working_dir=config.cwd or None,
        labels=config.labels or None,
        stop_signal=config.stop_signal or None,
        healthcheck=config.healthcheck,
    )
    return msgspec.json.encode(
        _File(
            architecture=file.architecture,
            os=file.os,
            created=file.created,
            author=file.author or None,
            comment=file.comment or None,
            variant=file.variant or None,
            config=section,
            rootfs=_RootFs(type="layers", diff_ids=tuple(str(d) for d in file.diff_ids)),
            history=tuple(_History(file.created, created_by) for _ in file.diff_ids),
        )
    )


def format_time(seconds: int) -> str:
    """RFC 3339 in UTC, as in `created`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def unix_seconds(created: str) -> int:
    """`created` as seconds since the epoch; 0 for what is no time or is Go's zero time."""
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        return 0
    if moment.tzinfo is None or moment.year < 1970:
        return 0
    return int(moment.timestamp())
