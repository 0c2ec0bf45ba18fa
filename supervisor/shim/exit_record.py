"""The exit record: what a container's end was, durable before anybody hears of it."""

import json
import os
from dataclasses import dataclass

from supervisor.errors import ProtocolError
from supervisor.spec.codec import from_json, to_json

FILE_NAME = "exit.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitRecord:
    """How one run of a container ended.

    `code` as docker's: the exit status, or 128 + `signal`. Times are wall-clock ns, but
    `finished_boottime_ns`, which tells a reader after a clock jump. `oom_kills`,
    `memory_peak` (bytes) are the cgroup's last figures. `killed` says that SIGKILL came
    through Orlop. A run that failed before execve has `error` (InitError's fields).
    """

    version: int = 1
    id: str
    run: int
    pid: int = 0
    code: int
    signal: int = 0
    oom_kills: int = 0
    memory_peak: int = 0
    memory_limit: int = 0
    killed: bool = False
    log_dropped: int = 0
    started_ns: int = 0
    finished_ns: int = 0
    started_boottime_ns: int = 0
    finished_boottime_ns: int = 0
    error: dict[str, object] | None = None

    def to_json(self) -> dict[str, object]:
        """The record as it stands in the file and crosses the shim protocol."""
        data: dict[str, object] = to_json(self)
        return data


def record_from_json(data: object) -> ExitRecord:
    """The inverse of ExitRecord.to_json; ProtocolError on anything else."""
    try:
        return from_json(ExitRecord, data)
    except ValueError as error:
        raise ProtocolError(f"exit record: {error}") from None


def write(record: ExitRecord, folder_fd: int) -> None:
    """Write the record into the bundle, whole under its name at any time: temp, rename, fsync.

    The one fsync comes last: with a new file its name goes to the disk, too (ext4, XFS, btrfs).
    A power cut before that may leave the name with less; nobody has been told then, and a
    damaged record counts as none.
    """
    temporary = FILE_NAME + ".tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    fd = os.open(temporary, flags, 0o600, dir_fd=folder_fd)
    try:
        left = json.dumps(record.to_json()).encode()
        while left:  # a filling disk takes a part, and fails the next
            left = left[os.write(fd, left) :]
        os.rename(temporary, FILE_NAME, src_dir_fd=folder_fd, dst_dir_fd=folder_fd)
        os.fsync(fd)
    finally:
        os.close(fd)


def read(path: str) -> ExitRecord | None:
    """The record in bundle folder `path`; None where there is none; ProtocolError if damaged."""
    try:
        fd = os.open(os.path.join(path, FILE_NAME), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return record_from_json(json.loads(os.read(fd, 1 << 20)))
    except ValueError as error:
        raise ProtocolError(f"exit record: {error}") from None
    finally:
        os.close(fd)
