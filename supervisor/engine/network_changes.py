"""Changing the networks of a container while it runs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import trio

from netplumb.errors import NetworkError
from netplumb.plan.model import Endpoint, Limits
from supervisor.engine import etc_files, network_plan
from supervisor.engine.network_run import Run, first_default, namespace_of
from supervisor.engine.network_stack import network_errors
from supervisor.errors import Conflict, NotFound
from supervisor.spec import etc_files as texts
from supervisor.spec.networks import EndpointOptions

if TYPE_CHECKING:
    from supervisor.engine.container import Container
    from supervisor.engine.network_runs import NetworkRuns

log = logging.getLogger("orlop.network")


class Changes:
    """The part of `NetworkRuns` that is about containers that run already."""

    def __init__(self, runs: NetworkRuns) -> None:
        self.runs = runs

    async def join(self, container: Container, options: EndpointOptions) -> None:
        """Put a running container into one more network; nothing is left after an error."""
        run, record, stack = self.runs.running(container), container.record, self.runs.need_stack()
        async with self.runs.held(container, run):
            network = self.runs.networks.get(options.network)
            had = record.network
            assert had is not None
            if network.id in run.endpoints:
                raise Conflict(
                    f"endpoint with name {record.name} already exists in network {network.name}"
                )
            places = [*self.runs.wanted(record, run, without=network.id), (options, network)]
            default = network_plan.default_network(places)
            is_default = default == network.id
            end = self.runs.places.choose(record, run, options, network, default=is_default)
            try:
                with namespace_of(container, container.state.pid) as fd, network_errors():
                    [made] = await stack.plumber.connect(fd, [end], first=not had.endpoints)
                    run.endpoints[network.id] = made
                    stack.names.add(made)
                    await self._names_after_change(container, run, fd)
                    await self._lead_by(container, run, default, fd)
                self._tell_addresses(container, added=[made])
                self.runs.host.metering.networks_changed(container)
                await run.is_saved()
            except BaseException:
                await self._drop(container, run, network.id)
                container.record.network = had
                raise

    async def leave(self, container: Container, network_id: str) -> None:
        """Take a running container out of a network; one that it is not in is fine."""
        run, record = self.runs.running(container), container.record
        async with self.runs.held(container, run):
            if network_id not in run.endpoints or record.network is None:
                return
            others = self.runs.wanted(record, run, without=network_id)
            default = network_plan.default_network(others)
            removed = run.endpoints[network_id]
            self.runs.host.metering.networks_changed(container)  # its last figures
            with namespace_of(container, container.state.pid) as fd, network_errors():
                await self._drop(container, run, network_id)
                self._tell_addresses(container, removed=[removed])
                await self._names_after_change(container, run, fd)
                await self._lead_by(container, run, default, fd)
            self.runs.host.metering.networks_changed(container)
            await run.is_saved()

    async def _drop(self, container: Container, run: Run, network_id: str) -> None:
        endpoint = run.endpoints.pop(network_id)
        stack = self.runs.need_stack()
        with trio.CancelScope(shield=True):
            stack.names.remove(endpoint)
            try:
                await stack.plumber.disconnect(container.id, network_id)
            except NetworkError as error:
                log.warning("container %s: its network: %s", container.id[:12], error)
        self.runs.places.give_back([endpoint])

    async def _names_after_change(self, container: Container, run: Run, fd: int) -> None:
        """Let the name server know its networks; from its first own one on it is asked."""
        record, stack = container.record, self.runs.need_stack()
        if run.names or not self.runs.wants_names(record, self.runs.known(run.endpoints)):
            stack.names.set_networks(container.id, first_default(run.endpoints, record))
            return
        before = self.runs.resolver_text(record)
        run.names = True
        await self.runs.serve_names(container, run, fd)
        bundle, after = self.runs.host.bundle(container), self.runs.resolver_text(record)
        etc_files.replace_text(bundle, record, texts.RESOLV, before, after)

    async def _lead_by(self, container: Container, run: Run, default: str, fd: int) -> None:
        """Let default route and published ports be by that network."""
        record, stack = container.record, self.runs.need_stack()
        had = record.network
        assert had is not None
        ports = had.ports
        record.network = replace(had, default=default)
        if default != had.default:
            if default:
                await stack.plumber.reroute(fd, container.id, default)
                stack.names.set_networks(container.id, first_default(run.endpoints, record))
            ports = await self.runs.publishing.move(container, run)
        record.network = replace(record.network, ports=ports)
        self.runs.note(container, run, ports)
        run.saved = self.runs.places.save(record)

    def _tell_addresses(
        self,
        container: Container,
        *,
        added: Sequence[Endpoint] = (),
        removed: Sequence[Endpoint] = (),
    ) -> None:
        """Change the container's /etc/hosts, whatever else is in it by now."""
        etc_files.change_hosts(
            self.runs.host.bundle(container),
            container.record,
            self.runs.host.hostname(container.record),
            added=[str(one.ip) for endpoint in added for one in endpoint.addresses],
            removed=[str(one.ip) for endpoint in removed for one in endpoint.addresses],
        )

    def renamed(self, container: Container) -> None:
        """The container's name has changed: so does what the name server knows it by."""
        run, record, stack = self.runs.find(container), container.record, self.runs.stack
        if run is None or stack is None or record.network is None:
            return
        for options, network in self.runs.wanted(record, run, without=""):
            old = run.endpoints[network.id]
            new = msgspec.structs.replace(
                old, names=network_plan.dns_names(record, network, options)
            )
            stack.names.remove(old)
            stack.names.add(new)
            run.endpoints[network.id] = new
        self.runs.note(container, run, record.network.ports)

    async def impair(self, container: Container, network_ref: str, limits: Limits) -> None:
        """Delay and lose what goes to a running container, by one network or ("") by all.

        Its bandwidth's limits stay. NotImplementedYet where the kernel cannot.
        """
        run = self.runs.running(container)
        chosen = list(run.endpoints)
        if network_ref:
            network = self.runs.networks.get(network_ref)
            if network.id not in run.endpoints:
                raise NotFound(
                    f"container {container.record.name} is not connected to network {network.name}"
                )
            chosen = [network.id]
        async with self.runs.held(container, run):
            with network_errors():
                for one in chosen:
                    usual = run.endpoints[one].limits or Limits()
                    wanted = msgspec.structs.replace(limits, down=usual.down, up=usual.up)
                    await self.runs.need_stack().plumber.limit(container.id, one, wanted)
