"""Bundles made ahead of need: a new container's folders and files are one rename away.

A file system takes its time for each new inode, some of them a long one (ext4 without a journal
looks past all that were deleted lately), and a bundle has a dozen. So a few are kept ready for what
was asked for last. They are nobody's: what a kill leaves of them goes at the next start.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
from collections import deque
from contextlib import suppress
from pathlib import Path

import msgspec

from supervisor.engine.stubs import Stubs, make_upper
from supervisor.store.files import discard

log = logging.getLogger("orlop.spares")

KEPT = 8
MOST_KINDS = 2


class Kind(msgspec.Struct, frozen=True):
    """What bundles have in common. `upper` None: no writable layer; `files` (name, mode) are
    empty ones, to be written to."""

    upper: Stubs | None
    files: tuple[tuple[str, int], ...] = ()


class SpareBundles:
    """Of the MOST_KINDS kinds that were asked for last, KEPT each."""

    def __init__(self, folder: Path, trash: Path) -> None:
        self._folder, self._trash = folder, trash
        self._lock = threading.Lock()
        self._ready: dict[Kind, deque[str]] = {}  # the kind that was asked for last is the last
        self._closed = False

    def sweep(self) -> None:
        """Throw away what another daemon has left."""
        for path in self._folder.iterdir():
            discard(path, self._trash)

    def take(self, kind: Kind) -> str:
        """A folder of this kind, which is the caller's now; "" where none is ready."""
        with self._lock:
            ready = self._ready.pop(kind, None)
            self._ready[kind] = ready = deque() if ready is None else ready
            return ready.popleft() if ready else ""

    def fill(self) -> None:
        """Make what is wanted, take away what is not any more. Blocking; never raises."""
        try:
            while self._fill_one():
                pass
        except OSError as error:  # a full disk: bundles are made when they are needed
            log.debug("bundles ahead of need: %s", error)

    def close(self) -> None:
        """Take all away; none will be made."""
        with self._lock:
            self._closed = True
            folders = [path for ready in self._ready.values() for path in ready]
            self._ready.clear()
        for path in folders:
            with suppress(OSError):  # the next start's sweep has it
                discard(path, self._trash)

    def _fill_one(self) -> bool:
        with self._lock:
            unwanted = list(self._ready)[:-MOST_KINDS]
            folders = [path for kind in unwanted for path in self._ready.pop(kind)]
            kind = next((k for k, ready in self._ready.items() if len(ready) < KEPT), None)
        for path in folders:
            discard(path, self._trash)
        if kind is None or self._closed:
            return False
        path = make(kind, self._folder, self._trash)
        with self._lock:
            if kind in self._ready and not self._closed:
                self._ready[kind].append(path)
                return True
        discard(path, self._trash)
        return True


def make(kind: Kind, folder: Path, trash: Path) -> str:
    """A new bundle in `folder`, whole or not at all."""
    making = f"{folder}/{secrets.token_hex(16)}"
    os.mkdir(making, 0o700)
    try:
        if kind.upper is not None:
            make_upper(f"{making}/upper", kind.upper)
            os.mkdir(f"{making}/work", 0o700)
        for name, mode in kind.files:
            fd = os.open(f"{making}/{name}", os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
            os.close(fd)
    except BaseException:
        discard(making, trash)
        raise
    return making
