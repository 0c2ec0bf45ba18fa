"""Folders for tests: short names (a unix socket's path ends at 107 bytes), overlay-capable."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import procfs

CANDIDATES = ("/tmp", "/var/tmp", "/run", "/dev/shm")
TAG = "ORLOP_TEST_RUN"
MARKED = re.compile(r"orlop-test-([0-9a-f]+)-|/orlop\.([0-9a-f]+)\.")


def tag_this_run() -> None:
    """From now on, here and in child processes, the names that are made tell whose they are."""
    os.environ[TAG] = f"{os.getpid():x}"


def tag() -> str:
    """This run's mark in names, between the separators `.` or `-`."""
    return os.environ.get(TAG, "0")


def random_name() -> str:
    """`orlop-test-…`: for cgroups and whatever else is seen by the whole machine."""
    return f"orlop-test-{tag()}-{secrets.token_hex(4)}"


def marks() -> tuple[str, ...]:
    """What the names that are made in this run contain."""
    return f"orlop-test-{tag()}-", f"/orlop.{tag()}."


def is_anothers(entry: str) -> bool:
    """It has the mark of another run, or of a daemon that was started by hand."""
    return any(mark != tag() for marked in MARKED.findall(entry) for mark in marked if mark)


def base() -> Path:
    """The first usual temporary folder whose file system can hold an overlay's upper.

    An overlay cannot: /tmp is one in most containers and sometimes in the guest.
    """
    mounted = {Path(mount.target): mount.fstype for mount in procfs.mounts()}
    for candidate in map(Path, CANDIDATES):
        if not candidate.is_dir():
            continue
        nearest = next(p for p in (candidate, *candidate.parents) if p in mounted)
        if mounted[nearest] not in {"overlay", "hostfs"}:
            return candidate
    raise RuntimeError(f"none of {', '.join(CANDIDATES)} can hold an overlay's upper")


@contextmanager
def short_folder() -> Iterator[Path]:
    """A new folder, removed at the end with all it holds."""
    folder = Path(tempfile.mkdtemp(prefix=f"orlop.{tag()}.", dir=base()))
    os.chmod(folder, 0o755)  # users of containers pass through it
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
