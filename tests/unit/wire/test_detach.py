"""The detach keys, typed in any pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import InvalidArgument
from supervisor.wire.detach import DEFAULT_KEYS, Detacher, parse_keys
from tests.unit.wire.cuts import cut, cuts

FEW = st.lists(st.sampled_from([b"a", b"b", b"\x10"]), max_size=40).map(b"".join)


def typed(keys: bytes, chunks: list[bytes]) -> tuple[bytes, bool]:
    detacher = Detacher(keys)
    passed, detached = b"", False
    for chunk in chunks:
        more, detached = detacher.feed(chunk)
        passed += more
    return passed + detacher.flush(), detached


@pytest.mark.parametrize(
    "text, keys",
    [
        ("", b"\x10\x11"),
        ("ctrl-p,ctrl-q", b"\x10\x11"),
        ("ctrl-a", b"\x01"),
        ("ctrl-z", b"\x1a"),
        ("Ctrl-Q", b"\x11"),
        ("ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_", b"\0\x1b\x1c\x1d\x1e\x1f"),
        ("a,B,^", b"aB^"),
    ],
)
def test_parse_keys(text: str, keys: bytes) -> None:
    assert parse_keys(text) == keys


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-1", "ctrlp", "ab", "é", "a,,b", ","])
def test_bad_keys_are_named(text: str) -> None:
    with pytest.raises(InvalidArgument, match="unknown key"):
        parse_keys(text)


@given(st.one_of(FEW, st.just(b"")), FEW, cuts)
def test_cuts_make_no_difference(keys: bytes, data: bytes, at: list[int]) -> None:
    expected, detached = data, False
    if keys and keys in data:
        expected, detached = data[: data.index(keys)], True
    assert typed(keys, cut(data, at)) == (expected, detached)


def test_a_begin_of_the_keys_is_held_back() -> None:
    detacher = Detacher(DEFAULT_KEYS)
    assert detacher.feed(b"ls\x10") == (b"ls", False)
    assert detacher.feed(b"x") == (b"\x10x", False)
    assert detacher.feed(b"\x10") == (b"", False)
    assert detacher.feed(b"\x11rm") == (b"", True)
    assert detacher.feed(b"more") == (b"", True)
    assert detacher.flush() == b""
