"""How much longer things may take where the tests run."""

from __future__ import annotations

import os

IN_GUEST = "ORLOP_GUEST" in os.environ
# A bare system call costs about 25 times the host's there, a fork 6 times.
SLOWER = 25 if IN_GUEST else 1
MOST_BUSINESS = 10.0


def limit(seconds: float) -> float:
    """A measured time's upper limit: `seconds` on the host, room for the guest's pace there."""
    return seconds * SLOWER


def patience(seconds: float) -> float:
    """How long to wait for what has to come: `seconds` on an idle host, more on a busy one.

    For waits that end when it has come, not for what is measured.
    """
    return limit(seconds) * _business(os.getloadavg()[0], os.cpu_count() or 1)


def _business(load: float, processors: int) -> float:
    """By the load of the last minute; twice as many tasks as processors are usual in tests."""
    return min(max(1.0, load / processors / 2), MOST_BUSINESS)
