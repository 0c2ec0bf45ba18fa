"""One HTTP/1.1 connection of a scraper: bytes to requests, answers to bytes, by h11."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from http import HTTPStatus

import h11
import trio

from metrics.serve import limits
from metrics.serve.exposition import pieces

Headers = Sequence[tuple[str, str]]


class Disconnected(Exception):
    """The scraper is gone, or was cut off."""


class Connection:
    """`idle` is the scope of the wait for the next request, None while one is answered."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.MAX_HEAD)
        self._only_head = False
        self.idle: trio.CancelScope | None = None

    async def next_request(self) -> h11.Request | None:
        """The next request, None when there will be none.

        Raises h11.RemoteProtocolError for what is no HTTP, Disconnected.
        """
        begun = bool(self._h11.trailing_data[0])
        seconds = limits.HEAD_SECONDS if begun else limits.IDLE_SECONDS
        with trio.move_on_after(seconds) as scope:
            self.idle = None if begun else scope
            while True:
                event = self._h11.next_event()
                if isinstance(event, h11.Request):
                    self.idle = None
                    self._only_head = event.method == b"HEAD"
                    return event
                if event is not h11.NEED_DATA:
                    return None
                self._h11.receive_data(await self._receive())
                if not begun:
                    begun, self.idle = True, None
                    scope.deadline = trio.current_time() + limits.HEAD_SECONDS
        self.idle = None
        return None

    async def answer(self, status: HTTPStatus, headers: Headers, body: bytes) -> None:
        """Write a whole answer, to HEAD without the body. Disconnected."""
        head = self._head(status, [*headers, ("Content-Length", str(len(body)))])
        data = b"" if self._only_head else self._h11.send(h11.Data(body))
        end = self._h11.send(h11.EndOfMessage())
        await self._send(head + (data or b"") + (end or b""))

    async def begin(self, headers: Headers) -> bool:
        """Write the head of an answer that `write` goes on with; False where that is all, to HEAD.

        Disconnected.
        """
        await self._send(self._head(HTTPStatus.OK, headers))
        return not self._only_head

    async def write(self, data: bytes) -> None:
        """Write more of the answer's body. Disconnected."""
        await self._write(data)

    async def end(self) -> None:
        """Write the end of such an answer. Disconnected."""
        await self._send(self._h11.send(h11.EndOfMessage()))

    async def gone(self) -> None:
        """Wait until the client is gone, or says something in the middle of its answer."""
        with suppress(Disconnected):
            await self._receive()

    async def stream(self, headers: Headers, pages: Iterable[bytes]) -> None:
        """Write an answer of unknown length: chunked, or until the close for HTTP/1.0."""
        await self._send(self._head(HTTPStatus.OK, headers))
        if not self._only_head:
            await pieces(pages, self._write)
        await self._send(self._h11.send(h11.EndOfMessage()))

    @property
    def answering(self) -> bool:
        """Whether something of an answer has been written."""
        return self._h11.our_state not in (h11.IDLE, h11.SEND_RESPONSE)

    def next_cycle(self) -> bool:
        """Make ready for another request; False when the connection is over."""
        while self._h11.their_state is h11.SEND_BODY:
            # What of a body came along is skipped; one that did not come yet is not waited for.
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError:
                return False
            if not isinstance(event, h11.Data | h11.EndOfMessage):
                return False
        if self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
            return False
        self._h11.start_next_cycle()
        return True

    def _head(self, status: HTTPStatus, headers: Headers) -> bytes:
        response = h11.Response(status_code=status, headers=list(headers), reason=status.phrase)
        return self._h11.send(response) or b""

    async def _write(self, data: bytes) -> None:
        await self._send(self._h11.send(h11.Data(data)))

    async def _receive(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some(limits.RECEIVE_SIZE))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise Disconnected(str(error)) from None

    async def _send(self, data: bytes | None) -> None:
        if not data:
            return
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise Disconnected(str(error)) from None
