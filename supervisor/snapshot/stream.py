"""The layer's stream, decompressed and hashed by threads beside the one that uses it.

zlib, zstd and hashlib let go of the interpreter's lock while they work, so decompressing,
hashing and writing files use as many cores.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from queue import Empty, Queue

from supervisor.snapshot.decompress import Source, decompressed, kind

# Parts waiting between two threads: memory is this many times CHUNK, twice.
_WAITING = 4

_Part = bytes | Exception | None  # None is the end


class LayerStream:
    """Iterating gives the uncompressed parts; then `digest` and `size` are of all of them.

    Errors of reading and decompressing are raised where the part would have come.
    """

    def __init__(self, fd: int, compression: str = "auto") -> None:
        self._source = Source(fd)
        if compression == "auto":
            compression = kind(self._source.peek())
        self._input = decompressed(self._source, compression)
        self._parts: Queue[_Part] = Queue(_WAITING)
        self._to_hash: Queue[bytes | None] = Queue(_WAITING)
        self._hash = hashlib.sha256()
        self._stopped = False
        self._threads = [
            # Daemons: a worker that ends does not wait for a pipe that nobody writes to.
            threading.Thread(target=target, daemon=True)
            for target in (self._decompress, self._hash_parts)
        ]
        self.compression = compression
        self.size = 0

    @property
    def taken(self) -> int:
        """Compressed bytes read so far."""
        return self._source.taken

    def __iter__(self) -> Iterator[bytes]:
        for thread in self._threads:
            thread.start()
        while (part := self._parts.get()) is not None:
            if isinstance(part, Exception):
                raise part
            self.size += len(part)
            yield part

    def digest(self) -> str:
        """`sha256:…` of all parts; after the iteration came to its end."""
        self._threads[1].join()
        return f"sha256:{self._hash.hexdigest()}"

    def stop(self) -> None:
        """Give up before the end: let the threads end where they are."""
        self._stopped = True
        try:
            while True:
                self._parts.get_nowait()
        except Empty:
            return

    def _decompress(self) -> None:
        end: Exception | None = None
        try:
            for part in self._input:
                self._to_hash.put(part)
                self._parts.put(part)
                if self._stopped:
                    break
        except Exception as error:  # noqa: BLE001 - it is raised in the thread that iterates
            end = error
        self._to_hash.put(None)
        self._parts.put(end)

    def _hash_parts(self) -> None:
        while (part := self._to_hash.get()) is not None:
            self._hash.update(part)
