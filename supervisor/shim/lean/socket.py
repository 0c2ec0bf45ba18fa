"""In the zygote: sockets of the C module, with the methods it leaves to Python."""

from array import array

import _socket
from _socket import *


class socket(_socket.socket):
    """As the original, without its files and its counting of them."""

    __slots__ = ()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def accept(self):
        """(connection, address)."""
        fd, address = self._accept()
        return socket(self.family, self.type, self.proto, fileno=fd), address

    def dup(self):
        """A second descriptor of the same socket."""
        return socket(self.family, self.type, self.proto, fileno=_socket.dup(self.fileno()))


def socketpair(family=_socket.AF_UNIX, type=_socket.SOCK_STREAM, proto=0):
    """Two connected sockets."""
    one, other = _socket.socketpair(family, type, proto)
    return (
        socket(family, type, proto, one.detach()),
        socket(family, type, proto, other.detach()),
    )


def send_fds(sock, buffers, fds):
    """A message with descriptors."""
    return sock.sendmsg(buffers, [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, array("i", fds))])


def recv_fds(sock, size, most):
    """(message, descriptors, flags, address)."""
    data, ancillary, flags, address = sock.recvmsg(size, _socket.CMSG_LEN(most * 4))
    fds = array("i")
    for level, kind, words in ancillary:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
            fds.frombytes(words[: len(words) - len(words) % 4])
    return data, list(fds), flags, address
