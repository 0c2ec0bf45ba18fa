"""A registry client without a registry: one image, one user, and a pull that can be held up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import trio

from supervisor.errors import InvalidArgument, NotFound, Unauthorized
from supervisor.oci.platform import Platform
from supervisor.oci.registry_auth import Credentials

Tell = Callable[[dict[str, Any]], None]


class FakeRegistries:
    """`calls` are what was asked; a pull of "…/slow" waits for `gate`, `cancelled` counts."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.gate = trio.Event()
        self.cancelled = 0

    async def pull(
        self,
        ref: str,
        *,
        platform: Platform | None,
        credentials: Credentials,
        tell: Tell,
        all_tags: bool,
    ) -> None:
        self.calls.append(("pull", ref, platform and str(platform), credentials, all_tags))
        if "nosuch" in ref:
            raise NotFound(f"manifest for {ref} not found: manifest unknown: manifest unknown")
        tell({"status": "Pulling from x", "id": "latest"})
        if "slow" in ref:
            try:
                await self.gate.wait()
            except trio.Cancelled:
                self.cancelled += 1
                raise
        if "broken" in ref:
            raise InvalidArgument("it broke")
        tell({"status": "Digest: sha256:x"})

    async def push(self, ref: str, *, credentials: Credentials, tell: Tell) -> None:
        self.calls.append(("push", ref, credentials))
        tell({"status": f"The push refers to repository [{ref}]"})

    async def log_in(self, credentials: Credentials) -> str:
        if credentials.username != "right":
            raise Unauthorized('Get "https://r/v2/": unauthorized')
        return "token"

    async def inspect(self, ref: str, credentials: Credentials) -> Mapping[str, Any]:
        return {"Descriptor": {"digest": ref}, "Platforms": []}

    async def search(
        self, term: str, limit: int, credentials: Credentials
    ) -> Sequence[Mapping[str, Any]]:
        row = {"description": "", "is_official": False, "is_automated": False}
        return [{"name": f"{term}{n}", "star_count": n, **row} for n in range(limit)]
