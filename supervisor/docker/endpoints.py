"""A container's places in networks, as requests say them: EndpointSettings, NetworkMode."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import field

from supervisor.docker.decode import Int64, convert, looks_set, without_nulls
from supervisor.errors import InvalidArgument
from supervisor.spec.networks import (
    BRIDGE,
    CONTAINER_PREFIX,
    HOST,
    NONE,
    Bandwidth,
    EndpointOptions,
)

if TYPE_CHECKING:
    from supervisor.docker.create import CreateBody

DEFAULT = "default"
"""What clients say for "the network that a container is in without asking"."""

DOWN, UP = "orlop.bandwidth.down", "orlop.bandwidth.up"
LEAST_RATE = 8_000  # bit/s: less than a packet in some seconds
_MOST_RATE = 10**12
_NO_ALIAS = "network-scoped alias is supported only for containers in user defined networks"
_NO_ADDRESS = "user specified IP address is supported on user defined networks only"
SHARED = (
    "conflicting options: container sharing network namespace with another container or host "
    "cannot be connected to any other network"
)
PRIVATE = (
    "conflicting options: container cannot be connected to multiple networks with one of the "
    "networks in private (none) mode"
)
_ADVICE = {
    "com.docker.network.endpoint.sysctls": "use --sysctl",
    "com.docker.network.endpoint.ifname": "interfaces are eth0, eth1, … in order of joining",
}
# What inspect answers of a running container, and clients send back.
_OPERATIONAL = frozenset(
    {
        "NetworkID", "EndpointID", "Gateway", "IPAddress", "IPPrefixLen", "IPv6Gateway",
        "GlobalIPv6Address", "GlobalIPv6PrefixLen", "DNSNames",
    }
)  # fmt: skip
_LABEL = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_-]{0,62}", re.ASCII)
_MAX_ALIAS = 253
_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}", re.ASCII)
_RATE = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)([kmgt]?)", re.ASCII)
_FACTORS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


class AddressBody(msgspec.Struct, rename="pascal", frozen=True, kw_only=True):
    """IPAMConfig: the addresses that are asked for."""

    ipv4_address: str = field(name="IPv4Address", default="")
    ipv6_address: str = field(name="IPv6Address", default="")
    link_local_ips: tuple[str, ...] = field(name="LinkLocalIPs", default=())


class EndpointBody(msgspec.Struct, rename="pascal", frozen=True, kw_only=True):
    """What is asked for in EndpointSettings."""

    ipam_config: AddressBody = field(name="IPAMConfig", default=AddressBody())
    links: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    mac_address: str = ""
    driver_opts: dict[str, str] = {}
    gw_priority: Int64 = 0


def network_mode(body: CreateBody) -> str:
    """The network mode as asked for; "default" for none."""
    if body.network_disabled:
        return NONE
    return body.host_config.network_mode or DEFAULT


def is_user_defined(mode: str) -> bool:
    """Whether it is the name or id of a network that somebody made."""
    return mode not in (DEFAULT, BRIDGE, HOST, NONE) and not mode.startswith(CONTAINER_PREFIX)


def is_bridged(mode: str) -> bool:
    """Whether it stands for a network with bridge and addresses."""
    return mode in (DEFAULT, BRIDGE) or is_user_defined(mode)


def endpoints_of(body: CreateBody) -> tuple[EndpointOptions, ...]:
    """The networks that a container asks for, as it names them, that of its mode first.

    () for the modes none, host and container:…; InvalidArgument in docker's words.
    """
    mode = network_mode(body)
    asked = {
        name: endpoint_options(name, endpoint_body(f"EndpointsConfig.{name:.80}", settings))
        for name, settings in body.networking_config.endpoints_config.items()
    }
    if not is_bridged(mode):
        _check_alone(mode, asked)
        if body.mac_address:
            raise InvalidArgument(NO_MAC)
        return ()
    for name in asked:
        if name == NONE:
            raise InvalidArgument(PRIVATE)
        if name == HOST or name.startswith(CONTAINER_PREFIX):
            raise InvalidArgument(SHARED)
    first = [name for name in asked if _same(name, mode)]
    main = asked.pop(first[0]) if first else EndpointOptions(network=mode)
    if any(_same(name, mode) for name in asked):
        raise InvalidArgument(f"EndpointsConfig names the network {BRIDGE} twice")
    main = _with_container_mac(replace(main, network=mode), body.mac_address)
    return (main, *asked.values())


def endpoint_options(network: str, body: EndpointBody) -> EndpointOptions:
    """One endpoint's settings; InvalidArgument names the first that cannot be."""
    if body.links:
        raise InvalidArgument(LINKS)
    addresses = body.ipam_config
    if addresses.link_local_ips:
        raise InvalidArgument(
            f"EndpointsConfig.{network:.80}.IPAMConfig.LinkLocalIPs (--link-local-ip) is not "
            "supported: link-local addresses are made of the MAC address"
        )
    options = EndpointOptions(
        network=network,
        ipv4=_ipv4(addresses.ipv4_address),
        ipv6=_ipv6(addresses.ipv6_address),
        mac=parse_mac(body.mac_address),
        aliases=tuple(dict.fromkeys(_alias(text) for text in body.aliases)),
        priority=body.gw_priority,
        bandwidth=_bandwidth(body.driver_opts),
    )
    if not is_user_defined(network):
        check_predefined(options)
    return options


def check_predefined(options: EndpointOptions) -> None:
    """InvalidArgument for what only a network can have that somebody made."""
    if options.aliases:
        raise InvalidArgument(_NO_ALIAS)
    if options.ipv4 or options.ipv6:
        raise InvalidArgument(_NO_ADDRESS)


LINKS = (
    "Links (--link) is not supported: put both containers into a network of their own "
    "(docker network create), where they find each other by name and --network-alias"
)


def driver_options(bandwidth: Bandwidth) -> dict[str, str]:
    """The inverse of what `DriverOpts` say."""
    rates = {DOWN: bandwidth.down, UP: bandwidth.up}
    return {name: str(rate) for name, rate in rates.items() if rate}


def parse_mac(text: str) -> str:
    """A MAC address of one interface in lower case with colons; "" for ""."""
    mac = text.lower().replace("-", ":")
    if not mac:
        return ""
    if not _MAC.fullmatch(mac):
        raise InvalidArgument(f"invalid MAC address {text!r:.80} (example: 02:42:ac:11:00:02)")
    if int(mac[:2], 16) & 1 or mac == "00:00:00:00:00:00":
        raise InvalidArgument(
            f"invalid MAC address {text!r:.80}: it is none of a single interface, whose first "
            "byte is even (example: 02:42:ac:11:00:02)"
        )
    return mac


def endpoint_body(where: str, settings: Any) -> EndpointBody:
    """EndpointSettings as sent; what only inspect answers is no request."""
    if settings is None:
        return EndpointBody()
    if not isinstance(settings, dict):
        raise InvalidArgument(f"invalid value for {where}: expected an object")
    settings = without_nulls(settings)
    known = {one.encode_name for one in msgspec.structs.fields(EndpointBody)}
    for key in settings:
        if key not in known and key not in _OPERATIONAL and looks_set(settings[key]):
            raise InvalidArgument(f"{where}.{key:.80}: orlop has no such option")
    return convert(settings, EndpointBody, where)


def _same(name: str, mode: str) -> bool:
    return name == mode or {name, mode} <= {DEFAULT, BRIDGE}


def _check_alone(mode: str, asked: Mapping[str, EndpointOptions]) -> None:
    """Modes without a network of their own take no others, and nothing can be set of them."""
    for name, options in asked.items():
        if options == EndpointOptions(network=DEFAULT):
            continue  # asks for nothing
        if name != mode:
            raise InvalidArgument(PRIVATE if mode == NONE else SHARED)
        if options.mac:
            raise InvalidArgument(NO_MAC)


NO_MAC = "conflicting options: mac-address and the network mode"


def _with_container_mac(main: EndpointOptions, text: str) -> EndpointOptions:
    mac = parse_mac(text)
    if mac and main.mac not in ("", mac):
        raise InvalidArgument(
            "the container-wide MAC address must match the endpoint-specific MAC address for "
            "the main network, or be left empty"
        )
    return replace(main, mac=main.mac or mac)


def _ipv4(text: str) -> str:
    try:
        return str(IPv4Address(text)) if text else ""
    except AddressValueError:
        raise InvalidArgument(f"invalid IPv4 address: {text:.80}") from None


def _ipv6(text: str) -> str:
    try:
        address = IPv6Address(text) if text else None
    except AddressValueError:
        address = None
    if text and (address is None or address.scope_id):
        raise InvalidArgument(f"invalid IPv6 address: {text:.80}")
    return str(address) if address else ""


def _alias(text: str) -> str:
    if len(text) > _MAX_ALIAS or not all(_LABEL.fullmatch(one) for one in text.split(".")):
        raise InvalidArgument(
            f"invalid network alias {text!r:.80}: letters, digits, '-', '_' and '.', "
            "beginning with a letter or digit"
        )
    return text


def _bandwidth(options: Mapping[str, str]) -> Bandwidth:
    for name in options:
        if name not in (DOWN, UP):
            advice = _ADVICE.get(name, f"give {DOWN} or {UP}")
            raise InvalidArgument(f"DriverOpts {name!r:.120} is not supported: {advice}")
    return Bandwidth(down=_rate(options, DOWN), up=_rate(options, UP))


def _rate(options: Mapping[str, str], name: str) -> int:
    text = options.get(name, "")
    if text in ("", "0"):
        return 0
    match = _RATE.fullmatch(text.lower())
    rate = int(Decimal(match[1]) * _FACTORS[match[2]]) if match else -1
    if not LEAST_RATE <= rate <= _MOST_RATE:
        raise InvalidArgument(
            f"{name}={text!r:.40}: give bits per second, at least {LEAST_RATE} "
            "(example: 10m for 10 Mbit/s)"
        )
    return rate
