"""Our rtnetlink messages, read by pyroute2's decoder of them."""

from __future__ import annotations

import sys
from ipaddress import ip_address, ip_interface
from typing import Any

import pytest
from pyroute2.netlink import nlmsg
from pyroute2.netlink.rtnl.fibmsg import fibmsg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg
from pyroute2.netlink.rtnl.tcmsg import tcmsg

from netplumb.errors import Invalid
from netplumb.plan import links, qdisc
from netplumb.plan.model import Limits, mac_bytes
from netplumb.plan.netlink import attributes

REQUEST, ACK, CREATE_EXCL = 1, 4, 0x600
MAC = "02:42:ac:11:00:02"


def decoded(kind: type[nlmsg], data: bytes) -> Any:
    message = kind(data)
    message.decode()
    assert message["header"]["length"] == len(data)
    return message


def test_a_pair() -> None:
    made = links.make_pair(
        port="olabc",
        bridge=7,
        group=0x4F4C0002,
        mtu=1400,
        interface="eth0",
        mac=mac_bytes(MAC),
        namespace=9,
    )
    message = decoded(ifinfmsg, made)
    assert message["header"]["type"] == links.RTM_NEWLINK
    assert message["header"]["flags"] == REQUEST | ACK | CREATE_EXCL
    assert (message["flags"], message["change"], message["index"]) == (1, 1, 0)
    assert message.get_attr("IFLA_IFNAME") == "olabc"
    assert message.get_attr("IFLA_MASTER") == 7
    assert message.get_attr("IFLA_GROUP") == 0x4F4C0002
    assert message.get_attr("IFLA_MTU") == 1400
    assert message.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") == "veth"
    peer = message.get_nested("IFLA_LINKINFO", "IFLA_INFO_DATA", "VETH_INFO_PEER")
    assert peer.get_attr("IFLA_IFNAME") == "eth0"
    assert peer.get_attr("IFLA_ADDRESS") == MAC
    assert peer.get_attr("IFLA_MTU") == 1400
    assert peer.get_attr("IFLA_NET_NS_FD") == 9
    for end in (message, peer):  # more than one would be made and given up again, slowly
        assert end.get_attr("IFLA_NUM_TX_QUEUES") == end.get_attr("IFLA_NUM_RX_QUEUES") == 1


@pytest.mark.parametrize("isolated", [False, True])
def test_a_ports_mark(*, isolated: bool) -> None:
    message = decoded(ifinfmsg, links.mark_port("olabc", "orlop:port:c:n", isolated=isolated))
    assert message["header"]["flags"] == REQUEST | ACK, "changes what is there, makes nothing"
    assert message.get_attr("IFLA_IFALIAS") == "orlop:port:c:n"
    info = message.get_attr("IFLA_LINKINFO")
    assert info.get_attr("IFLA_INFO_SLAVE_KIND") == "bridge"
    data = info.get_attr("IFLA_INFO_SLAVE_DATA")
    assert data.get_attr("IFLA_BRPORT_MODE") == 1
    assert data.get_attr("IFLA_BRPORT_ISOLATED") == int(isolated)
    inet6 = message.get_nested("IFLA_AF_SPEC", "AF_INET6")
    assert inet6.get_attr("IFLA_INET6_ADDR_GEN_MODE") == 1


def test_a_bridge() -> None:
    made = links.make_bridge("br0", group=5, mtu=9000, mac=mac_bytes(MAC))
    message = decoded(ifinfmsg, made)
    assert message["header"]["flags"] == REQUEST | ACK | CREATE_EXCL
    assert message.get_attr("IFLA_IFNAME") == "br0"
    assert message.get_attr("IFLA_GROUP") == 5
    assert message.get_attr("IFLA_MTU") == 9000
    assert message.get_attr("IFLA_ADDRESS") == MAC
    assert message.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") == "bridge"


def test_changes_of_a_link() -> None:
    assert decoded(ifinfmsg, links.set_mtu(3, 1280)).get_attr("IFLA_MTU") == 1280
    assert decoded(ifinfmsg, links.set_master(3, 4)).get_attr("IFLA_MASTER") == 4
    up = decoded(ifinfmsg, links.set_up(3))
    assert (up["index"], up["flags"], up["change"]) == (3, 1, 1)
    trash = decoded(ifinfmsg, links.set_group(3, 8))
    assert (trash["index"], trash["flags"], trash["change"]) == (3, 0, 1)
    assert trash.get_attr("IFLA_GROUP") == 8
    one = decoded(ifinfmsg, links.delete_link(3))
    assert (one["header"]["type"], one["index"]) == (links.RTM_DELLINK, 3)
    all_ = decoded(ifinfmsg, links.delete_group(8))
    assert (all_["header"]["type"], all_["index"]) == (links.RTM_DELLINK, 0)
    assert all_.get_attr("IFLA_GROUP") == 8


@pytest.mark.parametrize(
    "text, family, scope, flags",
    [
        ("172.17.0.2/16", 2, 0, None),
        ("fd00::2/64", 10, 0, 2),
        ("fe80::1/64", 10, 253, 2),
    ],
)
def test_an_address(text: str, family: int, scope: int, flags: int | None) -> None:
    address = ip_interface(text)
    message = decoded(ifaddrmsg, links.add_address(4, address))
    assert message["header"]["type"] == links.RTM_NEWADDR
    assert (message["family"], message["scope"], message["index"]) == (family, scope, 4)
    assert message["prefixlen"] == address.network.prefixlen
    assert message.get_attr("IFA_LOCAL") == message.get_attr("IFA_ADDRESS") == str(address.ip)
    assert message.get_attr("IFA_FLAGS") == flags
    gone = decoded(ifaddrmsg, links.remove_address(4, address))
    assert gone["header"]["type"] == links.RTM_DELADDR
    assert gone.get_attr("IFA_LOCAL") == str(address.ip)


@pytest.mark.parametrize("gateway, family", [("172.17.0.1", 2), ("fd00::1", 10)])
def test_a_default_route(gateway: str, family: int) -> None:
    message = decoded(rtmsg, links.default_route(ip_address(gateway), 4))
    assert message["header"]["type"] == links.RTM_NEWROUTE
    assert (message["family"], message["dst_len"], message["table"]) == (family, 0, 254)
    assert (message["proto"], message["type"], message["scope"]) == (4, 1, 0)
    assert message.get_attr("RTA_GATEWAY") == gateway
    assert message.get_attr("RTA_OIF") == 4


@pytest.mark.parametrize("address, family", [("172.17.0.1", 2), ("fd00::1", 10)])
def test_a_neighbour(address: str, family: int) -> None:
    message = decoded(ndmsg, links.know_neighbour(ip_address(address), mac_bytes(MAC), 4))
    assert message["header"]["type"] == links.RTM_NEWNEIGH
    assert (message["family"], message["ifindex"], message["state"]) == (family, 4, 0x80)
    assert message.get_attr("NDA_DST") == address
    assert message.get_attr("NDA_LLADDR") == MAC


@pytest.mark.parametrize("version, family", [(4, 2), (6, 10)])
def test_a_guard(version: int, family: int) -> None:
    for made, kind in (
        (links.add_guard(version, "br0", 0x2000, 4400), links.RTM_NEWRULE),
        (links.remove_guard(version, "br0", 0x2000, 4400), links.RTM_DELRULE),
    ):
        message = decoded(fibmsg, made)
        assert (message["header"]["type"], message["family"], message["action"]) == (
            kind,
            family,
            8,
        )
        assert message.get_attr("FRA_IIFNAME") == "br0"
        assert message.get_attr("FRA_PRIORITY") == 4400
        assert message.get_attr("FRA_FWMARK") == 0
        assert message.get_attr("FRA_FWMASK") == 0x2000
        assert message.get_attr("FRA_PROTOCOL") == links.PROTOCOL


def test_a_rate() -> None:
    message = decoded(tcmsg, qdisc.tbf(5, 8_000_000))
    assert (message["index"], message["parent"], message["handle"]) == (5, 0xFFFFFFFF, 0x10000)
    assert message.get_attr("TCA_KIND") == "tbf"
    parameters = message.get_attr("TCA_OPTIONS").get_attr("TCA_TBF_PARMS")
    assert parameters["rate"] == 1_000_000, "bytes a second"
    assert parameters["limit"] == 65536 + 50_000


def test_a_rate_beyond_32_bits() -> None:
    options = attributes(qdisc.tbf(5, 80_000_000_000)[16 + 20 :])[qdisc.TCA_OPTIONS]
    rate64 = attributes(options)[4]  # TCA_TBF_RATE64, which pyroute2 does not know
    assert int.from_bytes(rate64, sys.byteorder) == 10_000_000_000


def test_an_impairment() -> None:
    limits = Limits(delay_ms=10, loss_percent=50)
    message = decoded(tcmsg, qdisc.netem(5, limits, below_tbf=False))
    assert message.get_attr("TCA_KIND") == "netem"
    assert message["parent"] == 0xFFFFFFFF
    assert message.get_attr("TCA_OPTIONS")["loss"] == pytest.approx(0xFFFFFFFF / 2, rel=1e-6)
    below = decoded(tcmsg, qdisc.netem(5, limits, below_tbf=True))
    assert below["parent"] == 0x10001


@pytest.mark.parametrize("loss, delay", [(101, 0), (-1, 0), (0, -1)])
def test_impairments_that_make_no_sense(loss: float, delay: float) -> None:
    with pytest.raises(Invalid):
        qdisc.netem(5, Limits(loss_percent=loss, delay_ms=delay), below_tbf=False)


def test_a_rate_that_is_too_small() -> None:
    with pytest.raises(Invalid, match="use 8000 or more"):
        qdisc.tbf(5, 7999)


def test_dumps_ask_for_everything() -> None:
    for made in (
        links.dump_links(),
        links.dump_addresses(),
        links.dump_routes(),
        links.dump_rules(6),
    ):
        message = nlmsg(made)
        message.decode()
        assert message["header"]["flags"] == REQUEST | 0x300
