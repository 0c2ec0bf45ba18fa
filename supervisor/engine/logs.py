"""Reading containers' logs: from the files, never from the shim.

A reader follows by one inotify instance shared by all (instances are few: 128 a user by
default). Rotation renames the file under the reader: what is open is read to its end,
then the files that came after it, oldest first.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import trio

from supervisor.docker.streams import LogOptions
from supervisor.kernel import inotify
from supervisor.wire.logrecord import Decoder, Record

READ_SIZE = 1 << 18
TAIL_BLOCK = 1 << 16
FILE_NAME = "container.log"


class FolderWatch:
    """Wakes readers when files in a watched folder change: one inotify instance for all."""

    def __init__(self) -> None:
        self._inotify = inotify.Inotify()
        self._waiting: dict[int, trio.Event] = {}
        self._users: dict[int, int] = {}
        self._tokens: dict[Path, int] = {}

    async def run(self) -> None:
        """Dispatch until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._inotify.fd)
            for event in self._inotify.read():
                for token in [event.wd] if event.wd >= 0 else list(self._waiting):
                    self._wake(token)  # wd -1: the queue overflowed, anything may have changed

    def add(self, folder: Path) -> int:
        """Begin to watch; the token to wait on and to give back."""
        mask = inotify.IN_MODIFY | inotify.IN_CREATE | inotify.IN_MOVED_TO | inotify.IN_DELETE_SELF
        token = self._inotify.add(str(folder), mask)
        self._tokens[folder] = token
        self._users[token] = self._users.get(token, 0) + 1
        self._waiting.setdefault(token, trio.Event())
        return token

    def remove(self, token: int) -> None:
        """Stop watching for one user."""
        self._users[token] -= 1
        if not self._users[token]:
            del self._users[token], self._waiting[token]
            self._tokens = {f: t for f, t in self._tokens.items() if t != token}
            with suppress(OSError):  # the folder went, and its watch with it
                self._inotify.remove(token)

    def changed(self, token: int) -> trio.Event:
        """The event of the next change; get it before looking, to miss none."""
        return self._waiting[token]

    @property
    def are_watched(self) -> bool:
        """Somebody reads in any folder."""
        return bool(self._tokens)

    def wake(self, folder: Path) -> None:
        """Let the readers of `folder` look again (its container ended)."""
        self._wake(self._tokens.get(folder, -1))

    def close(self) -> None:
        """Release the instance."""
        self._inotify.close()

    def _wake(self, token: int) -> None:
        event = self._waiting.get(token)
        if event is not None:
            self._waiting[token] = trio.Event()
            event.set()


class LogReader:
    """Reads one container's files in order of time, across rotations."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1
        self._decoder = Decoder()
        self._left: int | None = None  # how much may be read; None: whatever comes

    def open_at(self, tail: int | None) -> None:
        """Stand at the start of the last `tail` lines, or at the very beginning for None."""
        self._open_oldest()
        if tail is not None:
            self._seek_tail(tail)

    def end_here(self) -> None:
        """Read what there is now and no more: somebody may write faster than it is read."""
        self._left = 0
        if self._fd < 0:
            return
        current = os.fstat(self._fd)
        for path in reversed(self._files()):
            with suppress(FileNotFoundError):
                status = path.stat()
                self._left += status.st_size
                if os.path.samestat(status, current):
                    break
        self._left = max(0, self._left - os.lseek(self._fd, 0, os.SEEK_CUR))

    def read(self) -> list[Record]:
        """The next records; [] when there are none for now."""
        while True:
            if self._fd < 0:
                self._open_oldest()
                if self._fd < 0:
                    return []
            data = self._next()
            if data:
                records = self._decoder.feed(data)
                if records:
                    return records
                continue
            following = None if self._left == 0 else self._following()
            if following is None:
                return []
            data = self._next()
            if data:  # written between our last look and the rotation
                os.close(following)
                records = self._decoder.feed(data)
                if records:
                    return records
                continue
            os.close(self._fd)
            self._fd = following
            self._decoder = Decoder()

    def _next(self) -> bytes:
        if self._left is None:
            return os.read(self._fd, READ_SIZE)
        data = os.read(self._fd, min(READ_SIZE, self._left))
        self._left -= len(data)
        return data

    def close(self) -> None:
        """Release the file."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def _open_oldest(self) -> None:
        """Of those that there are by now: the first may have been made and rotated meanwhile."""
        for path in self._files():
            self._fd = _open(path)
            if self._fd >= 0:
                return

    def _files(self) -> list[Path]:
        """Existing files, oldest first."""
        numbered = []
        number = 1
        while (path := self._path.with_name(f"{self._path.name}.{number}")).exists():
            numbered.append(path)
            number += 1
        return [*reversed(numbered), self._path]

    def _following(self) -> int | None:
        """An open fd of the file after the current one, None where the current is the newest."""
        current = os.fstat(self._fd)
        if _is(self._path, current):  # as nearly always
            return None
        following = -1
        for path in reversed(self._files()):
            fd = _open(path)
            if fd < 0:
                continue
            same = os.fstat(fd).st_ino == current.st_ino
            if same:
                os.close(fd)
                return following if following >= 0 else None
            if following >= 0:
                os.close(following)
            following = fd
        # The current file was rotated away altogether: go on with the oldest there is.
        return following if following >= 0 else None

    def _seek_tail(self, lines: int) -> None:
        files = [p for p in reversed(self._files()) if p.exists()]
        self.close()
        wanted = lines
        for path in files:
            fd = _open(path)
            if fd < 0:
                continue
            count, offset = _lines_from_end(fd, wanted)
            wanted -= count
            if wanted <= 0 or path == files[-1]:
                os.lseek(fd, offset, os.SEEK_SET)
                self._fd = fd
                return
            os.close(fd)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1


def _is(path: Path, status: os.stat_result) -> bool:
    """Whether the file at `path` is the one of that status."""
    try:
        return os.path.samestat(os.stat(path), status)  # noqa: PTH116 - a Path's stat takes longer
    except FileNotFoundError:
        return False


def _lines_from_end(fd: int, wanted: int) -> tuple[int, int]:
    """How many of the last `wanted` full lines (F records) the file has, and where they begin."""
    end = os.fstat(fd).st_size
    found = 0
    offset = end
    block_end = end
    carry = b""
    while block_end > 0 and wanted > 0:
        start = max(0, block_end - TAIL_BLOCK)
        block = os.pread(fd, block_end - start, start) + carry
        lines = block.split(b"\n")
        carry, lines = (lines[0], lines[1:]) if start else (b"", lines)
        position = start + len(carry) + (1 if start else 0)
        starts = []
        for line in lines:
            starts.append((position, line))
            position += len(line) + 1
        for at, line in reversed(starts):
            if not line:
                continue
            # A partial record continues in the next one: it begins no line of its own to count,
            # but the line it begins is counted at its end.
            if _is_full(line) or at + len(line) + 1 >= end:
                if found == wanted:
                    return found, offset
                found += 1
            offset = at
        block_end = start
    return found, offset


def _is_full(line: bytes) -> bool:
    parts = line.split(b" ", 3)
    return len(parts) < 3 or parts[2] == b"F"


async def read_log(
    folder: Path, options: LogOptions, watch: FolderWatch, ended: Callable[[], bool]
) -> AsyncIterator[Record]:
    """Records of the log in `folder` as asked; follows until `ended()` and all is read."""
    reader = LogReader(folder / FILE_NAME)
    token = watch.add(folder) if options.follow else -1
    try:
        reader.open_at(options.tail)
        if not options.follow:
            reader.end_here()
        while True:
            changed = watch.changed(token) if options.follow else None
            over = ended()
            while records := reader.read():
                for record in records:
                    if options.until_ns is not None and record.wall_ns > options.until_ns:
                        return
                    if _wanted(record, options):
                        yield record
                await trio.lowlevel.checkpoint()
            if changed is None or over:
                return
            await changed.wait()
    finally:
        reader.close()
        if token >= 0:
            watch.remove(token)


def _wanted(record: Record, options: LogOptions) -> bool:
    if options.since_ns is not None and record.wall_ns < options.since_ns:
        return False
    return options.stderr if record.stream == "stderr" else options.stdout
