"""A thread of our own for calls that wait for the kernel's locks or change namespaces.

A netlink request is worked off within sendmsg(2), under locks that other work of the kernel holds
for up to 150 ms (the removal of 200 namespaces): the supervisor's loop must not wait for that.
And setns(2) changes the calling thread only: the thread that enters containers' namespaces is
this one, never the supervisor's. One that cannot find its way back ends, and the next call gets
a new one.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

import trio

from netplumb.apply import namespace

T = TypeVar("T")


class Pending(Generic[T]):
    """A call that is under way."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._token = trio.lowlevel.current_trio_token()
        self._done = trio.Event()
        self._value: T | None = None
        self._error: BaseException | None = None

    async def wait(self) -> T:
        """Its result. Not cancelled: what is begun is finished, and it is short."""
        with trio.CancelScope(shield=True):
            await self._done.wait()
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        return self._value  # type: ignore[return-value]

    def work(self) -> bool:
        """In the thread: make the call. False if the thread must not be used again."""
        usable = True
        try:
            self._value = self._function()
        except BaseException as error:  # noqa: BLE001 (the one who waits gets it)
            self._error = error
            usable = not isinstance(error, namespace.Stranded)
        # Nobody waits any more; or it is done, and is heard of when somebody else wakes the loop.
        with suppress(trio.RunFinishedError, OSError):
            self._token.run_sync_soon(self._done.set)
        return usable


class KernelThread:
    """Runs functions one after the other, in the network namespace of whoever made it first run."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._calls: queue.SimpleQueue[Pending[Any] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def begin(self, function: Callable[..., T], *args: Any) -> Pending[T]:
        """Let the thread call `function(*args)` after what it was given before."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._work, name=self.name, daemon=True)
            self._thread.start()
        pending = Pending(lambda: function(*args))
        self._calls.put(pending)
        return pending

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """`function(*args)` in the thread."""
        await trio.lowlevel.checkpoint_if_cancelled()
        return await self.begin(function, *args).wait()

    def close(self) -> None:
        """End the thread after what it has been given."""
        thread, self._thread = self._thread, None
        if thread is not None and thread.is_alive():
            self._calls.put(None)
            thread.join()

    def _work(self) -> None:
        with namespace.home():
            while (call := self._calls.get()) is not None:
                if not call.work():
                    return
                del call
