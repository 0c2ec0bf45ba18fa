"""Moments on the command line and in the output of events."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from supervisor.cli.timestamps import query_time, rfc3339

NOW = 1795231830_083911644


@pytest.fixture
def zone(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize("zone", ["XXX-2"], indirect=True)
@pytest.mark.usefixtures("zone")
@pytest.mark.parametrize(
    "text, moment",
    [
        ("1795231748", "1795231748"),
        ("1795231748.000000001", "1795231748.000000001"),
        ("0s", "1795231830.083911644"),
        ("1m30s", "1795231740.083911644"),
        ("500ms", "1795231829.583911644"),
        ("2026-11-21T03:30:30Z", "1795231830.000000000"),
        ("2026-11-21T03:30:30.5+01:00", "1795228230.500000000"),
        ("2026-11-21T05:30:30", "1795231830.000000000"),
        ("2026-11-21", "1795212000.000000000"),
    ],
)
def test_query_times(text: str, moment: str) -> None:
    assert query_time(text, NOW) == moment


@pytest.mark.parametrize("text", ["", "yesterday", ".5", "5.", "2026-13-01", "1x"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="a duration before now"):
        query_time(text, NOW)


@pytest.mark.parametrize(
    "zone, shown",
    [
        ("UTC", "2026-11-21T03:30:30.083911644Z"),
        ("XXX-2", "2026-11-21T05:30:30.083911644+02:00"),
        ("XXX3:30", "2026-11-21T00:00:30.083911644-03:30"),
    ],
    indirect=["zone"],
)
@pytest.mark.usefixtures("zone")
def test_events_show_local_time(shown: str) -> None:
    assert rfc3339(NOW) == shown
