"""What may be wanted, and the names that follow from it."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netplumb.errors import Invalid
from netplumb.plan.model import (
    Desired,
    PortBinding,
    check_interface_name,
    is_unicast_mac,
    mac_bytes,
)
from netplumb.plan.names import Identity, bridge_mac, bridge_name, link_local, mac_of
from tests.unit.netplumb.values import ANYWHERE, ME, binding, endpoint, network


@pytest.mark.parametrize("name", ["eth0", "a", "x" * 15, "my-net_1.2", "e@th", "..."])
def test_names_that_the_kernel_takes(name: str) -> None:
    check_interface_name(name)


@pytest.mark.parametrize(
    "name", ["", "x" * 16, ".", "..", "a/b", "a:b", "a b", "a\n", "é", "a%d", "a\0"]
)
def test_names_that_it_does_not(name: str) -> None:
    with pytest.raises(Invalid, match="no name of an interface"):
        check_interface_name(name)


@pytest.mark.parametrize("mac", ["", "02:42:AC:11:00:02", "01:00:5e:00:00:01", "02-42-ac-11-00-02"])
def test_macs_that_no_interface_has(mac: str) -> None:
    assert not is_unicast_mac(mac)
    with pytest.raises(Invalid, match="no MAC address"):
        endpoint(mac=mac)
    assert not is_unicast_mac("00:00:00:00:00:00")


def test_a_network_has_one_gateway_of_each_version() -> None:
    both = network("n", "172.30.1.1/24", "fd00::1/64")
    assert both.has_ipv6
    assert [str(subnet) for subnet in both.subnets] == ["172.30.1.0/24", "fd00::/64"]
    assert both.gateway(6) == both.gateways[1]
    assert network().gateway(6) is None
    with pytest.raises(Invalid, match="one gateway"):
        network("n", "172.30.1.1/24", "172.31.1.1/24")


@pytest.mark.parametrize(
    "mtu, gateway", [(67, "10.0.0.1/8"), (65536, "10.0.0.1/8"), (1279, "fd00::1/64")]
)
def test_an_mtu_that_cannot_be(mtu: int, gateway: str) -> None:
    with pytest.raises(Invalid, match="MTU"):
        network("n", gateway, mtu=mtu)


def test_bindings_say_what_is_wrong_with_them() -> None:
    assert str(binding("::", 80, "fd00::2", 8080)) == "[::]:80->[fd00::2]:8080/tcp"
    with pytest.raises(Invalid, match="invalid protocol 'icmp': use tcp, udp, sctp"):
        binding(ANYWHERE, 80, "172.30.1.2", 80, "icmp")
    with pytest.raises(Invalid, match="invalid port 0"):
        binding(ANYWHERE, 0, "172.30.1.2", 80)
    with pytest.raises(Invalid, match="invalid port 65536"):
        PortBinding(
            container="c",
            host_ip=ip_address(ANYWHERE),
            host_port=1,
            container_ip=ip_address("1.2.3.4"),
            container_port=65536,
        )


def test_an_endpoint_is_in_a_network_that_exists() -> None:
    with pytest.raises(Invalid, match="net1, which does not exist"):
        Desired(endpoints=(endpoint(),))


@given(st.text(min_size=1, max_size=80), st.text(max_size=80), st.integers(0, 1 << 32))
def test_port_names_fit(container: str, network_id: str, attempt: int) -> None:
    name = ME.port_name(container, network_id, attempt)
    check_interface_name(name)
    assert name == ME.port_name(container, network_id, attempt)
    assert name != ME.port_name(container, network_id, attempt + 1)
    assert name != Identity("other").port_name(container, network_id, attempt)


def test_no_two_of_many_names_are_the_same() -> None:
    assert (
        len({ME.port_name(f"c{i}", "n", run) for i in range(20_000) for run in range(3)}) == 60_000
    )


def test_identities_have_marks_of_their_own() -> None:
    other = Identity("other-agent")
    groups = [(i.bridges, i.ports, i.trash) for i in (ME, other)]
    assert len({*groups[0], *groups[1]}) == 6
    assert all(0 < group < 1 << 31 for pair in groups for group in pair)
    assert ME.rule_priority == 4400 != other.rule_priority < 32766
    alias = ME.port_alias(endpoint())
    assert ME.owns(ME.ports, alias)
    assert not ME.owns(0, alias), "the alias alone is not enough"
    assert not ME.owns(ME.ports, "something else"), "nor is the group"
    assert not other.owns(other.ports, alias)


@pytest.mark.parametrize("name", ["", "a b", "a:b", "é", "x" * 33])
def test_identities_that_are_none(name: str) -> None:
    with pytest.raises(Invalid, match="identity"):
        Identity(name)


def test_macs_follow_from_addresses() -> None:
    assert mac_of(ip_address("172.17.0.2")) == "02:42:ac:11:00:02"
    assert is_unicast_mac(mac_of(ip_address("fd00::2")))
    assert is_unicast_mac(bridge_mac("n"))
    assert len(mac_bytes(bridge_mac("n"))) == 6


def test_link_local_as_the_kernel_makes_it() -> None:
    address = IPv6Address(link_local("02:42:ac:1e:01:02"))
    assert address == IPv6Address("fe80::42:acff:fe1e:102")


def test_bridge_names_show_the_network() -> None:
    assert bridge_name("3f9c2a1b7d0e4455") == "ol-3f9c2a1b7d0e"
    check_interface_name(bridge_name("x" * 64))
