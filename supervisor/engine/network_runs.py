"""The network of each container that runs: made for a run, kept over our restarts, undone.

    plan    addresses are chosen, before anything is written that tells them (/etc/hosts)
    begin   namespace, pairs, firewall, name server, published ports, while the shim prepares
    wire    the same in a namespace that the container's own user namespace owns
    end     all of it is given back
    restore, adopt   the same after a restart of the supervisor, from the containers' records

No two containers that live ever have the same address, whenever the supervisor is killed:

- Addresses are chosen here alone, from a ledger in memory, which holds those of all records.
- The record that tells a run's addresses is durable before the shim is asked to start: a
  program that runs is one whose addresses the next supervisor reads. What was planned and not
  started has no processes, and its namespace ends with the supervisor that held it.
- An address is given back when the run is over, its processes are gone and the firewall has
  forgotten it. From then on the record without it goes into whatever transaction comes next,
  so the record of whoever has the address then cannot be there before it.
"""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from netplumb.apply.upstream import Server
from netplumb.errors import NetworkError
from supervisor.engine import etc_files, network_plan
from supervisor.engine.agent_metering import address_pools
from supervisor.engine.network_changes import Changes
from supervisor.engine.network_places import Places, owns_network
from supervisor.engine.network_ports import Publishing
from supervisor.engine.network_records import Network
from supervisor.engine.network_restoring import Restoring
from supervisor.engine.network_run import Run, endpoints_of, first_default
from supervisor.engine.network_stack import NetworkStack, network_errors
from supervisor.engine.networks import Networks
from supervisor.engine.record import Record
from supervisor.engine.sandboxes import Sandboxes
from supervisor.errors import Conflict, Internal, Unavailable
from supervisor.spec.networks import CONTAINER_PREFIX, EndpointOptions, NetworkRun, PublishedPort

if TYPE_CHECKING:
    from supervisor.engine.container import Container
    from supervisor.engine.host import Host
    from supervisor.engine.userns import UserNamespaces

log = logging.getLogger("orlop.network")


class NetworkRuns:
    """`containers` gives all containers there are. `stack` is None where there are no networks."""

    def __init__(
        self, host: Host, networks: Networks, containers: Callable[[], Iterable[Container]]
    ) -> None:
        self.host = host
        self.networks = networks
        self.containers = containers
        self.stack: NetworkStack | None = None
        self.sandboxes: Sandboxes | None = None
        self._runs: dict[str, Run] = {}
        self.places = Places(self)
        self.publishing = Publishing(self)
        self.changes = Changes(self)
        self.restoring = Restoring(self)
        host.metering.pools = lambda: address_pools(networks.list())

    def open(self, stack: NetworkStack, spare: int, userns: UserNamespaces) -> None:
        """Use this network from now on, with so many spare sandboxes, some with ids of `userns`."""
        self.stack = stack
        if spare:
            make = self.host.zygote.namespaces
            self.sandboxes = Sandboxes(
                spare, stack, self.networks, self._default_network, userns, make
            )
            userns.reserve, userns.release = self.places.reserve, self.sandboxes.release
            userns.unreserve = self.sandboxes.unreserve

    def close(self) -> None:
        """Have no network from now on."""
        self.stack = self.networks.stack = self.sandboxes = None

    async def run(self) -> None:
        """What goes on in the background; until cancelled."""
        if self.sandboxes is not None:
            await self.sandboxes.run()

    def _default_network(self) -> Network | None:
        return next((n for n in self.networks.list() if n.predefined and n.ledgers), None)

    def need_stack(self) -> NetworkStack:
        """The host's network; Unavailable with the reason where there is none."""
        if self.stack is None:
            raise Unavailable(self.networks.why_none)
        return self.stack

    # --- a run's beginning --------------------------------------------------------------

    def plan(self, container: Container) -> None:
        """Choose what a new run has: from here on its record tells it.

        Conflict, NotFound or Unavailable, in memory and on disk as before, where it cannot be.
        """
        record = container.record
        if not network_plan.in_networks(record):
            return
        self.need_stack()
        wanted = [(options, self.networks.get(options.network)) for options in record.endpoints]
        default = network_plan.default_network(wanted)
        run = Run(names=self.wants_names(record, [network for _, network in wanted]))
        try:
            for options, network in wanted:
                if not self.places.take_sandbox(record, run, options, network):
                    by_it = network.id == default
                    self.places.choose(record, run, options, network, default=by_it)
        except BaseException:
            self.places.give_back(run.endpoints.values())
            raise
        record.network = NetworkRun(
            endpoints=tuple(
                network_plan.as_run(one, secrets.token_hex(32)) for one in run.endpoints.values()
            ),
            default=default,
        )
        self._runs[container.id] = run
        run.saved = self.places.save(record)

    def user_of(self, container: Container) -> int:
        """The user namespace for a planned run that a spare sandbox brings with it, as an fd that
        the caller closes; -1 for none."""
        run = self._runs.get(container.id)
        if run is None or run.sandbox is None or run.sandbox.user < 0:
            return -1
        return os.dup(run.sandbox.user)

    async def begin(self, container: Container) -> int:
        """The wired network namespace of a planned run, as an fd that the caller closes; -1
        where there is none to give. Nothing is left after an error.
        """
        run = self._runs.get(container.id)
        if run is None or (run.sandbox is None and owns_network(container.record)):
            return -1
        fd, begun = -1, time.perf_counter()
        try:
            with network_errors():
                if run.sandbox is not None:
                    fd = os.dup(run.sandbox.fd)
                else:
                    fd = await self.need_stack().plumber.make_namespace()
            self.host.metering.stage("netns", begun, container)
            await self.wire(container, fd)
        except BaseException:
            if fd >= 0:
                os.close(fd)
            raise
        return fd

    async def wire(self, container: Container, fd: int) -> None:
        """Let a planned run have its networks in the namespace `fd`, which stays the caller's.

        Returns when the record that tells it is durable. Nothing is left after an error.
        """
        run = self._runs.get(container.id)
        if run is None:
            raise Internal(f"container {container.id} has no network to be wired to")
        begun = time.perf_counter()
        try:
            async with self.held(container, run):
                with network_errors():
                    await self._connect(run, fd)
                    await self.serve_names(container, run, fd)
                asked = container.record.options.ports
                self.note(container, run, await self.publishing.publish(container, run, asked))
                self.host.metering.stage("net", begun, container)
                await run.is_saved()
                self.host.metering.networked(container, fd)
                self.networks.tell("connect", container.id, run.endpoints)
                run.told = True
        except BaseException:
            await self.end(container)
            raise

    async def _connect(self, run: Run, fd: int) -> None:
        plumber = self.need_stack().plumber
        if run.sandbox is not None:
            [endpoint] = run.endpoints.values()
            plumber.take_over(run.sandbox.endpoint, endpoint)  # the start need not wait for it
            run.sandbox.close()
            run.sandbox = None
            return
        made = await plumber.connect(fd, list(run.endpoints.values()))
        run.endpoints = {endpoint.network: endpoint for endpoint in made}

    async def serve_names(self, container: Container, run: Run, fd: int) -> None:
        """Let its names be known in its networks, and have a name server in `fd` if it is to."""
        stack, record = self.need_stack(), container.record
        names = stack.names
        for endpoint in run.endpoints.values():
            names.add(endpoint)
        if run.names:
            stack.refresh_resolvers()  # the host's may have changed since
            servers = [Server(address) for address in record.options.dns] or None
            await names.attach(record.id, fd, first_default(run.endpoints, record), servers)

    def note(self, container: Container, run: Run, ports: tuple[PublishedPort, ...]) -> None:
        """Write down what was only known when it was made."""
        had = container.record.network
        assert had is not None
        ids = {one.network: one.endpoint_id for one in had.endpoints}
        has = replace(
            had,
            endpoints=tuple(
                network_plan.as_run(one, ids.get(one.network) or secrets.token_hex(32))
                for one in run.endpoints.values()
            ),
            ports=ports,
        )
        if has != had:
            container.record.network = has
            run.saved = self.places.save(container.record)

    # --- a run's end --------------------------------------------------------------------

    async def end(self, container: Container) -> None:
        """Give back whatever a run has, started or not; nothing to do is fine. Never raises."""
        self.host.metering.networks_changed(container)  # its last figures
        run, had = self._runs.pop(container.id, None), container.record.network
        container.record.network = None  # at once: nobody else gives it back, too
        if run is None and had is None:
            return
        run = run or Run(endpoints=endpoints_of(container.id, had), told=True)
        with trio.CancelScope(shield=True):
            async with run.changing:  # what is under way has come to its end
                await self._undo(container, run)
        self.places.give_back(run.endpoints.values())
        self.host.save_later(container.record)
        if run.told:
            self.networks.tell("disconnect", container.id, run.endpoints)

    async def _undo(self, container: Container, run: Run) -> None:
        stack = self.stack
        if stack is None:
            return
        stack.names.detach(container.id)
        for endpoint in run.endpoints.values():
            stack.names.remove(endpoint)
        try:
            if run.sandbox is not None and self.sandboxes is not None:
                sandbox, run.sandbox = run.sandbox, None
                await self.sandboxes.discard(sandbox)
            if self._is_shared(container):
                for network in run.endpoints:
                    await stack.plumber.disconnect(container.id, network)
            await stack.plumber.forget(container.id)
        except NetworkError as error:
            log.warning("container %s: its network: %s", container.id[:12], error)
        stack.ports.release(container.id)

    def _is_shared(self, container: Container) -> bool:
        """Another container is in its namespace, which thus goes on, as do pairs in it."""
        mode = f"{CONTAINER_PREFIX}{container.id}"
        return any(c.record.options.network == mode and c.state.live for c in self.containers())

    # --- for the parts of this ------------------------------------------------------------

    def known(self, network_ids: Iterable[str]) -> list[Network]:
        """Those of the networks that there are."""
        return [n for one in network_ids if (n := self.networks.find(one)) is not None]

    def find(self, container: Container) -> Run | None:
        """What the container's run has, if it has any networks."""
        return self._runs.get(container.id)

    def keep(self, container: Container, run: Run) -> None:
        """This is what the container's run has."""
        self._runs[container.id] = run

    @asynccontextmanager
    async def held(self, container: Container, run: Run) -> AsyncIterator[None]:
        """Nobody else changes the run for the block; Conflict if it has ended before."""
        async with run.changing:
            if self._runs.get(container.id) is not run:
                raise Conflict(f"container {container.id} is not running")
            yield

    def running(self, container: Container) -> Run:
        """What a running container has; Conflict for one that does not run."""
        run = self._runs.get(container.id)
        if run is None or container.record.network is None or not container.state.pid:
            raise Conflict(f"container {container.id} is not running")
        return run

    def wanted(
        self, record: Record, run: Run, *, without: str
    ) -> list[tuple[EndpointOptions, Network]]:
        """The networks that it is in, with what was asked of each, but for one."""
        asked = {options.network: options for options in record.endpoints}
        return [
            (asked.get(network.id, EndpointOptions(network=network.id)), network)
            for network in self.known(run.endpoints)
            if network.id != without
        ]

    # --- the files in /etc --------------------------------------------------------------

    def wants_names(self, record: Record, networks: Iterable[Network]) -> bool:
        """In a network of the user's; or the host's resolvers are where no container gets."""
        if any(not network.predefined for network in networks):
            return True
        given = record.options.dns or self.host.dns
        return (
            network_plan.in_networks(record) and not given and not etc_files.reachable_resolvers()
        )

    def uses_names(self, record: Record) -> bool:
        """The name server is at 127.0.0.11 of this run."""
        run = self._runs.get(record.id)
        return run is not None and run.names

    def gateway(self, record: Record) -> str:
        """The host's address as this run reaches it, "" where it is in no network."""
        has = record.network
        if has is None or not has.endpoints:
            return ""
        network = self.networks.find(has.default or has.endpoints[0].network)
        return str(network.ledgers[0].gateway) if network is not None else ""

    def resolver_text(self, record: Record) -> str:
        """What its /etc/resolv.conf says."""
        return etc_files.resolver(record, named=self.uses_names(record), dns=self.host.dns)
