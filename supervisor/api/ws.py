"""A websocket (RFC 6455) that a container's streams are attached to.

The shim takes raw stream sockets, so between it and the client is a socket pair:

    client ◄── frames ──► Relay ◄── bytes ──► near end │ far end ──► engine.attach, the shim

What the container writes goes out as it comes, one binary frame a piece; what the client
sends is stdin, however it is cut into frames. A client that ends its side of the connection
without a Close frame has ended its stdin and still gets the output. Each direction holds one
piece: who does not read holds the other side, as over a socket.
"""

from __future__ import annotations

import codecs
import select
import socket
from typing import Any

import h11
import trio
from wsproto.connection import Connection, ConnectionState
from wsproto.connection import ConnectionType as Side
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    Pong,
    TextMessage,
)
from wsproto.frame_protocol import CloseReason
from wsproto.handshake import H11Handshake
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from supervisor.api import limits
from supervisor.api.messages import Headers
from supervisor.errors import InvalidArgument


def accept(headers: Headers, target: str, answered: Headers) -> bytes:
    """The answer to a websocket's request, with the headers `answered`; InvalidArgument."""
    shake = H11Handshake(Side.SERVER)
    try:
        shake.initiate_upgrade_connection(headers, target)
        return shake.send(AcceptConnection(extra_headers=answered))
    except (RemoteProtocolError, LocalProtocolError, h11.ProtocolError, UnicodeError) as error:
        raise InvalidArgument(
            f"this is for websockets, and the request is no websocket's: {error}"
        ) from None


class Relay:
    """`client` is the upgraded connection, `near` this side's end of the pair; owns both.

    `early` is what came behind the request. With `text`, output goes in text frames.
    """

    def __init__(
        self, client: socket.socket, near: socket.socket, *, early: bytes, text: bool
    ) -> None:
        self._client = trio.SocketStream(trio.socket.from_stdlib_socket(client))
        self._near = trio.SocketStream(trio.socket.from_stdlib_socket(near))
        self._protocol = Connection(Side.SERVER, trailing_data=early)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace") if text else None
        self._writing = trio.Lock()

    async def run(self) -> None:
        """Relay until one side ends it, and close both."""
        async with self._client, self._near, trio.open_nursery() as nursery:
            nursery.start_soon(self._inward, nursery.cancel_scope)
            await self._outward()
            # The client's own Close frame may be on its way.
            nursery.cancel_scope.deadline = trio.current_time() + limits.LINGER_SECONDS

    async def fail(self, reason: str) -> None:
        """Tell the client why there will be nothing."""
        # A control frame has 125 bytes (RFC 6455, section 5.5), two of them for the code.
        text = reason.encode()[:123].decode(errors="ignore")
        await self._send(CloseConnection(code=CloseReason.INTERNAL_ERROR, reason=text))

    async def _outward(self) -> None:
        """Output to the client, then the Close frame."""
        while data := await _receive(self._near, limits.RECEIVE_SIZE):
            if not await self._send(self._message(data)):
                return
        await self._send(CloseConnection(code=CloseReason.NORMAL_CLOSURE))

    async def _inward(self, whole: trio.CancelScope) -> None:
        """Input to the container; cancels the `whole` when the client is done with it."""
        going = await self._take()
        while going and (data := await _receive(self._client, limits.RECEIVE_SIZE)):
            self._protocol.receive_data(data)
            going = await self._take()
        if not going or _hung_up(self._client):
            whole.cancel()
            return
        try:
            await self._near.send_eof()
        except trio.BrokenResourceError:
            return  # the container's side is gone, which `_outward` sees

    async def _take(self) -> bool:
        """Do what has come; False after a Close frame, or what is no frame."""
        for event in self._protocol.events():
            if isinstance(event, Message):
                await self._input(event)
            elif isinstance(event, Ping):
                await self._send(Pong(payload=event.payload))
            elif isinstance(event, CloseConnection):
                # Also made up by the library for what is no frame, with the code to send.
                if self._protocol.state is not ConnectionState.CLOSED:
                    await self._send(event.response())
                return False
        return True

    async def _input(self, event: Message[Any]) -> None:
        data = event.data.encode() if isinstance(event.data, str) else bytes(event.data)
        try:
            await self._near.send_all(data)
        except trio.BrokenResourceError:
            return  # as above

    async def _send(self, event: Event) -> bool:
        """False where the client takes nothing any more."""
        async with self._writing:
            try:
                await self._client.send_all(self._protocol.send(event))
            except (LocalProtocolError, trio.BrokenResourceError):
                return False
        return True

    def _message(self, data: bytes) -> Event:
        if self._decoder is None:
            return BytesMessage(data=data)
        return TextMessage(data=self._decoder.decode(data))


async def _receive(stream: trio.SocketStream, size: int) -> bytes:
    """The next bytes, b"" at the end, however it came."""
    try:
        return bytes(await stream.receive_some(size))
    except trio.BrokenResourceError:
        return b""


def _hung_up(stream: trio.SocketStream) -> bool:
    """Whether both directions have ended, not only the client's."""
    poll = select.poll()
    poll.register(stream.socket.fileno(), 0)
    return bool(poll.poll(0))
