"""Asking other DNS servers: UDP, over TCP if the answer is cut off, the next one if one is silent.

Every question goes out from a port of its own, which the kernel chooses at random, with a random
id: whoever wants to forge an answer has 2^32 possibilities (RFC 5452).
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Sequence
from contextlib import suppress

import msgspec
import trio

from netplumb.errors import Malformed
from netplumb.plan.dns import message as dns
from netplumb.plan.dns.message import Code, Query, Reply

SECONDS = 2.0  # for each server, and each protocol
_NEXT_SERVER = (Code.SERVER_FAILURE, Code.REFUSED, Code.NOT_IMPLEMENTED)


class Server(msgspec.Struct, frozen=True):
    """A resolver of the host: an address, of IPv6 perhaps with a zone, and a port."""

    address: str
    port: int = dns.QUERY_PORT


async def ask(servers: Sequence[Server], query: Query, raw: bytes) -> Reply | None:
    """The first answer that is one; None if no server has any."""
    last: Reply | None = None
    for server in servers:
        reply = await _ask_one(server, query, raw)
        if reply is not None and reply.code not in _NEXT_SERVER:
            return reply
        last = reply or last
    return last


async def _ask_one(server: Server, query: Query, raw: bytes) -> Reply | None:
    reply = None
    with suppress(OSError, Malformed):
        with trio.move_on_after(SECONDS):
            reply = await _by_udp(server, query, raw)
        if reply is not None and reply.truncated:
            with trio.move_on_after(SECONDS):
                reply = await _by_tcp(server, query, raw)
    return reply


async def _by_udp(server: Server, query: Query, raw: bytes) -> Reply:
    identity = secrets.randbits(16)
    family, address = _address(server)
    with trio.socket.socket(family, socket.SOCK_DGRAM) as asking:
        await asking.connect(address)
        await asking.send(dns.forwarded(query, raw, identity))
        while True:  # a forged answer does not end it
            with suppress(Malformed):
                return dns.parse_reply(await asking.recv(dns.LARGEST), query, identity)


async def _by_tcp(server: Server, query: Query, raw: bytes) -> Reply:
    identity = secrets.randbits(16)
    family, address = _address(server)
    with trio.socket.socket(family, socket.SOCK_STREAM) as asking:
        await asking.connect(address)
        stream = trio.SocketStream(asking)
        question = dns.forwarded(query, raw, identity)
        await stream.send_all(len(question).to_bytes(2, "big") + question)
        data = await read_framed(stream)
        return dns.parse_reply(data, query, identity)


async def read_framed(stream: trio.SocketStream) -> bytes:
    """A message with its length before it (RFC 1035, 4.2.2); b"" at the end, or Malformed."""
    head = await _exactly(stream, 2)
    return await _exactly(stream, int.from_bytes(head, "big")) if head else b""


async def _exactly(stream: trio.SocketStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = await stream.receive_some(size - len(data))
        if not piece:
            if data:
                raise Malformed("a DNS connection that ends too early")
            return b""
        data += piece
    return data


def _address(server: Server) -> tuple[int, tuple[object, ...]]:
    """A numeric address as socket calls want it; OSError for an unknown zone."""
    if ":" not in server.address:
        return socket.AF_INET, (server.address, server.port)
    address, _, zone = server.address.partition("%")
    index = int(zone) if zone.isdigit() else socket.if_nametoindex(zone) if zone else 0
    return socket.AF_INET6, (address, server.port, 0, index)
