"""How much longer things may take where the tests run."""

from __future__ import annotations

import os

IN_GUEST = "ORLOP_GUEST" in os.environ
# A bare system call costs about 25 times the host's there, a fork 6 times.
SLOWER = 25 if IN_GUEST else 1


def limit(seconds: float) -> float:
    """A measured time's upper limit: `seconds` on the host, room for the guest's pace there."""
    return seconds * SLOWER
