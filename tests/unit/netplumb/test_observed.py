"""Decoding the kernel's dumps: pyroute2 makes messages as the kernel does, hypothesis does not."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_interface, ip_network
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.fibmsg import fibmsg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from netplumb.errors import Malformed
from netplumb.plan import links, observed
from netplumb.plan.netlink import Message, split
from netplumb.plan.observed import Guard, Link, LinkAddress, Route


def encoded(kind: type, type_: int, attrs: list[Any], **fields: Any) -> Message:
    message = kind()
    message.update(fields, attrs=attrs)
    message["header"]["type"] = type_
    message.encode()
    (found,) = split(bytes(message.data))
    return found


def test_a_bridge() -> None:
    message = encoded(
        ifinfmsg,
        links.RTM_NEWLINK,
        [
            ("IFLA_IFNAME", "br0"),
            ("IFLA_MTU", 1400),
            ("IFLA_ADDRESS", "02:4f:00:00:00:01"),
            ("IFLA_GROUP", 5),
            ("IFLA_IFALIAS", "orlop:bridge:x"),
            ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "bridge")]}),
        ],
        index=4,
        flags=0x1003,
    )
    assert observed.read_links([message]) == (
        Link(
            index=4,
            name="br0",
            kind="bridge",
            alias="orlop:bridge:x",
            group=5,
            mtu=1400,
            mac="02:4f:00:00:00:01",
            up=True,
        ),
    )


def test_a_port_of_a_bridge() -> None:
    slave = [
        ("IFLA_INFO_KIND", "veth"),
        ("IFLA_INFO_SLAVE_KIND", "bridge"),
        ("IFLA_INFO_SLAVE_DATA", {"attrs": [("IFLA_BRPORT_ISOLATED", 1)]}),
    ]
    attrs = [("IFLA_IFNAME", "v"), ("IFLA_MASTER", 9), ("IFLA_LINKINFO", {"attrs": slave})]
    message = encoded(ifinfmsg, links.RTM_NEWLINK, attrs, index=1)
    link = observed.read_link(message)
    assert observed.read_link_name(message) == link.name == "v"
    assert (link.kind, link.master, link.isolated, link.up) == ("veth", 9, True, False)


def test_addresses() -> None:
    def message(family: int, address: str, length: int) -> Message:
        attrs = [("IFA_ADDRESS", address), ("IFA_LOCAL", address)]
        return encoded(
            ifaddrmsg, links.RTM_NEWADDR, attrs, family=family, prefixlen=length, index=3
        )

    found = observed.read_addresses([message(2, "10.0.0.1", 8), message(10, "fd00::1", 64)])
    assert found == (
        LinkAddress(3, ip_interface("10.0.0.1/8")),
        LinkAddress(3, ip_interface("fd00::1/64")),
    )


def test_a_point_to_point_link_has_its_local_address() -> None:
    attrs = [("IFA_ADDRESS", "10.0.0.2"), ("IFA_LOCAL", "10.0.0.1")]
    message = encoded(ifaddrmsg, links.RTM_NEWADDR, attrs, family=2, prefixlen=32, index=3)
    assert observed.read_address(message) == LinkAddress(3, ip_interface("10.0.0.1/32"))


def test_only_our_own_rules_are_guards() -> None:
    def rule(**change: Any) -> Message:
        attrs = {
            "FRA_IIFNAME": "br0",
            "FRA_PRIORITY": 4400,
            "FRA_FWMARK": 0,
            "FRA_FWMASK": 0x2000,
            "FRA_PROTOCOL": links.PROTOCOL,
        } | change
        return encoded(fibmsg, links.RTM_NEWRULE, list(attrs.items()), family=10, action=8)

    assert observed.read_guards([rule()]) == (Guard(6, "br0", 0x2000, 4400),)
    assert observed.read_guards([rule(FRA_PROTOCOL=2)]) == ()
    assert observed.guarded(rule()) == "br0"
    assert observed.guarded(rule(FRA_PROTOCOL=2)) == ""


def test_routes_to_subnets_are_in_use() -> None:
    def route(destination: str | None, index: int, **fields: Any) -> Message:
        attrs: list[Any] = [("RTA_OIF", index)]
        if destination is not None:
            network = ip_network(destination)
            attrs.append(("RTA_DST", str(network.network_address)))
            fields["dst_len"] = network.prefixlen
        header = {"family": 2, "table": 254, "type": 1} | fields
        return encoded(rtmsg, links.RTM_NEWROUTE, attrs, **header)

    messages = [
        route(None, 2, dst_len=0),
        route("172.17.0.0/16", 2),
        route("172.18.0.0/16", 5),
        route("10.0.0.1/32", 2, table=255, type=2),
        route("10.1.0.0/16", 2, type=7),
    ]
    routes = observed.read_routes(messages)
    assert routes == (
        Route(ip_network("172.17.0.0/16"), 2),
        Route(ip_network("172.18.0.0/16"), 5),
    )
    assert observed.host_subnets(routes, own=[5]) == (ip_network("172.17.0.0/16"),)


KINDS = st.sampled_from(
    [links.RTM_NEWLINK, links.RTM_NEWADDR, links.RTM_NEWRULE, links.RTM_NEWROUTE]
)


@given(KINDS, st.binary(max_size=160))
def test_garbage_is_malformed_or_something(kind: int, body: bytes) -> None:
    message = Message(kind, 0, 0, 0, body)
    for read in (
        observed.read_links,
        observed.read_addresses,
        observed.read_guards,
        observed.read_routes,
    ):
        with suppress(Malformed):
            read([message])


@given(st.data())
def test_a_garbled_dump(data: st.DataObject) -> None:
    whole = links.make_bridge("br0", group=5, mtu=1500, mac=bytes(6))[16:]
    body = bytearray(whole)
    for place in data.draw(st.lists(st.integers(0, len(body) - 1), max_size=6)):
        body[place] = data.draw(st.integers(0, 255))
    with suppress(Malformed):
        observed.read_link(Message(links.RTM_NEWLINK, 0, 0, 0, bytes(body)))
    with suppress(Malformed):
        observed.read_link_name(Message(links.RTM_NEWLINK, 0, 0, 0, bytes(body)))
