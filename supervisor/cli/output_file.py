"""A file that a command writes: it appears when it is complete, and not at all before."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from supervisor.cli.failures import Failure
from supervisor.cli.session import write_all


def check_output(path: str | None, what: str) -> None:
    """Failure where `write_output` would fail, before anything is asked of the daemon.

    A terminal is refused: `what` is what would be on it ("save", "export").
    """
    if not path:
        if sys.stdout.isatty():
            raise Failure(f"cowardly refusing to {what} to a terminal. Use the -o flag or redirect")
        return
    folder = Path(path).absolute().parent
    if not folder.is_dir():
        raise Failure(f'invalid output path: directory "{folder}" does not exist')
    if Path(path).is_dir():
        raise Failure(f'invalid output path: "{path}" is a directory')


def write_output(path: str | None, pieces: Iterable[bytes]) -> None:
    """Write `pieces` to `path`, or to stdout where it is None or "".

    What stood at `path` is replaced; a device or FIFO is written into.
    """
    if not path:
        sys.stdout.flush()
        for piece in pieces:
            write_all(sys.stdout.fileno(), piece)
        return
    target = Path(path).resolve()
    if target.exists() and not target.is_file():
        with target.open("wb", buffering=0) as file:
            for piece in pieces:
                write_all(file.fileno(), piece)
        return
    _replace(target, pieces)


def _replace(target: Path, pieces: Iterable[bytes]) -> None:
    temporary = target.with_name(f".{target.name[:200]}.{os.getpid()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            for piece in pieces:
                write_all(fd, piece)
        finally:
            os.close(fd)
        temporary.rename(target)
    except BaseException:
        temporary.unlink()
        raise
