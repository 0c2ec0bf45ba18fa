"""Networks and containers' places in them as the API shows them."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import TYPE_CHECKING

from msgspec.structs import replace

from supervisor.docker.endpoints import driver_options
from supervisor.docker.networks import EndpointView
from supervisor.engine.network_records import Network
from supervisor.engine.record import Record
from supervisor.lifecycle import ids
from supervisor.spec import networks as spec
from supervisor.spec.networks import EndpointOptions, EndpointRun

if TYPE_CHECKING:
    from supervisor.engine.networks import Networks


def members(networks: Networks) -> dict[str, list[EndpointView]]:
    """The places of all running containers, by the network's id."""
    found: defaultdict[str, list[EndpointView]] = defaultdict(list)
    for container in networks.containers():
        record = container.record
        run = record.network
        inside = {one.network for one in run.endpoints} if run is not None else set()
        if container.state.live and record.options.network in (spec.HOST, spec.NONE):
            inside = {networks.predefined_id(record.options.network)}
        if inside:
            for view in endpoint_views(networks, record):
                if view.network_id in inside:
                    found[view.network_id].append(view)
    return found


def endpoint_views(networks: Networks, record: Record) -> tuple[EndpointView, ...]:
    """A container's places in networks: none where it shares another container's."""
    mode = record.options.network
    if mode in (spec.HOST, spec.NONE):
        return (_pseudo(networks, record, mode),)
    run = record.network
    return tuple(
        _view(networks, record, options, run.endpoint(options.network) if run else None)
        for options in record.endpoints
    )


def network_mode(record: Record) -> str:
    """HostConfig.NetworkMode: what was asked for, but for what it turned out to be."""
    mode = record.options.network or spec.NONE  # "": from before there were networks
    if mode != spec.BRIDGE:
        return mode
    asked = record.body.host_config.network_mode
    return spec.BRIDGE if asked in ("", "default") else asked


def sandbox_id(record: Record) -> str:
    """An id of the network namespace of this run; "" where it has none of its own."""
    mode = record.options.network
    if not record.state.live or mode.startswith(spec.CONTAINER_PREFIX):
        return ""
    return hashlib.sha256(f"{record.id}/{record.state.run}".encode()).hexdigest()


def _pseudo(networks: Networks, record: Record, mode: str) -> EndpointView:
    return EndpointView(
        network_name=mode,
        network_id=networks.predefined_id(mode),
        container_id=record.id,
        container_name=record.name,
    )


def _view(
    networks: Networks, record: Record, options: EndpointOptions, run: EndpointRun | None
) -> EndpointView:
    network = networks.find(options.network)
    view = EndpointView(
        network_name=network.name if network else ids.short(options.network),
        network_id=options.network,
        container_id=record.id,
        container_name=record.name,
        mac=options.mac,
        aliases=options.aliases,
        asked_ipv4=options.ipv4,
        asked_ipv6=options.ipv6,
        priority=options.priority,
        driver_options=driver_options(options.bandwidth),
    )
    if run is None:
        return view
    return replace(
        view,
        endpoint_id=run.endpoint_id,
        ipv4=_address(run.ipv4),
        ipv4_length=_length(run.ipv4),
        ipv4_gateway=_gateway(network, 4),
        ipv6=_address(run.ipv6),
        ipv6_length=_length(run.ipv6),
        ipv6_gateway=_gateway(network, 6),
        mac=run.mac,
        dns_names=() if network is None or network.predefined else run.names,
        by_default=record.network is not None and record.network.default == options.network,
    )


def _gateway(network: Network | None, version: int) -> str:
    """The way out: an internal network has none."""
    ledger = network.ledger(version) if network and not network.internal else None
    return str(ledger.gateway) if ledger else ""


def _address(text: str) -> str:
    return text.partition("/")[0]


def _length(text: str) -> int:
    return int(text.partition("/")[2] or 0)
