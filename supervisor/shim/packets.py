"""One packet of the shim protocol with its descriptors, as both ends receive it."""

import socket
import struct

from supervisor.wire import shim_protocol

FD = struct.Struct("i")


def receive(connection: socket.socket, flags: int = 0) -> tuple[bytes, list[int]]:
    """One message with its fds, close-on-exec; an empty packet at the other side's end.

    More than MAX_FDS are dropped by the kernel (unix(7), MSG_CTRUNC). Not socket.recv_fds:
    Python 3.11's ignores the flags, and the fds would be open in what is forked meanwhile.
    """
    packet, ancillary, _, _ = connection.recvmsg(
        shim_protocol.MAX_MESSAGE,
        socket.CMSG_LEN(shim_protocol.MAX_FDS * FD.size),
        flags | socket.MSG_CMSG_CLOEXEC,
    )
    fds = [
        fd
        for level, kind, data in ancillary
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
        for (fd,) in FD.iter_unpack(data[: len(data) - len(data) % FD.size])
    ]
    return packet, fds
