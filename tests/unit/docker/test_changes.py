"""What `docker diff` shows: changes of the container's own, and not what Orlop made in it."""

from __future__ import annotations

import pytest

from supervisor.docker.changes import ADDED, DELETED, MODIFIED, Change, change_json, without_stubs

STUBS = ("/proc", "/sys", "/dev", "/etc/hosts", "/etc/resolv.conf")


def parse(text: str) -> list[Change]:
    kinds = {"C": MODIFIED, "A": ADDED, "D": DELETED}
    return [Change(kinds[word[0]], word[1:]) for word in text.split()]


@pytest.mark.parametrize(
    "found,shown",
    [
        ("", ""),
        ("A/proc A/sys A/dev", ""),
        ("A/data A/proc", "A/data"),
        ("C/etc A/etc/hosts", ""),
        ("C/etc A/etc/hosts A/etc/own", "C/etc A/etc/own"),
        ("C/etc A/etc/hosts D/etc/passwd", "C/etc D/etc/passwd"),
        ("A/etc A/etc/hosts A/etc/resolv.conf", ""),
        ("C/etc C/etc/hosts", "C/etc C/etc/hosts"),  # the image's own, and it was changed
        ("C/etc D/etc/hosts", "C/etc D/etc/hosts"),
        ("A/dev A/dev/file", "A/dev A/dev/file"),
        ("C/etcetera A/etcetera/hosts", "C/etcetera A/etcetera/hosts"),
        ("C/tmp A/tmp/x C/etc A/etc/hosts", "C/tmp A/tmp/x"),
    ],
)
def test_stubs_and_what_they_changed_are_left_out(found: str, shown: str) -> None:
    assert without_stubs(parse(found), STUBS) == parse(shown)


def test_json() -> None:
    assert change_json(Change(ADDED, "/data")) == {"Path": "/data", "Kind": 1}
