"""Single HTTP requests over httpx: no redirects, no credentials and no retries of its own.

Import this module only when a registry is to be spoken to: it costs the daemon 8 MiB.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing

import httpx
import trio

from supervisor import __version__
from supervisor.errors import InvalidArgument
from supervisor.oci.registry_errors import printable
from supervisor.oci.web_url import Origin, WebUrl
from supervisor.registry import tls
from supervisor.registry.config import RegistryConfig
from supervisor.registry.failures import Interrupted

CONNECT_SECONDS = 30.0
_USER_AGENT = f"orlop/{__version__}"

Body = Callable[[], AsyncIterator[bytes]]
"""Makes a request's body anew, for each time that it is sent."""
Received = Callable[[int], None]
"""Told how many bytes of an answer's body have come."""


class Reply:
    """An answer whose head has come; close it, read or not."""

    def __init__(self, response: httpx.Response, url: WebUrl, received: Received) -> None:
        self._response = response
        self._received = received
        self.url = url
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers

    def challenges(self) -> list[str]:
        """Its WWW-Authenticate headers."""
        return self._response.headers.get_list("www-authenticate")

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes, in pieces of at most 64 KiB; Interrupted where it breaks off."""
        try:
            raw = self._response.aiter_raw()
            assert isinstance(raw, AsyncGenerator)
            async with aclosing(raw) as pieces:
                async for piece in pieces:
                    self._received(len(piece))
                    yield piece
        except httpx.TransportError as error:
            raise _interrupted("GET", self.url, error) from None

    async def read(self, most: int) -> bytes:
        """The whole body; InvalidArgument if it is longer than `most` bytes."""
        data = bytearray()
        async with aclosing(self.pieces()) as pieces:
            async for piece in pieces:
                data += piece
                if len(data) > most:
                    raise InvalidArgument(f"{self.url.origin}: an answer of more than {most} bytes")
        return bytes(data)

    async def close(self) -> None:
        """Give the connection back, or up if the body was not read to its end."""
        with trio.CancelScope(shield=True):
            await self._response.aclose()


class Transport:
    """Connections of one pull or push, each kept for the next request to the same server."""

    def __init__(self, config: RegistryConfig, received: Received = lambda _: None) -> None:
        self.config = config
        self._received = received
        self._clients: dict[tuple[Origin, bool], httpx.AsyncClient] = {}

    async def __aenter__(self) -> Transport:
        return self

    async def __aexit__(self, *_: object) -> None:
        with trio.CancelScope(shield=True):
            for client in self._clients.values():
                await client.aclose()

    async def send(
        self,
        method: str,
        url: WebUrl,
        headers: Mapping[str, str],
        *,
        verify: bool = True,
        body: Body | bytes | None = None,
    ) -> Reply:
        """One request; raises Interrupted where no answer comes."""
        client = await self._client(url.origin, verify)
        content = body() if callable(body) else body
        request = client.build_request(
            method,
            str(url),
            # Bodies must come as they are stored: digests are over exactly that.
            headers={"Accept-Encoding": "identity", "User-Agent": _USER_AGENT, **headers},
            content=content,
        )
        try:
            response = await client.send(request, stream=True)
        except httpx.TransportError as error:
            raise _interrupted(method, url, error) from None
        return Reply(response, url, self._received)

    async def _client(self, origin: Origin, verify: bool) -> httpx.AsyncClient:
        key = (origin, verify)
        if key not in self._clients:
            context = False if origin.plain else await self._context(origin, verify)
            self._clients.setdefault(
                key,
                httpx.AsyncClient(
                    verify=context,
                    timeout=httpx.Timeout(
                        self.config.timeout, connect=min(CONNECT_SECONDS, self.config.timeout)
                    ),
                    follow_redirects=False,
                    # Proxies of the environment are for the world outside.
                    trust_env=not origin.loopback,
                    limits=httpx.Limits(max_connections=None),
                ),
            )
        return self._clients[key]

    async def _context(self, origin: Origin, verify: bool) -> ssl.SSLContext:
        return await trio.to_thread.run_sync(tls.context, origin, self.config.certs, verify)


def _interrupted(method: str, url: WebUrl, error: httpx.TransportError) -> Interrupted:
    connected = not isinstance(
        error,
        httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError | httpx.UnsupportedProtocol,
    )
    where = url.target.partition("?")[0]  # the query may hold a signature that lets anybody in
    return Interrupted(
        f'{method.capitalize()} "{url.origin}{where}": {_why(error)}', connected=connected
    )


def _why(error: httpx.TransportError) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"its certificate is not to be trusted ({cause.verify_message}): put the CA's into "
                "/etc/orlop/certs.d/HOST:PORT/ca.crt"
            )
        if isinstance(cause, ssl.SSLError):
            return f"TLS failed: {printable(cause.reason or str(cause))}"
        if isinstance(cause, OSError) and cause.strerror:
            # trio adds the address to the text; a name server's errors have numbers below 0.
            number = cause.errno or 0
            return (os.strerror(number) if number > 0 else cause.strerror).lower()
        inner = cause.__cause__ or cause.__context__
        while isinstance(inner, BaseExceptionGroup):  # one for each address of the host
            inner = inner.exceptions[0]
        cause = inner
    if isinstance(error, httpx.TimeoutException):
        return "timeout: the server is silent"
    return printable(str(error)) or type(error).__name__
