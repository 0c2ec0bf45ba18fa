"""Whose a name is."""

from __future__ import annotations

import pytest

from tests.support import places


@pytest.mark.parametrize(
    "entry, anothers",
    [
        ("/sys/fs/cgroup/pids/orlop-test-0-bffd86eb", True),
        ("/sys/fs/cgroup/pids/orlop-test-1f-bffd86eb/0123", False),
        ("tmpfs at /tmp/orlop.0.x2/data (mount 3)", True),
        ("tmpfs at /tmp/orlop.1f.x2/data (mount 3)", False),
        ("/sys/fs/cgroup/pids/orlop", False),
    ],
)
def test_marks_of_other_runs(monkeypatch: pytest.MonkeyPatch, entry: str, anothers: bool) -> None:
    monkeypatch.setenv(places.TAG, "1f")
    assert places.is_anothers(entry) is anothers
