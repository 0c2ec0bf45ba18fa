"""Containers that come into networks and leave them: at their creation, and while they are there.

A container keeps what it is configured to be in (`Record.endpoints`); the networks themselves
know only of those that run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
import trio

from supervisor import failpoints
from supervisor.docker.create import CreateBody, NetworkingConfig
from supervisor.docker.endpoints import (
    DEFAULT,
    NO_MAC,
    PRIVATE,
    SHARED,
    check_predefined,
    endpoint_options,
)
from supervisor.docker.network_body import ConnectBody
from supervisor.engine.name_locks import NameLocks
from supervisor.engine.network_records import BRIDGE, HOST, NULL, Network
from supervisor.engine.record import Record
from supervisor.errors import Conflict, Forbidden, InvalidArgument, NotFound, OrlopError
from supervisor.lifecycle.machine import Phase
from supervisor.spec import networks as spec
from supervisor.spec.etc_files import parse_extra_host
from supervisor.spec.networks import CONTAINER_PREFIX, EndpointOptions
from supervisor.spec.options import ContainerOptions
from supervisor.spec.values import replace

if TYPE_CHECKING:
    from supervisor.engine.container import Container
    from supervisor.engine.networks import Networks

_HOST = "container cannot be disconnected from host network or connected to host network"


# --- at the creation --------------------------------------------------------------------------


def resolve_networks(
    networks: Networks, find: Callable[[str], Container], options: ContainerOptions
) -> ContainerOptions:
    """The options with ids in place of names of networks and containers; raises OrlopError.

    InvalidArgument for what is not there: clients take a 404 for an image that is to be pulled.
    """
    try:
        resolved = _resolve_network(networks, find, options)
        pid, ipc = (_resolve_container(find, mode) for mode in (options.pid, options.ipc))
    except NotFound as error:
        raise InvalidArgument(error.message) from None
    return replace(resolved, pid=pid, ipc=ipc)


def resolve_body(body: CreateBody, options: ContainerOptions) -> CreateBody:
    """The request as inspect shows it: with the modes that the container really got."""
    host = body.host_config
    mode = host.network_mode
    alone = options.network != spec.BRIDGE
    if alone:
        mode = options.network
    elif mode in ("", DEFAULT):
        mode = spec.BRIDGE
    return msgspec.structs.replace(
        body,
        networking_config=NetworkingConfig() if alone else body.networking_config,
        host_config=msgspec.structs.replace(
            host,
            network_mode=mode,
            pid_mode=options.pid or host.pid_mode,
            ipc_mode=options.ipc or host.ipc_mode,
        ),
    )


def as_resolved(options: ContainerOptions, before: ContainerOptions) -> ContainerOptions:
    """The options with what was resolved when the container was made."""
    return replace(
        options,
        network=before.network,
        endpoints=before.endpoints,
        ports=before.ports,
        pid=before.pid,
        ipc=before.ipc,
        userns=before.userns,
        userns_chosen=before.userns_chosen,
    )


def _resolve_container(find: Callable[[str], Container], mode: str) -> str:
    if not mode.startswith(CONTAINER_PREFIX):
        return mode
    return CONTAINER_PREFIX + find(mode.removeprefix(CONTAINER_PREFIX)).id


def _resolve_network(
    networks: Networks, find: Callable[[str], Container], options: ContainerOptions
) -> ContainerOptions:
    if options.network != spec.BRIDGE:
        return replace(options, network=_resolve_container(find, options.network))
    first, *others = options.endpoints
    if first.network == DEFAULT:
        if not networks.defaults.has_bridge:
            if others:
                raise InvalidArgument(PRIVATE)
            if first.mac:
                raise InvalidArgument(NO_MAC)
            for extra in options.extra_hosts:  # host-gateway leads nowhere
                parse_extra_host(extra)
            return replace(options, network=spec.NONE, endpoints=(), ports=())
        first = replace(first, network=spec.BRIDGE)
    networks.need_stack()
    found: dict[str, EndpointOptions] = {}
    for one in (first, *others):
        network = networks.get(one.network)
        if network.driver != BRIDGE:
            raise InvalidArgument(PRIVATE if network.driver == NULL else SHARED)
        resolved = replace(one, network=network.id)
        before = found.get(network.id)
        # The mode names a network by id where the endpoints have its name, or the reverse.
        if before not in (None, EndpointOptions(network=network.id)):
            raise InvalidArgument(f"EndpointsConfig names the network {network.name} twice")
        if network.predefined:
            check_predefined(resolved)
        networks.check_addresses(network, resolved.ipv4, resolved.ipv6)
        found[network.id] = resolved
    return replace(options, endpoints=tuple(found.values()))


# --- later ------------------------------------------------------------------------------------


class Members:
    """Connecting and disconnecting: for one container in turn."""

    def __init__(self, networks: Networks) -> None:
        self._networks = networks
        self._locks = NameLocks()

    async def connect(self, ref: str, body: ConnectBody) -> None:
        """See `Networks.connect`."""
        networks = self._networks
        network = networks.get(ref)
        container = networks.find_container(body.container)
        async with self._locks.held([container.id]):
            record = container.record
            _check_mode(network, record)
            _check_phase(container)
            networks.need_stack()
            asked = endpoint_options(network.name, body.endpoint_config)
            options = replace(asked, network=network.id)
            networks.check_addresses(network, options.ipv4, options.ipv6)
            if record.network is not None:
                if _has(record, network.id):
                    raise Forbidden(
                        f"endpoint with name {record.name} already exists in network {network.name}"
                    )
                assert networks.runs is not None
                failpoints.hit("network.connect")
                if record.network.endpoint(network.id):  # of a request that a crash broke off
                    await networks.runs.leave(container, network.id)
                await networks.runs.join(container, options)
                failpoints.hit("network.connected")
                networks.tell("connect", container.id, [network.id])
            await self._keep(container, (*_others(record, network.id), options))

    async def disconnect(self, ref: str, container_ref: str) -> None:
        """See `Networks.disconnect`."""
        networks = self._networks
        network = networks.get(ref)
        container = networks.find_container(container_ref)
        async with self._locks.held([container.id]):
            record = container.record
            _check_mode(network, record)
            _check_phase(container)
            if not _has(record, network.id):
                raise Conflict(f"container {record.id} is not connected to network {network.name}")
            if record.network is not None and record.network.endpoint(network.id):
                assert networks.runs is not None
                await networks.runs.leave(container, network.id)
                networks.tell("disconnect", container.id, [network.id])
            await self._keep(container, _others(record, network.id))

    async def _keep(self, container: Container, endpoints: tuple[EndpointOptions, ...]) -> None:
        record = container.record
        before, record.endpoints = record.endpoints, endpoints
        record.changed()
        if container.state.phase in _GOING:  # its record is not to come back
            return
        try:
            with trio.CancelScope(shield=True):
                await self._networks.host.save(record).wait()
        except OrlopError:
            record.endpoints = before
            record.changed()
            raise


_GOING = (Phase.REMOVING, Phase.DEAD)


def _check_mode(network: Network, record: Record) -> None:
    """InvalidArgument where the container's network mode or the network's driver forbids it."""
    mode = record.options.network
    if HOST in (network.driver, mode):
        raise InvalidArgument(_HOST)
    if mode.startswith(CONTAINER_PREFIX):
        raise InvalidArgument(SHARED)
    if network.driver == NULL or mode != spec.BRIDGE:
        raise InvalidArgument(PRIVATE)


def _check_phase(container: Container) -> None:
    if container.state.phase in _GOING:
        raise Conflict(
            f"Container {container.id} is marked for removal and cannot be connected or "
            "disconnected to the network"
        )


def _has(record: Record, network_id: str) -> bool:
    return any(one.network == network_id for one in record.endpoints)


def _others(record: Record, network_id: str) -> tuple[EndpointOptions, ...]:
    return tuple(one for one in record.endpoints if one.network != network_id)
