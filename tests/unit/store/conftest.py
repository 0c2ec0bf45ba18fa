"""Folders in memory: these tests make and delete thousands of them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder on tmpfs where there is one: what is tested is order, not the disk."""
    parent = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="orlop-test-", dir=parent) as folder:
        yield Path(folder)
