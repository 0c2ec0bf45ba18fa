"""What is wanted: networks, the containers' endpoints in them, the ports that are published.

Values only; who makes them decides names and addresses (`netplumb.plan.names`, `.ipam`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)

import msgspec

from netplumb.errors import Invalid

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
Subnet = IPv4Network | IPv6Network

LONGEST_NAME = 15  # IFNAMSIZ without the NUL
SMALLEST_MTU, LARGEST_MTU = 68, 65535  # RFC 791; ETH_MAX_MTU
SMALLEST_IPV6_MTU = 1280  # RFC 8200
PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}

# dev_valid_name() of the kernel, and no "%": the kernel would take it as a pattern.
_INTERFACE_NAME = re.compile(r"(?!\.{1,2}$)[!-$&-.0-9;-~]{1,15}", re.ASCII)
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", re.ASCII)


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """A bridge on the host and who may talk over it.

    `gateways` are the bridge's own addresses with the subnets' lengths, at most one of each
    family. An `internal` network has no way out. Without `icc` its containers cannot talk to
    each other, without `masquerade` they go out with their own addresses.
    """

    id: str
    name: str
    bridge: str
    gateways: tuple[Interface, ...]
    internal: bool = False
    icc: bool = True
    masquerade: bool = True
    mtu: int = 1500

    def __post_init__(self) -> None:
        check_interface_name(self.bridge)
        versions = [gateway.version for gateway in self.gateways]
        if not versions or len(set(versions)) != len(versions):
            raise Invalid(f"network {self.name} needs one gateway for each of its IP versions")
        least = SMALLEST_IPV6_MTU if self.has_ipv6 else SMALLEST_MTU
        if not least <= self.mtu <= LARGEST_MTU:
            raise Invalid(f"network {self.name}: MTU {self.mtu} is not in {least}–{LARGEST_MTU}")

    @property
    def has_ipv6(self) -> bool:
        """One of its subnets is of IPv6."""
        return any(gateway.version == 6 for gateway in self.gateways)

    @property
    def subnets(self) -> tuple[Subnet, ...]:
        """The subnets that its gateways are in."""
        return tuple(gateway.network for gateway in self.gateways)

    def gateway(self, version: int) -> Interface | None:
        """The gateway of that IP version."""
        return next((g for g in self.gateways if g.version == version), None)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bits per second towards (`down`) and from (`up`) the container; 0 is without a limit.

    `delay_ms`, `jitter_ms` and `loss_percent` impair what goes towards it, for tests.
    """

    down: int = 0
    up: int = 0
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss_percent: float = 0.0

    @property
    def impairs(self) -> bool:
        """Something is to be delayed or lost."""
        return bool(self.delay_ms or self.jitter_ms or self.loss_percent)


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One container's place in one network: `interface` inside, `port` on the host's bridge.

    `names` are what the DNS server knows it by in this network, the container's own name first.
    With `default_route` the network's gateways become the container's (never in an internal
    network).
    """

    container: str
    network: str
    port: str
    interface: str = "eth0"
    addresses: tuple[Interface, ...] = ()
    mac: str = ""
    names: tuple[str, ...] = ()
    default_route: bool = True
    limits: Limits | None = None

    def __post_init__(self) -> None:
        check_interface_name(self.port)
        check_interface_name(self.interface)
        if not is_unicast_mac(self.mac):
            raise Invalid(f"{self.mac!r} is no MAC address of one interface (as 02:42:ac:11:00:02)")
        if not self.addresses:
            raise Invalid(f"container {self.container} has no address in network {self.network}")

    @property
    def key(self) -> tuple[str, str]:
        """What tells endpoints apart."""
        return self.container, self.network

    def address(self, version: int) -> Address | None:
        """Its first address of that IP version."""
        return next((a.ip for a in self.addresses if a.version == version), None)


class PortBinding(msgspec.Struct, frozen=True, kw_only=True):
    """`host_ip`:`host_port` of the host leads to `container_ip`:`container_port`.

    An unspecified `host_ip` (0.0.0.0, ::) stands for all of the host's addresses of its version.
    """

    container: str
    host_ip: Address
    host_port: int
    container_ip: Address
    container_port: int
    protocol: str = "tcp"

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise Invalid(f"invalid protocol {self.protocol!r}: use {', '.join(PROTOCOLS)}")
        for port in (self.host_port, self.container_port):
            if not 0 < port < 65536:
                raise Invalid(f"invalid port {port}: use 1–65535")

    def __str__(self) -> str:
        host, inside = authority(self.host_ip), authority(self.container_ip)
        return f"{host}:{self.host_port}->{inside}:{self.container_port}/{self.protocol}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """All of it."""

    networks: tuple[Network, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    bindings: tuple[PortBinding, ...] = ()
    by_id: dict[str, Network] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_id", {network.id: network for network in self.networks})
        for endpoint in self.endpoints:
            if endpoint.network not in self.by_id:
                raise Invalid(
                    f"container {endpoint.container} is in network {endpoint.network}, "
                    "which does not exist"
                )


def check_interface_name(name: str) -> None:
    """Invalid unless the kernel would take it as an interface's name."""
    if not _INTERFACE_NAME.fullmatch(name):
        raise Invalid(
            f"{name!r} is no name of an interface: 1–{LONGEST_NAME} printable ASCII characters "
            "without '/', ':', '%' and spaces"
        )


def is_unicast_mac(text: str) -> bool:
    """Lower-case, six bytes, neither a group's address nor all zero."""
    return (
        _MAC.fullmatch(text) is not None
        and not int(text[:2], 16) & 1
        and text != "00:00:00:00:00:00"
    )


def mac_bytes(text: str) -> bytes:
    """The six bytes of a MAC address."""
    return bytes.fromhex(text.replace(":", ""))


def authority(address: Address) -> str:
    """The address as it stands before ":port"."""
    return f"[{address}]" if address.version == 6 else str(address)
