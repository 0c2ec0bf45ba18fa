"""UDP from a host's socket to a container: a socket of its own for each client."""

from __future__ import annotations

import errno
import socket
import struct
from collections import OrderedDict
from contextlib import suppress
from typing import Any

import trio

from netplumb.apply.poller import Poller

IDLE_SECONDS = 90.0  # as dockerd's proxy
_LARGEST = 65535
_AT_ONCE = 64
_IP_PKTINFO = 8
_ANCILLARY = 128

Target = tuple[str, int]


class _Shared:
    """What all ports have in common: the flows, those idle for longest first."""

    def __init__(self, poller: Poller, most: int) -> None:
        self.poller = poller
        self.most = most
        self.idle_seconds = IDLE_SECONDS
        self.flows: OrderedDict[tuple[int, Any], _Flow] = OrderedDict()

    def expire(self) -> None:
        """End the flows that were idle for too long."""
        now = trio.current_time()
        while self.flows:
            key, flow = next(iter(self.flows.items()))
            if now - flow.used < self.idle_seconds:
                return
            self.end(key)

    def end(self, key: tuple[int, Any]) -> None:
        """End a flow."""
        flow = self.flows.pop(key, None)
        if flow is not None:
            self.poller.remove(flow.socket)
            flow.socket.close()


class _Flow:
    """One client. `origin` is the ancillary data to answer from the address it spoke to."""

    def __init__(self, proxy: UdpProxy, client: Any, made: socket.socket) -> None:
        self.proxy = proxy
        self.client = client
        self.socket = made
        self.origin: list[tuple[int, int, bytes]] = []
        self.used = trio.current_time()

    def answer(self) -> None:
        """Send the container's answers to the client. What does not fit is lost, as UDP is."""
        for _ in range(_AT_ONCE):
            try:
                data = self.socket.recv(_LARGEST)
            except BlockingIOError:
                return
            except OSError:  # the container's port is closed
                self.proxy.shared.end((id(self.proxy), self.client))
                return
            self.used = trio.current_time()
            self.proxy.shared.flows.move_to_end((id(self.proxy), self.client))
            with suppress(OSError):
                self.proxy.socket.sendmsg([data], self.origin, 0, self.client)


class UdpProxy:
    """Receives on a bound socket."""

    Shared = _Shared

    def __init__(self, shared: _Shared, bound: socket.socket, target: Target) -> None:
        self.shared = shared
        self.socket = bound
        self.target = target
        # To which of the host's addresses a datagram came: the answer must come from there.
        if bound.family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            bound.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        shared.poller.add(bound, self._receive)

    def stop(self) -> None:
        """Receive no more, and end all flows. The bound socket stays open."""
        self.shared.poller.remove(self.socket)
        for key in [key for key in self.shared.flows if key[0] == id(self)]:
            self.shared.end(key)

    def _receive(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                data, ancillary, _, client = self.socket.recvmsg(_LARGEST, _ANCILLARY)
            except OSError:  # nothing there, or an answer that could not be delivered
                return
            flow = self._flow(client)
            if flow is not None:
                flow.used = trio.current_time()
                flow.origin = _origin(ancillary)
                self._pass_on(flow, data)

    def _pass_on(self, flow: _Flow, data: bytes) -> None:
        try:
            flow.socket.send(data)
        except BlockingIOError:
            pass  # lost, as UDP is
        except OSError as error:
            if error.errno == errno.ECONNREFUSED:  # of an earlier datagram: this one may do
                with suppress(OSError):
                    flow.socket.send(data)

    def _flow(self, client: Any) -> _Flow | None:
        key = id(self), client
        flow = self.shared.flows.get(key)
        if flow is not None and flow.socket.getpeername()[:2] == self.target:
            self.shared.flows.move_to_end(key)
            return flow
        self.shared.end(key)
        if len(self.shared.flows) >= self.shared.most:
            self.shared.end(next(iter(self.shared.flows)))
        return self._new_flow(key, client)

    def _new_flow(self, key: tuple[int, Any], client: Any) -> _Flow | None:
        family = socket.AF_INET6 if ":" in self.target[0] else socket.AF_INET
        try:
            made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        except OSError:
            return None
        try:
            made.connect(self.target)
        except OSError:
            made.close()
            return None
        flow = _Flow(self, client, made)
        self.shared.flows[key] = flow
        self.shared.poller.add(made, flow.answer)
        return flow


def _origin(ancillary: list[tuple[int, int, bytes]]) -> list[tuple[int, int, bytes]]:
    """The pktinfo to send with, from the one received: our address as the source."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO) and len(data) >= 12:
            # struct in_pktinfo: index, the address it came to, the header's destination.
            return [(level, kind, struct.pack("=I4s4s", 0, data[4:8], bytes(4)))]
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO) and len(data) >= 20:
            return [(level, kind, data[:20])]
    return []
