"""syncfs(2)."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from supervisor.errors import KernelError
from supervisor.kernel.sync import syncfs


def test_a_filesystem_is_synced(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        syncfs(fd)
    finally:
        os.close(fd)


def test_what_is_no_file_is_refused() -> None:
    with pytest.raises(KernelError) as found:
        syncfs(-1)
    assert (found.value.syscall, found.value.errno) == ("syncfs", errno.EBADF)
