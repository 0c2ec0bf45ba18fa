"""The event stream: what happened, to everybody who asked, with a short memory."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncGenerator

import trio

from supervisor.docker.views import Event

REMEMBERED = 1024
QUEUE = 4096


class EventBus:
    """Publishes events to subscribers. A subscriber that falls QUEUE events behind is ended."""

    def __init__(self) -> None:
        self._memory: deque[Event] = deque(maxlen=REMEMBERED)
        self._subscribers: set[trio.MemorySendChannel[Event]] = set()
        self.dropped_subscribers = 0

    @property
    def listeners(self) -> int:
        """How many follow the stream now."""
        return len(self._subscribers)

    def publish(self, kind: str, action: str, actor: str, attributes: dict[str, str]) -> None:
        """Tell everybody; `kind` is docker's Type (container, image, …)."""
        event = Event(
            type=kind, action=action, id=actor, attributes=attributes, time_ns=time.time_ns()
        )
        self._memory.append(event)
        for channel in list(self._subscribers):
            try:
                channel.send_nowait(event)
            except (trio.WouldBlock, trio.BrokenResourceError) as error:
                self.dropped_subscribers += isinstance(error, trio.WouldBlock)
                self._subscribers.discard(channel)
                channel.close()

    def since(self, count: int) -> int:
        """The time from which on there are `count` remembered events (wall clock in ns)."""
        if len(self._memory) <= count:
            return 0
        return self._memory[-count].time_ns

    async def stream(
        self, since_ns: int | None, until_ns: int | None
    ) -> AsyncGenerator[Event, None]:
        """Remembered events from `since_ns`, then new ones up to `until_ns` (wall clock).

        Without either nothing is remembered; with only `until_ns` it is all, as docker has it.
        """
        sender, receiver = trio.open_memory_channel[Event](QUEUE)
        replayed = since_ns is not None or until_ns is not None
        past = [e for e in self._memory if replayed and e.time_ns >= (since_ns or 0)]
        self._subscribers.add(sender)
        try:
            for event in past:
                if until_ns is None or event.time_ns <= until_ns:
                    yield event
            seconds = float("inf") if until_ns is None else (until_ns - time.time_ns()) / 1e9
            deadline = trio.current_time() + max(0.0, seconds)
            while True:
                with trio.move_on_at(deadline) as scope:  # no yield inside a cancel scope
                    event = await receiver.receive()
                if scope.cancelled_caught:
                    return
                yield event
        except trio.EndOfChannel:
            return
        finally:
            self._subscribers.discard(sender)
            sender.close()
            receiver.close()
