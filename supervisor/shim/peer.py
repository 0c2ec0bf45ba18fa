"""One connection of a supervisor to the shim: requests in, replies and events out."""

import os
import socket
from collections.abc import Callable, Sequence

from supervisor.errors import InitError, Internal, InvalidArgument, OrlopError, ProtocolError
from supervisor.shim.loop import IN, Loop
from supervisor.shim.packets import receive
from supervisor.wire import shim_protocol
from supervisor.wire.shim_protocol import Message

# Takes ownership of the fds; returns the reply's `ok`, or None to answer later.
Dispatch = Callable[["Peer", Message, list[int]], Message | None]


class Peer:
    """Never blocks the shim: a supervisor that does not read is cut off (it finds the
    exit record when it comes back)."""

    def __init__(
        self,
        loop: Loop,
        connection: socket.socket,
        dispatch: Dispatch,
        on_gone: Callable[["Peer"], None],
    ) -> None:
        self.loop = loop
        self.connection = connection
        self.dispatch = dispatch
        self.on_gone = on_gone
        self.closed = False
        connection.setblocking(False)
        loop.add(connection.fileno(), IN, self._ready)

    def send(self, message: Message, fds: Sequence[int] = ()) -> None:
        """Send one message now or drop the connection; the fds stay the caller's."""
        if self.closed:
            return
        try:
            socket.send_fds(self.connection, [shim_protocol.encode(message)], fds)
        except OSError:
            self.close()

    def answer(self, request: Message, ok: Message) -> None:
        """Reply to a request."""
        self.send({"id": request.get("id"), "ok": ok})

    def refuse(self, request: Message, error: OrlopError | InitError) -> None:
        """Reply to a request with an error."""
        self.send({"id": request.get("id"), "error": shim_protocol.error_to_json(error)})

    def close(self) -> None:
        """Forget the connection."""
        if not self.closed:
            self.closed = True
            self.loop.remove(self.connection.fileno())
            self.connection.close()
            self.on_gone(self)

    def _ready(self, _events: int) -> None:
        try:
            packet, fds = receive(self.connection)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not packet:
            self.close()
            return
        try:
            request = shim_protocol.decode(packet)
        except ProtocolError:
            for fd in fds:
                os.close(fd)
            self.close()
            return
        self._serve(request, fds)

    def _serve(self, request: Message, fds: list[int]) -> None:
        try:
            ok = self.dispatch(self, request, fds)
        except (OrlopError, InitError) as error:
            self.refuse(request, error)
        except OSError as error:
            self.refuse(request, Internal(f"shim: {request.get('op')}: {error}"))
        except (LookupError, TypeError, ValueError) as error:
            self.refuse(request, InvalidArgument(f"shim: {request.get('op')}: {error!r}"))
        else:
            if ok is not None:
                self.answer(request, ok)
        for fd in fds:  # what the operation did not take
            os.close(fd)
