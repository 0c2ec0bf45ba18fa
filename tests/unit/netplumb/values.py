"""Networks and endpoints for tests."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv6Interface, ip_address, ip_interface
from typing import Any

from netplumb.plan.model import Endpoint, Network, PortBinding
from netplumb.plan.names import Identity, mac_of

ME = Identity()
ANYWHERE = str(IPv4Address(0))


def interfaces(*texts: str) -> tuple[IPv4Interface | IPv6Interface, ...]:
    return tuple(ip_interface(text) for text in texts)


def network(name: str = "net1", *gateways: str, **options: Any) -> Network:
    """A network with the bridge br-NAME."""
    addresses = interfaces(*(gateways or ("172.30.1.1/24",)))
    return Network(id=name, name=name, bridge=f"br-{name}", gateways=addresses, **options)


def endpoint(container: str = "c", *addresses: str, network: str = "net1", **more: Any) -> Endpoint:
    """An endpoint whose port's name follows from the container."""
    own = interfaces(*(addresses or ("172.30.1.2/24",)))
    options: dict[str, Any] = {"port": ME.port_name(container, network), "mac": mac_of(own[0].ip)}
    return Endpoint(container=container, network=network, addresses=own, **(options | more))


def binding(host: str, port: int, inside: str, inner: int, protocol: str = "tcp") -> PortBinding:
    """A published port of the container that has the address's name."""
    return PortBinding(
        container=inside,
        host_ip=ip_address(host),
        host_port=port,
        container_ip=ip_address(inside),
        container_port=inner,
        protocol=protocol,
    )
