"""A compressed stream as the parts of what it holds, each of bounded size.

What it is, its first bytes say. The dictionary that a stream may ask for is bounded: 32 MiB
of zstd are what `zstd --ultra -20` asks for, and 64 MiB of xz what `xz -9` does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol

from supervisor.errors import InvalidArgument

CHUNK = 512 * 1024  # of what comes out
_READ = 128 * 1024
MAX_ZSTD_WINDOW = 32 << 20
MAX_XZ_MEMORY = 72 << 20
_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ\x00": "xz",
    b"BZh": "bzip2",
}
_ZSTD_SKIPPABLE = b"\x2a\x4d\x18"  # after a byte 0x50–0x5f (RFC 8878, 3.1.2)
_MAGIC_SIZE = 6
_GZIP = 16 + 15  # zlib's wbits: a gzip header, a window of up to 32 KiB


class Source:
    """The compressed input: a file or pipe, with the count of what was taken from it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._first = b""
        self.taken = 0

    def peek(self) -> bytes:
        """The first bytes, as many as a magic number takes, or all there are."""
        while len(self._first) < _MAGIC_SIZE:
            data = os.read(self._fd, _READ)
            if not data:
                break
            self._first += data
        return self._first[:_MAGIC_SIZE]

    def read(self, size: int = _READ) -> bytes:
        """Up to `size` bytes; none at the end."""
        if self._first:
            data, self._first = self._first[:size], self._first[size:]
        else:
            data = os.read(self._fd, size)
        self.taken += len(data)
        return data


def kind(magic: bytes) -> str:
    """The compression that the first bytes of a stream announce; "none" for a plain tar."""
    for prefix, name in _MAGIC.items():
        if magic.startswith(prefix):
            return name
    if magic[1:4] == _ZSTD_SKIPPABLE and magic[0] & 0xF0 == 0x50:
        return "zstd"
    return "none"


def decompressed(source: Source, compression: str) -> Iterator[bytes]:
    """What the stream holds, in parts of up to CHUNK bytes; raises InvalidArgument.

    The library is loaded here and now: later there may be another root directory.
    """
    match compression:
        case "none":
            return _plain(source)
        case "gzip":
            import zlib  # noqa: PLC0415 - each stream loads its own library only

            return _members(source, lambda: _Gzip(zlib.decompressobj(_GZIP)), zlib.error)
        case "bzip2":
            import bz2  # noqa: PLC0415 - as above

            return _members(source, bz2.BZ2Decompressor, OSError)
        case "xz":
            import lzma  # noqa: PLC0415 - as above

            make = partial(lzma.LZMADecompressor, lzma.FORMAT_XZ, MAX_XZ_MEMORY)
            return _members(source, make, lzma.LZMAError)
        case "zstd":
            import zstandard  # noqa: PLC0415 - as above

            context = zstandard.ZstdDecompressor(max_window_size=MAX_ZSTD_WINDOW)
            stream: Any = source  # all it needs is read()
            reader = context.stream_reader(stream, read_size=_READ, read_across_frames=True)
            return _frames(reader, zstandard.ZstdError)
        case _:
            raise InvalidArgument(f"unknown compression {compression!r}")


class _Member(Protocol):
    """One of the streams in a file that may hold several, as bz2 and lzma have it."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Gzip:
    """zlib's decompressor with the manners of the others: it keeps what it has not used yet."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    @property
    def eof(self) -> bool:
        return bool(self._inner.eof)

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return bytes(self._inner.unused_data)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return bytes(self._inner.decompress(self._inner.unconsumed_tail or data, max_length))


def _plain(source: Source) -> Iterator[bytes]:
    while data := source.read(CHUNK):
        yield data


def _members(
    source: Source, make: Callable[[], _Member], error: type[Exception]
) -> Iterator[bytes]:
    """One stream after another until the input ends; zeros between and after are padding."""
    data = source.read()
    while data:
        member = make()
        while not member.eof:
            try:
                part = member.decompress(data, CHUNK)
            except error as found:
                raise _damaged(found) from None
            data = b""
            if part:
                yield part
            elif member.needs_input and not member.eof:
                data = source.read()
                if not data:
                    raise InvalidArgument("the compressed data is truncated (unexpected EOF)")
        data = member.unused_data.lstrip(b"\0")
        while not data and (more := source.read()):
            data = more.lstrip(b"\0")


def _frames(reader: Any, error: type[Exception]) -> Iterator[bytes]:
    try:
        while data := reader.read(CHUNK):
            yield data
    except error as found:
        raise _damaged(found) from None


def _damaged(error: Exception) -> InvalidArgument:
    return InvalidArgument(f"the compressed data is damaged: {error}")
