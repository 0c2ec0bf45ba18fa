"""Subnets and addresses: no two alike, the one given back last comes last."""

from __future__ import annotations

import json
from ipaddress import IPv4Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from netplumb.errors import Exhausted, Invalid, Taken
from netplumb.plan.ipam import DEFAULT_POOLS, Ledger, Pool, choose_subnet, ranges, unique_local_pool
from netplumb.plan.ipam.ledger import is_host
from netplumb.plan.ipam.pools import check_subnet
from netplumb.plan.model import Address


def ledger(subnet: str = "10.0.0.0/29", **options: object) -> Ledger:
    return Ledger.make(ip_network(subnet), **options)  # type: ignore[arg-type]


def take(book: Ledger, count: int) -> tuple[Ledger, list[str]]:
    given: list[str] = []
    for _ in range(count):
        book, address = book.allocate()
        given.append(str(address))
    return book, given


# --- addresses ----------------------------------------------------------------------------------


def test_addresses_come_in_order_and_the_gateway_is_the_first() -> None:
    book = ledger()
    assert str(book.gateway_interface) == "10.0.0.1/29"
    book, given = take(book, 5)
    assert given == ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]
    assert (book.in_use, book.free) == (5, 0)
    with pytest.raises(Exhausted, match=r"no available IPv4 addresses on 10\.0\.0\.0/29"):
        book.allocate()


def test_an_address_is_given_again_after_all_others() -> None:
    book, _ = take(ledger(), 2)
    book = book.release(ip_address("10.0.0.2"))
    book, given = take(book, 4)
    assert given == ["10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.2"]


def test_exhaustion_ends_with_the_first_one_given_back() -> None:
    book, _ = take(ledger(), 5)
    for text in ("10.0.0.3", "10.0.0.5"):
        book = book.release(ip_address(text))
    assert book.free == 2
    book, given = take(book, 2)
    assert given == ["10.0.0.3", "10.0.0.5"]


def test_ipv6_never_hands_out_the_anycast_address() -> None:
    book = ledger("fd00::/64")
    assert str(book.gateway) == "fd00::1"
    _, given = take(book, 2)
    assert given == ["fd00::2", "fd00::3"]
    assert not is_host(ip_network("fd00::/64"), ip_address("fd00::"))


def test_a_range_and_reserved_addresses() -> None:
    book = ledger(
        "10.0.0.0/24",
        ip_range=ip_network("10.0.0.0/29"),
        gateway=ip_address("10.0.0.254"),
        reserved=[ip_address("10.0.0.2")],
    )
    book, given = take(book, 6)
    assert given == [f"10.0.0.{n}" for n in (1, 3, 4, 5, 6, 7)], "10.0.0.7 is no broadcast here"
    with pytest.raises(Exhausted):
        book.allocate()


def test_a_wanted_address() -> None:
    book = ledger("10.0.0.0/24", ip_range=ip_network("10.0.0.0/29"))
    book = book.claim(ip_address("10.0.0.2")).claim(ip_address("10.0.0.200"))
    assert book.in_use == 2
    assert book.is_used(ip_address("10.0.0.200"))
    _, given = take(book, 1)
    assert given == ["10.0.0.3"]
    assert book.release(ip_address("10.0.0.200")).release(ip_address("10.0.0.2")).in_use == 0


@pytest.mark.parametrize(
    "text, error, words",
    [
        ("10.0.1.5", Invalid, "does not belong to the subnet 10.0.0.0/24"),
        ("fd00::5", Invalid, "does not belong to the subnet"),
        ("10.0.0.0", Invalid, "stands for the subnet"),
        ("10.0.0.255", Invalid, "stands for the subnet"),
        ("10.0.0.1", Taken, "is the gateway"),
        ("10.0.0.9", Taken, "is reserved"),
        ("10.0.0.2", Taken, "is already in use"),
    ],
)
def test_addresses_that_cannot_be_had(text: str, error: type[Exception], words: str) -> None:
    book = ledger("10.0.0.0/24", reserved=[ip_address("10.0.0.9")])
    book, _ = book.allocate()
    with pytest.raises(error, match=words):
        book.claim(ip_address(text))


@pytest.mark.parametrize(
    "subnet, options, words",
    [
        ("10.0.0.0/31", {}, "too small"),
        ("10.0.0.0/24", {"ip_range": ip_network("10.0.1.0/25")}, "not within the subnet"),
        ("10.0.0.0/24", {"ip_range": ip_network("10.0.0.0/23")}, "not within the subnet"),
        ("10.0.0.0/24", {"ip_range": ip_network("fd00::/64")}, "not within the subnet"),
        ("10.0.0.0/24", {"gateway": ip_address("10.0.1.1")}, "gateway 10.0.1.1"),
        ("10.0.0.0/24", {"gateway": ip_address("10.0.0.255")}, "gateway 10.0.0.255"),
        ("10.0.0.0/24", {"reserved": [ip_address("10.1.0.1")]}, "reserved address 10.1.0.1"),
    ],
)
def test_ledgers_that_cannot_be(subnet: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        ledger(subnet, **options)


SUBNETS = ["10.0.0.0/28", "10.0.0.0/29", "fd00::/124", "192.168.0.0/16", "fd00::/64"]


@given(st.sampled_from(SUBNETS), st.lists(st.integers(0, 20), max_size=40))
def test_json_keeps_everything(subnet: str, actions: list[int]) -> None:
    book = ledger(subnet)
    given: list[Address] = []
    for action in actions:
        if action % 3 and given:
            book = book.release(given.pop(action % len(given)))
        elif len(given) < 5:  # all that a /29 has
            book, address = book.allocate()
            given.append(address)
    text = json.dumps(book.to_json())
    assert Ledger.from_json(json.loads(text)) == book


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)


@given(JSON, st.sampled_from(sorted(ledger().to_json())))
def test_other_json_is_invalid(value: object, key: str) -> None:
    data = ledger().to_json()
    try:
        book = Ledger.from_json(data | {key: value})
    except Invalid:
        return
    assert book == Ledger.from_json(book.to_json())


def test_no_json_object_at_all() -> None:
    others: list[object] = [[], "x", None, {}]
    for data in others:
        with pytest.raises(Invalid):
            Ledger.from_json(data)  # type: ignore[arg-type]


class Addresses(RuleBasedStateMachine):
    """Any sequence of allocate, claim and release."""

    def __init__(self) -> None:
        super().__init__()
        self.book = ledger("10.0.0.0/28", reserved=[ip_address("10.0.0.5")])
        self.used: set[Address] = set()
        others = {ip_address(f"10.0.0.{n}") for n in range(2, 15)}
        self.hosts: set[Address] = others - {ip_address("10.0.0.5")}
        # For each address that is free again: those that were free all the time since.
        self.since_release: dict[Address, set[Address]] = {}

    @precondition(lambda self: self.used != self.hosts)
    @rule()
    def allocate(self) -> None:
        before = self.book
        self.book, address = before.allocate()
        assert address in self.hosts - self.used
        missed = self.since_release.pop(address, None)
        if missed is not None:
            # Whatever was free all the time since this one was given back, came before it.
            assert not missed, f"{address} again before {missed}"
        self.used.add(address)
        for waiting in self.since_release.values():
            waiting.discard(address)

    @precondition(lambda self: self.used == self.hosts)
    @rule()
    def exhausted(self) -> None:
        with pytest.raises(Exhausted):
            self.book.allocate()

    @precondition(lambda self: self.used)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        address = data.draw(st.sampled_from(sorted(self.used)))
        self.book = self.book.release(address)
        self.used.remove(address)
        self.since_release[address] = (self.hosts - self.used - {address}) - set(self.since_release)

    @invariant()
    def agrees(self) -> None:
        assert self.book.in_use == len(self.used)
        assert all(self.book.is_used(address) == (address in self.used) for address in self.hosts)


TestAddresses = Addresses.TestCase


@given(st.sets(st.integers(0, 300)))
def test_bitmaps_as_text(numbers: set[int]) -> None:
    bitmap = sum(1 << number for number in numbers)
    assert ranges.from_text(ranges.to_text(bitmap), 301) == bitmap
    covered = {n for a, b in ranges.ranges(bitmap) for n in range(a, b + 1)}
    assert covered == numbers


@given(st.integers(0, 1 << 60), st.integers(0, 64), st.integers(0, 64))
def test_first_free(bitmap: int, start: int, end: int) -> None:
    expected = next((n for n in range(start, end) if not bitmap >> n & 1), None)
    assert ranges.first_free(bitmap, start, end) == expected


@pytest.mark.parametrize("text", ["x", "5-2", "1,,2", "-1", "1-", "99", "²"])
def test_texts_that_are_no_ranges(text: str) -> None:
    with pytest.raises(Invalid):
        ranges.from_text(text, 99)


# --- subnets ------------------------------------------------------------------------------------


def test_default_pools_are_dockers() -> None:
    taken: list[IPv4Network] = []
    for _ in range(31):
        found = choose_subnet(DEFAULT_POOLS, taken)
        assert isinstance(found, IPv4Network)
        taken.append(found)
    assert [str(subnet) for subnet in taken[:2]] == ["172.17.0.0/16", "172.18.0.0/16"]
    assert [str(subnet) for subnet in taken[14:17]] == [
        "172.31.0.0/16",
        "192.168.0.0/20",
        "192.168.16.0/20",
    ]
    with pytest.raises(Exhausted, match="non-overlapping IPv4 address pool"):
        choose_subnet(DEFAULT_POOLS, taken)


def test_the_hosts_routes_are_avoided_but_not_the_default_one() -> None:
    taken = [ip_network(t) for t in ("0.0.0.0/0", "172.16.0.0/14", "192.168.1.0/24", "::/0")]
    assert str(choose_subnet(DEFAULT_POOLS, taken)) == "172.20.0.0/16"
    lan = [Pool(ip_network("192.168.0.0/16"), 20)]
    assert str(choose_subnet(lan, taken)) == "192.168.16.0/20"


def test_ipv6_from_the_hosts_own_prefix() -> None:
    pool = unique_local_pool("machine-1")
    assert pool.base.subnet_of(ip_network("fd00::/8"))  # type: ignore[arg-type]
    assert pool.base != unique_local_pool("machine-2").base
    first = choose_subnet([pool], [], version=6)
    second = choose_subnet([pool], [first], version=6)
    assert (first.prefixlen, second.prefixlen) == (64, 64)
    assert not first.overlaps(second)
    with pytest.raises(Exhausted):
        choose_subnet([pool], [pool.base], version=6)


SMALL = Pool(ip_network("10.0.0.0/24"), 28)


@given(
    st.lists(
        st.tuples(st.integers(0, 511), st.integers(23, 32)).map(
            lambda pair: IPv4Network((0x0A000000 + pair[0], pair[1]), strict=False)
        ),
        max_size=20,
    )
)
def test_the_first_that_overlaps_nothing(taken: list[IPv4Network]) -> None:
    free = [
        subnet
        for subnet in IPv4Network("10.0.0.0/24").subnets(new_prefix=28)
        if not any(subnet.overlaps(other) for other in taken)
    ]
    if free:
        assert choose_subnet([SMALL], taken) == free[0]
    else:
        with pytest.raises(Exhausted):
            choose_subnet([SMALL], taken)


@pytest.mark.parametrize("length", [23, 31])
def test_a_pool_that_cannot_be_cut(length: int) -> None:
    with pytest.raises(Invalid, match="cannot be cut"):
        Pool(ip_network("10.0.0.0/24"), length)


def test_a_wanted_subnet_must_not_overlap() -> None:
    taken = [(ip_network("0.0.0.0/0"), "the host"), (ip_network("10.1.0.0/16"), "network a")]
    check_subnet(ip_network("10.2.0.0/16"), taken)
    check_subnet(ip_network("fd00::/64"), taken)
    with pytest.raises(Taken, match=r"10\.0\.0\.0/8 overlaps 10\.1\.0\.0/16 of network a"):
        check_subnet(ip_network("10.0.0.0/8"), taken)
