"""The HTTP server: `/metrics`, `/-/healthy`, and a page for people at `/`.

The page asks for `/containers` (JSON, `?history` with the last minute) and follows `/events`.

A scraper that is slow, silent or one too many costs itself; everything it can hold on to is
bounded (metrics.serve.limits).
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from http import HTTPStatus
from typing import NamedTuple

import h11
import trio

from metrics.render import negotiation
from metrics.serve import assets, limits
from metrics.serve.auth import BasicAuth
from metrics.serve.connection import Connection, Disconnected
from metrics.serve.exposition import compressed
from metrics.serve.watching import Events, Watchers
from metrics.serve.web import Web

log = logging.getLogger("orlop.metrics")

_PLAIN = ("Content-Type", "text/plain; charset=utf-8")
_JSON = (("Content-Type", "application/json"), ("Cache-Control", "no-store"))
_SAFE = {"X-Content-Type-Options": "nosniff"}
_NOTHING: Mapping[str, str] = {}
_CLOSE = ("Connection", "close")


class Peer(NamedTuple):
    """Who is at the other end."""

    host: str
    is_loopback: bool


Scrape = Callable[[str, bool], Awaitable[Iterator[bytes]]]
"""`scrape(scraper, openmetrics)`: fresh pages for that scraper."""

Live = Callable[[bool], Awaitable[Iterator[bytes]]]
"""`live(history)`: pieces of the JSON of all containers."""


class Server:
    """Serves on any number of listeners; without `live` or `events` the page has none."""

    def __init__(
        self, scrape: Scrape, web: Web, *, live: Live | None = None, events: Events | None = None
    ) -> None:
        self._scrape = scrape
        self._web = web
        self._live = live
        self._watchers = Watchers(events) if events else None
        self._auth = BasicAuth()
        self._connections: dict[Connection, None] = {}
        self._scrapes = trio.Semaphore(limits.MAX_SCRAPES)

    async def serve(
        self,
        listeners: list[trio.SocketListener],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accept until cancelled; the listeners are closed then."""
        async with trio.open_nursery() as nursery:
            serve = partial(trio.serve_listeners, self._connected, listeners)
            await nursery.start(serve)
            task_status.started()

    # --- connections -----------------------------------------------------------------------------

    async def _connected(self, socket: trio.SocketStream) -> None:
        try:
            self._web.refresh()
            peer = _peer(socket)
            if self._web.context is None:
                await self._serve_connection(Connection(socket), peer)
            else:
                await self._serve_tls(socket, peer)
        except (Disconnected, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            log.debug("a scraper hung up: %s", error)
        except Exception:
            log.exception("a scraper's connection broke")
        finally:
            socket.socket.close()

    async def _serve_tls(self, socket: trio.SocketStream, peer: Peer) -> None:
        assert self._web.context is not None
        stream = trio.SSLStream(socket, self._web.context, server_side=True, https_compatible=True)
        with trio.move_on_after(limits.HANDSHAKE_SECONDS) as scope:
            await stream.do_handshake()
        if scope.cancelled_caught:
            return
        await self._serve_connection(Connection(stream), peer)
        with trio.move_on_after(limits.CLOSE_SECONDS):
            await stream.aclose()

    async def _serve_connection(self, connection: Connection, peer: Peer) -> None:
        if len(self._connections) >= limits.MAX_CONNECTIONS and not self._make_room():
            log.warning("more than %d scrapers are connected", limits.MAX_CONNECTIONS)
            return
        self._connections[connection] = None
        try:
            while await self._serve_request(connection, peer):
                # The one that was served last is the last to be closed for others.
                del self._connections[connection]
                self._connections[connection] = None
        finally:
            del self._connections[connection]

    def _make_room(self) -> bool:
        for connection in self._connections:
            if connection.idle is not None and not connection.idle.cancel_called:
                connection.idle.cancel()
                return True
        return False

    async def _serve_request(self, connection: Connection, peer: Peer) -> bool:
        """Take and answer one request; False when the connection is over."""
        try:
            request = await connection.next_request()
        except h11.RemoteProtocolError as error:
            await self._refuse(connection, HTTPStatus(error.error_status_hint))
            return False
        if request is None:
            return False
        follows = False
        with trio.move_on_after(limits.ANSWER_SECONDS) as scope:
            follows = await self._answer(connection, request, peer)
        if scope.cancelled_caught:
            log.warning("a scraper at %s took too long", peer.host)
            if not connection.answering:
                await self._refuse(connection, HTTPStatus.SERVICE_UNAVAILABLE)
            return False
        if follows and self._watchers is not None:
            last_id = _header(request, b"last-event-id")
            await self._watchers.follow(connection, self._headers(), last_id)
            return False
        return connection.next_cycle()

    async def _refuse(self, connection: Connection, status: HTTPStatus) -> None:
        if not connection.answering:
            with trio.move_on_after(limits.CLOSE_SECONDS):
                await self._say(connection, status, [_CLOSE])

    # --- answers -------------------------------------------------------------------------------

    async def _answer(self, connection: Connection, request: h11.Request, peer: Peer) -> bool:
        """Answer; True where an answer that takes as long as it takes is left to be given."""
        self._web.refresh()
        path, _, query = request.target.partition(b"?")
        if request.method not in (b"GET", b"HEAD"):
            allow = ("Allow", "GET, HEAD")
            await self._say(connection, HTTPStatus.METHOD_NOT_ALLOWED, [allow])
        elif not await self._may(request):
            ask = ("WWW-Authenticate", 'Basic realm="metrics", charset="UTF-8"')
            await self._say(connection, HTTPStatus.UNAUTHORIZED, [ask])
        elif path == b"/metrics":
            await self._metrics(connection, request, peer)
        elif path == b"/-/healthy":
            await self._say(connection, HTTPStatus.OK)
        elif path == b"/containers" and self._live is not None:
            async with self._scrapes:
                pages = await self._live(query == b"history")
                await connection.stream([*self._headers(), *_JSON], pages)
        elif path == b"/events" and self._watchers is not None:
            if not self._watchers.full:
                return True
            retry = ("Retry-After", f"{limits.BEAT_SECONDS:.0f}")
            await self._say(connection, HTTPStatus.SERVICE_UNAVAILABLE, [retry])
        elif found := assets.asset(path):
            headers = [*self._headers(assets.HEADERS), ("Content-Type", found.type)]
            await connection.answer(HTTPStatus.OK, headers, found.content)
        else:
            await self._say(connection, HTTPStatus.NOT_FOUND)
        return False

    async def _metrics(self, connection: Connection, request: h11.Request, peer: Peer) -> None:
        openmetrics = negotiation.wants_openmetrics(_header(request, b"accept"))
        # Compressing costs more than it saves where no wire is in between.
        gzip = not peer.is_loopback and negotiation.wants_gzip(_header(request, b"accept-encoding"))
        headers = [
            *self._headers(),
            ("Content-Type", negotiation.OPENMETRICS if openmetrics else negotiation.TEXT),
            ("Vary", "Accept, Accept-Encoding"),
        ]
        if gzip:
            headers.append(("Content-Encoding", "gzip"))
        async with self._scrapes:
            pages = await self._scrape(
                f"{peer.host} {_header(request, b'user-agent')}", openmetrics
            )
            pages = compressed(pages) if gzip else pages
            await connection.stream(headers, pages)

    async def _say(
        self,
        connection: Connection,
        status: HTTPStatus,
        extra: list[tuple[str, str]] | None = None,
    ) -> None:
        headers = [*self._headers(), _PLAIN, *(extra or [])]
        body = f"{status.phrase}\n".encode()
        await connection.answer(status, headers, body)

    def _headers(self, more: Mapping[str, str] = _NOTHING) -> list[tuple[str, str]]:
        return list({**_SAFE, **more, **self._web.config.headers}.items())

    async def _may(self, request: h11.Request) -> bool:
        users = self._web.config.users
        if not users:
            return True
        found = [value for name, value in request.headers if name == b"authorization"]
        return len(found) == 1 and await self._auth.allows(users, found[0])


def _header(request: h11.Request, name: bytes) -> str:
    values = [value.decode("latin-1") for key, value in request.headers if key == name]
    return ", ".join(values)


def _peer(socket: trio.SocketStream) -> Peer:
    try:
        host = str(socket.socket.getpeername()[0])
        address = ipaddress.ip_address(host.partition("%")[0])
    except (OSError, ValueError):
        return Peer("?", is_loopback=False)
    mapped = getattr(address, "ipv4_mapped", None)
    return Peer(host, (mapped or address).is_loopback)
