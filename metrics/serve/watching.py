"""Who follows the events: an endless answer of server-sent events for each.

https://html.spec.whatwg.org/multipage/server-sent-events.html. Events are JSON objects with
`time_ns`, which is their id: a browser that lost the connection asks for what came since.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from typing import Any

import trio

from metrics.serve import limits
from metrics.serve.connection import Connection, Disconnected, Headers

Events = Callable[[int | None], AsyncGenerator[Mapping[str, Any], None]]
"""`events(since_ns)`: those of that time and later, then new ones; None = the latest few first."""

HEADERS = (("Content-Type", "text/event-stream"), ("Cache-Control", "no-store"))
_HELLO = b"retry: 2000\n\n"
_STILL_HERE = b":\n\n"
_LONGEST_ID = 19


class Watchers:
    """At most `limits.MAX_WATCHERS` of them. One that does not read what it is sent is dropped."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self.count = 0

    @property
    def full(self) -> bool:
        """Whether one more is one too many."""
        return self.count >= limits.MAX_WATCHERS

    async def follow(self, connection: Connection, headers: Headers, last_id: str) -> None:
        """Send events until the client leaves, is too slow, or has followed for so long that it
        should come again and say who it is. The connection is over then."""
        known = last_id.isascii() and last_id.isdecimal() and len(last_id) <= _LONGEST_ID
        watcher = _Watcher(connection)
        self.count += 1
        try:
            with trio.move_on_after(limits.WATCH_SECONDS):
                async with trio.open_nursery() as nursery:
                    events = self._events(int(last_id) + 1 if known else None)
                    for task in (
                        lambda: watcher.send([*headers, *HEADERS], events),
                        watcher.beat,
                        connection.gone,
                    ):
                        nursery.start_soon(_then_cancel, nursery.cancel_scope, task)
        finally:
            self.count -= 1


class _Watcher:
    """One client; events and signs of life take turns."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._turn = trio.Lock()

    async def send(self, headers: Headers, events: AsyncGenerator[Mapping[str, Any], None]) -> None:
        """Until the source ends, which is where events wait for a slow client: bounded."""
        async with aclosing(events):
            if not await self._connection.begin(headers):
                return
            going = await self._write(_HELLO)
            while going and (event := await anext(events, None)) is not None:
                going = await self._write(_text(event))
            if going:
                await self._connection.end()

    async def beat(self) -> None:
        """Proxies end what is silent."""
        while True:
            await trio.sleep(limits.BEAT_SECONDS)
            if not await self._write(_STILL_HERE):
                return

    async def _write(self, data: bytes) -> bool:
        """False for a client that is gone or too slow."""
        with trio.move_on_after(limits.WATCHER_SECONDS), suppress(Disconnected):
            async with self._turn:
                await self._connection.write(data)
            return True
        return False


async def _then_cancel(scope: trio.CancelScope, task: Callable[[], Awaitable[object]]) -> None:
    await task()
    scope.cancel()


def _text(event: Mapping[str, Any]) -> bytes:
    # JSON of one line, in ASCII: nothing in it ends the event.
    data = json.dumps(event, separators=(",", ":")).replace("<", "\\u003c")
    return f"id: {event['time_ns']}\ndata: {data}\n\n".encode()
