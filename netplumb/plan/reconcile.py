"""Desired and observed network → what to do. Idempotent: at the goal there is nothing to do.

A bridge that is made has no index before it exists, so its addresses come in a second round:
plan, execute, observe, until there is nothing left (`ROUNDS` are enough).
Only what has our marks is ever changed or removed.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Interface

import msgspec

from netplumb.plan import links
from netplumb.plan.model import Desired, Endpoint, Interface, Network, mac_bytes
from netplumb.plan.names import Identity, bridge_mac, link_local
from netplumb.plan.observed import Guard, Link, Observed
from netplumb.plan.operation import Operation, Setting

ROUNDS = 3


class Conflict(msgspec.Struct, frozen=True):
    """An interface of somebody else has a name that we need."""

    interface: str
    whose: str

    def __str__(self) -> str:
        return f"the interface {self.interface} that {self.whose} needs exists and is not ours"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """`missing` endpoints have no pair: only `Plumber.connect` with their namespace can make it.

    `conflicts` are interfaces of others in the place of ours.
    """

    operations: tuple[Operation, ...] = ()
    settings: tuple[Setting, ...] = ()
    missing: tuple[Endpoint, ...] = ()
    conflicts: tuple[Conflict, ...] = ()


class Aim(msgspec.Struct, frozen=True):
    """Who we are, and the bit of the packet mark that the firewall sets (see `links.add_guard`)."""

    identity: Identity
    mark: int


def plan(desired: Desired, observed: Observed, aim: Aim) -> Plan:
    """What is to be done next."""
    conflicts = tuple(_conflicts(desired, observed, aim))
    return Plan(
        operations=(
            *_ports(desired, observed, aim),
            *_bridges(desired, observed, aim),
            *_old_guards(desired, observed, aim),
        ),
        settings=tuple(_settings(desired, observed, aim)),
        missing=tuple(e for e in desired.endpoints if observed.link(e.port) is None),
        conflicts=conflicts,
    )


def _ours(link: Link | None, aim: Aim) -> bool:
    return link is not None and aim.identity.owns(link.group, link.alias)


def _conflicts(desired: Desired, observed: Observed, aim: Aim) -> Iterator[Conflict]:
    wanted = [(network.bridge, f"network {network.name}") for network in desired.networks]
    wanted += [(endpoint.port, f"container {endpoint.container}") for endpoint in desired.endpoints]
    for name, whose in wanted:
        link = observed.link(name)
        if link is not None and not _ours(link, aim):
            yield Conflict(name, whose)


# --- bridges ----------------------------------------------------------------------------------


def _bridges(desired: Desired, observed: Observed, aim: Aim) -> Iterator[Operation]:
    for network in desired.networks:
        link = observed.link(network.bridge)
        if link is None or _ours(link, aim):
            yield from _guards(network, observed, aim)
        if link is None:
            yield from _make_bridge(network, aim)
        elif _ours(link, aim):
            yield from _correct_bridge(network, link, observed, aim)
    wanted = {network.bridge for network in desired.networks}
    for link in observed.links:
        old = link.group == aim.identity.bridges and link.name not in wanted
        if old and _ours(link, aim):
            yield Operation(f"delete the bridge {link.name}", links.delete_link(link.index))


def _make_bridge(network: Network, aim: Aim) -> Iterator[Operation]:
    name = network.bridge
    made = links.make_bridge(
        name,
        group=aim.identity.bridges,
        mtu=network.mtu,
        mac=mac_bytes(bridge_mac(network.id)),
    )
    yield Operation(f"make the bridge {name}", made)
    yield Operation(
        f"mark the bridge {name}", links.mark_bridge(name, aim.identity.bridge_alias(network))
    )


def _correct_bridge(
    network: Network, link: Link, observed: Observed, aim: Aim
) -> Iterator[Operation]:
    name, index = link.name, link.index
    if link.alias != aim.identity.bridge_alias(network):
        marked = links.set_alias(name, aim.identity.bridge_alias(network))
        yield Operation(f"mark the bridge {name}", marked)
    if link.mtu != network.mtu:
        yield Operation(f"set the MTU of {name}", links.set_mtu(index, network.mtu))
    has = {a.address for a in observed.addresses if a.index == index}
    wants = set(bridge_addresses(network))
    for address in sorted(has - wants, key=str):
        yield Operation(f"remove {address} from {name}", links.remove_address(index, address))
    for address in sorted(wants - has, key=str):
        yield Operation(f"add {address} to {name}", links.add_address(index, address))
    if not link.up:
        yield Operation(f"set {name} up", links.set_up(index))


def bridge_addresses(network: Network) -> tuple[Interface, ...]:
    """All addresses of the network's bridge."""
    if not network.has_ipv6:
        return network.gateways
    return (*network.gateways, IPv6Interface(f"{link_local(bridge_mac(network.id))}/64"))


def _settings(desired: Desired, observed: Observed, aim: Aim) -> Iterator[Setting]:
    """IPv6 is off on a bridge without it: its containers then reach the host by IPv4 alone."""
    for network in desired.networks:
        if _ours(observed.link(network.bridge), aim):
            off = "0" if network.has_ipv6 else "1"
            yield Setting(f"ipv6/conf/{network.bridge}/disable_ipv6", off)


# --- guards -----------------------------------------------------------------------------------


def _guards(network: Network, observed: Observed, aim: Aim) -> Iterator[Operation]:
    for guard in _wanted_guards(network, aim):
        if guard not in observed.guards and guard.version in observed.guardable:
            made = links.add_guard(guard.version, guard.bridge, guard.mark, guard.priority)
            yield Operation(f"guard IPv{guard.version} from {guard.bridge}", made)


def _wanted_guards(network: Network, aim: Aim) -> list[Guard]:
    priority = aim.identity.rule_priority
    return [Guard(g.version, network.bridge, aim.mark, priority) for g in network.gateways]


def _old_guards(desired: Desired, observed: Observed, aim: Aim) -> Iterator[Operation]:
    wanted = {guard for network in desired.networks for guard in _wanted_guards(network, aim)}
    seen = set()
    for guard in observed.guards:
        if guard.priority != aim.identity.rule_priority:
            continue
        if guard not in wanted or guard in seen:
            gone = links.remove_guard(guard.version, guard.bridge, guard.mark, guard.priority)
            yield Operation(f"remove the guard of IPv{guard.version} from {guard.bridge}", gone)
        seen.add(guard)


# --- ports ------------------------------------------------------------------------------------


def _ports(desired: Desired, observed: Observed, aim: Aim) -> Iterator[Operation]:
    endpoints = {endpoint.port: endpoint for endpoint in desired.endpoints}
    trash = False
    for link in observed.links:
        if not _ours(link, aim) or link.group == aim.identity.bridges:
            continue
        endpoint = endpoints.get(link.name)
        if link.group == aim.identity.trash:
            trash = True
        elif endpoint is None:
            trash = True
            moved = links.set_group(link.index, aim.identity.trash)
            yield Operation(f"take {link.name} out of use", moved)
        else:
            yield from _correct_port(desired, endpoint, link, observed, aim)
    if trash:
        yield Operation("delete what is out of use", links.delete_group(aim.identity.trash))


def _correct_port(
    desired: Desired, endpoint: Endpoint, link: Link, observed: Observed, aim: Aim
) -> Iterator[Operation]:
    network = desired.by_id[endpoint.network]
    bridge = observed.link(network.bridge)
    if bridge is None or not _ours(bridge, aim):
        return  # the next round knows the bridge
    alias = aim.identity.port_alias(endpoint)
    moves = link.master != bridge.index
    if moves:
        put = links.set_master(link.index, bridge.index)
        yield Operation(f"put {link.name} on {bridge.name}", put)
    if moves or link.alias != alias or link.isolated == network.icc:
        marked = links.mark_port(link.name, alias, isolated=not network.icc)
        yield Operation(f"mark {link.name}", marked)
    if not link.up:
        yield Operation(f"set {link.name} up", links.set_up(link.index))
