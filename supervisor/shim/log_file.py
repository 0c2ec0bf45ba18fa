"""The container's log file: CRI records, rotated by size, never a reason to stop the container."""

import os
import time

from supervisor.spec.types import Log
from supervisor.wire import stdcopy
from supervisor.wire.logrecord import Encoder

RETRY_SECONDS = 1.0
NAMES = {stdcopy.STDOUT: "stdout", stdcopy.STDERR: "stderr"}


class LogFile:
    """Appends what a container writes. On a write error (a full disk) it counts and drops.

    The file is made for the first record, not while somebody waits for the start. `dropped` is the
    number of record bytes lost so far; writing resumes by itself.
    """

    def __init__(self, config: Log) -> None:
        self.config = config
        self.dropped = 0
        self.size = 0
        self.fd = -1
        self.retry_at = 0.0
        self.encoders = {stream: Encoder(name) for stream, name in NAMES.items()}

    def write(self, stream: int, data: bytes) -> None:
        """Log bytes of one stream (a stdcopy number) with the time of now."""
        self._append(self.encoders[stream].feed(data, time.time_ns()))

    def close(self) -> None:
        """Write what is left of unfinished lines and close."""
        for encoder in self.encoders.values():
            self._append(encoder.close(time.time_ns()))
        self._close()

    def _append(self, records: bytes) -> None:
        """Write whole records, in pieces that keep each file within its size."""
        begin = 0
        while begin < len(records):
            end = self._cut(records, begin)
            self._write_piece(records[begin:end] if end - begin < len(records) else records)
            begin = end

    def _cut(self, records: bytes, begin: int) -> int:
        """Where the piece ends that still fits; at least one record, as a file holds one."""
        room = self.config.max_size - self.size
        if len(records) - begin <= room:
            return len(records)
        end = records.rfind(b"\n", begin, begin + max(0, room)) + 1
        if end <= begin and self.size:
            end = records.rfind(b"\n", begin, begin + self.config.max_size) + 1
        if end <= begin:
            end = records.find(b"\n", begin) + 1
        return end or len(records)

    def _write_piece(self, records: bytes) -> None:
        if self.fd < 0 and time.monotonic() >= self.retry_at:
            self._open()
        if self.fd < 0:
            self.dropped += len(records)
            return
        if self.size and self.size + len(records) > self.config.max_size:
            self._rotate()
        try:
            written = os.write(self.fd, records)
        except OSError:
            written = 0
        self.size += written
        if written < len(records):
            self.dropped += len(records) - written
            self._close()  # reopened later: a record cut short ends with the file's next newline
            self.retry_at = time.monotonic() + RETRY_SECONDS

    def _open(self) -> None:
        self.retry_at = time.monotonic() + RETRY_SECONDS
        try:
            self.fd = os.open(
                self.config.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640
            )
            self.size = os.fstat(self.fd).st_size
            if self.size and os.pread(self.fd, 1, self.size - 1) != b"\n":
                self.size += os.write(self.fd, b"\n")  # torn by a crash or a full disk
        except OSError:
            self._close()

    def _rotate(self) -> None:
        path, count = self.config.path, self.config.max_files
        try:
            for number in range(count - 1, 1, -1):
                if os.path.exists(f"{path}.{number - 1}"):
                    os.replace(f"{path}.{number - 1}", f"{path}.{number}")
            if count > 1:
                os.replace(path, f"{path}.1")
            else:
                os.unlink(path)
        except OSError:
            return  # keep writing to the file there is
        self._close()
        self._open()

    def _close(self) -> None:
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)
