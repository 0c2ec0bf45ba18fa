"""Requests to one registry: credentials, redirects, patience.

request ─► 401 ─► credentials or a token ─► once again
        ─► 3xx ─► followed here, without credentials to anybody else
        ─► 429, 5xx, silence, reset ─► a pause ─► again, so many times
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from supervisor.errors import InvalidArgument
from supervisor.oci.endpoint import Endpoint
from supervisor.oci.registry_auth import NOBODY, Credentials
from supervisor.oci.web_url import Origin, WebUrl, check_redirect
from supervisor.registry import tls
from supervisor.registry.auth import Authorizer, Scopes
from supervisor.registry.backoff import Backoff
from supervisor.registry.failures import LATER, Interrupted, Refused, refused
from supervisor.registry.transport import Body, Reply, Transport

MAX_REDIRECTS = 5
MAX_ERROR = 64 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SAFE = ("GET", "HEAD")


class Ask(NamedTuple):
    """One request: `to` is a path of the registry, or a URL that it gave."""

    method: str
    to: str | WebUrl
    scopes: Scopes = ()
    headers: Mapping[str, str] = {}
    body: Body | bytes | None = None


class Document(NamedTuple):
    """A small answer: where it came from in the end, its headers, its body."""

    url: WebUrl
    headers: Mapping[str, str]
    data: bytes


class Session:
    """One pull's or push's dealings with one endpoint."""

    def __init__(self, transport: Transport, endpoint: Endpoint, credentials: Credentials) -> None:
        self.transport = transport
        self.endpoint = endpoint
        self.auth = Authorizer(transport, NOBODY if endpoint.mirror else credentials)
        self._origin = endpoint.origins[0] if len(endpoint.origins) == 1 else None
        self._spoken = False

    def __str__(self) -> str:
        return str(self._origin or self.endpoint)

    def backoff(self) -> Backoff:
        """For one thing to be got from here."""
        return Backoff(self.transport.config)

    async def request(
        self, ask: Ask, ok: Collection[int] = (200,), backoff: Backoff | None = None
    ) -> Reply:
        """The answer, of a status in `ok`; to be closed.

        Raises Interrupted when all attempts failed, or the first one found nobody; Refused,
        LoginNeeded for another status; InvalidArgument for what may not be followed.
        """
        backoff = backoff or self.backoff()
        while True:
            try:
                reply = await self._authorized(ask)
            except Interrupted as error:
                if (error.connected or self._spoken) and await backoff.pause():
                    continue
                raise
            self._spoken = True
            if reply.status in ok:
                return reply
            refusal = await self._refused(ask, reply)
            later = reply.headers.get("retry-after", "")
            if reply.status not in LATER or not await backoff.pause(later):
                raise refusal

    async def read(self, ask: Ask, most: int, backoff: Backoff | None = None) -> Document:
        """The whole answer of a GET, of at most `most` bytes; asked for again if it breaks off.

        Raises what `request` does, and InvalidArgument if it is longer.
        """
        backoff = backoff or self.backoff()
        while True:
            reply = await self.request(ask, backoff=backoff)
            try:
                return Document(reply.url, reply.headers, await reply.read(most))
            except Interrupted:
                if not await backoff.pause():
                    raise
            finally:
                await reply.close()

    async def once(self, ask: Ask, ok: Collection[int]) -> Reply:
        """As `request`, without patience: for what must be begun anew to be tried again."""
        reply = await self._authorized(ask)
        if reply.status not in ok:
            raise await self._refused(ask, reply)
        return reply

    async def _refused(self, ask: Ask, reply: Reply) -> Refused:
        body = await _rest(reply)
        what = f"{ask.method} {reply.url.origin}{reply.url.target.partition('?')[0]}"
        return refused(what, reply.status, body, self.auth.kind())

    async def _authorized(self, ask: Ask) -> Reply:
        registry = await self._locate()
        url = WebUrl(registry, ask.to) if isinstance(ask.to, str) else ask.to
        used = await self.auth.header(ask.scopes) if url.origin == registry else ""
        reply = await self._follow(ask, registry, url, used)
        try:
            # The word of a server that the registry led us to is nothing to us here.
            again = (
                reply.status == 401
                and reply.url.origin == registry
                and self.auth.challenged(reply, registry, ask.scopes, used)
            )
        except BaseException:
            await reply.close()
            raise
        if not again:
            return reply
        await reply.close()
        used = await self.auth.header(ask.scopes)
        return await self._follow(ask, registry, url, used)

    async def _follow(self, ask: Ask, registry: Origin, url: WebUrl, credentials: str) -> Reply:
        for _ in range(MAX_REDIRECTS + 1):
            reply = await self._send(ask, registry, url, credentials)
            if reply.status not in _REDIRECTS or ask.method not in _SAFE:
                return reply
            location = reply.headers.get("location", "")
            await reply.close()
            target = url.join(location)
            check_redirect(registry, url.origin, target.origin)
            url = target
        raise InvalidArgument(f"{registry}: more than {MAX_REDIRECTS} redirects")

    async def _send(self, ask: Ask, registry: Origin, url: WebUrl, credentials: str) -> Reply:
        headers = dict(ask.headers)
        if credentials and url.origin == registry:
            headers["Authorization"] = credentials
        verify = self.endpoint.verify
        if url.origin != registry:
            verify = not self.transport.config.rules.lenient(url.origin, registry)
        return await self.transport.send(ask.method, url, headers, verify=verify, body=ask.body)

    async def _locate(self) -> Origin:
        """The first origin of the endpoint that speaks: plain HTTP only where TLS fails."""
        if self._origin is not None:
            return self._origin
        *early, last = self.endpoint.origins
        for origin in early:
            if tls.has_authority(origin, self.transport.config.certs):
                last = origin
                break
            try:
                reply = await self._follow(Ask("HEAD", ""), origin, WebUrl(origin, "/v2/"), "")
            except Interrupted:
                continue
            await reply.close()
            last = origin
            break
        self._origin = last
        return last


async def _rest(reply: Reply) -> bytes:
    """What an unwelcome answer says; b"" where that cannot be read either."""
    try:
        return await reply.read(MAX_ERROR)
    except (Interrupted, InvalidArgument):
        return b""
    finally:
        await reply.close()
