"""docs/docker-compatibility.md beside the routing table and the flags that are tried."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from supervisor.docker.routes import ROUTES, route
from supervisor.errors import OrlopError
from tests.support.compatibility import DOCUMENT, JUDGEMENTS, Row, endpoints, flags, rows
from tests.support.run_flags import ONLY_RUN, SAMPLES

ENDPOINTS = endpoints()


def request_of(row: Row) -> tuple[str, str]:
    method, path = row.subject.split(" ")
    return method, re.sub(r"\{\w+\}", "x", path)


@pytest.mark.parametrize("row", ENDPOINTS, ids=[row.subject for row in ENDPOINTS])
def test_each_endpoint_is_judged_rightly(row: Row) -> None:
    assert row.judgement in JUDGEMENTS
    if row.judgement != "refused":
        assert route(*request_of(row)).operation
        assert row.words or row.judgement == "works"
        return
    status, _, words = row.words.partition(" ")
    with pytest.raises(OrlopError) as caught:
        route(*request_of(row))
    assert caught.value.status == int(status)
    assert words in caught.value.message


def test_every_route_is_there() -> None:
    judged = {route(*request_of(row)).operation for row in ENDPOINTS if row.judgement != "refused"}
    assert set(ROUTES.values()) - judged == set()


def test_every_tried_flag_is_judged_and_no_other() -> None:
    assert list(flags()) == list(SAMPLES)
    assert set(SAMPLES) >= ONLY_RUN
    assert {row.judgement for row in flags().values()} == set(JUDGEMENTS)
    assert [row for row in flags().values() if row.judgement != "works" and not row.words] == []


def test_nothing_twice_and_no_row_that_is_not_read() -> None:
    assert [s for s, n in Counter(row.subject for row in rows()).items() if n > 1] == []
    written = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| `")]
    assert len(written) == len(rows())


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", DOCUMENT.read_text()):
        assert (DOCUMENT.parent / target).exists(), target
