"""What a shim and its child, an init or an exec session's stage, say to each other."""

import json
import os
import socket
import struct
from collections.abc import Mapping

from supervisor.errors import InitError, ProtocolError

GO = b"go"
ERROR_TEXT = 2048
_RECEIVED = 65536
_CREDENTIALS = struct.Struct("3i")  # struct ucred of unix(7): pid, uid, gid
_FD = struct.Struct("i")


def send(sync: socket.socket, message: Mapping[str, object], fds: tuple[int, ...] = ()) -> None:
    """One message to the shim; silent where it is gone (its death is ours as well)."""
    try:
        socket.send_fds(sync, [json.dumps(dict(message)).encode()], list(fds))
    except OSError:
        pass


def receive(sync: socket.socket) -> tuple[bytes, list[int], int]:
    """One message at the shim's end: its bytes, descriptors (close-on-exec), sender's pid.

    The pid is the kernel's word, in the receiver's pid namespace; 0 without SO_PASSCRED.
    """
    room = socket.CMSG_SPACE(_FD.size) + socket.CMSG_SPACE(_CREDENTIALS.size)
    packet, ancillary, _, _ = sync.recvmsg(_RECEIVED, room, socket.MSG_CMSG_CLOEXEC)
    fds: list[int] = []
    sender = 0
    for level, kind, data in ancillary:
        if level != socket.SOL_SOCKET:
            continue
        if kind == socket.SCM_RIGHTS:
            whole = data[: len(data) - len(data) % _FD.size]
            fds += [fd for (fd,) in _FD.iter_unpack(whole)]
        elif kind == socket.SCM_CREDENTIALS:
            sender = _CREDENTIALS.unpack(data)[0]
    return packet, fds, sender


def hear(sync: socket.socket, only_from: int) -> tuple[bytes, list[int], bool] | None:
    """As `receive`, b"" at the end: a message, its descriptors, and whether it is a stranger's,
    not that of the process `only_from` (0: nobody is one). A stranger's descriptors are closed.

    None where there is no message yet.
    """
    try:
        packet, fds, sender = receive(sync)
    except BlockingIOError:
        return None
    except OSError:
        return b"", [], False
    stranger = bool(packet) and only_from not in (0, sender)
    if stranger:
        for fd in fds:
            os.close(fd)
        fds = []
    return packet, fds, stranger


def last_words(packet: bytes) -> InitError:
    """What somebody says who may not be ours: a failure, in whatever words."""
    try:
        return InitError.from_json(json.loads(packet))
    except (ValueError, ProtocolError, RecursionError):
        return InitError(step="exec", path="", errno=0, message="exec: it cannot be run")


def send_error(sync: socket.socket, error: InitError) -> None:
    """The last words; cut to fit a message, as a command's name may be 128 KiB long."""
    message = error.to_json()
    message["path"] = error.path[:ERROR_TEXT]
    message["message"] = error.message[:ERROR_TEXT]
    send(sync, message)
