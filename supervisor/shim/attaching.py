"""Clients that come with a request: a session gets the socket, as the request says."""

import socket
from collections.abc import Callable

from supervisor.shim.client import Client
from supervisor.shim.loop import Loop
from supervisor.shim.session import Session
from supervisor.wire import stdcopy
from supervisor.wire.shim_protocol import Message


def attach(
    loop: Loop,
    session: Session,
    request: Message,
    fds: list[int],
    tell: Callable[[Message], None],
) -> None:
    """Attach the socket in `fds` to a session as the request asks; `tell` hears of a detach."""
    exec_id = request.get("exec", "")  # alone: the request would live as long as the client

    def gone(client: Client, detached: bool) -> None:
        session.client_gone(client, detached)
        if detached:
            tell({"event": "detached", "exec": exec_id})

    wants = {
        stream
        for key, stream in (("stdout", stdcopy.STDOUT), ("stderr", stdcopy.STDERR))
        if request.get(key, True)
    }
    client = Client(
        loop,
        socket.socket(fileno=fds.pop()),
        wants=frozenset(wants),
        stdin=bool(request.get("stdin")),
        framed=bool(request.get("framed")),
        detach_keys=bytes.fromhex(request.get("detach_keys", "")),
        on_change=session.client_changed,
        on_input=session.take_input,
        on_gone=gone,
    )
    session.add_client(client)
    client.feed(bytes.fromhex(request.get("preface", "")))
