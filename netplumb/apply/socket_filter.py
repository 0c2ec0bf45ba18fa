"""Letting the kernel keep back messages that would only wake us (SO_ATTACH_FILTER, socket(7)).

A classic BPF program sees a netlink message from its header on, with numbers in network order.
"""

from __future__ import annotations

import ctypes
import socket
import struct

_SO_ATTACH_FILTER = 26
_LOAD_WORD, _LOAD_HALF, _JUMP_EQUAL, _RETURN = 0x20, 0x28, 0x15, 0x06  # linux/bpf_common.h
_KIND, _PORT = 4, 12  # offsets in struct nlmsghdr
_ALL = 0xFFFFFFFF


def only_kinds(sock: socket.socket, kinds: tuple[int, ...]) -> None:
    """Only messages of these types come in."""
    program = [(_LOAD_HALF, 0, 0, _KIND)]
    for place, kind in enumerate(kinds):
        program.append((_JUMP_EQUAL, len(kinds) - place, 0, socket.htons(kind)))
    program += [(_RETURN, 0, 0, 0), (_RETURN, 0, 0, _ALL)]
    _attach(sock, program)


def not_from(sock: socket.socket, port: int) -> None:
    """No messages about what that socket did come in."""
    program = [
        (_LOAD_WORD, 0, 0, _PORT),
        (_JUMP_EQUAL, 0, 1, socket.htonl(port)),
        (_RETURN, 0, 0, 0),
        (_RETURN, 0, 0, _ALL),
    ]
    _attach(sock, program)


def _attach(sock: socket.socket, program: list[tuple[int, int, int, int]]) -> None:
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    kept = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("HP", len(program), ctypes.addressof(kept))  # struct sock_fprog
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, header)
