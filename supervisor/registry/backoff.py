"""When to ask again: pauses that double, with a random part, and no more than so many."""

from __future__ import annotations

import random
import time

import trio

from supervisor.oci.http_fields import retry_after
from supervisor.registry.config import RegistryConfig

LONGEST = 30.0
MOST_PATIENCE = 120.0
"""Seconds; a registry that says to come back later than this is not waited for."""

_GAIN = 256 * 1024


class Backoff:
    """Counts the attempts at one thing; `gained` bytes make up for an earlier failure."""

    def __init__(self, config: RegistryConfig) -> None:
        self._config = config
        self._failures = 0
        self._random = random.SystemRandom()

    def gained(self, size: int) -> None:
        """Something was got: that is no failure, however it ended."""
        if size >= _GAIN:
            self._failures = 0

    async def pause(self, asked: str = "") -> bool:
        """Wait before the next attempt; False, at once, when there is to be none.

        `asked` is the registry's Retry-After.
        """
        if self._failures >= self._config.retries:
            return False
        seconds = min(LONGEST, self._config.backoff * 2**self._failures)
        # Half of it random, so that many clients do not come back together.
        seconds *= self._random.uniform(0.5, 1.0)
        wanted = retry_after(asked, time.time()) if asked else None
        if wanted is not None:
            if wanted > MOST_PATIENCE:
                return False
            seconds = max(seconds, wanted)
        self._failures += 1
        await trio.sleep(seconds)
        return True
