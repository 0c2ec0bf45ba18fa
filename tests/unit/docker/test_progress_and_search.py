"""Messages of pulls and pushes; the rows of a search."""

from __future__ import annotations

import pytest

from supervisor.docker import progress
from supervisor.docker.filters import Filters
from supervisor.docker.search import (
    catalogue_rows,
    check_search_filters,
    hub_rows,
    row_matches,
    search_limit,
)
from supervisor.errors import InvalidArgument


def test_bars_are_those_of_docker() -> None:
    # Recorded from dockerd.
    assert progress.bar(3678, 304635) == "[>" + " " * 50 + "]  3.678kB/304.6kB"
    assert progress.bar(32768, 304635) == "[=====>" + " " * 45 + "]  32.77kB/304.6kB"
    assert progress.bar(304635, 304635) == "[" + "=" * 50 + ">]  304.6kB/304.6kB"
    assert progress.bar(5, 0) == "5B"
    assert progress.bar(7, 5) == "7B"


def test_messages_are_those_of_docker() -> None:
    assert progress.status("Pulling from library/x", "latest") == {
        "status": "Pulling from library/x",
        "id": "latest",
    }
    assert progress.step("Pull complete", "2076a5f174fd") == {
        "status": "Pull complete",
        "progressDetail": {},
        "id": "2076a5f174fd",
    }
    assert progress.part("Downloading", "a", 1, 2)["progressDetail"] == {"current": 1, "total": 2}
    assert progress.short("sha256:" + "ab" * 32) == "abababababab"


@pytest.mark.parametrize("text, limit", [("", 25), ("0", 25), ("1", 1), ("100", 100)])
def test_limit(text: str, limit: int) -> None:
    assert search_limit({"limit": text}) == limit


@pytest.mark.parametrize("text", ["-1", "101", "x"])
def test_bad_limit(text: str) -> None:
    with pytest.raises(InvalidArgument):
        search_limit({"limit": text})


def test_catalogue() -> None:
    rows = catalogue_rows("r:5000", ["b/foo", "a/foo", "bar", "FOO"], "Foo", 2)
    assert [row["name"] for row in rows] == ["r:5000/a/foo", "r:5000/b/foo"]
    assert rows[0]["star_count"] == 0


def test_hub_and_filters() -> None:
    rows = hub_rows(
        b'{"num_results":2,"results":[{"name":"alpine","description":null,"star_count":11000,'
        b'"is_official":true},{"name":"x/alpine","star_count":2}]}'
    )
    assert [row["description"] for row in rows] == ["", ""]
    official: Filters = {"is-official": ("true",), "stars": ("3",)}
    check_search_filters(official)
    assert [row["name"] for row in rows if row_matches(row, official)] == ["alpine"]
    assert [row["name"] for row in rows if row_matches(row, {"is-official": ("0",)})] == [
        "x/alpine"
    ]
    with pytest.raises(InvalidArgument):
        hub_rows(b"<html>")


@pytest.mark.parametrize("filters", [{"nope": ("1",)}, {"stars": ("x",)}, {"stars": ("-1",)}])
def test_bad_filters(filters: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(InvalidArgument):
        check_search_filters(filters)
