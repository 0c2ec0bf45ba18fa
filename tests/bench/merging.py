"""What the shims of a fleet cost where the host merges equal pages (KSM)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

KSM = Path("/sys/kernel/mm/ksm")
# Fast for the bench: at the usual pace a scan of 200 shims takes a minute and more.
PACE = {"sleep_millisecs": "10", "pages_to_scan": "5000", "run": "1"}
SCANS = 3  # a page is merged when two scans in a row found it unchanged
MOST_SECONDS = 60.0


@contextmanager
def pages_merged() -> Iterator[bool]:
    """KSM has been over all memory that is offered to it; False where this cannot be had.

    At the end the host is set as it was.
    """
    try:
        before = {name: (KSM / name).read_text() for name in PACE}
    except OSError:
        yield False
        return
    try:
        for name, value in PACE.items():
            (KSM / name).write_text(value)
    except OSError:
        yield False
        return
    try:
        yield _scanned()
    finally:
        for name, value in before.items():
            (KSM / name).write_text(value)


def _scanned() -> bool:
    last = _scans() + SCANS
    deadline = time.monotonic() + MOST_SECONDS
    while _scans() < last:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _scans() -> int:
    return int((KSM / "full_scans").read_text())
