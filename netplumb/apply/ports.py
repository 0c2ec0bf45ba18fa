"""Host ports: reserved by binding them, and served where the kernel's own way does not lead.

A reservation is a bound socket, so every other program sees the port as taken. On it the port
proxy answers what the firewall does not translate: connections from the host's own loopback, and
IPv6 clients of a container that has IPv4 alone.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress

import msgspec
import trio

from netplumb.apply import sysctl
from netplumb.apply.holders import holder_of
from netplumb.apply.poller import Poller
from netplumb.apply.proxy_tcp import TcpProxy
from netplumb.apply.proxy_udp import UdpProxy
from netplumb.errors import Exhausted, Invalid, Taken
from netplumb.plan.model import Address, PortBinding, authority
from netplumb.plan.ports import PortRange, candidates, parse_ephemeral

_BACKLOG = 512
_SCTP = 132
_BUSY = (errno.EADDRINUSE, errno.EACCES)


class _Reserved(msgspec.Struct):
    container: str
    host_ip: Address
    port: int
    protocol: str
    socket: socket.socket | None
    server: TcpProxy | UdpProxy | None = None


@asynccontextmanager
async def open_ports(*, connections: int = 4096, flows: int = 4096) -> AsyncIterator[Ports]:
    """The host's ports; at most so many TCP connections and UDP flows are proxied at once."""
    poller = Poller()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(poller.run)
            ports = Ports(poller, nursery, connections, flows)
            nursery.start_soon(ports._expire)
            try:
                yield ports
            finally:
                ports.release_all()
                nursery.cancel_scope.cancel()
    finally:
        poller.close()


class Ports:
    """Made by `open_ports`."""

    def __init__(self, poller: Poller, nursery: trio.Nursery, connections: int, flows: int) -> None:
        self._poller = poller
        self._reserved: dict[tuple[str, int], dict[Address, _Reserved]] = {}
        self._last = 0
        self._tcp = TcpProxy.Shared(poller, nursery, connections)
        self._udp = UdpProxy.Shared(poller, flows)

    # --- reserving ----------------------------------------------------------------------------

    async def reserve(
        self,
        container: str,
        host_ips: Sequence[Address],
        wanted: PortRange | None,
        protocol: str = "tcp",
    ) -> int:
        """Reserve one port at all these addresses; without `wanted` any free one.

        What the container has reserved already is kept. Taken (in docker's words, with who has
        it) or Exhausted; nothing is reserved then.
        """
        anywhere = wanted is None
        within = wanted or parse_ephemeral(sysctl.read("ipv4/ip_local_port_range") or "")
        for port in candidates(within, self._last if anywhere else 0):
            failed = self._try(container, host_ips, port, protocol)
            if failed is None:
                self._last = port if anywhere else self._last
                return port
            if len(within) == 1:
                raise Taken(await self._why(failed, port, protocol))
        raise Exhausted(f"all ports of {within}/{protocol} are allocated")

    def _try(
        self, container: str, host_ips: Iterable[Address], port: int, protocol: str
    ) -> Address | None:
        """Reserve them all; else the address that failed."""
        made: list[_Reserved] = []
        for host_ip in host_ips:
            old = self._reserved.get((protocol, port), {}).get(host_ip)
            if old is not None and old.container == container:
                continue
            if self._conflict(host_ip, port, protocol) is None:
                with suppress(BlockingIOError):
                    bound = _bind(host_ip, port, protocol)
                    reserved = _Reserved(container, host_ip, port, protocol, bound)
                    self._reserved.setdefault((protocol, port), {})[host_ip] = reserved
                    made.append(reserved)
                    continue
            for reserved in made:
                self._release(reserved)
            return host_ip
        return None

    def _conflict(self, host_ip: Address, port: int, protocol: str) -> _Reserved | None:
        others = self._reserved.get((protocol, port), {})
        return next((o for o in others.values() if _overlap(o.host_ip, host_ip)), None)

    async def _why(self, host_ip: Address, port: int, protocol: str) -> str:
        text = f"Bind for {authority(host_ip)}:{port} failed: port is already allocated"
        other = self._conflict(host_ip, port, protocol)
        if other is not None:
            return f"{text} by container {other.container}"
        by = await trio.to_thread.run_sync(holder_of, protocol, host_ip, port)
        return f"{text} by {by}" if by else text

    # --- serving ------------------------------------------------------------------------------

    def serve(self, binding: PortBinding) -> None:
        """Proxy what comes to the reserved socket of a binding. Idempotent; Invalid without one."""
        same_port = self._reserved.get((binding.protocol, binding.host_port), {})
        reserved = same_port.get(binding.host_ip)
        if reserved is None or reserved.container != binding.container:
            raise Invalid(f"the port of {binding} is not reserved for {binding.container}")
        target = str(binding.container_ip), binding.container_port
        if reserved.server is not None:
            reserved.server.target = target
        elif reserved.socket is None:
            return  # a protocol that this host has no sockets of
        elif binding.protocol == "tcp":
            reserved.server = TcpProxy(self._tcp, reserved.socket, target)
        elif binding.protocol == "udp":
            reserved.server = UdpProxy(self._udp, reserved.socket, target)

    # --- giving back --------------------------------------------------------------------------

    def release(self, container: str, port: int | None = None, protocol: str = "tcp") -> None:
        """Give back one port of a container, or all of them; connections of theirs end."""
        for reserved in self._all():
            wanted = port is None or (port, protocol) == (reserved.port, reserved.protocol)
            if reserved.container == container and wanted:
                self._release(reserved)

    def release_all(self) -> None:
        """Give back everything."""
        for reserved in self._all():
            self._release(reserved)

    def _all(self) -> list[_Reserved]:
        return [reserved for some in self._reserved.values() for reserved in some.values()]

    def _release(self, reserved: _Reserved) -> None:
        key = reserved.protocol, reserved.port
        del self._reserved[key][reserved.host_ip]
        if not self._reserved[key]:
            del self._reserved[key]
        if reserved.server is not None:
            reserved.server.stop()
        if reserved.socket is not None:
            reserved.socket.close()

    async def _expire(self) -> None:
        """End UDP flows that nothing came through for a while."""
        while True:
            await trio.sleep(self._udp.idle_seconds / 4)
            self._udp.expire()


def _overlap(one: Address, other: Address) -> bool:
    return one.version == other.version and (
        one == other or one.is_unspecified or other.is_unspecified
    )


def _bind(host_ip: Address, port: int, protocol: str) -> socket.socket | None:
    """A bound socket, of TCP a listening one; BlockingIOError if somebody has the port."""
    family = socket.AF_INET if host_ip.version == 4 else socket.AF_INET6
    kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
    number = _SCTP if protocol == "sctp" else 0
    try:
        made = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, number)
    except OSError:
        if protocol == "sctp":
            return None  # then nobody else can have the port either
        raise
    try:
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if protocol == "tcp":
            # Connections of an earlier life may still be in TIME_WAIT. Somebody else's socket
            # with the same option is kept off by listening.
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((str(host_ip), port))
        if protocol != "udp":
            made.listen(_BACKLOG)
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise Invalid(
                f"Bind for {authority(host_ip)}:{port} failed: this host has no address {host_ip}"
            ) from None
        if error.errno in _BUSY:
            raise BlockingIOError(error.errno, "the port is taken") from None
        raise
    return made
