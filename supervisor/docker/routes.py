"""The routing table: method and path to the name of an operation (Docker's operationId).

Paths come with or without a version (`/v1.51/containers/json`). A lookup is one or two
dictionary accesses: a path has at most one variable part, and it is the second. Image
names are the exception: they have slashes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from supervisor.docker.host import API_VERSION, MIN_API_VERSION
from supervisor.errors import InvalidArgument, NotFound, NotImplementedYet, OrlopError, Unavailable

Version = tuple[int, int]


class Match(NamedTuple):
    """A routed request: operation, API version asked for, the path's variable part ("")."""

    operation: str
    version: Version
    ref: str


ROUTES: dict[str, str] = {
    "HEAD /_ping": "SystemPingHead",
    "GET /_ping": "SystemPing",
    "GET /version": "SystemVersion",
    "GET /info": "SystemInfo",
    "GET /events": "SystemEvents",
    "POST /containers/create": "ContainerCreate",
    "GET /containers/json": "ContainerList",
    "GET /containers/*/json": "ContainerInspect",
    "GET /containers/*/top": "ContainerTop",
    "GET /containers/*/stats": "ContainerStats",
    "GET /containers/*/logs": "ContainerLogs",
    "POST /containers/*/start": "ContainerStart",
    "POST /containers/*/stop": "ContainerStop",
    "POST /containers/*/restart": "ContainerRestart",
    "POST /containers/*/kill": "ContainerKill",
    "POST /containers/*/pause": "ContainerPause",
    "POST /containers/*/unpause": "ContainerUnpause",
    "POST /containers/*/rename": "ContainerRename",
    "POST /containers/*/update": "ContainerUpdate",
    "POST /containers/*/impair": "ContainerImpair",
    "POST /containers/*/wait": "ContainerWait",
    "POST /containers/*/resize": "ContainerResize",
    "POST /containers/*/attach": "ContainerAttach",
    "GET /containers/*/attach/ws": "ContainerAttachWebsocket",
    "POST /containers/*/exec": "ContainerExec",
    "HEAD /containers/*/archive": "ContainerArchiveInfo",
    "GET /containers/*/archive": "ContainerArchive",
    "PUT /containers/*/archive": "PutContainerArchive",
    "GET /containers/*/export": "ContainerExport",
    "GET /containers/*/changes": "ContainerChanges",
    "DELETE /containers/*": "ContainerDelete",
    "POST /containers/prune": "ContainerPrune",
    "POST /build/prune": "BuildPrune",
    "POST /exec/*/start": "ExecStart",
    "POST /exec/*/resize": "ExecResize",
    "GET /exec/*/json": "ExecInspect",
    "GET /images/json": "ImageList",
    "GET /images/*/json": "ImageInspect",
    "DELETE /images/*": "ImageDelete",
    "POST /images/create": "ImageCreate",
    "GET /images/*/history": "ImageHistory",
    "POST /images/*/tag": "ImageTag",
    "GET /images/*/get": "ImageGet",
    "GET /images/get": "ImageGetAll",
    "POST /images/load": "ImageLoad",
    "POST /images/prune": "ImagePrune",
    "POST /commit": "ImageCommit",
    "GET /system/df": "SystemDataUsage",
    "POST /images/*/push": "ImagePush",
    "GET /images/search": "ImageSearch",
    "GET /distribution/*/json": "DistributionInspect",
    "POST /auth": "SystemAuth",
    "POST /orlop/images/scratch": "OrlopImageScratch",
    "POST /orlop/images/from": "OrlopImageFrom",
    "GET /volumes": "VolumeList",
    "POST /volumes/create": "VolumeCreate",
    "GET /volumes/*": "VolumeInspect",
    "DELETE /volumes/*": "VolumeDelete",
    "POST /volumes/prune": "VolumePrune",
    "GET /networks": "NetworkList",
    "POST /networks/create": "NetworkCreate",
    "POST /networks/prune": "NetworkPrune",
    "GET /networks/*": "NetworkInspect",
    "DELETE /networks/*": "NetworkDelete",
    "POST /networks/*/connect": "NetworkConnect",
    "POST /networks/*/disconnect": "NetworkDisconnect",
    "GET /openapi.json": "OpenApiDocument",
    "GET /metrics": "Metrics",
    "GET /orlop/doctor": "OrlopDoctor",
    "GET /orlop/layers": "OrlopLayers",
    "GET /orlop/whence": "OrlopWhence",
    "GET /orlop/explain": "OrlopExplain",
    "GET /orlop/usage": "OrlopUsage",
}

NEWEST: Version = (int(API_VERSION.split(".")[0]), int(API_VERSION.split(".")[1]))
OLDEST: Version = (int(MIN_API_VERSION.split(".")[0]), int(MIN_API_VERSION.split(".")[1]))

_IMAGE_ACTIONS = frozenset({"json", "history", "get", "push", "tag"})
_NO_SWARM = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to '
    "connect this node to swarm and try again."
)
_SWARM = frozenset({"swarm", "nodes", "services", "tasks", "secrets", "configs"})
_BUILD = (
    "building images is not supported: build with `buildah build -t NAME .` and bring it in with "
    "`buildah push NAME docker-archive:/dev/stdout:NAME | docker load`; "
    "`orlop image scratch` makes one of programs of the host"
)
# Docker's surface that Orlop does not have: first path part → what there is instead.
_ABSENT = {
    "build": _BUILD,
    "session": _BUILD,
    "grpc": _BUILD,
    "networks": "this network operation is not supported",
    "volumes": "this volume operation is not supported",
    "plugins": "plugins are not supported: volumes, networks and logs have their drivers built in",
    "images": "this image operation is not supported",
}
_LONGEST_KEPT = 128
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE"})
_ABSENT_ACTIONS = frozenset({"copy", "checkpoints"})


def route(method: str, path: str) -> Match:
    """The operation for a request.

    Raises InvalidArgument for a path or version that cannot be, NotFound for one that
    Docker does not have either, NotImplementedYet or Unavailable for what Orlop does not.
    """
    return _find(method, path) if len(path) > _LONGEST_KEPT else _find_and_keep(method, path)


def _find(method: str, path: str) -> Match:
    parts = path.split("/")
    if parts[0]:
        raise InvalidArgument(f"invalid path {path!r:.200}: it must begin with a slash")
    version = NEWEST
    if len(parts) > 1 and parts[1][:1] == "v" and parts[1][1:2].isdigit():
        version = parse_version(parts[1])
        del parts[1]
    parts = [part for part in parts[1:] if part]
    literal = ROUTES.get(f"{method} /{'/'.join(parts)}")
    if literal is not None:
        return Match(literal, version, "")
    if len(parts) >= 2:
        if parts[0] in ("images", "distribution"):
            parts = _image_parts(method, parts)
        shape = "/".join(["*", *parts[2:]])
        operation = ROUTES.get(f"{method} /{parts[0]}/{shape}")
        if operation is not None:
            return Match(operation, version, unquote(parts[1]))
    raise _absent(parts, method)


# Clients ask for the same containers again and again.
_find_and_keep = lru_cache(maxsize=1024)(_find)


def unquote(text: str) -> str:
    """Percent-decoded; InvalidArgument for what is no UTF-8."""
    if "%" not in text:
        return text
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise InvalidArgument(f"invalid path part {text!r:.200}: not UTF-8") from None


@lru_cache(maxsize=64)
def parse_version(part: str) -> Version:
    """`v1.50` as numbers; InvalidArgument outside of what is served."""
    major, dot, minor = part[1:].partition(".")
    if not (dot and _is_number(major) and _is_number(minor)):
        raise InvalidArgument(f"invalid API version {part!r:.40} (example: v{API_VERSION})")
    version = (int(major), int(minor))
    if version < OLDEST:
        raise InvalidArgument(
            f"client version {part[1:]} is too old. Minimum supported API version is "
            f"{MIN_API_VERSION}, please upgrade your client to a newer version"
        )
    if version > NEWEST:
        raise InvalidArgument(
            f"client version {part[1:]} is too new. Maximum supported API version is {API_VERSION}"
        )
    return version


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 4


def _image_parts(method: str, parts: list[str]) -> list[str]:
    if method != "DELETE" and len(parts) > 2 and parts[-1] in _IMAGE_ACTIONS:
        return [parts[0], "/".join(parts[1:-1]), parts[-1]]
    return [parts[0], "/".join(parts[1:])]


def _absent(parts: list[str], method: str) -> OrlopError:
    if method not in _METHODS:
        return NotFound("page not found")
    first = parts[0] if parts else ""
    if first in _SWARM:
        if parts[1:] == ["leave"]:
            return Unavailable("This node is not part of a swarm")
        if parts[1:] in (["init"], ["join"]):
            return NotImplementedYet("swarm mode is not supported")
        return Unavailable(_NO_SWARM)
    if method == "GET" and len(parts) >= 2:
        # What `docker inspect NAME` asks after containers and images had no such name.
        name = unquote(parts[1])
        if first == "plugins" and parts[-1] == "json":
            return NotFound(f'plugin "{name}" not found')
    if first in _ABSENT:
        return NotImplementedYet(_ABSENT[first])
    if first == "containers" and "/".join(parts[2 if len(parts) > 2 else 1 :]) in _ABSENT_ACTIONS:
        return NotImplementedYet(f"containers: {'/'.join(parts[2:] or parts[1:])} is not supported")
    return NotFound("page not found")
