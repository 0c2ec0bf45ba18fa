"""One repository of a registry (OCI distribution-spec): manifests, blobs, tags."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from supervisor.errors import InvalidArgument
from supervisor.oci import index, manifest
from supervisor.oci.digest import Digest
from supervisor.oci.http_fields import length
from supervisor.oci.manifest import Descriptor
from supervisor.registry.backoff import Backoff
from supervisor.registry.lists import read_list
from supervisor.registry.session import Ask, Session
from supervisor.registry.transport import Reply

_ACCEPT = ", ".join(index.MANIFEST_TYPES)
MAX_TAGS = 10_000


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest or index: what it was announced as, its digest and its bytes."""

    descriptor: Descriptor
    data: bytes


class Repository:
    """`name` is the path of its references: "library/busybox"."""

    def __init__(self, session: Session, name: str) -> None:
        self.session = session
        self.name = name
        self.pull_scopes = (f"repository:{name}:pull",)
        self.push_scopes = (f"repository:{name}:pull,push",)

    def path(self, rest: str) -> str:
        """/v2/NAME/rest"""
        return f"/v2/{self.name}/{rest}"

    async def document(self, wanted: str | Digest) -> Document:
        """The manifest or index of a tag or digest; raises InvalidArgument if it is another."""
        ask = Ask("GET", self._manifest(wanted), self.pull_scopes, {"Accept": _ACCEPT})
        _, headers, data = await self.session.read(ask, manifest.MAX_SIZE)
        announced = wanted if isinstance(wanted, Digest) else _announced(headers)
        found = digest_as(data, announced)
        if announced is not None and found != announced:
            raise InvalidArgument(
                f"manifest verification failed for digest {announced}: its content has {found}"
            )
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        return Document(Descriptor(media_type=media_type, digest=found, size=len(data)), data)

    async def look_up(self, tag: str) -> Digest | None:
        """The digest that a tag has, if the registry says so without sending the manifest."""
        ask = Ask("HEAD", self._manifest(tag), self.pull_scopes, {"Accept": _ACCEPT})
        reply = await self.session.request(ask)
        await reply.close()
        return _announced(reply.headers)

    async def open_blob(self, digest: Digest, offset: int, backoff: Backoff) -> Reply:
        """A blob's content from byte `offset` on, or (status 200) from its begin."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        ask = Ask("GET", self.path(f"blobs/{digest}"), self.pull_scopes, headers)
        return await self.session.request(ask, (200, 206, 416), backoff)

    async def small_blob(self, blob: Descriptor, most: int) -> bytes:
        """A blob of at most `most` bytes, verified."""
        if blob.size > most:
            raise InvalidArgument(f"{blob.digest} has {blob.size} bytes, at most {most} are taken")
        ask = Ask("GET", self.path(f"blobs/{blob.digest}"), self.pull_scopes)
        data = (await self.session.read(ask, blob.size)).data
        found = digest_as(data, blob.digest)
        if found != blob.digest:
            raise InvalidArgument(f"blob {blob.digest}: its content has the digest {found}")
        return data

    async def has_blob(self, blob: Descriptor) -> bool:
        """Whether the repository has it already."""
        ask = Ask("HEAD", self.path(f"blobs/{blob.digest}"), self.push_scopes)
        reply = await self.session.request(ask, (200, 404))
        await reply.close()
        size = length(reply.headers)
        return reply.status == 200 and size in (None, blob.size)

    async def tags(self) -> list[str]:
        """All its tags, in the registry's order."""
        return await read_list(
            self.session, self.path("tags/list"), "tags", self.pull_scopes, MAX_TAGS
        )

    def _manifest(self, wanted: str | Digest) -> str:
        return self.path(f"manifests/{wanted}")


def digest_as(data: bytes, like: Digest | None) -> Digest:
    """The digest of `data` by the algorithm of `like`, sha256 without one."""
    if like is None:
        return Digest.of(data)
    return Digest(like.algorithm, hashlib.new(like.algorithm, data).hexdigest())


def _announced(headers: Mapping[str, str]) -> Digest | None:
    text = headers.get("docker-content-digest", "")
    try:
        return Digest.parse(text) if text else None
    except InvalidArgument:
        return None  # an algorithm of another time; what we computed counts
