"""What the containers' zones answer, and what is kept of others' answers."""

from __future__ import annotations

from ipaddress import ip_address

from netplumb.plan.dns import message as dns
from netplumb.plan.dns.cache import LONGEST, Cache
from netplumb.plan.dns.message import Code, Query, Reply
from netplumb.plan.dns.zones import Outcome, Zone, resolve
from tests.unit.netplumb.values import endpoint, network

FRONT = network("front", "172.30.1.1/24", "fd00:1::1/64")
BACK = network("back", "172.30.2.1/24", internal=True)

FRONT_ZONE = Zone(
    FRONT,
    [
        endpoint("w", "172.30.1.2/24", "fd00:1::2/64", network="front", names=("web", "WWW")),
        endpoint("x", "172.30.1.3/24", network="front", names=("api-1", "api")),
        endpoint("y", "172.30.1.4/24", network="front", names=("api-2", "api")),
    ],
)
BACK_ZONE = Zone(BACK, [endpoint("z", "172.30.2.2/24", network="back", names=("web", "db"))])


def ask(name: str, kind: int = dns.A, *zones: Zone, turn: int = 0) -> Outcome | None:
    query = Query(id=1, flags=0, opcode=0, name=name, kind=kind, class_=1, question=b"", edns=None)
    return resolve(query, zones or (FRONT_ZONE, BACK_ZONE), turn)


def answers(outcome: Outcome | None) -> list[str]:
    assert outcome is not None
    assert outcome.code == Code.NO_ERROR
    return [str(ip_address(record.data)) for record in outcome.records]


def test_names_and_aliases() -> None:
    assert answers(ask("web")) == ["172.30.1.2"]
    assert answers(ask("www")) == ["172.30.1.2"], "names have no case"
    assert answers(ask("web", dns.AAAA)) == ["fd00:1::2"]
    assert answers(ask("db")) == ["172.30.2.2"]


def test_the_first_network_comes_first() -> None:
    assert answers(ask("web", dns.A, BACK_ZONE, FRONT_ZONE)) == ["172.30.2.2"]
    assert answers(ask("web.front", dns.A, BACK_ZONE, FRONT_ZONE)) == ["172.30.1.2"]
    assert answers(ask("web.back")) == ["172.30.2.2"]


def test_a_name_of_another_network_is_unknown() -> None:
    assert ask("db", dns.A, FRONT_ZONE) is None
    assert ask("example.org") is None
    assert ask("") is None
    assert ask("front") is None


def test_a_known_name_without_such_a_record_is_no_error() -> None:
    assert answers(ask("db", dns.AAAA)) == []
    assert answers(ask("web", 15)) == [], "MX"
    assert answers(ask("web", dns.ANY)) == ["172.30.1.2", "fd00:1::2"]


def test_several_take_turns() -> None:
    assert [answers(ask("api", turn=turn)) for turn in range(3)] == [
        ["172.30.1.3", "172.30.1.4"],
        ["172.30.1.4", "172.30.1.3"],
        ["172.30.1.3", "172.30.1.4"],
    ]


def test_reverse_names() -> None:
    found = ask("2.1.30.172.in-addr.arpa", dns.PTR)
    assert found is not None
    assert [record.data for record in found.records] == [dns.encode_name("web.front")]
    six = ip_address("fd00:1::2").reverse_pointer
    found = ask(six, dns.PTR)
    assert found is not None
    assert [record.data for record in found.records] == [dns.encode_name("web.front")]
    assert ask("2.1.30.172.in-addr.arpa", dns.A) == Outcome(Code.NO_ERROR)


def test_reverse_names_of_nobody() -> None:
    assert ask("99.1.30.172.in-addr.arpa", dns.PTR) == Outcome(Code.NAME_ERROR), "ours to know"
    assert ask("8.8.8.8.in-addr.arpa", dns.PTR) is None
    for name in ("1.30.172.in-addr.arpa", "x.1.30.172.in-addr.arpa", "999.1.1.1.in-addr.arpa"):
        assert ask(name, dns.PTR) is None
    for name in ("1.ip6.arpa", "zz.ip6.arpa", ".".join("g" * 32) + ".ip6.arpa"):
        assert ask(name, dns.PTR) is None


def test_a_container_whose_name_dns_has_not() -> None:
    odd = Zone(FRONT, [endpoint("w", network="front", names=("x" * 70,))])
    assert ask("2.1.30.172.in-addr.arpa", dns.PTR, odd) == Outcome(Code.NO_ERROR)


# --- the cache ----------------------------------------------------------------------------------


def reply(ttl: int, size: int = 40, *, truncated: bool = False) -> Reply:
    return Reply(bytes(size), 0, truncated, ttl, ())


def test_a_reply_is_kept_for_its_life() -> None:
    cache = Cache()
    kept = reply(10)
    cache.put("k", kept, 100.0)
    assert cache.get("k", 100.0) == (kept, 0)
    assert cache.get("k", 109.9) == (kept, 9)
    assert cache.get("k", 110.0) is None
    assert len(cache) == 0


def test_what_is_not_kept() -> None:
    cache = Cache()
    for one in (reply(0), reply(5, truncated=True), reply(5, size=5000)):
        cache.put("k", one, 0.0)
    assert cache.get("k", 0.0) is None


def test_nothing_is_kept_for_ever() -> None:
    cache = Cache()
    cache.put("k", reply(1 << 30), 0.0)
    assert cache.get("k", LONGEST - 1) is not None
    assert cache.get("k", LONGEST) is None


def test_the_cache_is_bounded() -> None:
    cache = Cache(size=3)
    for number in range(3):
        cache.put(number, reply(9), 0.0)
    cache.get(0, 1.0)
    cache.put(3, reply(9), 1.0)
    assert [cache.get(n, 1.0) is not None for n in range(4)] == [True, False, True, True]
    cache.clear()
    assert len(cache) == 0


# --- changes ------------------------------------------------------------------------------------


def test_endpoints_come_and_go() -> None:
    one = endpoint("x", "172.30.1.3/24", network="front", names=("api-1", "Api"))
    two = endpoint("y", "172.30.1.4/24", network="front", names=("api-2", "api"))
    zone = Zone(FRONT)
    assert ask("api", dns.A, zone) is None
    zone.add(one)
    zone.add(two)
    assert answers(ask("api", dns.A, zone)) == ["172.30.1.3", "172.30.1.4"]
    zone.remove(one)
    zone.remove(one)
    assert answers(ask("api", dns.A, zone)) == ["172.30.1.4"]
    assert ask("api-1", dns.A, zone) is None
    assert ask("3.1.30.172.in-addr.arpa", dns.PTR, zone) == Outcome(Code.NAME_ERROR)
    zone.remove(two)
    assert ask("api", dns.A, zone) is None
