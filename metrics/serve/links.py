"""One socket for the counters of all interfaces of this network namespace."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable

from metrics.parse import links
from metrics.parse.figures import Link

_DATAGRAM = 128 * 1024
_MAX_DATAGRAMS = 4096


class LinkCounters:
    """RTM_GETSTATS, of all in one dump or of single ones. It does not block: the kernel answers
    within the call."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._sequence = 0

    def read(self) -> dict[int, Link]:
        """The counters of all by interface index. OSError, Malformed.

        A dump during which interfaces came or went is taken once more.
        """
        decoder = self._ask()
        if decoder.interrupted:
            decoder = self._ask()
        return decoder.links

    def read_some(self, indexes: Iterable[int]) -> dict[int, Link]:
        """The counters of these, 10 µs each, without those that are gone. OSError, Malformed."""
        found: dict[int, Link] = {}
        for index in indexes:
            try:
                found |= self._ask(index).links
            except OSError as error:
                if error.errno != errno.ENODEV:
                    raise
        return found

    def close(self) -> None:
        """Close the socket; the next reading opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _ask(self, index: int = 0) -> links.Decoder:
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF or 1
        decoder = links.Decoder(self._sequence)
        connection = self._open()
        try:
            connection.send(links.request(self._sequence, index))
            for _ in range(_MAX_DATAGRAMS):
                if decoder.feed(connection.recv(_DATAGRAM)):
                    return decoder
        except links.Refused as error:  # which ends the answer: nothing is unread
            raise OSError(error.errno, os.strerror(error.errno), "RTM_GETSTATS") from None
        except BaseException:
            self.close()  # an unread rest would be taken for the next answer
            raise
        self.close()
        raise OSError(errno.EMSGSIZE, "the dump does not end", "RTM_GETSTATS")

    def _open(self) -> socket.socket:
        if self._socket is None:
            kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
            self._socket = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
        return self._socket


def master_of(index: int) -> int:
    """The index of the bridge that an interface of this network namespace is in, 0 for none.

    By netlink: the sysfs at /sys may be another namespace's. OSError, Malformed.
    """
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    with socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE) as connection:
        connection.send(links.link_request(1, index))
        try:
            return links.master(connection.recv(_DATAGRAM))
        except links.Refused as error:
            raise OSError(error.errno, os.strerror(error.errno), "RTM_GETLINK") from None
