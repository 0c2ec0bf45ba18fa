"""since and until of the event stream."""

from __future__ import annotations

import pytest

from supervisor.docker.events import event_range
from supervisor.errors import InvalidArgument

SECOND = 1_000_000_000
NOW = 1_795_231_748 * SECOND


@pytest.mark.parametrize(
    "text, moment",
    [
        ("1795231740", NOW - 8 * SECOND),
        ("1795231740.500000001", NOW - 8 * SECOND + SECOND // 2 + 1),
        ("2026-11-21T03:29:00Z", NOW - 8 * SECOND),
        ("2026-11-21T04:29:00+01:00", NOW - 8 * SECOND),
        ("2026-11-21T03:29:00.123456789Z", NOW - 8 * SECOND + 123456789),
        ("8s", NOW - 8 * SECOND),
        ("1h30m", NOW - 5400 * SECOND),
        ("0s", NOW),
        ("", None),
    ],
)
def test_moments(text: str, moment: int | None) -> None:
    assert event_range({"since": text}, NOW) == (moment, None)


def test_until() -> None:
    assert event_range({"until": "0"}, NOW) == (None, None)
    assert event_range({"since": "10s", "until": "5s"}, NOW) == (
        NOW - 10 * SECOND,
        NOW - 5 * SECOND,
    )
    assert event_range({"since": "5s", "until": "5s"}, NOW)[0] == NOW - 5 * SECOND


@pytest.mark.parametrize(
    "query, said",
    [
        ({"since": "5s", "until": "10s"}, "`since` time (5s) cannot be after `until` time (10s)"),
        ({"until": "-5"}, "`since` time (0) cannot be after `until` time (-5)"),
        ({"since": "yesterday"}, "invalid duration"),
        ({"until": "12:30"}, "invalid value for 'until'"),
    ],
)
def test_refused(query: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        event_range(query, NOW)
    assert said in caught.value.message
