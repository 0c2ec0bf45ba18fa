"""TLS in front of a connection: a relay between it and one end of a socket pair.

What serves requests has the pair's other end and knows nothing of TLS, and that end can go
to a container's shim as a unix connection's socket does. Each direction holds one piece.
"""

from __future__ import annotations

import logging
from contextlib import suppress

import trio

from supervisor.api import limits

log = logging.getLogger("orlop.api")

TlsStream = trio.SSLStream[trio.SocketStream]


async def shake_hands(stream: TlsStream, peer: str) -> bool:
    """Make the connection secure; False, and told in the log, where the client is refused."""
    try:
        with trio.move_on_after(limits.HANDSHAKE_SECONDS) as scope:
            await stream.do_handshake()
    except trio.BrokenResourceError as error:
        log.info("TLS with %s: %s", peer, error.__cause__ or error)
        with trio.move_on_after(limits.LINGER_SECONDS):
            await _alert(stream)
        return False
    if scope.cancelled_caught:
        log.info("TLS with %s: the handshake took too long", peer)
    return not scope.cancelled_caught


async def _alert(stream: TlsStream) -> None:
    """Tell the client why: trio leaves TLS's own message about it where it was written."""
    with suppress(trio.BrokenResourceError):
        await stream.transport_stream.send_all(stream._outgoing.read())
        await _drain(stream.transport_stream)


async def relay(stream: TlsStream, inner: trio.SocketStream) -> None:
    """Copy both ways until `inner` ends or the client is gone; close both."""
    async with inner:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_inward, stream, inner, nursery.cancel_scope)
                await _outward(inner, stream)
                nursery.cancel_scope.cancel()
            with trio.move_on_after(limits.LINGER_SECONDS):
                await _farewell(stream)
        finally:
            await trio.aclose_forcefully(stream)


async def _inward(stream: TlsStream, inner: trio.SocketStream, whole: trio.CancelScope) -> None:
    """The client's bytes; its end is the pair's half-close, its loss the end of all."""
    while True:
        try:
            data = await stream.receive_some(limits.STREAM_SIZE)
        except trio.BrokenResourceError:
            whole.cancel()
            return
        try:
            await (inner.send_all(data) if data else inner.send_eof())
        except trio.BrokenResourceError:
            return  # nobody takes it any more; what was answered is still on its way
        if not data:
            return


async def _outward(inner: trio.SocketStream, stream: TlsStream) -> None:
    """What is for the client, until that ends or the client is gone."""
    with suppress(trio.BrokenResourceError):
        while data := await inner.receive_some(limits.STREAM_SIZE):
            await stream.send_all(data)


async def _farewell(stream: TlsStream) -> None:
    """Tell the client that this is the end, and read what it still sends: closing a TCP socket
    with unread bytes resets it, and what was sent last may be lost."""
    with suppress(trio.BrokenResourceError):  # it goes on sending, or is gone
        await stream.unwrap()
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        await _drain(stream.transport_stream)


async def _drain(transport: trio.SocketStream) -> None:
    await transport.send_eof()
    left = limits.MAX_BODY
    while left > 0 and (data := await transport.receive_some(limits.RECEIVE_SIZE)):
        left -= len(data)
