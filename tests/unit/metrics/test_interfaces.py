"""The counters of interfaces that come, go, and come back under the same name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.model import Interface
from metrics.parse.figures import Link
from metrics.serve.interfaces import MAX_INTERFACES, OTHER, Interfaces

ETH0 = Interface("eth0", 7)


def link(value: int) -> Link:
    """A host's end that has counted so much of everything; it sends one more than it receives."""
    return Link(value, value + 1, value, value + 1, value, value + 1, value, value + 1)


def test_they_are_seen_from_inside() -> None:
    interfaces = Interfaces([ETH0])
    assert interfaces.counters() == {}
    interfaces.take({7: Link(1, 2, 3, 4, 5, 6, 7, 8), 8: link(1)})
    assert interfaces.counters() == {"eth0": Link(2, 1, 4, 3, 6, 5, 8, 7)}
    assert interfaces.indexes == (7,)


def test_one_that_is_gone_keeps_its_figures() -> None:
    interfaces = Interfaces([ETH0])
    interfaces.take({7: link(5)})
    for change in ([ETH0], []):
        interfaces.change(change)
        interfaces.take({})
        assert interfaces.counters()["eth0"].tx_bytes == 5
    assert interfaces.indexes == ()
    interfaces.take({7: link(50)})  # nobody's any more
    assert interfaces.counters()["eth0"].tx_bytes == 5


def test_one_of_the_same_name_goes_on_counting() -> None:
    interfaces = Interfaces([ETH0])
    interfaces.take({7: link(5)})
    interfaces.change([Interface("eth0", 9)])
    assert interfaces.counters()["eth0"].tx_bytes == 5
    interfaces.take({9: link(1)})
    interfaces.take({9: link(2)})
    assert interfaces.counters()["eth0"] == Link(9, 7, 9, 7, 9, 7, 9, 7)


def test_an_index_that_another_link_has_by_now() -> None:
    interfaces = Interfaces([ETH0])
    interfaces.take({7: link(5)})
    interfaces.take({7: link(3)})
    assert interfaces.counters()["eth0"].tx_bytes == 8


def test_there_are_not_too_many_and_nothing_is_lost() -> None:
    interfaces = Interfaces()
    for number in range(3 * MAX_INTERFACES):
        interfaces.change([Interface(f"net{number}", number)])
        interfaces.take({number: link(1)})
    counters = interfaces.counters()
    assert len(counters) == MAX_INTERFACES
    assert sum(one.tx_bytes for one in counters.values()) == 3 * MAX_INTERFACES
    assert f"net{3 * MAX_INTERFACES - 1}" in counters
    assert OTHER in counters
    interfaces.change([Interface(f"many{number}", number) for number in range(100)])
    assert len(interfaces.indexes) == MAX_INTERFACES


STEPS = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(["eth0", "eth1", "b"]), st.integers(1, 4), max_size=3),
        st.integers(0, 1000),
    ),
    max_size=20,
)


@given(STEPS)
def test_whatever_happens_no_counter_goes_back(steps: list[tuple[dict[str, int], int]]) -> None:
    interfaces = Interfaces()
    before: dict[str, Link] = {}
    for there, value in steps:
        interfaces.change([Interface(*item) for item in there.items()])
        interfaces.take({index: link(value) for index in there.values()})
        now = dict(interfaces.counters())
        for name, old in before.items():
            assert all(new >= was for new, was in zip(now[name], old, strict=True))
        before = now


@pytest.mark.parametrize("count", [0, 1])
def test_its_figures_are_no_longer_its_own(count: int) -> None:
    """A snapshot that was handed out does not change any more."""
    interfaces = Interfaces([ETH0])
    interfaces.take({7: link(1)})
    if count:
        interfaces.change([])
    seen = interfaces.counters()
    interfaces.change([Interface("eth0", 8)])
    interfaces.take({8: link(1)})
    assert seen["eth0"].tx_bytes == 1
