"""The networks of this supervisor: made, listed, removed; who is in them, with which address.

What a run of a container needs of them is made by `supervisor.engine.network_runs`.
"""

from __future__ import annotations

import builtins
import functools
import hashlib
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

import trio

from netplumb.plan import model
from supervisor import failpoints
from supervisor.docker.network_body import ConnectBody, NetworkBody
from supervisor.docker.networks import NetworkView
from supervisor.engine import network_views
from supervisor.engine.network_book import NetworkBook
from supervisor.engine.network_copies import NetworkCopies
from supervisor.engine.network_create import (
    Surroundings,
    default_network,
    new_network,
    pseudo_networks,
    with_defaults,
)
from supervisor.engine.network_members import Members
from supervisor.engine.network_records import KIND, Network, NetworkDefaults, decode
from supervisor.errors import (
    Conflict,
    Forbidden,
    OrlopError,
    ProtocolError,
    Unavailable,
)
from supervisor.lifecycle import ids
from supervisor.spec import networks as spec
from supervisor.spec.networks import EndpointOptions

if TYPE_CHECKING:
    from supervisor.engine.container import Container
    from supervisor.engine.host import Host

log = logging.getLogger("orlop.networks")


class StackLike(Protocol):
    """The host's network as `Networks` uses it; raises OrlopError."""

    async def host_subnets(self) -> Sequence[model.Subnet]:
        """Where the host's routes lead, default routes and our own bridges left out."""

    async def add_network(self, network: model.Network) -> None:
        """Make or change its bridge, firewall and names."""

    async def remove_network(self, network_id: str) -> None:
        """Undo it; one that is not there is fine."""


class RunsLike(Protocol):
    """Running containers as `Networks` uses them; raises OrlopError, leaves nothing half-made."""

    async def join(self, container: Container, options: EndpointOptions) -> None:
        """Bring a running container into one more network."""

    async def leave(self, container: Container, network_id: str) -> None:
        """Take a running container out of a network."""


class Networks(NetworkBook):
    """`containers` gives all containers there are, at the moment of asking; `find` one by name.

    `stack` is None where this daemon has no networks; `why_none` says why. `defaults`, `copies` and
    both of these are set before `load`, `runs` before the API is served.
    """

    def __init__(
        self,
        host: Host,
        engine_id: str,
        containers: Callable[[], Iterable[Container]],
        find: Callable[[str], Container],
    ) -> None:
        super().__init__(containers)
        self.host = host
        self.engine_id = engine_id
        self.find_container = find
        self.defaults = NetworkDefaults()
        self.stack: StackLike | None = None
        self.why_none = "this daemon has no container networks"
        self.runs: RunsLike | None = None
        self.copies = NetworkCopies(None)
        self._changing = trio.Lock()
        self._members = Members(self)

    async def load(self) -> None:
        """Read the records, make the predefined ones; changes nothing of the host."""
        database = self.host.database
        for key, document in await database.all(KIND):
            try:
                self._networks[key] = decode(document)
            except ProtocolError as error:
                log.warning("network %s is left out: %s", key, error)
        lost = await self.copies.lost(self._networks)
        self._networks |= {network.id: network for network in lost}
        changed = [*self._pseudo(), *await self._default()]
        self._networks |= {network.id: network for network in changed}
        # In this order: one that was restored may be changed then.
        await database.apply(network.put() for network in (*lost, *changed))
        await self.copies.mend(self._networks.values())

    def predefined_id(self, name: str) -> str:
        """The id of bridge, host or none: it depends on the data root alone."""
        return _fixed_id(self.engine_id, name)

    def _pseudo(self) -> builtins.list[Network]:
        fixed = {name: self.predefined_id(name) for name in (spec.HOST, spec.NONE)}
        made = pseudo_networks(fixed, time.time_ns())
        return [network for network in made if network.id not in self._networks]

    async def _default(self) -> builtins.list[Network]:
        """The default network, if it is new or not as the daemon's settings want it."""
        network_id = self.predefined_id(spec.BRIDGE)
        kept = self._networks.pop(network_id, None)
        if not self.defaults.has_bridge:
            return []
        if kept is not None:
            self._networks[network_id] = kept
            wanted = with_defaults(kept, self.defaults)
            if not self._moves(kept):
                return [] if wanted == kept else [wanted]
            if any(ledger.in_use for ledger in kept.ledgers):
                log.warning(
                    "the default network stays at %s while containers run in it",
                    kept.subnets[0].subnet,
                )
                return [] if wanted == kept else [wanted]
        if self.stack is None:
            return []
        return [default_network(network_id, time.time_ns(), await self._around(network_id))]

    def _moves(self, kept: Network) -> bool:
        bip = self.defaults.bip
        return bip is not None and kept.ledgers[0].gateway_interface != bip

    async def _around(self, without: str = "") -> Surroundings:
        return Surroundings(
            defaults=self.defaults,
            others=[n for n in self._networks.values() if n.id != without],
            routes=await self.need_stack().host_subnets(),
            seed=self.engine_id,
        )

    def need_stack(self) -> StackLike:
        """The host's network; Unavailable with the reason where there is none."""
        if self.stack is None:
            raise Unavailable(self.why_none)
        return self.stack

    def view(self, ref: str) -> NetworkView:
        """One network with its running containers."""
        network = self.get(ref)
        return network.view(network_views.members(self).get(network.id, ()))

    def views(self) -> builtins.list[NetworkView]:
        """All networks with their running containers."""
        members = network_views.members(self)
        return [network.view(members.get(network.id, ())) for network in self.list()]

    # --- making and removing --------------------------------------------------------------

    async def create(self, body: NetworkBody) -> Network:
        """Make a network and its bridge; nothing stays of one that cannot be."""
        stack = self.need_stack()
        async with self._changing:
            self._check_free(body.name)
            network = new_network(body, self._new_id(), time.time_ns(), await self._around())
            with trio.CancelScope(shield=True):
                failpoints.hit("network.row")
                await self.host.database.apply([network.put()])
                try:
                    failpoints.hit("network.bridge")
                    await stack.add_network(network.desired())
                except BaseException:
                    await self.host.database.delete(KIND, network.id)
                    raise
                self._networks[network.id] = network
                await self.copies.keep(network)
        self.publish("create", network)
        return network

    async def remove(self, ref: str) -> None:
        """Remove a network that no running container is in."""
        async with self._changing:
            network = self.get(ref)
            if network.predefined:
                raise Forbidden(f"{network.name} is a pre-defined network and cannot be removed")
            self._check_unused(network)
            await self._remove(network)

    async def prune(self, wanted: Callable[[NetworkView], bool]) -> builtins.list[str]:
        """Remove what is `wanted` of the networks that no running container is in; their names."""
        names = []
        async with self._changing:
            for network in self.list():
                if network.predefined or self._in_use(network) or not wanted(network.view()):
                    continue
                try:
                    await self._remove(network)
                except OrlopError as error:
                    log.warning("prune: network %s stays: %s", network.name, error)
                else:
                    names.append(network.name)
        self.host.bus.publish(KIND, "prune", "", {"reclaimed": "0"})
        return names

    async def _remove(self, network: Network) -> None:
        del self._networks[network.id]  # nobody gets an address of it from now on
        with trio.CancelScope(shield=True):
            try:
                if self.stack is not None:
                    await self.stack.remove_network(network.id)
            except BaseException:
                self._networks[network.id] = network
                raise
            await self.copies.drop(network.id)
            failpoints.hit("network.remove")
            await self.host.database.delete(KIND, network.id)
        self.publish("destroy", network)

    def _in_use(self, network: Network) -> bool:
        return any(ledger.in_use for ledger in network.ledgers)

    def _check_unused(self, network: Network) -> None:
        if not self._in_use(network):
            return
        who = [
            f'name:"{one.container_name}" id:"{ids.short(one.container_id)}"'
            for one in self.view(network.id).endpoints
        ]
        raise Forbidden(
            f"error while removing network: network {network.name} id {network.id} has active "
            f"endpoints ({', '.join(who) or 'a container that is being started'})"
        )

    def _check_free(self, name: str) -> None:
        if any(network.name == name for network in self._networks.values()):
            raise Conflict(f"network with name {name} already exists")

    def _new_id(self) -> str:
        while (new := ids.new_id(secrets.token_bytes(32))) in self._networks:
            pass
        return new

    # --- containers -----------------------------------------------------------------------

    async def connect(self, ref: str, body: ConnectBody) -> None:
        """Put a container into a network, at once if it runs, else from its next start on."""
        await self._members.connect(ref, body)

    async def disconnect(self, ref: str, container: str, *, force: bool) -> None:
        """Take a container out of a network; `force` is docker's and changes nothing here."""
        await self._members.disconnect(ref, container)

    def tell(self, action: str, container_id: str, network_ids: Iterable[str]) -> None:
        """Events about a container's networks: "connect" or "disconnect"."""
        for network_id in network_ids:
            network = self.find(network_id)
            if network is not None:
                self.publish(action, network, container=container_id)

    def publish(self, action: str, network: Network, **attributes: str) -> None:
        """An event about a network: publish("connect", network, container=ID)."""
        common = {"name": network.name, "type": network.driver}
        self.host.bus.publish(KIND, action, network.id, {**common, **attributes})


@functools.cache  # each list of containers asks once a container
def _fixed_id(engine_id: str, name: str) -> str:
    return hashlib.sha256(f"{engine_id}/network/{name}".encode()).hexdigest()
