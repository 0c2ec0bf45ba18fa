"""A tar as it comes in, in parts cut anywhere, turned into entries and content.

Memory is bounded by `Limits.extension`: content is handed on as it comes, and what a header
declares is checked before any of it is awaited.
"""

from __future__ import annotations

from supervisor.errors import InvalidArgument
from supervisor.oci.tar import pax
from supervisor.oci.tar.compose import LONG_LINK, LONG_NAME, compose
from supervisor.oci.tar.entry import Data, End, Entry, Event
from supervisor.oci.tar.header import BLOCK, ZEROS, Header, decode
from supervisor.oci.tar.limits import Limits

_PAX, _PAX_GLOBAL = b"x", b"g"
_EXTENSIONS = frozenset((LONG_NAME, LONG_LINK, _PAX, _PAX_GLOBAL))


class TarReader:
    """Parses one archive. `feed` until `close`; after an error it is of no more use."""

    def __init__(self, limits: Limits = Limits()) -> None:  # noqa: B008 - immutable
        self._limits = limits
        self._block = b""  # of a header that is not complete yet
        self._content = 0  # bytes of content still to come
        self._padding = 0  # bytes to skip after it
        self._extension = bytearray()  # content of the extension header being read
        self._extension_type = b""  # its type; b"" when the content is a file's
        self._extension_left = limits.extension
        self._long: dict[bytes, bytes] = {}
        self._records: dict[bytes, bytes] = {}
        self._zero_block = False
        self.ended = False  # the end mark was read
        self.entries = 0
        self.total = 0  # bytes of content that entries have declared

    def feed(self, data: bytes | bytearray | memoryview) -> list[Event]:
        """What `data` completes, in order; raises InvalidArgument.

        `Data` are views of `data`: do not change it while they are used.
        """
        events: list[Event] = []
        view = memoryview(data)
        at, size = 0, len(view)
        while at < size and not self.ended:
            if self._content:
                part = view[at : at + self._content]
                at += len(part)
                self._content -= len(part)
                if self._extension_type:
                    self._extend(part)
                else:
                    events.append(Data(part))
            elif self._padding:
                skipped = min(self._padding, size - at)
                self._padding -= skipped
                at += skipped
            else:
                block = self._block + bytes(view[at : at + BLOCK - len(self._block)])
                at += len(block) - len(self._block)
                if len(block) < BLOCK:
                    self._block = block
                    break
                self._block = b""
                self._header(block, events)
        return events

    def close(self) -> None:
        """Say that nothing more comes; raises InvalidArgument if something is missing.

        An archive without end mark is complete when it ends between entries, as for Go.
        """
        if self.ended:
            return
        if self._block or self._content or self._padding or self._long or self._records:
            raise InvalidArgument("the tar is truncated (unexpected EOF)")

    def _header(self, block: bytes, events: list[Event]) -> None:
        if block == ZEROS:
            if self._zero_block:
                self.ended = True
                events.append(End())
            self._zero_block = True
            return
        if self._zero_block:
            raise InvalidArgument("invalid tar header: data follows a block of zeros")
        header = decode(block)
        if header.size < 0:
            raise InvalidArgument(f"invalid tar header: negative size {header.size}")
        if header.type in _EXTENSIONS:
            self._begin_extension(header)
            return
        entry = compose(header, self._long, self._records, self._limits)
        self._long, self._records = {}, {}
        self._extension_left = self._limits.extension
        self._count(entry)
        self._content = entry.size
        self._padding = -entry.size % BLOCK
        events.append(entry)

    def _begin_extension(self, header: Header) -> None:
        self._extension_left -= BLOCK + header.size
        if self._extension_left < 0:
            raise InvalidArgument(
                f"invalid tar header: names and attributes before one entry take more than "
                f"{self._limits.extension} bytes"
            )
        self._extension_type = header.type
        self._extension = bytearray()
        self._content = header.size
        self._padding = -header.size % BLOCK
        if not header.size:
            self._extend(memoryview(b""))

    def _extend(self, part: memoryview) -> None:
        self._extension += part
        if self._content:
            return
        content = bytes(self._extension)
        if self._extension_type == _PAX:
            self._records = pax.parse(content)
        elif self._extension_type != _PAX_GLOBAL:  # as docker: global records are ignored
            self._long[self._extension_type] = content.partition(b"\0")[0]
        self._extension_type = b""
        self._extension = bytearray()

    def _count(self, entry: Entry) -> None:
        self.entries += 1
        self.total += entry.size
        if self.entries > self._limits.entries:
            raise InvalidArgument(f"the tar has more than {self._limits.entries} entries")
        if self.total > self._limits.total:
            raise InvalidArgument(f"the tar has more than {self._limits.total} bytes of content")
