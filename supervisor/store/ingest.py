"""Blobs on their way in: written to tmp, hashed as they come, renamed by their digest.

    write… ─► tmp file, sha256 ─► commit: size and digest ─► fsync ─► rename ─► fsync folder

A writer that stops in the middle (the connection broke) leaves a partial behind that the
next writer of the digest goes on with, as long as one lease wants it.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Coroutine

import trio

from supervisor.errors import InvalidArgument
from supervisor.oci.digest import Digest
from supervisor.store.disk import disk_errors
from supervisor.store.layout import DataRoot
from supervisor.store.lease import Lease

_PIECE = 1 << 20
"""Bytes gathered before a thread hashes and writes them: what one writer holds in memory."""

Adopt = Callable[["Partial", Digest], Coroutine[None, None, None]]
"""Takes a synced file of the tmp folder over as the blob with this digest."""


class Partial:
    """The part of a blob that is there: a file in tmp, its hash so far, who wants it.

    `digest` and `size` are what it must become; None where nobody knows before the end.
    """

    def __init__(self, root: DataRoot, digest: Digest | None, size: int | None) -> None:
        self.path = root.tmp / secrets.token_hex(16)
        self.digest = digest
        self.size = size
        self.leases: set[Lease] = set()
        self.turn = trio.Lock()
        self.written = 0
        self.buffer = bytearray()
        self.hash = hashlib.new(digest.algorithm if digest else "sha256")
        self._fd = -1

    @property
    def offset(self) -> int:
        """Bytes taken so far."""
        return self.written + len(self.buffer)

    def flush(self) -> None:
        """Write and hash what is gathered; blocking, raises OSError and then has lost nothing."""
        if self._fd < 0:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._fd = os.open(self.path, flags, 0o600)
        with memoryview(self.buffer) as view:
            done = 0
            while done < len(view):
                with view[done:] as rest:  # else an error's traceback would keep the buffer
                    done += os.pwrite(self._fd, rest, self.written + done)
            self.hash.update(view)
        self.written += done
        self.buffer.clear()

    def sync(self) -> None:
        """Make the file durable; blocking."""
        self.flush()
        os.fsync(self._fd)

    def drop(self) -> None:
        """Forget and delete all that was written; blocking."""
        self.forget()
        self.path.unlink(missing_ok=True)

    def forget(self) -> None:
        """Begin anew: the file, if there is one, is somebody else's now."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)
        self.written = 0
        self.buffer.clear()
        self.hash = hashlib.new(self.hash.name)


class Writer:
    """Takes the bytes of one blob, in pieces of any size; the caller ends with `commit`.

    Without a commit everything written stays, for the next writer of the same digest under
    a lease that lives, unless `discard` says otherwise.
    """

    def __init__(self, partial: Partial, adopt: Adopt) -> None:
        self._partial = partial
        self._adopt = adopt
        self._over = False

    @property
    def offset(self) -> int:
        """Bytes taken so far, by earlier writers too: where a range request goes on."""
        return self._partial.offset

    async def write(self, data: bytes) -> None:
        """Take more bytes; Unavailable on a full disk.

        InvalidArgument past the blob's size: nothing that came so far is kept then.
        """
        assert not self._over
        partial = self._partial
        if partial.size is not None and partial.offset + len(data) > partial.size:
            await self.discard()
            raise InvalidArgument(
                f"blob {partial.digest}: there is more than the {partial.size} bytes announced"
            )
        for start in range(0, len(data), _PIECE):
            partial.buffer += data[start : start + _PIECE]
            if len(partial.buffer) >= _PIECE:
                with disk_errors():
                    await trio.to_thread.run_sync(partial.flush)

    async def commit(self) -> Digest:
        """Verify size and digest, and make the blob visible, durably; its digest.

        Raises InvalidArgument where they differ; nothing of it is kept then.
        """
        assert not self._over
        partial = self._partial
        with disk_errors():
            await trio.to_thread.run_sync(partial.sync)
        found = Digest(partial.hash.name, partial.hash.hexdigest())
        if partial.size is not None and partial.written != partial.size:
            problem = f"{partial.written} bytes came, {partial.size} were announced"
        elif partial.digest is not None and found != partial.digest:
            problem = f"its content has the digest {found}"
        else:
            self._over = True
            await self._adopt(partial, found)
            return found
        await self.discard()
        raise InvalidArgument(f"blob {partial.digest}: {problem}")

    async def discard(self) -> None:
        """Forget what came so far: the next write is at offset 0."""
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._partial.drop)


class Partials:
    """The partials of one store, by digest and size; each has one writer at a time."""

    def __init__(self, root: DataRoot) -> None:
        self._root = root
        self._known: dict[tuple[Digest, int], Partial] = {}

    def of(self, lease: Lease, digest: Digest, size: int) -> Partial:
        """The partial of a blob, new or found, wanted by `lease`."""
        # By size, too: who announces a wrong one must not stand in the way of others.
        partial = self._known.get((digest, size))
        if partial is None:
            partial = self._known[digest, size] = Partial(self._root, digest, size)
        partial.leases.add(lease)
        return partial

    def end(self, lease: Lease) -> list[Partial]:
        """Partials that nobody wants any more now that `lease` ends; for the caller to drop."""
        over = []
        for key, partial in list(self._known.items()):
            partial.leases.discard(lease)
            if not partial.leases:
                del self._known[key]
                over.append(partial)
        return over
