"""One HTTP/1.1 connection: bytes to requests and answers to bytes, by h11.

    request ──► handler ──► Answer                      written whole
                       └──► begin, chunk…, finish       streamed, chunked
                       └──► hijack                      the socket is somebody else's

A connection takes one request after the other; pipelined ones wait in h11's buffer. What
h11 refuses is answered by its status and the connection closed.

A client's requests mostly have the same headers: one whose headers h11 has read before, and that
came in one piece, is taken and answered without it (`plain_heads`). h11 is told of it only where
the answer is neither whole nor a stream that ends well.
"""

from __future__ import annotations

import fcntl
import os
import socket as stdlib_socket
import termios
from collections.abc import Callable
from contextlib import AbstractContextManager

import h11
import trio

from supervisor.api import answer_heads, limits, plain_heads
from supervisor.api.arrival import Arrival, Disconnected
from supervisor.api.hangups import HangUps
from supervisor.api.messages import (
    Answer,
    Headers,
    base_headers,
    reason,
)
from supervisor.api.patience import Patience
from supervisor.api.peer import Peer
from supervisor.api.plain_heads import Head
from supervisor.errors import InvalidArgument, OrlopError

_READ_CHECKS = 500
_READ_CHECK_SECONDS = 0.0002
_CLOSE = (b"Connection", b"close")
_UPGRADE: Headers = [(b"Connection", b"Upgrade"), (b"Upgrade", b"tcp")]


class TooLarge(OrlopError):
    """A request body is larger than the API takes."""

    code = "too_large"
    status = 413


class RequestTimeout(OrlopError):
    """The client took too long to send its request."""

    code = "request_timeout"
    status = 408


class Connection(Arrival):
    """With a task of its own.

    `on_status` is told the status of the next answer, once: when that is written whole, or begun.
    """

    def __init__(
        self,
        sock: stdlib_socket.socket,
        hang_ups: HangUps,
        patience: Patience,
        *,
        peer: Peer | None = None,
        read_only: bool = False,
    ) -> None:
        super().__init__(sock, peer=peer, read_only=read_only)
        self._hang_ups = hang_ups
        self._patience = patience
        self._parser: h11.Connection | None = None  # made for whom it has to read
        self._chunked = False  # a plain request has a streamed answer
        self.hijacked = False
        self.on_status: Callable[[int], None] | None = None

    # --- requests -----------------------------------------------------------------------

    async def finish_answer(self) -> None:
        """Write what `answer_at_once` has left."""
        unwritten, self._unwritten = self._unwritten, b""
        await self._write(unwritten)

    async def next_request(self) -> Head | None:
        """The next request's head, None when there will be none.

        Raises h11.RemoteProtocolError for what is no HTTP, RequestTimeout for a slow one.
        """
        self.request = None
        data = b""  # all that there is, if that came in one piece
        early, closed = self._parser.trailing_data if self._parser is not None else (b"", False)
        if early:
            # Requests that came in one piece must not keep other connections waiting.
            await trio.lowlevel.checkpoint()
        elif not closed:
            data = await self._first_bytes()
            if not data:
                return None
            self.request = plain_heads.find(data)
            if self.request is not None:
                self._untold = data
                return self.request
            self._h11.receive_data(data)
        event: object = self._h11.next_event()
        if event is h11.NEED_DATA:
            data, event = b"", await self._rest_of_head()
        if not isinstance(event, h11.Request):
            return None
        if data:
            plain_heads.learn(data, event)
        self.request = Head(event.method, event.target, event.headers)
        return self.request

    async def _first_bytes(self) -> bytes:
        """What a request begins with; b"" where none comes any more, or in time."""
        if self._received:
            received, self._received = self._received, b""
            return received
        self.waiting = self._wait_no_more
        self._patience.begin(self)
        try:
            return await self._read()
        except trio.ClosedResourceError:
            return b""
        finally:
            self._patience.end(self)
            self.waiting = None

    def _wait_no_more(self) -> None:
        # The wait ends with ClosedResourceError: a cancel scope for each costs more than most
        # answers.
        trio.lowlevel.notify_closing(self._fd)

    async def _rest_of_head(self) -> object:
        """h11's event when it has all that it needs."""
        with trio.move_on_after(limits.HEAD_SECONDS):
            while True:
                await self._receive()
                event = self._h11.next_event()
                if event is not h11.NEED_DATA:
                    return event
        raise RequestTimeout("the request's headers did not arrive in time")

    async def body(self) -> bytes:
        """The request's body; TooLarge past the limit, InvalidArgument where it is cut off."""
        if self._untold:
            return self._plain_body()
        pieces: list[bytes] = []
        size = 0
        while True:
            event = self._h11.next_event()
            if isinstance(event, h11.EndOfMessage):
                return b"".join(pieces)
            if isinstance(event, h11.Data):
                size += len(event.data)
                if size > limits.MAX_BODY:
                    raise TooLarge(f"the request body is larger than {limits.MAX_BODY} bytes")
                pieces.append(bytes(event.data))
                continue
            if event is not h11.NEED_DATA:
                # Paused or closed before its end: the client did not send what it announced.
                raise InvalidArgument("the request body ended early")
            await self._continue()
            with trio.move_on_after(limits.BODY_SECONDS) as scope:
                await self._receive()
            if scope.cancelled_caught:
                raise RequestTimeout("the request's body did not arrive in time")

    async def body_piece(self) -> bytes:
        """The next piece of the request's body, b"" at its end; nothing is read ahead of it.

        Raises InvalidArgument where the body is cut off or malformed, RequestTimeout.
        """
        if self._untold:
            return self._plain_body()
        try:
            while self._h11.their_state is h11.SEND_BODY:
                event = self._h11.next_event()
                if isinstance(event, h11.Data) and event.data:
                    return bytes(event.data)
                if event is not h11.NEED_DATA:
                    continue
                await self._continue()
                with trio.move_on_after(limits.STREAM_SECONDS) as scope:
                    await self._receive(limits.STREAM_SIZE)
                if scope.cancelled_caught:
                    raise RequestTimeout("the request's body did not arrive in time")
        except h11.RemoteProtocolError as error:
            raise InvalidArgument(f"the request body is cut off or malformed: {error}") from None
        return b""

    def _plain_body(self) -> bytes:
        """What came with a plain request, once."""
        assert self.request is not None
        body, self.request = self.request.body, self.request._replace(body=b"")
        return body

    def complete_request(self) -> bool:
        """Skip what was received of the request's body; True if that was all of it."""
        while not self._untold and self._h11.their_state is not h11.DONE:
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError:
                return False
            if event is h11.PAUSED:  # the end, of a request that offered to upgrade
                return True
            if not isinstance(event, h11.Data | h11.EndOfMessage):
                return False
        return True

    @property
    def answering(self) -> bool:
        """Whether something of an answer has been written."""
        if self.hijacked or self._chunked:
            return True
        if self._untold or self._parser is None:
            return False
        return self._parser.our_state not in (h11.IDLE, h11.SEND_RESPONSE)

    @property
    def plain(self) -> bool:
        """The request is whole, and its headers were looked at before."""
        return bool(self._untold)

    @property
    def buffered(self) -> bytes:
        """What was received behind the request."""
        return bytes(self._h11.trailing_data[0])

    @property
    def _h11(self) -> h11.Connection:
        if self._parser is None:
            self._parser = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.MAX_HEAD)
        return self._parser

    def _told(self) -> h11.Connection:
        """h11, told of the request if it was not."""
        if self._untold:
            self._h11.receive_data(self._untold)
            self._untold = b""
            while not isinstance(event := self._h11.next_event(), h11.EndOfMessage):
                assert isinstance(event, h11.Request | h11.Data), event
        return self._h11

    async def _receive(self, size: int = limits.RECEIVE_SIZE) -> None:
        self._h11.receive_data(await self._read(size))

    async def _read(self, size: int = limits.RECEIVE_SIZE) -> bytes:
        # Waiting comes first: a client that has asked waits for its answer before it asks more.
        # And a busy one gives way to the others here.
        while True:
            await trio.lowlevel.wait_readable(self._fd)
            try:
                return os.read(self._fd, size)
            except BlockingIOError:
                continue
            except OSError as error:
                raise Disconnected(str(error)) from None

    async def _continue(self) -> None:
        if self._h11.they_are_waiting_for_100_continue:
            event = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
            await self._write(self._h11.send(event))

    # --- answers ------------------------------------------------------------------------

    def tell_status(self, status: int) -> None:
        """Tell whoever waits for it; 0 where there will be no answer."""
        on_status, self.on_status = self.on_status, None
        if on_status is not None:
            on_status(status)

    async def answer(self, answer: Answer) -> None:
        """Write a whole answer."""
        try:
            await self._write(self._whole(answer))
        finally:
            self.tell_status(answer.status)

    def _whole(self, answer: Answer) -> bytes:
        if self._untold:
            return self._plain_answer(answer)
        body = answer.body
        head = self._h11.send(answer_heads.response(answer))
        data = self._h11.send(h11.Data(body)) if body and not self._is_head else b""
        self._h11.send(h11.EndOfMessage())
        return (head or b"") + (data or b"")

    async def refuse(self, answer: Answer) -> None:
        """Write an answer to what could not be read to its end, as the last on this connection."""
        if not self.answering:
            self._told()
            await self.answer(answer._replace(headers=(*answer.headers, _CLOSE)))
            await self._linger()

    async def begin(self, status: int, headers: Headers) -> None:
        """Write a streamed answer's head at once."""
        self.tell_status(status)
        if self._untold and not self._is_head:
            self._chunked = True
            await self._write(answer_heads.chunked(status, headers))
            return
        event = h11.Response(
            status_code=status, headers=base_headers() + headers, reason=reason(status)
        )
        await self._write(self._told().send(event))

    async def chunk(self, data: bytes) -> None:
        """Write a piece of a streamed answer."""
        if self._chunked:
            await self._write(_chunk(data))
            return
        await self._write(self._h11.send(h11.Data(data)))

    async def finish(self, data: bytes = b"") -> None:
        """Write the last piece of a streamed answer, if any, and its end."""
        if self._chunked:
            await self._write(_chunk(data) + b"0\r\n\r\n")
            return
        last = self._h11.send(h11.Data(data)) if data else b""
        end = self._h11.send(h11.EndOfMessage())
        await self._write((last or b"") + (end or b""))

    async def hijack(self, content_type: bytes) -> tuple[int, bytes]:
        """End HTTP here: the socket's new fd, and what was received behind the request.

        A client that asked for `Upgrade` gets 101, another one 200 and the stream as its
        body. The fd is a close-on-exec duplicate that the caller owns; this side only
        drops its own, which does not shut the connection down.
        """
        assert self.request is not None
        content = [(b"Content-Type", content_type)]
        if any(name == b"upgrade" for name, _ in self.request.headers):
            head = self._told().send(
                h11.InformationalResponse(
                    status_code=101, headers=content + _UPGRADE, reason=b"UPGRADED"
                )
            )
        else:
            # No length and no chunks: h11 would frame it, so the head is written by hand.
            head = b"HTTP/1.1 200 OK\r\nContent-Type: " + content_type + b"\r\n\r\n"
            self.tell_status(200)
        return await self.hand_over(head)

    async def hand_over(self, head: bytes | None) -> tuple[int, bytes]:
        """End HTTP with an answer that another protocol has written; as `hijack`."""
        self.tell_status(101)
        await self._write(head)
        if self._loses_early_bytes():
            await self._until_read()
        self.hijacked = True
        return os.dup(self._fd), self.buffered

    def next_cycle(self) -> bool:
        """Make ready for another request; False where the connection is over."""
        if self._untold and not self.hijacked:  # answered, and h11 knows of nothing
            self._untold, self._chunked = b"", False
            return True
        if self.hijacked or self._h11.our_state is not h11.DONE:
            return False
        if self._h11.their_state is not h11.DONE:
            return False
        self._h11.start_next_cycle()
        return True

    # --- the socket ---------------------------------------------------------------------

    def watched(self, callback: Callable[[], None]) -> AbstractContextManager[None]:
        """Call back when the client has closed its side, while the block lasts."""
        return self._hang_ups.watched(self._fd, callback)

    async def hung_up(self) -> None:
        """Return when the client has closed its side; meant for the length of an answer."""
        await trio.lowlevel.wait_readable(self._fd)
        try:
            data = self._socket.recv(1, stdlib_socket.MSG_PEEK)
        except OSError:
            return
        if data:
            # The next request, sent early: readable from now on, so the end cannot be seen.
            await trio.sleep_forever()

    def _loses_early_bytes(self) -> bool:
        # docker-py reads the head through a buffer and the stream past it: bytes that come in
        # one piece with the head are lost to it.
        assert self.request is not None
        return any(
            name == b"user-agent" and value.startswith(b"docker-sdk-python")
            for name, value in self.request.headers
        )

    async def _until_read(self) -> None:
        # SIOCOUTQ of a unix socket counts what its peer has not read yet (unix(7)).
        for _ in range(_READ_CHECKS):
            unread = fcntl.ioctl(self._fd, termios.TIOCOUTQ, bytes(4))
            if not any(unread):
                return
            await trio.sleep(_READ_CHECK_SECONDS)

    async def _write(self, data: bytes | None) -> None:
        view: bytes | memoryview = data or b""
        while view:
            try:
                # The plain system call first: a round through trio's scheduler costs more.
                written = os.write(self._fd, view)
                if written == len(view):
                    return
                view = memoryview(view)[written:]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self._fd)
            except OSError as error:
                raise Disconnected(str(error)) from None

    async def _linger(self) -> None:
        # Closing a socket with unread bytes resets it, and the answer may be lost with them.
        with trio.move_on_after(limits.LINGER_SECONDS):
            try:
                self._socket.shutdown(stdlib_socket.SHUT_WR)
                left = limits.MAX_BODY
                while left > 0 and (data := await self._read()):
                    left -= len(data)
            except (OSError, Disconnected):
                return


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
