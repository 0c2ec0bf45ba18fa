"""A container's record: what is in the database about it."""

from __future__ import annotations

import json
from dataclasses import dataclass

import msgspec

from supervisor.docker.create import CreateBody
from supervisor.errors import ProtocolError
from supervisor.lifecycle.machine import State
from supervisor.spec.codec import from_json, to_json
from supervisor.spec.options import ContainerOptions

VERSION = 1


@dataclass(slots=True, kw_only=True)
class Record:
    """One container. `body` is the create request merged with the image's config, `options`
    what it means.

    `lowers` are the root's lower folders, top-most first; `rootfs_writable` runs on
    `lowers[0]` itself.
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
    _fixed: bytes = b""

    def encode(self) -> bytes:
        """The record as one JSON document."""
        if not self._fixed:
            self._fixed = self._encode_fixed()
        state = json.dumps(to_json(self.state), separators=(",", ":"))
        return b'{"fixed":%b,"state":%b}' % (self._fixed, state.encode())

    def changed(self) -> None:
        """Something besides the state changed: encode it anew."""
        self._fixed = b""

    def _encode_fixed(self) -> bytes:
        # Apart from the state, which changes often, so that a transition is cheap to save.
        return json.dumps(
            {
                "version": VERSION,
                "id": self.id,
                "name": self.name,
                "created_ns": self.created_ns,
                "image_id": self.image_id,
                "image_ref": self.image_ref,
                "lowers": self.lowers,
                "rootfs_writable": self.rootfs_writable,
                "body": msgspec.to_builtins(self.body),
                "options": to_json(self.options),
            },
            separators=(",", ":"),
        ).encode()


def decode(document: bytes) -> Record:
    """The inverse of Record.encode; ProtocolError for a document of another version or shape."""
    try:
        whole = json.loads(document)
        data = whole["fixed"]
        if data["version"] != VERSION:
            raise ProtocolError(f"container record of version {data['version']}, not {VERSION}")
        return Record(
            id=data["id"],
            name=data["name"],
            created_ns=data["created_ns"],
            image_id=data["image_id"],
            image_ref=data["image_ref"],
            lowers=tuple(data["lowers"]),
            rootfs_writable=data["rootfs_writable"],
            body=msgspec.convert(data["body"], CreateBody),
            options=from_json(ContainerOptions, data["options"]),
            state=from_json(State, whole["state"]),
        )
    except (ValueError, KeyError, TypeError, msgspec.ValidationError) as error:
        raise ProtocolError(f"container record: {error!r}") from None
