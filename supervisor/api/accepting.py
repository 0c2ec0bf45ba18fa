"""Taking connections from a listening socket, several at a time.

`docker stats` of all containers opens one for each at once: a round of the event loop for each
would cost as much as what they ask for.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import Callable

import trio

log = logging.getLogger("orlop.api")

AT_ONCE = 16
"""Connections that are taken before what is under way gets its turn again."""

_PAUSE_SECONDS = 0.1
_NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
_OURS = frozenset({errno.EBADF, errno.EINVAL, errno.ENOTSOCK})


async def accept_forever(
    listener: trio.SocketListener, take: Callable[[socket.socket], object]
) -> None:
    """Give each connection, which does not block, to `take`, until cancelled; closes `listener`.

    Where descriptors or memory are short, clients wait.
    """
    async with listener:
        # trio's own accept gives way to others each time.
        with socket.socket(fileno=os.dup(listener.socket.fileno())) as listening:
            listening.setblocking(False)
            while True:
                await trio.lowlevel.wait_readable(listening.fileno())
                try:
                    _accept_some(listening, take)
                except OSError as error:
                    if error.errno not in _NO_ROOM:
                        raise
                    log.warning("no connection can be accepted: %s", error.strerror)
                    await trio.sleep(_PAUSE_SECONDS)


def _accept_some(listening: socket.socket, take: Callable[[socket.socket], object]) -> None:
    for _ in range(AT_ONCE):
        try:
            client, _address = listening.accept()
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno in _OURS or error.errno in _NO_ROOM:
                raise
            continue  # the client's: it has gone meanwhile, or its network has (accept(2))
        client.setblocking(False)
        take(client)
