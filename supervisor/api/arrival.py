"""A connection before it has a task: what comes is answered at once, or by a task later."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

from supervisor.api import answer_heads, limits, plain_heads
from supervisor.api.messages import Answer
from supervisor.api.peer import Peer, peer_of
from supervisor.api.plain_heads import Head


class Disconnected(Exception):
    """The client is gone; nobody is left to answer."""


class Arrival:
    """`sock` is an accepted socket, which does not block; `request` the one being answered.

    `peer` is who is there where the socket itself does not tell. `read_only`: nothing can be
    changed from here. `waiting` ends an idle wait for the next request, and is None while one is
    answered.
    """

    def __init__(
        self, sock: socket.socket, *, peer: Peer | None = None, read_only: bool = False
    ) -> None:
        self.read_only = read_only
        self._peer = peer
        self._socket = sock
        self._fd = sock.fileno()
        self._received = b""  # for a task to read
        self._unwritten = b""  # of an answer, for a task to write
        self._untold = b""  # a plain request that h11 has not been told of
        self.request: Head | None = None
        self.waiting: Callable[[], None] | None = None

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._fd

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    @property
    def peer(self) -> Peer:
        """Who is at the other end; OSError where that one is gone and the address with it."""
        if self._peer is None:
            self._peer = peer_of(self._socket)
        return self._peer

    def arrived(self) -> bytes | None:
        """What has come, b"" at the end of the connection, None where there is nothing yet.

        Raises Disconnected.
        """
        try:
            return os.read(self._fd, limits.RECEIVE_SIZE)
        except BlockingIOError:
            return None
        except OSError as error:
            raise Disconnected(str(error)) from None

    def plain_request(self, data: bytes) -> Head | None:
        """The request that `data` is if it is plain; None: `next_request` is to read it."""
        self.request = plain_heads.find(data)
        if self.request is None:
            self._received = data
        else:
            self._untold = data
        return self.request

    def takes_longer(self) -> None:
        """The plain request is for `next_request`, too."""
        self._received, self._untold = self._untold, b""

    def answer_at_once(self, answer: Answer) -> bool:
        """Answer the plain request; False if the rest of that is for `finish_answer` to write."""
        data, self._untold = self._plain_answer(answer), b""
        try:
            written = os.write(self._fd, data)
        except BlockingIOError:
            written = 0
        except OSError as error:
            raise Disconnected(str(error)) from None
        self._unwritten = data[written:]
        return not self._unwritten

    @property
    def _is_head(self) -> bool:
        """Its answer has no body."""
        return self.request is not None and self.request.method == b"HEAD"

    def _plain_answer(self, answer: Answer) -> bytes:
        head = answer_heads.plain(answer)
        return head if self._is_head else head + answer.body
