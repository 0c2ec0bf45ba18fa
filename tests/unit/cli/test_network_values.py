"""Networks, addresses, rates and subnets as flags have them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from supervisor.cli import network_values, subnet_values
from supervisor.errors import InvalidArgument

MAC = "02:42:0a:4d:00:c9"


@pytest.mark.parametrize(
    "text, name, settings",
    [
        ("n1", "n1", {}),
        ("container:web", "container:web", {}),
        ("name=n1", "n1", {}),
        (
            "name=n1,alias=a,alias=B,ip=10.0.0.5,ip6=fd00::5,mac-address=" + MAC,
            "n1",
            {
                "IPAMConfig": {"IPv4Address": "10.0.0.5", "IPv6Address": "fd00::5"},
                "Aliases": ["a", "B"],
                "MacAddress": MAC,
            },
        ),
        (
            "NAME=n1, gw-priority=-5,driver-opt=Orlop.bandwidth.down=8m",
            "n1",
            {"GwPriority": -5, "DriverOpts": {"orlop.bandwidth.down": "8m"}},
        ),
        ('name=n1,"driver-opt=a=b,c"', "n1", {"DriverOpts": {"a": "b,c"}}),
        ("name=n1,gw-priority=0", "n1", {}),
    ],
)
def test_attachment(text: str, name: str, settings: dict[str, Any]) -> None:
    assert network_values.attachment(text) == (name, settings)


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "the name of a network is expected"),
        ("alias=a", "name=NETWORK is missing"),
        ("name=", "must be a KEY=VALUE pair"),
        ("name=n1,bogus=1", "unknown field 'bogus'; there are name, alias, ip, ip6,"),
        ("name=n1,", "unknown field ''"),
        ("name=n1,ip", "field 'ip' must be a KEY=VALUE pair"),
        ("name=n1,alias=", "field 'alias=' must be a KEY=VALUE pair"),
        ("name=n1,ip=x", "'x' is no such address: an IPv4 address is expected"),
        ("name=n1,ip6=10.0.0.1", "an IPv6 address is expected"),
        ("name=n1,mac-address=zz", "a MAC address is expected"),
        ("name=n1,gw-priority=x", "invalid gw-priority 'x': a whole number is expected"),
        ("name=n1,driver-opt=a", "invalid driver option 'a': KEY=VALUE is expected"),
    ],
)
def test_attachment_refuses(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        network_values.attachment(text)


@pytest.mark.parametrize(
    "text, options",
    [
        ("10mbit", {"orlop.bandwidth.down": "10000000"}),
        (
            "1gbit:512kbit",
            {"orlop.bandwidth.down": "1000000000", "orlop.bandwidth.up": "512000"},
        ),
        ("0:1.5mbit", {"orlop.bandwidth.up": "1500000"}),
        ("9000bit:0", {"orlop.bandwidth.down": "9000"}),
    ],
)
def test_bandwidth(text: str, options: dict[str, str]) -> None:
    assert dict(network_values.bandwidth(text)) == options


@pytest.mark.parametrize(
    "parse, text, message",
    [
        (network_values.bandwidth, "", "invalid rate ''"),
        (network_values.bandwidth, "10", "10mbit"),
        (network_values.bandwidth, "10mb", "invalid rate '10mb'"),
        (network_values.bandwidth, "mbit", "invalid rate 'mbit'"),
        (network_values.bandwidth, "1.mbit", "invalid rate"),
        (network_values.bandwidth, "-1mbit", "invalid rate '-1mbit'"),
        (network_values.bandwidth, "1e3mbit", "invalid rate"),
        (network_values.bandwidth, "9" * 400 + "mbit", "invalid rate"),
        (network_values.bandwidth, "1mbit:", "invalid rate ''"),
        (network_values.bandwidth, "1mbit:2mbit:3mbit", "DOWN[:UP] is expected"),
        (network_values.bandwidth, "0", "a rate above 0"),
        (network_values.bandwidth, "0:0mbit", "a rate above 0"),
        (network_values.ipv4, "fd00::1", "an IPv4 address is expected"),
        (network_values.ipv4, "10.0.0.1/24", "an IPv4 address is expected"),
        (network_values.ipv4, "10.0.0.1\0", "an IPv4 address is expected"),
        (network_values.ipv6, "fe80::1%eth0", "an IPv6 address is expected"),
        (network_values.address, "dns.example", "an IP address is expected"),
        (network_values.mac_address, "02:42:0a:4d:00", "a MAC address is expected"),
        (network_values.mac_address, "02:42:0a:4d:00:c", "a MAC address is expected"),
        (network_values.mac_address, "02:42:0a:4d:00:cg", "a MAC address is expected"),
        (network_values.alias, " ", "a name is expected"),
        (network_values.link, "db:mysql", "db is found by its name"),
        (subnet_values.subnet, "bad", "invalid CIDR address 'bad'"),
        (subnet_values.subnet, "10.0.0.0/33", "invalid CIDR address"),
        (subnet_values.subnet, "10.0.0.0", "'10.0.0.0' has no length"),
        (subnet_values.subnet, "10.0.0.0/24,", "invalid CIDR address ''"),
        (subnet_values.ip_range, "10.0.0.1", "'10.0.0.1' has no length: a range"),
        (subnet_values.gateway, "10.0.0.1,x", "'x' is no such address"),
        (subnet_values.reserved, "router", "NAME=IP is expected"),
        (subnet_values.reserved, "router=bad", "'bad' is no such address"),
        (network_values.option, "=x", "KEY=VALUE is expected"),
        (network_values.percent, "101", "a percentage from 0 to 100"),
        (network_values.percent, "-1", "a percentage is expected"),
        (network_values.percent, "5.", "a percentage is expected"),
        (network_values.percent, "nan", "a percentage is expected"),
        (network_values.percent, "%", "a percentage is expected"),
    ],
)
def test_refused(parse: Callable[[str], object], text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parse(text)


def test_percentages_and_times() -> None:
    percents = [network_values.percent(text) for text in ("0", "100", "12.5%", "5%")]
    assert percents == [0, 100, 12.5, 5]
    times = [network_values.milliseconds(text) for text in ("100ms", "1.5s", "250us", "0")]
    assert times == [100, 1500, 0.25, 0]
    with pytest.raises(InvalidArgument, match="give numbers with units"):
        network_values.milliseconds("100")
    with pytest.raises(ValueError, match="must not be negative"):
        network_values.milliseconds("-1ms")


def test_pools_put_all_to_their_subnets() -> None:
    assert subnet_values.pools(
        ["10.0.0.0/24", "fd00::/64"],
        ["10.0.0.128/25"],
        ["fd00::1", "10.0.0.1"],
        [("a", "10.0.0.5"), ("b", "10.0.0.6")],
    ) == [
        {
            "Subnet": "10.0.0.0/24",
            "IPRange": "10.0.0.128/25",
            "Gateway": "10.0.0.1",
            "AuxiliaryAddresses": {"a": "10.0.0.5", "b": "10.0.0.6"},
        },
        {"Subnet": "fd00::/64", "Gateway": "fd00::1"},
    ]
    assert subnet_values.pools([], [], [], []) == []
    assert subnet_values.pools(["10.0.0.5/24"], [], [], []) == [{"Subnet": "10.0.0.5/24"}]


@pytest.mark.parametrize(
    "subnets, ranges, gateways, taken, message",
    [
        ([], [], ["10.0.0.1"], [], "must have a corresponding subnet"),
        ([], ["10.0.0.0/25"], [], [], "must have a corresponding subnet"),
        ([], [], [], ["10.0.0.1"], "no matching subnet for aux-address 10.0.0.1"),
        (["10.0.0.0/24", "10.0.0.0/25"], [], [], [], "10.0.0.0/24 and 10.0.0.0/25 overlap"),
        (["10.0.0.0/24"], [], ["10.1.0.1"], [], "no matching subnet for gateway 10.1.0.1"),
        (["10.0.0.0/24"], ["10.1.0.0/25"], [], [], "no matching subnet for range 10.1.0.0/25"),
        (["10.0.0.0/24"], [], ["fd00::1"], [], "no matching subnet for gateway fd00::1"),
        (
            ["10.0.0.0/24", "10.1.0.0/24"],
            [],
            ["10.0.0.1", "10.0.0.2"],
            [],
            "multiple gateways (10.0.0.2, 10.0.0.1) for the same subnet (10.0.0.0/24)",
        ),
    ],
)
def test_pools_refuse(
    subnets: list[str], ranges: list[str], gateways: list[str], taken: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        subnet_values.pools(subnets, ranges, gateways, [("n", ip) for ip in taken])
