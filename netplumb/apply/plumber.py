"""The container network of this host: bridges, pairs, addresses, firewall.

    async with open_plumber(Settings()) as plumber:
        await plumber.restore(desired)
        await plumber.connect(namespace_fd, endpoints)

Everything is remembered in memory only; the caller keeps what it wants and gives it to `restore`
at the next start. Nothing here waits for the kernel in trio's own thread.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial

import msgspec
import trio
from msgspec.structs import replace

from netplumb.apply import forwarding, namespace, trials
from netplumb.apply.firewall import Firewall, Protection
from netplumb.apply.link_watch import watch_links
from netplumb.apply.settings import Settings
from netplumb.apply.thread import KernelThread, Pending
from netplumb.apply.upkeep import Repairs, Sweeper
from netplumb.apply.wiring import NameTaken, Pair, Wiring
from netplumb.errors import Invalid, NetworkError, Taken
from netplumb.plan.model import Desired, Endpoint, Limits, Network, PortBinding, Subnet
from netplumb.plan.nft import elements
from netplumb.plan.nft.objects import Element
from netplumb.plan.nft.publications import Publications
from netplumb.plan.reconcile import Aim, Conflict

_NAME_TRIES = 4


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """What `restore` could not do: endpoints without a pair (their containers have ended, or must
    be connected anew), and interfaces of others in the way.
    """

    missing: tuple[Endpoint, ...]
    conflicts: tuple[Conflict, ...]


@asynccontextmanager
async def open_plumber(settings: Settings | None = None) -> AsyncIterator[Plumber]:
    """A plumber for the network namespace of the caller. Afterwards the network stays as it is."""
    plumber = Plumber(settings or Settings())
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(plumber._serve)
            yield plumber
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await plumber._close()


class Plumber:
    """What is wanted, and the means to have it. Made by `open_plumber`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.forwarding = settings.forwarding
        self._aim = Aim(settings.identity, settings.mark)
        self._networks: dict[str, Network] = {}
        self._endpoints: dict[tuple[str, str], Endpoint] = {}
        self._bindings = Publications()
        self._links = KernelThread("netplumb-links")
        self._filters = KernelThread("netplumb-filters")
        self._wiring = Wiring(self._aim)
        self._sweeper = Sweeper(self._aim)
        self._repairs = Repairs()
        self._firewall = self._make_firewall(self._filters)
        self._changing = trio.Lock()  # of networks

    @property
    def desired(self) -> Desired:
        """What is wanted now."""
        return Desired(
            networks=tuple(self._networks.values()),
            endpoints=tuple(self._endpoints.values()),
            bindings=tuple(self._bindings),
        )

    @property
    def protection(self) -> Protection:
        """What the kernel lets the firewall be."""
        return replace(self._firewall.protection, guards=self._wiring.guardable)

    # --- all of it ----------------------------------------------------------------------------

    async def restore(self, desired: Desired) -> Restored:
        """Make the host as desired, whatever an earlier process left. The first thing to call.

        Removes what is ours and not desired; never touches what is others'.
        """
        bindings = Publications(desired.bindings)  # Taken if they contradict each other
        async with self._changing:
            self._networks = {network.id: network for network in desired.networks}
            self._endpoints = {endpoint.key: endpoint for endpoint in desired.endpoints}
            self._bindings = bindings
            await self._firewall_and_forwarding(anew=True)
            return await self._correct()

    async def reconcile(self) -> Restored:
        """Correct whatever has changed behind our back."""
        async with self._changing:
            return await self._correct()

    async def _correct(self) -> Restored:
        plan = await self._links.run(self._wiring.reconcile, self.desired)
        others = {conflict.interface for conflict in plan.conflicts}
        for network in self._networks.values():
            if network.bridge in others:  # not ours to masquerade
                await self._firewall.change(remove=elements.of_network(network))
        return Restored(missing=plan.missing, conflicts=plan.conflicts)

    async def host_subnets(self) -> tuple[Subnet, ...]:
        """The subnets in use on this host, to choose others (`netplumb.plan.ipam`)."""
        return await self._links.run(self._wiring.host_subnets)

    async def _firewall_and_forwarding(self, *, anew: bool = False) -> None:
        """The firewall for these networks, and only then forwarding for those that lead out."""
        outer = [network for network in self._networks.values() if not network.internal]
        versions = {
            "ipv4": any(network.gateway(4) for network in outer),
            "ipv6": any(network.has_ipv6 for network in outer),
        }
        before = self._guarded()
        look = partial(forwarding.look, self.forwarding, **versions)
        self.forwarding = await self._links.run(look)
        if not self._networks:
            if anew or self._firewall.installed:
                await self._firewall.remove()
        elif anew or not self._firewall.installed or before != self._guarded():
            await self._firewall.replace(
                elements.of_links(self.desired) | self._bindings.elements(),
                guarded=self._guarded(),
            )
        await self._links.run(partial(forwarding.switch_on, **versions))

    def _guarded(self) -> frozenset[int]:
        return self.forwarding.ours if self.settings.guard_strangers else frozenset()

    # --- networks -----------------------------------------------------------------------------

    async def add_network(self, network: Network) -> None:
        """Make a network; one that is there already is corrected to this.

        Taken if an interface of another has the bridge's name.
        """
        async with self._changing:
            for other in self._networks.values():
                if other.id != network.id and other.bridge == network.bridge:
                    raise Taken(f"network {other.name} has the bridge {network.bridge}")
            old = self._networks.get(network.id)
            try:
                await self._change_network(old, network)
                restored = await self._correct()
                for conflict in restored.conflicts:
                    if conflict.interface == network.bridge:
                        raise Taken(str(conflict))
            except BaseException:
                with trio.CancelScope(shield=True):
                    await self._change_network(network, old)
                    await self._correct()
                raise

    async def remove_network(self, network_id: str) -> None:
        """Remove a network without endpoints; one that is not there is no error."""
        async with self._changing:
            network = self._networks.get(network_id)
            if network is None:
                return
            ends = sorted(e.container for e in self._endpoints.values() if e.network == network_id)
            if ends:
                raise Taken(f"network {network.name} has active endpoints: {', '.join(ends)}")
            del self._networks[network_id]
            await self._correct()
            await self._change_network(network, None)

    async def _change_network(self, old: Network | None, new: Network | None) -> None:
        """What is wanted, and the firewall; the bridge is `_correct`'s."""
        before = set(elements.of_network(old)) if old else set()
        after = set(elements.of_network(new)) if new else set()
        if old is not None:
            self._networks.pop(old.id, None)
        if new is not None:
            self._networks[new.id] = new
        await self._firewall_and_forwarding()
        if self._firewall.installed:
            await self._firewall.change(add=after - before, remove=before - after)

    # --- endpoints ----------------------------------------------------------------------------

    async def connect(
        self, namespace: int, endpoints: Sequence[Endpoint], *, first: bool = True
    ) -> tuple[Endpoint, ...]:
        """Wire a network namespace (an fd) completely: it is usable when this returns.

        One batch for each pair on the host, one inside, one transaction of the firewall. Not
        `first`: the container has other networks already. Returns the endpoints as they were
        made: the name of a pair's end on the host changes if it is taken. Nothing is left after
        an error.
        """
        for _ in range(_NAME_TRIES - 1):
            try:
                return await self._connect(namespace, endpoints, first)
            except NameTaken:
                endpoints = [self._renamed(endpoint) for endpoint in endpoints]
        return await self._connect(namespace, endpoints, first)

    def _renamed(self, endpoint: Endpoint) -> Endpoint:
        name = self.settings.identity.port_name(
            endpoint.container, endpoint.network, secrets.randbits(32)
        )
        return replace(endpoint, port=name)

    async def _connect(
        self, namespace: int, endpoints: Sequence[Endpoint], first: bool
    ) -> tuple[Endpoint, ...]:
        pairs = [Pair(endpoint, self._network(endpoint.network)) for endpoint in endpoints]
        for endpoint in endpoints:
            if endpoint.key in self._endpoints:
                raise Taken(
                    f"container {endpoint.container} is already in network {endpoint.network}"
                )
        # Wanted before it is there: whatever looks meanwhile must not take it for a leak.
        self._endpoints |= {endpoint.key: endpoint for endpoint in endpoints}
        added = self._elements_of(endpoints)
        making = self._links.begin(self._wiring.connect, namespace, pairs, first)
        try:
            try:
                await self._firewall.change(add=added)
            except BaseException:
                await self._unmake(making, endpoints)
                raise
            await making.wait()
        except BaseException:
            with trio.CancelScope(shield=True):
                await self._firewall.change(remove=added)
            for endpoint in endpoints:
                del self._endpoints[endpoint.key]
            raise
        return tuple(endpoints)

    async def _unmake(self, making: Pending[None], endpoints: Sequence[Endpoint]) -> None:
        """The firewall refused: the pairs that have been made meanwhile must go."""
        with trio.CancelScope(shield=True), suppress(NetworkError):
            await making.wait()
            await self._links.run(self._wiring.discard, [e.port for e in endpoints])
            await self._links.run(self._wiring.empty_trash)

    def _network(self, network_id: str) -> Network:
        network = self._networks.get(network_id)
        if network is None:
            raise Invalid(f"network {network_id} not found")
        return network

    def _elements_of(self, endpoints: Iterable[Endpoint]) -> set[Element]:
        return {
            element
            for endpoint in endpoints
            for element in elements.of_endpoint(endpoint, self._networks[endpoint.network])
        }

    async def disconnect(self, container: str, network_id: str) -> None:
        """Take a running container out of a network; if it is not in it, that is no error.

        Its published ports go with its last network. The interface has gone when this returns, so
        that the next one can have its name.
        """
        gone = [e for e in (self._endpoints.get((container, network_id)),) if e is not None]
        await self._forget(container, gone)
        if gone:
            await self._links.run(self._wiring.discard, [endpoint.port for endpoint in gone])
            await self._sweeper.sweep()

    async def forget(self, container: str) -> None:
        """A container has ended: its endpoints and published ports are no more.

        The kernel removes the pairs when it removes the namespace; that is cheaper than anything
        that could be done here.
        """
        await self._forget(container, self._of(container))

    def _of(self, container: str) -> list[Endpoint]:
        """Its endpoints, for which only the networks are gone through, of which there are few."""
        keys = ((container, network) for network in self._networks)
        return [self._endpoints[key] for key in keys if key in self._endpoints]

    async def _forget(self, container: str, gone: Sequence[Endpoint]) -> None:
        remove = self._elements_of(gone)
        for endpoint in gone:
            del self._endpoints[endpoint.key]
        bindings = []
        if not self._of(container):
            bindings = [binding for binding in self._bindings if binding.container == container]
        await self._firewall.change(remove=remove | self._bindings.remove(bindings))
        await self._firewall.forget_flows(bindings)

    async def reassign(self, old: Endpoint, new: Endpoint) -> None:
        """Let a wired namespace, prepared under another name, be this container's.

        Port, network and addresses must be the same; only the mark on the host changes.
        """
        await self.take_over(old, new).wait()

    def take_over(self, old: Endpoint, new: Endpoint) -> Pending[None]:
        """`reassign` for a caller who need not wait until the mark has changed.

        Pairs are found by their names; `reconcile` and `restore` put wrong marks right.
        """
        if (old.port, old.network, old.addresses, old.mac) != (
            new.port,
            new.network,
            new.addresses,
            new.mac,
        ):
            raise Invalid("an endpoint keeps its port, network and addresses when it is reassigned")
        if old.key not in self._endpoints:
            raise Invalid(f"container {old.container} is not in network {old.network}")
        if new.key in self._endpoints:
            raise Taken(f"container {new.container} is already in network {new.network}")
        del self._endpoints[old.key]
        self._endpoints[new.key] = new
        return self._links.begin(self._wiring.rename, old, new)

    async def reroute(self, namespace: int, container: str, network_id: str) -> None:
        """Let a running container's default routes lead by the gateways of that network."""
        endpoint = self._endpoints.get((container, network_id))
        if endpoint is None:
            raise Invalid(f"container {container} is not in network {network_id}")
        pair = Pair(endpoint, self._network(network_id))
        await self._links.run(self._wiring.reroute, namespace, pair)

    async def check_limits(self, limits: Limits) -> None:
        """Unsupported if this kernel lacks what these limits need; Invalid if they make no sense.

        Tried in a network namespace of its own.
        """
        await self._links.run(trials.try_limits, limits)

    async def limit(self, container: str, network_id: str, limits: Limits | None) -> Endpoint:
        """Put other limits on what goes to a running container; None lifts them.

        What it sends is limited inside, when it is connected: `limits.up` changes nothing here.
        Returns the endpoint as it is now; the old limits hold if this fails.
        """
        old = self._endpoints.get((container, network_id))
        if old is None:
            raise Invalid(f"container {container} is not in network {network_id}")
        new = replace(old, limits=limits)
        await self._links.run(self._wiring.limit_anew, old, new)
        if self._endpoints.get(old.key) is old:
            self._endpoints[old.key] = new
        return new

    async def make_namespace(self) -> int:
        """A new network namespace, as an fd that the caller closes."""
        return await self._links.run(namespace.make)

    async def check_host(self) -> None:
        """Unsupported if this kernel lacks what networks need.

        Tried in a network namespace of its own.
        """
        # A firewall of its own: the other one has a thread of its own, and watches by now.
        await self._links.run(trials.try_network, self._make_firewall(self._links))

    def _make_firewall(self, thread: KernelThread) -> Firewall:
        settings = self.settings
        return Firewall(thread, settings.identity, settings.mark, may_own=settings.own_tables)

    # --- published ports ------------------------------------------------------------------------

    async def publish(self, bindings: Sequence[PortBinding]) -> None:
        """Lead ports of the host to containers, all or none; Taken if one leads elsewhere.

        What the kernel cannot serve is left to the port proxy (`elements.needs_proxy`).
        """
        for binding in bindings:
            self._check_binding(binding)
        new = [binding for binding in bindings if binding not in self._bindings]
        added = self._bindings.add(new)
        try:
            await self._firewall.change(add=added)
        except BaseException:
            self._bindings.remove(new)
            raise
        await self._firewall.forget_flows(new)

    def _check_binding(self, binding: PortBinding) -> None:
        for network in self._networks.values():
            inside = any(
                subnet.version == binding.container_ip.version and binding.container_ip in subnet
                for subnet in network.subnets
            )
            if inside and network.internal:
                raise Invalid(f"network {network.name} is internal: it publishes no ports")

    async def unpublish(self, bindings: Iterable[PortBinding]) -> None:
        """The ports lead nowhere any more; those that are not published are no error."""
        gone = [binding for binding in bindings if binding in self._bindings]
        await self._firewall.change(remove=self._bindings.remove(gone))
        await self._firewall.forget_flows(gone)

    # --- in the background ----------------------------------------------------------------------

    async def _serve(self) -> None:
        report = self.settings.report
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._sweeper.run, report)
            nursery.start_soon(self._repairs.run, self._repair, report)
            nursery.start_soon(self._firewall.watch, report)
            nursery.start_soon(watch_links, self._links, self._is_wanted, self._repairs.soon)

    def _is_wanted(self, bridge: str) -> bool:
        return any(network.bridge == bridge for network in self._networks.values())

    async def _repair(self) -> tuple[Conflict, ...]:
        return (await self.reconcile()).conflicts

    async def _close(self) -> None:
        await self._sweeper.close()
        await self._links.run(self._wiring.close)
        await self._firewall.close()
        for thread in (self._links, self._filters):
            await trio.to_thread.run_sync(thread.close)
