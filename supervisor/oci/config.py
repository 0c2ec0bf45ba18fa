"""The image configuration (OCI image-spec, config.md; docker's image JSON is a superset).

An image's id is the digest of exactly these bytes, so a config is decoded for reading and
never encoded again; a new image's is derived from its parent's (`supervisor.oci.derive`).
Go writes null for an empty list or map; here those are () and {}.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec

from supervisor.errors import InvalidArgument
from supervisor.oci import document
from supervisor.oci.digest import Digest

MEDIA_TYPE = "application/vnd.oci.image.config.v1+json"
MAX_SIZE = document.MAX_SIZE
ZERO_TIME = "0001-01-01T00:00:00Z"

_Int64 = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]


class ImageConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How a container of an image runs by default.

    `volumes` are absolute paths, `exposed_ports` "80/tcp"; `healthcheck` is docker's
    object as it stands (Test, Interval and so on in nanoseconds), None without one;
    `on_build` are the instructions for images built from this one, `shell` what the shell
    forms of its own were run with.
    """

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    cwd: str = ""
    user: str = ""
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    stop_signal: str = ""
    volumes: tuple[str, ...] = ()
    exposed_ports: tuple[str, ...] = ()
    healthcheck: dict[str, Any] | None = None
    on_build: tuple[str, ...] = ()
    shell: tuple[str, ...] = ()


class ConfigFile(msgspec.Struct, frozen=True, kw_only=True):
    """A decoded image configuration; `created` is RFC 3339 text, `diff_ids` lowest first."""

    architecture: str
    os: str
    created: str = ZERO_TIME
    author: str = ""
    comment: str = ""
    variant: str = ""
    diff_ids: tuple[Digest, ...] = ()
    config: ImageConfig = ImageConfig()


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """How one layer came to be, or what else was done (`empty_layer`); texts as they stand."""

    created: str = ZERO_TIME
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


class _Healthcheck(msgspec.Struct, rename="pascal", omit_defaults=True):
    test: list[str] | None = None
    interval: _Int64 | None = None
    timeout: _Int64 | None = None
    start_period: _Int64 | None = None
    start_interval: _Int64 | None = None
    retries: _Int64 | None = None


class _Section(msgspec.Struct, rename="pascal", omit_defaults=True):
    user: str | None = None
    exposed_ports: dict[str, document.Empty | None] | None = None
    env: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    volumes: dict[str, document.Empty | None] | None = None
    working_dir: str | None = None
    labels: dict[str, str] | None = None
    stop_signal: str | None = None
    healthcheck: _Healthcheck | None = None
    on_build: tuple[str, ...] | None = None
    shell: tuple[str, ...] | None = None


class _RootFs(msgspec.Struct):
    type: str
    diff_ids: tuple[str, ...] | None


class _History(msgspec.Struct, omit_defaults=True):
    created: str | None = None
    created_by: str | None = None
    author: str | None = None
    comment: str | None = None
    empty_layer: bool | None = None


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
    """Decode a config; raises InvalidArgument naming what is wrong.

    Whether its history fits its layers is not looked at: docker runs images where it does not.
    """
    file = document.decode(data, _File, "image config")
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


def parse_history(data: bytes) -> tuple[HistoryEntry, ...]:
    """The history of a config that `parse` takes, oldest first; () without one."""
    file = document.decode(data, _File, "image config")
    return tuple(
        HistoryEntry(
            created=entry.created or ZERO_TIME,
            created_by=entry.created_by or "",
            author=entry.author or "",
            comment=entry.comment or "",
            empty_layer=bool(entry.empty_layer),
        )
        for entry in file.history or ()
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
        healthcheck=msgspec.to_builtins(section.healthcheck),
        on_build=section.on_build or (),
        shell=section.shell or (),
    )


def section(config: ImageConfig) -> dict[str, Any]:
    """The `config` object of a config file; what is empty is left out."""
    members: dict[str, Any] = {
        "User": config.user,
        "ExposedPorts": {port: {} for port in config.exposed_ports},
        "Env": config.env,
        "Entrypoint": config.entrypoint,
        "Cmd": config.cmd,
        "Volumes": {path: {} for path in config.volumes},
        "WorkingDir": config.cwd,
        "Labels": config.labels,
        "StopSignal": config.stop_signal,
        "Healthcheck": config.healthcheck,
        "OnBuild": config.on_build,
        "Shell": config.shell,
    }
    return {name: value for name, value in members.items() if value}


def encode(file: ConfigFile, *, created_by: str) -> bytes:
    """The config of a new image whose layers all come from one step, `created_by`."""
    members: dict[str, Any] = {
        "architecture": file.architecture,
        "os": file.os,
        "rootfs": {"type": "layers", "diff_ids": [str(d) for d in file.diff_ids]},
        "created": file.created,
        "author": file.author,
        "comment": file.comment,
        "variant": file.variant,
        "config": section(file.config),
        "history": [{"created": file.created, "created_by": created_by} for _ in file.diff_ids],
    }
    optional = ("author", "comment", "variant")
    return msgspec.json.encode(
        {name: value for name, value in members.items() if value or name not in optional}
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
