"""Ids and names."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import InvalidArgument, NotFound
from supervisor.lifecycle.ids import (
    ADJECTIVES,
    NOUNS,
    ById,
    check_name,
    generate_name,
    new_id,
    resolve,
    short,
    valid_name,
)

A = "ab" + "0" * 62
B = "ab" + "1" * 62
NAMES = {"web": A, "ab1": A}


@given(st.binary(min_size=32, max_size=32))
def test_ids_are_64_hex_digits(random_bytes: bytes) -> None:
    id = new_id(random_bytes)
    assert re.fullmatch("[0-9a-f]{64}", id)
    assert not short(id).isdigit()
    assert id[1:] == random_bytes.hex()[1:]


def test_a_short_id_is_never_a_number() -> None:
    assert short(new_id(b"\x12" * 32)) == "b21212121212"
    with pytest.raises(ValueError, match="32"):
        new_id(b"short")


@pytest.mark.parametrize("name", ["web", "a1", "0.x", "A-b_c.d", "x" * 300])
def test_good_names(name: str) -> None:
    assert valid_name(name)
    assert check_name("/" + name) == name


@pytest.mark.parametrize(
    "name", ["", "a", "-a", ".a", "_a", "a/b", "a b", "web\n", "é1", "a:b", "//ab", "/"]
)
def test_bad_names(name: str) -> None:
    assert not valid_name(name)
    with pytest.raises(InvalidArgument, match="Invalid container name"):
        check_name(name)


def test_generated_names_are_valid_and_many() -> None:
    assert len(set(ADJECTIVES)) == len(ADJECTIVES)
    assert len(set(NOUNS)) == len(NOUNS)
    assert all(valid_name(f"{a}_{n}") for a in ADJECTIVES for n in NOUNS)
    rng = random.Random(1)
    names = {generate_name(rng) for _ in range(1000)}
    assert len(names) > 900
    assert re.fullmatch(r"[a-z]+_[a-z]+[0-9]", generate_name(rng, numbered=True))


@pytest.mark.parametrize(
    "reference, id",
    [(A, A), ("web", A), ("/web", A), ("ab1", A), ("ab11", B), ("ab0", A), (B[:12], B)],
)
def test_resolve_prefers_ids_then_names_then_begins(reference: str, id: str) -> None:
    assert resolve(reference, [A, B], NAMES) == id


@given(st.lists(st.sampled_from([A, B, A[:12] + B[12:], "0" * 64]), max_size=6), st.data())
def test_by_id_finds_what_a_search_finds(given: list[str], data: st.DataObject) -> None:
    found: ById[int] = ById()
    for number, id in enumerate(given):  # what is there already goes
        if id in found:
            del found[id]
        else:
            found[id] = number
            found[id] = number + 1
    id = data.draw(st.sampled_from([A, B, "0" * 64, "1" * 64]))
    text = id[: data.draw(st.integers(0, 64))]
    assert found.beginning(text) == [one for one in found if one.startswith(text)]
    for one in found:
        assert resolve(one[:40], found, {}) == one


def test_resolve_refuses() -> None:
    with pytest.raises(InvalidArgument, match="multiple IDs found with provided prefix: ab"):
        resolve("ab", [A, B], {})
    with pytest.raises(NotFound, match="No such container: nope"):
        resolve("nope", [A, B], NAMES)
    with pytest.raises(InvalidArgument, match="No container name or ID supplied"):
        resolve("", [A], NAMES)
