"""Which subnets and bridge a new network gets, and what is refused."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from msgspec.structs import replace

from netplumb.plan.ipam import Pool, unique_local_pool
from supervisor.docker.network_body import IpamBody, NetworkBody, SubnetBody
from supervisor.docker.networks import Subnet
from supervisor.engine.network_create import Surroundings, new_network
from supervisor.engine.network_records import Network, NetworkDefaults
from supervisor.errors import OrlopError

ID, OTHER = "ab" * 32, "cd" * 32
NAME = "com.docker.network.bridge.name"
MTU = "com.docker.network.driver.mtu"
EMPTY = Surroundings(
    defaults=NetworkDefaults(bridge="orlop0", mtu=1450), others=(), routes=(), seed="machine"
)


def make(*config: SubnetBody, around: Surroundings = EMPTY, id: str = ID, **fields: Any) -> Network:
    asked = NetworkBody(name="n1", ipam=IpamBody(config=config), **fields)
    return new_network(asked, id, 5, around)


def subnet(text: str, **fields: Any) -> SubnetBody:
    return SubnetBody(subnet=text, **fields)


def test_without_asking() -> None:
    made = make()
    assert made.subnets == (Subnet(subnet="172.17.0.0/16", gateway="172.17.0.1"),)
    assert (made.bridge, made.mtu, made.icc, made.masquerade) == (
        "ol-abababababab",
        1500,
        True,
        True,
    )
    assert (made.created_ns, made.ipv4, made.ipv6) == (5, True, False)
    assert make(SubnetBody()).subnets == made.subnets


def test_all_that_can_be_asked() -> None:
    asked = subnet(
        "10.77.0.0/24",
        ip_range="10.77.0.128/25",
        gateway="10.77.0.254",
        auxiliary_addresses={"printer": "10.77.0.129"},
    )
    made = make(asked, options={NAME: "br77", MTU: "1300"}, internal=True, attachable=True)
    assert made.subnets == (
        Subnet(
            subnet="10.77.0.0/24",
            gateway="10.77.0.254",
            ip_range="10.77.0.128/25",
            reserved={"printer": "10.77.0.129"},
        ),
    )
    assert (made.bridge, made.mtu, made.internal, made.attachable) == ("br77", 1300, True, True)
    ledger, first = made.ledgers[0].allocate()
    assert str(first) == "10.77.0.128"
    assert str(ledger.allocate()[1]) == "10.77.0.130"


def test_ipv6_without_a_subnet_is_unique_local() -> None:
    made = make(enable_ipv6=True)
    assert made.ledgers[1].subnet.subnet_of(unique_local_pool("machine").base)  # type: ignore[arg-type]
    assert [ledger.subnet.version for ledger in made.ledgers] == [4, 6]
    again = replace(EMPTY, others=(made,))
    other = make(enable_ipv6=True, around=again, id=OTHER)
    assert not other.ledgers[1].subnet.overlaps(made.ledgers[1].subnet)
    alone = make(enable_ipv6=True, enable_ipv4=False)
    assert [one.subnet.version for one in alone.ledgers] == [6]
    pool = Pool(ip_network("fd12::/48"), 64)
    mine = replace(EMPTY, defaults=replace(EMPTY.defaults, pools=(*EMPTY.defaults.pools, pool)))
    assert make(enable_ipv6=True, around=mine).subnets[1].subnet == "fd12::/64"


def test_both_versions_in_any_order() -> None:
    made = make(subnet("fd77:7::/64"), subnet("10.78.0.0/24"), enable_ipv6=True)
    assert [one.subnet for one in made.subnets] == ["10.78.0.0/24", "fd77:7::/64"]


def test_subnets_are_found_where_there_is_room() -> None:
    around = replace(
        EMPTY, others=(make(),), routes=(ip_network("172.18.0.0/15"), ip_network("0.0.0.0/0"))
    )
    assert make(around=around, id=OTHER).subnets[0].subnet == "172.20.0.0/16"


BAD: list[tuple[tuple[SubnetBody, ...], dict[str, Any], int, str]] = [
    ((subnet("10.0.0.300/24"),), {}, 400, "invalid subnet 10.0.0.300/24: invalid CIDR"),
    ((subnet("10.0.0.0"),), {}, 400, "invalid subnet 10.0.0.0: invalid CIDR"),
    ((subnet("10.0.0.1/24"),), {}, 400, "invalid subnet 10.0.0.1/24: it should be 10.0.0.0/24"),
    ((subnet("10.0.0.0/31"),), {}, 400, "10.0.0.0/31 is too small: use /30"),
    ((subnet("127.0.0.0/8"),), {}, 400, "127.0.0.0/8: no interface can have"),
    ((subnet("0.0.0.0/0"),), {}, 400, "0.0.0.0/0: no interface can have"),
    ((subnet("224.0.0.0/24"),), {}, 400, "224.0.0.0/24: no interface can have"),
    ((subnet("fe80::/64"),), {"enable_ipv6": True}, 400, "fe80::/64: no interface can have"),
    ((subnet("10.0.0.0/24", gateway="x"),), {}, 400, "invalid gateway x: invalid address"),
    ((subnet("10.0.0.0/24", gateway="10.1.0.1"),), {}, 400, "the gateway 10.1.0.1 is not"),
    ((subnet("10.0.0.0/24", gateway="10.0.0.255"),), {}, 400, "the gateway 10.0.0.255 is not"),
    ((subnet("10.0.0.0/24", ip_range="10.1.0.0/25"),), {}, 400, "10.1.0.0/25 is not within"),
    ((subnet("10.0.0.0/24", ip_range="10.0.0.0"),), {}, 400, "invalid ip-range 10.0.0.0"),
    (
        (subnet("10.0.0.0/24", auxiliary_addresses={"x": "10.1.0.1"}),),
        {},
        400,
        "reserved address 10.1.0.1 is not",
    ),
    (
        (subnet("10.0.0.0/24", auxiliary_addresses={"x": "y"}),),
        {},
        400,
        "invalid auxiliary address y",
    ),
    ((SubnetBody(gateway="10.0.0.1"),), {}, 400, "10.0.0.1 needs the subnet that it is in"),
    (
        (subnet("10.0.0.0/24"), subnet("10.1.0.0/24")),
        {},
        400,
        "10.0.0.0/24 and 10.1.0.0/24: a bridge network has one IPv4 subnet",
    ),
    ((subnet("fd00::/64"),), {}, 400, "fd00::/64 is of IPv6, which is not enabled"),
    ((subnet("10.84.1.0/24"),), {}, 409, "10.84.1.0/24 overlaps 10.84.0.0/16 of network there"),
    ((subnet("10.8.0.0/13"),), {}, 409, "overlaps 10.9.0.0/24 of the host's routes"),
    ((), {"options": {NAME: "much-too-long-a-name"}}, 400, "much-too-long-a-name"),
    ((), {"options": {NAME: "a/b"}}, 400, "a/b"),
    ((), {"options": {NAME: "br84"}}, 409, "(there): networks have same bridge name br84"),
    ((), {"options": {MTU: "1000"}, "enable_ipv6": True}, 400, "MTU 1000 is not in 1280"),
]


@pytest.mark.parametrize("config, fields, status, text", BAD, ids=[t for _, _, _, t in BAD])
def test_refused(
    config: tuple[SubnetBody, ...], fields: dict[str, Any], status: int, text: str
) -> None:
    there = replace(make(subnet("10.84.0.0/16"), options={NAME: "br84"}), id=OTHER, name="there")
    around = replace(EMPTY, others=(there,), routes=(ip_network("10.9.0.0/24"),))
    with pytest.raises(OrlopError) as caught:
        make(*config, around=around, **fields)
    assert caught.value.status == status, caught.value.message
    assert text in caught.value.message
