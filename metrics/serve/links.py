"""One socket for the counters of all interfaces of this network namespace."""

from __future__ import annotations

import errno
import os
import socket

from metrics.parse import links
from metrics.parse.figures import Link

_DATAGRAM = 128 * 1024
_MAX_DATAGRAMS = 4096


class LinkCounters:
    """RTM_GETSTATS, one dump for all. It does not block: the kernel answers within the call."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._sequence = 0

    def read(self) -> dict[int, Link]:
        """The counters by interface index. OSError, Malformed.

        A dump during which interfaces came or went is taken once more.
        """
        decoder = self._dump()
        if decoder.interrupted:
            decoder = self._dump()
        return decoder.links

    def close(self) -> None:
        """Close the socket; the next reading opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _dump(self) -> links.Decoder:
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF or 1
        decoder = links.Decoder(self._sequence)
        connection = self._open()
        try:
            connection.send(links.request(self._sequence))
            for _ in range(_MAX_DATAGRAMS):
                if decoder.feed(connection.recv(_DATAGRAM)):
                    return decoder
        except BaseException as error:
            self.close()  # an unread rest would be taken for the next answer
            if isinstance(error, links.Refused):
                raise OSError(error.errno, os.strerror(error.errno), "RTM_GETSTATS") from None
            raise
        self.close()
        raise OSError(errno.EMSGSIZE, "the dump does not end", "RTM_GETSTATS")

    def _open(self) -> socket.socket:
        if self._socket is None:
            kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
            self._socket = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
        return self._socket
