"""How often scrapers come, which decides how long an ended container's series stay."""

from __future__ import annotations

from collections import deque

_INITIAL, _LEAST, _MOST = 15.0, 1.0, 120.0
_FORGOTTEN = 600.0
_MAX_SCRAPERS = 16
_GAPS = 3


class Cadence:
    """Learns the longest usual time between two scrapes of one scraper, in seconds.

    It is between 1 and 120, and 15 until somebody came twice.
    """

    def __init__(self) -> None:
        self._last: dict[str, float] = {}
        self._gaps: dict[str, deque[float]] = {}

    def scraped(self, scraper: str, now: float) -> None:
        """`scraper` (an address and a program's name) came at monotonic time `now`."""
        for gone in [s for s, at in self._last.items() if now - at > _FORGOTTEN]:
            del self._last[gone]
            self._gaps.pop(gone, None)
        if scraper in self._last:
            gaps = self._gaps.setdefault(scraper, deque(maxlen=_GAPS))
            gaps.append(now - self._last[scraper])
        elif len(self._last) >= _MAX_SCRAPERS:
            return
        self._last[scraper] = now

    @property
    def interval(self) -> float:
        """The longest of the scrapers' last gaps."""
        gaps = [gap for scraper in self._gaps.values() for gap in scraper]
        return min(max(*gaps, _LEAST), _MOST) if gaps else _INITIAL

    @property
    def linger(self) -> float:
        """How long a last value must stay for two scrapes to see it, the second one late."""
        return 2 * self.interval + 1
