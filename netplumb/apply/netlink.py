"""Netlink sockets, blocking: for a KernelThread. netlink(7).

The kernel works a request off within send(2); when that returns all answers are in the socket's
queue. So what has not been answered then, never will be.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress

from netplumb.errors import Refused
from netplumb.plan.netlink import (
    NLMSG_DONE,
    NLMSG_ERROR,
    Answer,
    Message,
    answer,
    split,
    stamped,
)
from netplumb.plan.operation import Operation

ROUTE, NETFILTER = socket.NETLINK_ROUTE, 12

_SOL_NETLINK = 270
_ADD_MEMBERSHIP, _CAP_ACK, _EXT_ACK = 1, 10, 11
_SNDBUFFORCE, _RCVBUFFORCE = 32, 33
_BUFFER = 8 << 20
_READ = 1 << 18
_AT_ONCE = 64  # requests to a datagram: their answers fit into any receive buffer
_DUMP_INTERRUPTED = 0x10  # NLM_F_DUMP_INTR
_DUMP_TRIES = 5


class Netlink:
    """One socket, in the network namespace in which it is opened."""

    def __init__(self, protocol: int, groups: Sequence[int] = ()) -> None:
        self.socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol
        )
        try:
            self._set_up(groups)
        except BaseException:
            self.socket.close()
            raise
        self._sequence = 1

    def _set_up(self, groups: Sequence[int]) -> None:
        for option in (_CAP_ACK, _EXT_ACK):
            with suppress(OSError):  # answers are then longer, or without an explanation
                self.socket.setsockopt(_SOL_NETLINK, option, 1)
        self.socket.bind((0, 0))
        for group in groups:
            self.socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)

    @property
    def port(self) -> int:
        """The socket's address, which messages that it caused carry."""
        number: int = self.socket.getsockname()[0]
        return number

    def grow(self) -> None:
        """Room for large messages and many answers."""
        for option in (_SNDBUFFORCE, _RCVBUFFORCE):
            self.socket.setsockopt(socket.SOL_SOCKET, option, _BUFFER)

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- requests -----------------------------------------------------------------------------

    def execute(self, operations: Sequence[Operation]) -> None:
        """All operations; `Refused` names the first that failed. Those behind it are done, too."""
        answers = self.request([operation.message for operation in operations])
        for operation, result in zip(operations, answers, strict=True):
            if result.errno:
                raise Refused(operation.describe(), result.errno, result.text)

    def request(self, messages: Sequence[bytes]) -> list[Answer]:
        """Send the messages, each of which asks for an acknowledgement; their answers in order."""
        found: list[Answer] = []
        for start in range(0, len(messages), _AT_ONCE):
            found += self._request(messages[start : start + _AT_ONCE])
        return found

    def _request(self, messages: Sequence[bytes]) -> list[Answer]:
        first = self.send(messages)
        found: dict[int, Answer] = {}
        for got in self.answers():
            found[got.sequence] = got
            if got.sequence == first + len(messages) - 1:
                break  # nothing comes behind it: the call that would tell so is saved
        none = errno.ENOBUFS  # an answer may only be lost for want of memory
        return [found.get(first + i) or Answer(first + i, none) for i in range(len(messages))]

    def send(self, messages: Sequence[bytes]) -> int:
        """Send them as one datagram; the sequence number of the first."""
        first = self._sequence
        self._sequence = (first + len(messages)) & 0x7FFFFFFF or 1
        self.socket.send(stamped(messages, first))
        return first

    def answers(self) -> Iterator[Answer]:
        """The answers that are there now."""
        for message in self.pending():
            if message.kind == NLMSG_ERROR:
                yield answer(message)

    def pending(self) -> Iterator[Message]:
        """The messages that are there now."""
        while True:
            try:
                data = self.socket.recv(_READ, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                continue  # some were lost; what there is can still be read
            yield from split(data)

    def get(self, message: bytes) -> list[Message]:
        """The answer to a question about one thing, nothing if there is no such thing."""
        first = self.send([message])
        return [m for m in self.pending() if m.sequence == first and m.kind != NLMSG_ERROR]

    def dump(self, message: bytes) -> list[Message]:
        """All messages of a dump; it is asked for again if it changed meanwhile."""
        for _ in range(_DUMP_TRIES):
            found, whole = self._dump(message)
            if whole:
                return found
        return self._dump(message)[0]

    def _dump(self, message: bytes) -> tuple[list[Message], bool]:
        sequence = self.send([message])
        found: list[Message] = []
        whole = True
        while True:
            for got in split(self.socket.recv(_READ)):
                if got.sequence != sequence:
                    continue  # an answer to what was asked before
                whole = whole and not got.flags & _DUMP_INTERRUPTED
                if got.kind in (NLMSG_DONE, NLMSG_ERROR):
                    result = answer(got) if got.body else Answer(sequence, 0)
                    if result.errno:
                        raise Refused("read the kernel's tables", result.errno, result.text)
                    return found, whole
                found.append(got)
