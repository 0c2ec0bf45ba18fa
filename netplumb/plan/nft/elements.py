"""What is wanted as elements of the firewall's sets, and whether a port needs the proxy."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Address

from netplumb.plan.model import (
    PROTOCOLS,
    Desired,
    Endpoint,
    Network,
    PortBinding,
    mac_bytes,
)
from netplumb.plan.names import link_local
from netplumb.plan.nft.objects import BRIDGE, INET, Element, fields_key, interface_value


def of_links(desired: Desired) -> set[Element]:
    """All elements of networks and endpoints; `Publications` has those of ports."""
    found: set[Element] = set()
    for network in desired.networks:
        found.update(of_network(network))
    for endpoint in desired.endpoints:
        found.update(of_endpoint(endpoint, desired.by_id[endpoint.network]))
    return found


def of_network(network: Network) -> Iterator[Element]:
    """Those by which a network's bridge is known."""
    bridge = interface_value(network.bridge)
    yield Element(INET, "same", bridge + bridge)
    if network.internal:
        yield Element(INET, "internal", bridge)
    elif network.masquerade:
        for gateway in network.gateways:
            yield Element(INET, f"masquerade{gateway.version}", bridge)


def of_endpoint(endpoint: Endpoint, network: Network) -> Iterator[Element]:
    """Those by which an endpoint may send."""
    bridge, port = interface_value(network.bridge), interface_value(endpoint.port)
    mac = mac_bytes(endpoint.mac)
    for address in endpoint.addresses:
        version, packed = address.version, address.packed
        yield Element(INET, f"members{version}", fields_key(bridge, packed))
        yield Element(BRIDGE, f"senders{version}", fields_key(port, mac, packed))
    if network.has_ipv6:
        packed = IPv6Address(link_local(endpoint.mac)).packed
        yield Element(BRIDGE, "senders6", fields_key(port, mac, packed))


def of_binding(binding: PortBinding) -> Iterator[Element]:
    """Those of one published port."""
    protocol = bytes((PROTOCOLS[binding.protocol],))
    port = fields_key(protocol, binding.host_port.to_bytes(2, "big"))
    host = binding.host_ip
    if host.is_loopback:
        if host.version == 4:  # the kernel itself lets nobody else reach ::1
            yield Element(INET, "loopback4", fields_key(host.packed) + port)
    elif needs_proxy(binding):
        yield Element(INET, "proxied", port)
    else:
        inside = fields_key(binding.container_ip.packed, binding.container_port.to_bytes(2, "big"))
        if host.is_unspecified:
            yield Element(INET, f"ports{host.version}", port, inside)
        else:
            key = fields_key(host.packed) + port
            yield Element(INET, f"addressed{host.version}", key, inside)


def needs_proxy(binding: PortBinding) -> bool:
    """The kernel cannot serve it at all: from the host's loopback, or from IPv6 to IPv4.

    What is published on all addresses includes loopback: there the proxy serves besides.
    """
    return binding.host_ip.is_loopback or binding.host_ip.version != binding.container_ip.version
