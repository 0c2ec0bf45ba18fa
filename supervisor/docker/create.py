"""The body of POST /containers/create: Docker's Config, HostConfig and NetworkingConfig.

The structs hold what the client sent, under Docker's JSON names, and are persisted and
shown by inspect in the same form. `decode_create` reads a request, `merge_image` fills in
what the image says (as dockerd does at create), `supervisor.docker.options` makes the
container's options of the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from supervisor.docker.decode import (
    Int64,
    convert,
    decode_object,
    field_names,
    looks_set,
    with_exact_names,
)
from supervisor.docker.health import Healthcheck, check_healthcheck, merge_healthcheck
from supervisor.docker.host_config import HostConfig
from supervisor.docker.network_conflicts import check_conflicts
from supervisor.errors import InvalidArgument

SHORT_ID = 12


class ImageConfigLike(Protocol):
    """What an image's config says about running it; `supervisor.store` has the real one."""

    @property
    def entrypoint(self) -> Sequence[str] | None: ...
    @property
    def cmd(self) -> Sequence[str] | None: ...
    @property
    def env(self) -> Sequence[str]: ...
    @property
    def cwd(self) -> str: ...
    @property
    def user(self) -> str: ...
    @property
    def labels(self) -> Mapping[str, str]: ...
    @property
    def stop_signal(self) -> str: ...
    @property
    def exposed_ports(self) -> Sequence[str]: ...
    @property
    def volumes(self) -> Sequence[str]: ...
    @property
    def healthcheck(self) -> Mapping[str, Any] | None: ...


class NetworkingConfig(msgspec.Struct, rename="pascal", frozen=True, kw_only=True):
    """Endpoint settings by network name, as sent."""

    endpoints_config: dict[str, Any] = {}


class CreateBody(msgspec.Struct, rename="pascal", frozen=True, kw_only=True):
    """Docker's Config (what an image can say too) with HostConfig and NetworkingConfig.

    `entrypoint` and `cmd` are None where unset: an empty entrypoint overrides the image's.
    """

    hostname: str = ""
    domainname: str = ""
    user: str = ""
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    exposed_ports: dict[str, Any] = {}
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    env: tuple[str, ...] = ()
    cmd: tuple[str, ...] | None = None
    healthcheck: Healthcheck | None = None
    args_escaped: bool = False
    image: str = ""
    volumes: dict[str, Any] = {}
    working_dir: str = ""
    entrypoint: tuple[str, ...] | None = None
    network_disabled: bool = False
    mac_address: str = ""
    on_build: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    stop_signal: str = ""
    stop_timeout: Int64 | None = None
    shell: tuple[str, ...] = ()
    host_config: HostConfig = HostConfig()
    networking_config: NetworkingConfig = NetworkingConfig()


def decode_create(raw: bytes) -> CreateBody:
    """The request body; InvalidArgument names the field that does not fit.

    Unknown fields beside HostConfig are ignored as dockerd does (clients send whole inspect
    answers back); an unknown one in HostConfig that asks for something is refused.
    """
    value = with_exact_names(decode_object(raw), CreateBody)
    for name in ("Cmd", "Entrypoint"):
        if isinstance(value.get(name), str):  # Go's strslice takes one string for a list of one
            value[name] = [value[name]]
    host = value.get("HostConfig")
    if isinstance(host, dict):
        value["HostConfig"] = _host_config(host)
    body = convert(value, CreateBody)
    check_conflicts(body)
    check_healthcheck(body.healthcheck)
    return body


def to_json(body: CreateBody) -> dict[str, Any]:
    """`body` as it is persisted."""
    value: dict[str, Any] = msgspec.to_builtins(body)
    return value


def from_json(value: dict[str, Any]) -> CreateBody:
    """The inverse of `to_json`; ValueError for another shape."""
    return msgspec.convert(value, CreateBody)


def merge_image(body: CreateBody, image: ImageConfigLike | None) -> CreateBody:
    """`body` with what the image's config adds; `image` None for a plain folder.

    As moby's `mergeAndVerifyConfig`: an entrypoint of the request drops the image's command,
    environment variables of the request win by name, labels by key, and a health check
    takes from the image's what it leaves open. InvalidArgument
    "no command specified" where neither says what to run.
    """
    entrypoint, cmd = body.entrypoint, body.cmd
    changes: dict[str, Any] = {}
    if image is not None:
        if not entrypoint:
            cmd = cmd or _tuple(image.cmd)
            if entrypoint is None:
                entrypoint = _tuple(image.entrypoint)
        changes = {
            "env": merge_env(image.env, body.env),
            "labels": {**image.labels, **body.labels},
            "user": body.user or image.user,
            "working_dir": body.working_dir or image.cwd,
            "stop_signal": body.stop_signal or image.stop_signal,
            "exposed_ports": {p: {} for p in image.exposed_ports} | body.exposed_ports,
            "volumes": {path: {} for path in image.volumes} | body.volumes,
            "healthcheck": merge_healthcheck(body.healthcheck, image.healthcheck),
        }
    if entrypoint is not None and (not entrypoint or entrypoint == ("",)):
        entrypoint = None
    if entrypoint is None and cmd in (None, (), ("",)):
        raise InvalidArgument("no command specified")
    return msgspec.structs.replace(body, entrypoint=entrypoint, cmd=cmd, **changes)


def merge_env(base: Sequence[str], override: Sequence[str]) -> tuple[str, ...]:
    """`override`'s variables, then those of `base` that they do not set; docker's order."""
    names = {entry.partition("=")[0] for entry in override}
    return (*override, *(e for e in base if e.partition("=")[0] not in names))


def command(body: CreateBody) -> tuple[str, ...]:
    """What runs: entrypoint and command of a merged body."""
    return (*(body.entrypoint or ()), *(body.cmd or ()))


def _tuple(words: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if words is None else tuple(words)


def _host_config(host: dict[str, Any]) -> dict[str, Any]:
    host = with_exact_names(host, HostConfig)
    known, _ = field_names(HostConfig)
    for key in [key for key in host if key not in known]:
        if looks_set(host.pop(key)):
            raise InvalidArgument(f"HostConfig.{key[:80]}: orlop has no such option")
    return host
