"""Docker's multiplexing of stdout and stderr over one stream.

Each frame is 8 bytes of header (the stream's number, three zeros, the payload's length as
a big-endian u32) and the payload (Docker Engine API, "Attach to a container", "Stream
format").
"""

from __future__ import annotations

import struct

from supervisor.errors import ProtocolError

STDIN = 0
STDOUT = 1
STDERR = 2
SYSTEM_ERROR = 3

HEADER_SIZE = 8
MAX_PAYLOAD = 0xFFFFFFFF

_HEADER = struct.Struct(">B3xI")


def header(stream: int, length: int) -> bytes:
    """The 8 bytes in front of a payload of `length` bytes."""
    return _HEADER.pack(stream, length)


def frame(stream: int, payload: bytes) -> bytes:
    """Header and payload; to spare a copy, send `header` and the payload apart."""
    return _HEADER.pack(stream, len(payload)) + payload


class Decoder:
    """Takes multiplexed bytes apart, cut anywhere.

    A payload is passed on as it arrives, so that nothing but a header is ever kept: a
    frame may come out in several pieces, and an empty one does not come out.
    """

    def __init__(self) -> None:
        self._header = b""
        self._stream = STDOUT
        self._left = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """(stream, bytes) pairs in order; ProtocolError if `data` is not of this format."""
        pieces: list[tuple[int, bytes]] = []
        at = 0
        while at < len(data):
            if self._left:
                piece = data[at : at + self._left]
                pieces.append((self._stream, piece))
                self._left -= len(piece)
                at += len(piece)
            else:
                taken = HEADER_SIZE - len(self._header)
                self._header += data[at : at + taken]
                at += taken
                if len(self._header) == HEADER_SIZE:
                    self._begin_frame()
        return pieces

    def close(self) -> None:
        """The stream ended; ProtocolError if that was in the middle of a frame."""
        if self._header or self._left:
            raise ProtocolError("the multiplexed stream ended in the middle of a frame")

    def _begin_frame(self) -> None:
        head, self._header = self._header, b""
        if head[0] > SYSTEM_ERROR or head[1:4] != b"\0\0\0":
            raise ProtocolError(f"not a header of a multiplexed stream: {head.hex()}")
        self._stream, self._left = _HEADER.unpack(head)
