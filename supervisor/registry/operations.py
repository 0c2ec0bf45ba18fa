"""One operation on a registry, with connections of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from supervisor.docker import search as docker_search
from supervisor.errors import NotImplementedYet, Unauthorized
from supervisor.oci import config as oci_config
from supervisor.oci import index, reference, web_url
from supervisor.oci import manifest as oci_manifest
from supervisor.oci.endpoint import Endpoint
from supervisor.oci.platform import Platform
from supervisor.oci.reference import Reference
from supervisor.oci.registry_auth import NOBODY, Credentials
from supervisor.registry.config import RegistryConfig
from supervisor.registry.failures import LoginNeeded, Refused, pull_error
from supervisor.registry.lists import read_list
from supervisor.registry.pull import Pull
from supervisor.registry.push import Push
from supervisor.registry.repository import Repository
from supervisor.registry.session import Ask, Session
from supervisor.registry.transport import Received, Transport
from supervisor.store.images import Image, ImageStore

Tell = Callable[[dict[str, Any]], None]
HUB_SEARCH = "https://index.docker.io"
MAX_CATALOGUE = 10_000
MAX_ROWS = 1 << 20


class Operation:
    """On the registry `domain`; close it at the end (async with)."""

    def __init__(
        self,
        images: ImageStore,
        config: RegistryConfig,
        domain: str,
        credentials: Credentials = NOBODY,
        received: Received = lambda _: None,
    ) -> None:
        self.images = images
        self.domain = domain
        self.transport = Transport(config, received)
        rules = config.rules
        self._sessions = [
            Session(self.transport, endpoint, credentials) for endpoint in rules.endpoints(domain)
        ]

    async def __aenter__(self) -> Operation:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.transport.__aexit__()

    @property
    def registry(self) -> Session:
        """The registry itself, no mirror."""
        return self._sessions[-1]

    async def pull(self, ref: Reference, platform: Platform, tell: Tell, *, asked: bool) -> Image:
        """Pull a tag or digest, from a mirror where one has it."""
        places = [Repository(session, ref.path) for session in self._sessions]
        return await Pull(self.images, ref, places, platform, tell, asked=asked).run()

    async def push(self, image: Image, ref: Reference, tell: Tell) -> None:
        """Push an image as a tag."""
        await Push(self.images, image, ref, Repository(self.registry, ref.path), tell).run()

    async def tags(self, ref: Reference) -> list[str]:
        """All tags that the registry has of a repository."""
        try:
            tags = await Repository(self.registry, ref.path).tags()
        except Refused as error:
            raise pull_error(error, ref) from None
        for tag in tags:
            reference.parse(f"{ref}:{tag}")
        return tags

    async def log_in(self, domain: str) -> str:
        """Show the credentials to the registry; an identity token in exchange, or ""."""
        session = self.registry
        try:
            reply = await session.request(Ask("GET", "/v2/"))
        except LoginNeeded as error:
            said = error.said if error.remote else "unauthorized: authentication required"
            raise Unauthorized(f'Get "{session}/v2/": {said}') from None
        await reply.close()
        return session.auth.identity_token

    async def inspect(self, ref: Reference) -> dict[str, Any]:
        """Descriptor and platforms of what a reference names."""
        place = Repository(self.registry, ref.path)
        try:
            document = await place.document(ref.digest or ref.tag)
            platforms = await self._platforms(place, document.data, document.descriptor.media_type)
        except Refused as error:
            raise pull_error(error, ref) from None
        return {
            "Descriptor": oci_manifest.plain(document.descriptor),
            "Platforms": [_platform(platform) for platform in platforms],
        }

    async def _platforms(self, place: Repository, data: bytes, media_type: str) -> list[Platform]:
        if media_type in (index.OCI_INDEX, index.DOCKER_LIST):
            return [entry.platform for entry in index.parse(data) if entry.platform is not None]
        manifest = oci_manifest.parse(data)
        oci_manifest.require_image(manifest)
        file = oci_config.parse(await place.small_blob(manifest.config, oci_config.MAX_SIZE))
        return [Platform(os=file.os, architecture=file.architecture, variant=file.variant)]

    async def search(self, domain: str, term: str, limit: int) -> list[dict[str, Any]]:
        """Rows of docker's search; the catalogue of a registry that has one."""
        if domain == reference.DEFAULT_DOMAIN:
            return await self._search_hub(term, limit)
        try:
            names = await read_list(
                self.registry,
                "/v2/_catalog?n=1000",
                "repositories",
                ("registry:catalog:*",),
                MAX_CATALOGUE,
            )
        except LoginNeeded as error:
            raise Unauthorized(str(error)) from None
        except Refused as error:
            raise NotImplementedYet(
                f"{domain} cannot be searched: it has no catalogue ({error.said})"
            ) from None
        return docker_search.catalogue_rows(domain, names, term, limit)

    async def _search_hub(self, term: str, limit: int) -> list[dict[str, Any]]:
        origin = web_url.parse(HUB_SEARCH).origin
        session = Session(self.transport, Endpoint(origins=(origin,)), NOBODY)
        ask = Ask("GET", f"/v1/search?q={quote(term, safe='')}&n={limit}")
        return docker_search.hub_rows((await session.read(ask, MAX_ROWS)).data)


def _platform(platform: Platform) -> dict[str, str]:
    names = {"architecture": platform.architecture, "os": platform.os, "variant": platform.variant}
    return {name: value for name, value in names.items() if value}
