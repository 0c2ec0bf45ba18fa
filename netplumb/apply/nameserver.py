"""The DNS server that containers have at 127.0.0.11: a pair of sockets in each one's namespace.

They answer for the containers' networks, and pass on everything else to the host's resolvers, from
the host's namespace. A container that is in internal networks alone gets nothing from outside.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator, Hashable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import lru_cache, partial
from ipaddress import IPv4Address

import msgspec
import trio

from netplumb.apply import upstream
from netplumb.apply.namespace import entered
from netplumb.apply.netlink import NETFILTER, Netlink
from netplumb.apply.nft import commit
from netplumb.apply.poller import Poller
from netplumb.apply.thread import KernelThread
from netplumb.apply.upstream import Server
from netplumb.errors import Malformed, Refused
from netplumb.plan.dns import message as dns
from netplumb.plan.dns import zones
from netplumb.plan.dns.cache import Cache
from netplumb.plan.dns.message import Code, Query, Reply
from netplumb.plan.dns.zones import Zone
from netplumb.plan.model import Endpoint, Network
from netplumb.plan.nft import objects, ruleset
from netplumb.plan.operation import Operation

ADDRESS = "127.0.0.11"
TABLE = "orlop-dns"
_AT_ONCE = 32
_LARGEST_QUERY = 4096
_TCP_SECONDS = 10.0  # without a word
_BACKLOG = 16
_ENDINGS = (OSError, Malformed, trio.BrokenResourceError, trio.TooSlowError)


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """What containers may keep busy: questions to other servers at once (beyond it they are
    dropped, and clients ask again), TCP connections, kept answers.
    """

    questions: int = 1024
    questions_each: int = 100
    connections_each: int = 16
    kept: int = 1000


class _Client(msgspec.Struct, eq=False):
    """A container: its sockets, and the networks that it is in."""

    container: str
    udp: socket.socket
    tcp: socket.socket
    networks: tuple[str, ...]
    servers: tuple[Server, ...] | None = None  # None: the host's
    asking: int = 0
    open: set[trio.CancelScope] = msgspec.field(default_factory=set)  # TCP connections


class _Flight(msgspec.Struct, eq=False):
    """A question under way, and who else waits for its answer."""

    servers: tuple[Server, ...] | None
    done: trio.Event = msgspec.field(default_factory=trio.Event)
    reply: Reply | None = None


@asynccontextmanager
async def open_nameserver(
    servers: Sequence[Server] = (), bounds: Bounds | None = None
) -> AsyncIterator[NameServer]:
    """A server that asks these others."""
    poller, thread = Poller(), KernelThread("netplumb-dns")
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(poller.run)
            made = NameServer(poller, thread, nursery, servers, bounds or Bounds())
            try:
                yield made
            finally:
                for container in list(made.clients):
                    made.detach(container)
                nursery.cancel_scope.cancel()
    finally:
        poller.close()
        thread.close()


class NameServer:
    """Made by `open_nameserver`."""

    def __init__(
        self,
        poller: Poller,
        thread: KernelThread,
        nursery: trio.Nursery,
        servers: Sequence[Server],
        bounds: Bounds,
    ) -> None:
        self.bounds = bounds
        self.clients: dict[str, _Client] = {}
        self._poller = poller
        self._thread = thread
        self._nursery = nursery
        self._servers = tuple(servers)
        self._zones: dict[str, Zone] = {}
        self._cache = Cache(bounds.kept)
        self._flights: dict[Hashable, _Flight] = {}
        self._asking = 0
        self._turn = 0
        # Those of the last container's sockets: mostly free in the next one's namespace, too, and
        # what leads port 53 there is encoded already.
        self._ports = (0, 0)

    # --- what it knows ------------------------------------------------------------------------

    @property
    def networks(self) -> frozenset[str]:
        """The ids of the networks that are known."""
        return frozenset(self._zones)

    def set_servers(self, servers: Sequence[Server]) -> None:
        """The host's resolvers have changed."""
        if self._servers != tuple(servers):
            self._servers = tuple(servers)
            self._cache.clear()

    def set_network(self, network: Network, endpoints: Iterable[Endpoint] = ()) -> None:
        """A network, and all its endpoints."""
        self._zones[network.id] = Zone(network, endpoints)

    def add(self, endpoint: Endpoint) -> None:
        """One more endpoint of a network that is known."""
        self._zones[endpoint.network].add(endpoint)

    def remove(self, endpoint: Endpoint) -> None:
        """One endpoint less, as it was added; what is not known is no error."""
        zone = self._zones.get(endpoint.network)
        if zone is not None:
            zone.remove(endpoint)

    def forget_network(self, network_id: str) -> None:
        """The network is no more."""
        self._zones.pop(network_id, None)

    # --- containers ---------------------------------------------------------------------------

    async def attach(
        self,
        container: str,
        namespace: int,
        networks: Sequence[str],
        servers: Sequence[Server] | None = None,
    ) -> None:
        """Serve a container: open the sockets in its namespace (an fd), which they then keep
        alive until `detach`. `networks` are ids, the one whose names come first at the front.
        `servers` are asked for it in place of the host's. Again for one that is served already:
        its sockets are made anew.
        """
        udp, tcp = await self._thread.run(_open, namespace, self._ports)
        if dns.QUERY_PORT not in (ports := _ports_of(udp, tcp)):
            self._ports = ports
        self.detach(container)
        own = tuple(servers) if servers is not None else None
        client = _Client(container, udp, tcp, tuple(networks), own)
        self.clients[container] = client
        self._poller.add(udp, partial(self._datagrams, client))
        self._poller.add(tcp, partial(self._connections, client))

    def set_networks(self, container: str, networks: Sequence[str]) -> None:
        """The container is in these networks now."""
        client = self.clients.get(container)
        if client is not None:
            client.networks = tuple(networks)

    def detach(self, container: str) -> None:
        """Serve it no more; one that is not served is no error."""
        client = self.clients.pop(container, None)
        if client is not None:
            for scope in client.open:
                scope.cancel()
            for sock in (client.udp, client.tcp):
                self._poller.remove(sock)
                sock.close()

    # --- questions ----------------------------------------------------------------------------

    def _datagrams(self, client: _Client) -> None:
        for _ in range(_AT_ONCE):
            try:
                raw, peer = client.udp.recvfrom(_LARGEST_QUERY)
            except OSError:
                return
            with suppress(Malformed):
                query = dns.parse_query(raw)
                answer = self._at_once(client, query, query.limit)
                if answer is not None:
                    _send(client, answer, peer)
                elif self._admit(client):
                    self._nursery.start_soon(self._later, client, query, raw, peer)

    async def _later(self, client: _Client, query: Query, raw: bytes, peer: object) -> None:
        answer = await self._from_others(client, query, raw, query.limit)
        _send(client, answer, peer)

    def _connections(self, client: _Client) -> None:
        try:
            accepted, _ = client.tcp.accept()
        except OSError:
            return
        if len(client.open) >= self.bounds.connections_each:
            accepted.close()
            return
        scope = trio.CancelScope()
        client.open.add(scope)
        self._nursery.start_soon(self._connection, client, accepted, scope)

    async def _connection(
        self, client: _Client, accepted: socket.socket, scope: trio.CancelScope
    ) -> None:
        try:
            with scope, suppress(*_ENDINGS):
                async with trio.SocketStream(trio.socket.from_stdlib_socket(accepted)) as stream:
                    await self._converse(client, stream)
        finally:
            accepted.close()
            client.open.discard(scope)

    async def _converse(self, client: _Client, stream: trio.SocketStream) -> None:
        while True:
            raw = b""
            with trio.move_on_after(_TCP_SECONDS):
                raw = await upstream.read_framed(stream)
            if not raw:
                return
            query = dns.parse_query(raw)
            answer = self._at_once(client, query, dns.LARGEST)
            if answer is None and self._admit(client):
                answer = await self._from_others(client, query, raw, dns.LARGEST)
            if answer is None:
                return
            with trio.fail_after(_TCP_SECONDS):
                await stream.send_all(len(answer).to_bytes(2, "big") + answer)

    # --- answers ------------------------------------------------------------------------------

    def _at_once(self, client: _Client, query: Query, limit: int) -> bytes | None:
        """What needs nobody else; None where others are to be asked."""
        if query.opcode:
            return dns.answer(query, Code.NOT_IMPLEMENTED, limit=limit)
        if query.edns is not None and query.edns.version:
            return dns.answer(query, Code.BAD_VERSION, limit=limit)
        if query.class_ != dns.IN:
            return dns.answer(query, Code.REFUSED, limit=limit)
        own = [self._zones[name] for name in client.networks if name in self._zones]
        self._turn += 1
        known = zones.resolve(query, own, self._turn)
        if known is not None:
            return dns.answer(query, known.code, known.records, limit=limit)
        if all(zone.network.internal for zone in own):
            return dns.answer(query, Code.NAME_ERROR, limit=limit)
        kept = self._cache.get((client.servers, query.key), trio.current_time())
        return dns.for_client(query, *kept, limit=limit) if kept is not None else None

    def _admit(self, client: _Client) -> bool:
        """Count one more question to others, which `_from_others` must follow; False beyond."""
        bounds = self.bounds
        if self._asking >= bounds.questions or client.asking >= bounds.questions_each:
            return False
        self._asking += 1
        client.asking += 1
        return True

    async def _from_others(self, client: _Client, query: Query, raw: bytes, limit: int) -> bytes:
        try:
            reply = await self._shared(client.servers, query, raw)
        finally:
            self._asking -= 1
            client.asking -= 1
        if reply is None:
            return dns.answer(query, Code.SERVER_FAILURE, limit=limit)
        return dns.for_client(query, reply, 0, limit=limit)

    async def _shared(
        self, servers: tuple[Server, ...] | None, query: Query, raw: bytes
    ) -> Reply | None:
        """Ask, unless the very same is asked for already."""
        key = servers, query.key
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight(servers)
            # Not in the client's scope: others may wait for it, too.
            self._nursery.start_soon(self._fly, flight, query, raw)
        await flight.done.wait()
        return flight.reply

    async def _fly(self, flight: _Flight, query: Query, raw: bytes) -> None:
        key = flight.servers, query.key
        servers = self._servers if flight.servers is None else flight.servers
        try:
            flight.reply = await upstream.ask(servers, query, raw)
            if flight.reply is not None:
                self._cache.put(key, flight.reply, trio.current_time())
        finally:
            del self._flights[key]
            flight.done.set()


def _send(client: _Client, answer: bytes, peer: object) -> None:
    with suppress(OSError):  # the client has gone, or does not read
        client.udp.sendto(answer, peer)  # type: ignore[call-overload]


# --- in the thread ------------------------------------------------------------------------------


def _open(namespace: int, liked: tuple[int, int]) -> tuple[socket.socket, socket.socket]:
    """UDP and TCP sockets inside, to which port 53 of ADDRESS leads; at the ports `liked`, if
    they are free, else at any, so that the container's own servers may have 53.
    """
    with entered(namespace):
        try:
            udp, tcp = _sockets(liked)
        except OSError:
            udp, tcp = _sockets((0, 0))
        try:
            _redirect(*_ports_of(udp, tcp))
        except (Refused, OSError):  # a kernel without nftables: take port 53 itself
            udp.close()
            tcp.close()
            return _sockets((dns.QUERY_PORT, dns.QUERY_PORT))
        return udp, tcp


def _ports_of(udp: socket.socket, tcp: socket.socket) -> tuple[int, int]:
    return udp.getsockname()[1], tcp.getsockname()[1]


def _sockets(ports: tuple[int, int]) -> tuple[socket.socket, socket.socket]:
    """Bound to the ports, of UDP and of TCP; 0 is any."""
    made: list[socket.socket] = []
    try:
        for kind, port in zip((socket.SOCK_DGRAM, socket.SOCK_STREAM), ports, strict=True):
            flags = kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
            made.append(socket.socket(socket.AF_INET, flags))
            made[-1].bind((ADDRESS, port))
        made[1].listen(_BACKLOG)
    except BaseException:
        for sock in made:
            sock.close()
        raise
    return made[0], made[1]


def _redirect(udp_port: int, tcp_port: int) -> None:
    with Netlink(NETFILTER) as netfilter:
        try:
            commit(netfilter, _redirection(udp_port, tcp_port, again=False))
        except Refused as error:
            if error.errno != errno.EEXIST:
                raise
            # An earlier process served this container.
            commit(netfilter, _redirection(udp_port, tcp_port, again=True))


@lru_cache(maxsize=8)
def _redirection(udp_port: int, tcp_port: int, *, again: bool) -> tuple[Operation, ...]:
    address = IPv4Address(ADDRESS).packed
    table = ruleset.resolver_table(TABLE, address, udp_port, tcp_port)
    return tuple(
        objects.replace_table(table, destroy=False) if again else objects.make_table(table)
    )
