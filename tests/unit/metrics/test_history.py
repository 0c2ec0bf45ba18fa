"""What is kept of the past: the ring of points, and how often scrapers came."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from metrics.cadence import Cadence
from metrics.history import History, Point


def point(number: float) -> Point:
    return Point(*[number] * len(Point._fields))


@given(st.integers(0, 8), st.integers(0, 30))
def test_the_last_points_are_kept_in_their_order(capacity: int, pushed: int) -> None:
    history = History(capacity)
    for number in range(pushed):
        history.push(point(number))
    kept = list(range(pushed))[max(0, pushed - capacity) :] if capacity else []
    assert history.points() == [point(number) for number in kept]


def test_cleared_is_empty() -> None:
    history = History(2)
    history.push(point(1))
    history.clear()
    assert history.points() == []
    history.push(point(2))
    assert history.points() == [point(2)]


def test_numbers_survive() -> None:
    history = History(1)
    history.push(point(2**53 - 1))
    assert history.points() == [point(2**53 - 1)]


def came(cadence: Cadence, scraper: str, *times: float) -> None:
    for time in times:
        cadence.scraped(scraper, time)


def test_nobody_knows_the_interval_before_the_second_scrape() -> None:
    cadence = Cadence()
    assert (cadence.interval, cadence.linger) == (15, 31)
    came(cadence, "a", 100)
    assert cadence.interval == 15
    came(cadence, "a", 130)
    assert (cadence.interval, cadence.linger) == (30, 61)


def test_the_slowest_scraper_counts() -> None:
    cadence = Cadence()
    for second in range(0, 61, 5):
        came(cadence, "fast", second)
    came(cadence, "slow", 0, 60)
    assert cadence.interval == 60


def test_a_scrape_by_hand_does_not_shorten_it() -> None:
    cadence = Cadence()
    came(cadence, "prometheus", 0, 15, 30)
    came(cadence, "curl", 31, 32)
    assert cadence.interval == 15


def test_it_follows_a_change() -> None:
    cadence = Cadence()
    came(cadence, "a", 0, 60, 120, 125, 130, 135)
    assert cadence.interval == 5


def test_it_stays_within_bounds() -> None:
    cadence = Cadence()
    came(cadence, "a", 0, 0.1)
    assert cadence.interval == 1
    came(cadence, "b", 1, 500)
    assert cadence.interval == 120


def test_who_does_not_come_again_is_forgotten() -> None:
    cadence = Cadence()
    came(cadence, "slow", 0, 100)
    came(cadence, "fast", 800, 805)
    assert cadence.interval == 5


def test_scrapers_are_bounded() -> None:
    cadence = Cadence()
    for number in range(1000):
        came(cadence, f"scraper {number}", number * 0.1)
    assert len(cadence._last) == 16
