"""What the daemon does with registries: pull, push, log in, look up, search.

Importing this costs little; httpx and all that needs it comes with the first request.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

import trio

from supervisor.errors import InvalidArgument, NotFound
from supervisor.oci import reference
from supervisor.oci.endpoint import login_domain
from supervisor.oci.platform import Platform
from supervisor.oci.reference import Reference
from supervisor.oci.registry_auth import Credentials
from supervisor.registry.config import RegistryConfig
from supervisor.store.images import Image, ImageStore

if TYPE_CHECKING:
    from supervisor.registry.operations import Operation

Tell = Callable[[dict[str, Any]], None]
Notice = Callable[[str, Image, Reference], None]
"""Told of what was done ("pull", "push") to an image, by which name."""


class Registries:
    """The registry client of one daemon. All methods raise OrlopError."""

    def __init__(
        self,
        images: ImageStore,
        config: RegistryConfig,
        host: Platform,
        notice: Notice = lambda *_: None,
    ) -> None:
        self.images = images
        self.config = config
        self.host = host
        self._notice = notice
        self.received: Callable[[int], None] = lambda _: None
        """Told of bytes that come from registries."""

    async def pull(
        self,
        ref: str,
        *,
        platform: Platform | None,
        credentials: Credentials,
        tell: Tell,
        all_tags: bool = False,
    ) -> None:
        """Pull an image, or every tag of its repository; `platform` None is the host's."""
        wanted = reference.parse(ref)
        if all_tags and (wanted.tag or wanted.digest):
            raise InvalidArgument("tag can't be used with --all-tags/-a")
        async with await self._operation(wanted.domain, credentials) as op:
            names = (
                [replace(wanted, tag=tag) for tag in await op.tags(wanted)]
                if all_tags
                else [wanted.with_default_tag()]
            )
            for name in names:
                image = await op.pull(name, platform or self.host, tell, asked=platform is not None)
                self._notice("pull", image, name)

    async def push(self, ref: str, *, credentials: Credentials, tell: Tell) -> None:
        """Push the image of a tag, or every tag here of a name without one."""
        wanted = reference.parse(ref)
        if wanted.digest is not None:
            raise InvalidArgument("cannot push a digest reference")
        images = self._tagged(wanted)
        tell({"status": f"The push refers to repository [{wanted.domain}/{wanted.path}]"})
        async with await self._operation(wanted.domain, credentials) as op:
            for name, image in images:
                await op.push(image, name, tell)
                self._notice("push", image, name)

    def _tagged(self, wanted: Reference) -> list[tuple[Reference, Image]]:
        named = [
            (name, image)
            for image in self.images.list()
            for name in map(reference.parse, image.tags)
            if (name.domain, name.path) == (wanted.domain, wanted.path)
        ]
        if not named:
            raise NotFound(f"An image does not exist locally with the tag: {wanted.familiar_name}")
        found = [(name, image) for name, image in named if wanted.tag in ("", name.tag)]
        if not found:
            raise NotFound(f"tag does not exist: {wanted.familiar}")
        return sorted(found, key=lambda pair: pair[0].tag)

    async def log_in(self, credentials: Credentials) -> str:
        """Check credentials with their registry; its identity token, "" for none.

        Raises Unauthorized if they are wrong.
        """
        domain = login_domain(credentials.server)
        async with await self._operation(domain, credentials) as op:
            return await op.log_in(domain)

    async def inspect(self, ref: str, credentials: Credentials) -> dict[str, Any]:
        """Docker's DistributionInspect of what a reference has in its registry."""
        wanted = reference.parse(ref).with_default_tag()
        async with await self._operation(wanted.domain, credentials) as op:
            return await op.inspect(wanted)

    async def search(self, term: str, limit: int, credentials: Credentials) -> list[dict[str, Any]]:
        """Docker's rows of repositories whose name has `term` ("host:port/word" for others
        than docker.io).
        """
        first, slash, rest = term.partition("/")
        domain = reference.DEFAULT_DOMAIN
        if slash and (first == "localhost" or "." in first or ":" in first):
            domain, term = login_domain(first), rest
        async with await self._operation(domain, credentials) as op:
            return await op.search(domain, term, limit)

    async def _operation(self, domain: str, credentials: Credentials) -> Operation:
        # In a thread: reading these modules takes 150 ms, which would stop every request.
        name = "supervisor.registry.operations"
        module: Any = await trio.to_thread.run_sync(import_module, name)
        operation: Operation = module.Operation(
            self.images, self.config, domain, credentials, self.received
        )
        return operation
