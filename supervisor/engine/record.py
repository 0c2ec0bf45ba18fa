"""A container's record: what is in the database about it."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from supervisor.docker.create import CreateBody
from supervisor.docker.mounts import mount_points
from supervisor.engine.encoding import dumps, encode
from supervisor.errors import InvalidArgument, ProtocolError
from supervisor.lifecycle.health import Health
from supervisor.lifecycle.history import LENGTH, PastRun
from supervisor.lifecycle.machine import State
from supervisor.spec import etc_files
from supervisor.spec.codec import from_json, to_json
from supervisor.spec.mount_points import VOLUME, MountPoint, volume_names
from supervisor.spec.networks import EndpointOptions, NetworkRun
from supervisor.spec.options import ContainerOptions

VERSION = 1
# Folders that init mounts on in every container, whatever the image has there.
_OWN_MOUNTS = ("/dev", "/proc", "/sys")


class Record(msgspec.Struct, kw_only=True):
    """One container. `body` is the create request merged with the image's config, `options`
    what it means.

    `lowers` are the root's lower folders, top-most first; `rootfs_writable` runs on
    `lowers[0]` itself. `mounts` are its binds, volumes and tmpfs as people see them, every
    volume with its name; `take_volumes`: the anonymous ones go when it is removed.

    `endpoints` are the networks that it is to be in, by id; `network` is what the current run
    has of them, None between runs. Its addresses are in use as long as it says so.
    `health` is what its checks have said, None where nothing was ever checked.
    `history` are its latest runs that are over, oldest first.
    """

    id: str
    name: str
    created_ns: int
    image_id: str
    image_ref: str
    lowers: tuple[str, ...]
    rootfs_writable: bool
    body: CreateBody
    options: ContainerOptions
    state: State
    mounts: tuple[MountPoint, ...] = ()
    take_volumes: bool = False
    endpoints: tuple[EndpointOptions, ...] = ()
    network: NetworkRun | None = None
    health: Health | None = None
    history: tuple[PastRun, ...] = ()
    _fixed: bytes = b""
    _past: bytes = b""

    @property
    def volumes(self) -> frozenset[str]:
        """The names of its volumes."""
        return volume_names(self.mounts)

    @property
    def anonymous_volumes(self) -> tuple[str, ...]:
        """Those of them that were made for a container and got no name from anybody."""
        return tuple(p.name for p in self.mounts if p.type == VOLUME and p.anonymous)

    @property
    def stubs(self) -> tuple[str, ...]:
        """Paths that are in the writable layer only for something to be mounted on.

        What is there is no change that the container made; mount points that were asked
        for do not count.
        """
        asked = {*(point.destination for point in self.mounts), *self.options.tmpfs}
        return tuple(path for path in (*_OWN_MOUNTS, *etc_files.PATHS) if path not in asked)

    def encode(self) -> bytes:
        """The record as one JSON document."""
        if not self._fixed:
            self._fixed = self._encode_fixed()
        health = b""
        if self.health is not None:
            health = b',"health":' + dumps(self.health)
        if self.history and not self._past:
            self._past = b',"history":' + dumps(self.history)
        return b'{"fixed":%b,"state":%b,"network":%b%b%b}' % (
            self._fixed,
            dumps(self.state),
            encode(self.network),
            health,
            self._past,
        )

    def remember(self, run: PastRun) -> None:
        """A run is over; of those before it the oldest is forgotten once there are LENGTH."""
        self.history = (*self.history, run)[-LENGTH:]
        self._past = b""

    def changed(self) -> None:
        """Something of what no run changes has changed: encode it anew."""
        self._fixed = b""

    def _encode_fixed(self) -> bytes:
        # Apart from what each run changes, so that a transition is cheap to save.
        return dumps(
            {
                "version": VERSION,
                "id": self.id,
                "name": self.name,
                "created_ns": self.created_ns,
                "image_id": self.image_id,
                "image_ref": self.image_ref,
                "lowers": self.lowers,
                "rootfs_writable": self.rootfs_writable,
                "body": self.body,
                "options": to_json(self.options),
                "mounts": to_json(self.mounts),
                "take_volumes": self.take_volumes,
                "endpoints": to_json(self.endpoints),
            }
        )


def decode(document: bytes) -> Record:
    """The inverse of Record.encode; ProtocolError for a document of another version or shape."""
    try:
        whole = json.loads(document)
        data = whole["fixed"]
        if data["version"] != VERSION:
            raise ProtocolError(f"container record of version {data['version']}, not {VERSION}")
        body = msgspec.convert(data["body"], CreateBody)
        return Record(
            id=data["id"],
            name=data["name"],
            created_ns=data["created_ns"],
            image_id=data["image_id"],
            image_ref=data["image_ref"],
            lowers=tuple(data["lowers"]),
            rootfs_writable=data["rootfs_writable"],
            body=body,
            options=from_json(ContainerOptions, data["options"]),
            state=msgspec.convert(whole["state"], State),
            mounts=_mounts(data, body),
            take_volumes=data.get("take_volumes", False),
            endpoints=tuple(from_json(EndpointOptions, one) for one in data.get("endpoints", ())),
            network=from_json(NetworkRun, network) if (network := whole.get("network")) else None,
            health=msgspec.convert(health, Health) if (health := whole.get("health")) else None,
            history=msgspec.convert(whole.get("history", ()), tuple[PastRun, ...]),
        )
    except (ValueError, KeyError, TypeError, InvalidArgument) as error:
        raise ProtocolError(f"container record: {error!r}") from None


def _mounts(data: dict[str, Any], body: CreateBody) -> tuple[MountPoint, ...]:
    if "mounts" not in data:  # from before there were volumes: binds and tmpfs, as asked for
        return mount_points(body)
    return tuple(from_json(MountPoint, item) for item in data["mounts"])
