"""TCP from a host's socket to a container, byte for byte."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from contextlib import suppress

import trio

from netplumb.apply.poller import Poller

_PIECE = 1 << 16
_ACCEPTS_AT_ONCE = 16
_CONNECT_SECONDS = 10.0
_REST_SECONDS = 0.2  # without descriptors: others may give some back
_OUT_OF_THEM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

Target = tuple[str, int]


class _Shared:
    """What all ports have in common: the bound on connections."""

    def __init__(self, poller: Poller, nursery: trio.Nursery, most: int) -> None:
        self.poller = poller
        self.nursery = nursery
        self.most = most
        self.count = 0
        self.waiting: list[Callable[[], None]] = []

    def ended(self) -> None:
        """A connection is over: a port that waits may go on."""
        self.count -= 1
        if self.waiting:
            self.waiting.pop(0)()


class TcpProxy:
    """Accepts on a listening socket. Beyond the bound, connections wait in the kernel's queue."""

    Shared = _Shared

    def __init__(self, shared: _Shared, listener: socket.socket, target: Target) -> None:
        self.target = target
        self._shared = shared
        self._listener = listener
        self._connections: set[trio.CancelScope] = set()
        self._stopped = False
        shared.poller.add(listener, self._accept)

    def stop(self) -> None:
        """Accept no more, and end what there is. The listening socket stays open."""
        self._stopped = True
        self._shared.poller.remove(self._listener)
        for scope in self._connections:
            scope.cancel()

    def _accept(self) -> None:
        for _ in range(_ACCEPTS_AT_ONCE):
            if self._shared.count >= self._shared.most:
                self._shared.poller.remove(self._listener)
                self._shared.waiting.append(self._go_on)
                return
            try:
                accepted, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _OUT_OF_THEM:
                    self._shared.poller.remove(self._listener)
                    self._shared.nursery.start_soon(self._rest)
                return  # else a connection that ended in the queue: accept(2)
            self._shared.count += 1
            scope = trio.CancelScope()
            self._connections.add(scope)
            self._shared.nursery.start_soon(self._relay, accepted, scope)

    def _go_on(self) -> None:
        if not self._stopped:
            self._shared.poller.add(self._listener, self._accept)

    async def _rest(self) -> None:
        await trio.sleep(_REST_SECONDS)
        self._go_on()

    async def _relay(self, accepted: socket.socket, scope: trio.CancelScope) -> None:
        try:
            with trio.socket.from_stdlib_socket(accepted) as client, scope, suppress(OSError):
                await self._between(client)
        finally:
            self._connections.discard(scope)
            self._shared.ended()

    async def _between(self, client: trio.socket.SocketType) -> None:
        family = socket.AF_INET6 if ":" in self.target[0] else socket.AF_INET
        with trio.socket.socket(family, socket.SOCK_STREAM) as server:
            with trio.fail_after(_CONNECT_SECONDS), suppress(trio.TooSlowError):
                await server.connect(self.target)
                for end in (client, server):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await relay(client, server)


async def relay(one: trio.socket.SocketType, other: trio.socket.SocketType) -> None:
    """Both directions, until both have ended; OSError ends both at once.

    Reads no more than it has written: what is under way is the kernel's buffers and one piece.
    """
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_pump, one, other)
            await _pump(other, one)
    except* OSError as group:
        raise group.exceptions[0] from None  # one is enough


async def _pump(source: trio.socket.SocketType, sink: trio.socket.SocketType) -> None:
    while data := await source.recv(_PIECE):
        rest = memoryview(data)
        while rest:
            rest = rest[await sink.send(rest) :]
    with suppress(OSError):  # the other side may have gone altogether
        sink.shutdown(socket.SHUT_WR)
