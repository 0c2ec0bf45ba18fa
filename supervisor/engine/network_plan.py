"""What a run of a container is to have of networks: values in, values out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address, ip_interface

from netplumb.plan.model import Address, Endpoint, Interface, Limits, PortBinding
from netplumb.plan.names import Identity, mac_of
from supervisor.engine.network_records import Network
from supervisor.engine.record import Record
from supervisor.lifecycle.ids import short
from supervisor.spec.networks import (
    BRIDGE,
    Bandwidth,
    EndpointOptions,
    EndpointRun,
    PublishedPort,
)

EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - what publishing a port without an address means


def in_networks(record: Record) -> bool:
    """It has a network namespace of its own that is wired to networks."""
    return record.options.network == BRIDGE


def default_network(endpoints: Iterable[tuple[EndpointOptions, Network]]) -> str:
    """The network by which the default route leads, "" where none leads out.

    The highest priority, then the first name, as docker has it.
    """
    outer = [(-o.priority, n.name, n.id) for o, n in endpoints if not n.internal]
    return min(outer)[2] if outer else ""


def dns_names(record: Record, network: Network, options: EndpointOptions) -> tuple[str, ...]:
    """What a container is known by in a network: nothing in a predefined one, as docker."""
    if network.predefined:
        return ()
    hostname = record.body.hostname
    every = (record.name, *options.aliases, short(record.id), *((hostname,) if hostname else ()))
    return tuple(dict.fromkeys(every))


def next_interface(taken: Iterable[str]) -> str:
    """The first free name of eth0, eth1 …"""
    used = set(taken)
    return next(name for name in map("eth{}".format, range(len(used) + 1)) if name not in used)


def limits_of(bandwidth: Bandwidth) -> Limits | None:
    """As netplumb has it."""
    wanted = Limits(down=bandwidth.down, up=bandwidth.up)
    return wanted if wanted != Limits() else None


def new_endpoint(
    record: Record,
    network: Network,
    options: EndpointOptions,
    addresses: tuple[Interface, ...],
    *,
    identity: Identity,
    interface: str,
    default: bool,
) -> Endpoint:
    """An endpoint that has not been made yet, with a port name that the last run has not had."""
    return Endpoint(
        container=record.id,
        network=network.id,
        port=identity.port_name(record.id, network.id, record.state.run),
        interface=interface,
        addresses=addresses,
        mac=options.mac.lower() or mac_of(addresses[0].ip),
        names=dns_names(record, network, options),
        default_route=default,
        limits=limits_of(options.bandwidth),
    )


def as_run(endpoint: Endpoint, endpoint_id: str) -> EndpointRun:
    """An endpoint as the container's record has it."""
    texts = {address.version: str(address) for address in endpoint.addresses}
    limits = endpoint.limits or Limits()
    return EndpointRun(
        network=endpoint.network,
        endpoint_id=endpoint_id,
        port=endpoint.port,
        interface=endpoint.interface,
        mac=endpoint.mac,
        ipv4=texts.get(4, ""),
        ipv6=texts.get(6, ""),
        names=endpoint.names,
        bandwidth=Bandwidth(down=limits.down, up=limits.up),
    )


def from_run(container: str, run: EndpointRun, *, default: bool) -> Endpoint:
    """The inverse of `as_run`; ValueError or netplumb's Invalid for what cannot be."""
    return Endpoint(
        container=container,
        network=run.network,
        port=run.port,
        interface=run.interface,
        addresses=tuple(ip_interface(text) for text in (run.ipv4, run.ipv6) if text),
        mac=run.mac,
        names=run.names,
        default_route=default,
        limits=limits_of(run.bandwidth),
    )


# --- published ports ------------------------------------------------------------------------


def host_addresses(asked: str, usual: str, *, ipv6: bool) -> list[Address]:
    """Where a port is published that asks for `asked`; `usual` for one that asks for nothing."""
    text = asked or usual
    if text:
        return [ip_address(text)]
    return [ip_address(one) for one in EVERYWHERE if ipv6 or ":" not in one]


def bindings(
    container: str, ports: Sequence[PublishedPort], towards: Endpoint
) -> list[PortBinding]:
    """The ports as netplumb has them, leading to that endpoint.

    A host address of an IP version that the endpoint lacks leads to its other one: by the proxy.
    """
    made = []
    for port in ports:
        host_ip = ip_address(port.host_ip)
        inside = towards.address(host_ip.version) or towards.addresses[0].ip
        made.append(
            PortBinding(
                container=container,
                host_ip=host_ip,
                host_port=port.host_port,
                container_ip=inside,
                container_port=port.container_port,
                protocol=port.protocol,
            )
        )
    return made
