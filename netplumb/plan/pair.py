"""How endpoints are wired: the messages for the host's side and for the namespace.

Two batches do it. The first makes all pairs, whose peers are born inside the namespace; the second
is sent from inside and makes them usable.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv6Interface

from netplumb.plan import links, qdisc
from netplumb.plan.model import Endpoint, Network, mac_bytes
from netplumb.plan.names import Identity, bridge_mac, link_local
from netplumb.plan.operation import Operation

LOOPBACK = 1  # the index of lo, in every namespace


def host_side(
    endpoint: Endpoint, network: Network, identity: Identity, *, bridge: int, namespace: int
) -> list[Operation]:
    """Make the pair; `bridge` is an index, `namespace` an fd."""
    making = links.make_pair(
        port=endpoint.port,
        bridge=bridge,
        group=identity.ports,
        mtu=network.mtu,
        interface=endpoint.interface,
        mac=mac_bytes(endpoint.mac),
        namespace=namespace,
    )
    marking = links.mark_port(
        endpoint.port, identity.port_alias(endpoint), isolated=not network.icc
    )
    return [
        Operation(f"make {endpoint.port} and {endpoint.interface} in the container", making),
        Operation(f"mark {endpoint.port}", marking),
    ]


def inside(
    pairs: Sequence[tuple[Endpoint, Network, int]], *, first: bool = True
) -> list[Operation]:
    """What is sent from inside the namespace: addresses, up, default routes.

    Each endpoint comes with its interface's index inside. Not `first` is for a container that
    runs already and gets another network: its lo is up.
    """
    steps = [_LO_UP] if first else []
    for endpoint, network, index in pairs:
        steps += _interface(endpoint, network, index)
    for endpoint, network, index in pairs:
        if endpoint.default_route and not network.internal:
            steps += routes(endpoint, network, index)
    return steps


_LO_UP = Operation("set lo up", links.set_up(LOOPBACK))


def _interface(endpoint: Endpoint, network: Network, index: int) -> list[Operation]:
    name = endpoint.interface
    steps = [Operation(f"keep {name} without a link-local address", links.no_link_local(index))]
    addresses = endpoint.addresses
    if network.has_ipv6:
        # Made here, it needs no duplicate address detection, which would take a second.
        addresses = (*addresses, IPv6Interface(f"{link_local(endpoint.mac)}/64"))
    steps += [
        Operation(f"add {address} to {name}", links.add_address(index, address))
        for address in addresses
    ]
    steps.append(Operation(f"set {name} up", links.set_up(index)))
    mac = mac_bytes(bridge_mac(network.id))
    steps += [
        # The kernel counts those that it learned, of all containers together, and only those.
        Operation(f"know {gateway.ip}", links.know_neighbour(gateway.ip, mac, index))
        for gateway in network.gateways
    ]
    if endpoint.limits and endpoint.limits.up:
        rate = endpoint.limits.up
        steps.append(Operation(f"limit {name} to {rate} bit/s", qdisc.tbf(index, rate)))
    return steps


def routes(endpoint: Endpoint, network: Network, index: int) -> list[Operation]:
    """Default routes by the network's gateways, in place of any that there are."""
    return [
        Operation(
            f"route by {gateway.ip} of {endpoint.interface}",
            links.default_route(gateway.ip, index),
        )
        for gateway in network.gateways
        if endpoint.address(gateway.version) is not None
    ]


def limits_towards(endpoint: Endpoint, index: int) -> list[Operation]:
    """Limit what goes to the container, at the host's end of the pair with that index."""
    limits, steps = endpoint.limits, []
    if limits and limits.down:
        what = f"limit {endpoint.port} to {limits.down} bit/s"
        steps.append(Operation(what, qdisc.tbf(index, limits.down)))
    if limits and limits.impairs:
        impairing = qdisc.netem(index, limits, below_tbf=bool(limits.down))
        steps.append(Operation(f"impair {endpoint.port}", impairing))
    return steps
