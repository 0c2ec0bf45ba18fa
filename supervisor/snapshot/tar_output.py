"""A tar on its way into a file or pipe."""

from __future__ import annotations

import hashlib
from typing import Any

from supervisor.oci.tar import END, Entry, encode_header
from supervisor.snapshot.tar_pieces import CHUNK, write_all


class TarOutput:
    """A tar on its way into a file or pipe, hashed."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._waiting = bytearray()
        self._hash = hashlib.sha256()
        self._tar_size = 0
        self._size = 0
        self._entries = 0

    def entry(self, entry: Entry) -> None:
        """Put an entry's header; `entry.size` bytes of content must follow."""
        self._entries += 1
        self._size += entry.size
        self.data(encode_header(entry))

    def data(self, data: bytes) -> None:
        """Put bytes; small ones wait for each other."""
        if len(data) >= CHUNK:
            self._flush()
            self._write(data)
            return
        self._waiting += data
        if len(self._waiting) >= CHUNK:
            self._flush()

    def finish(self) -> dict[str, Any]:
        """Put the end mark, write what waits; the operation's result."""
        self.data(END)
        self._flush()
        return {
            "diff_id": f"sha256:{self._hash.hexdigest()}",
            "tar_size": self._tar_size,
            "size": self._size,
            "entries": self._entries,
        }

    def _flush(self) -> None:
        if self._waiting:
            self._write(bytes(self._waiting))
            self._waiting.clear()

    def _write(self, data: bytes) -> None:
        self._hash.update(data)
        self._tar_size += len(data)
        write_all(self._fd, data)
