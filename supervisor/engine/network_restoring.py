"""The networks of containers that run, after a restart of the supervisor."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from netplumb.plan.model import Desired, Endpoint, PortBinding
from supervisor.engine.network_records import Network
from supervisor.engine.network_run import Run, bindings_of, endpoints_of, namespace_of
from supervisor.engine.network_stack import network_errors
from supervisor.errors import OrlopError

if TYPE_CHECKING:
    from supervisor.engine.container import Container
    from supervisor.engine.network_runs import NetworkRuns

log = logging.getLogger("orlop.network")


class Restoring:
    """The part of `NetworkRuns` that finds again what a previous supervisor made."""

    def __init__(self, runs: NetworkRuns) -> None:
        self.runs = runs
        self._lost: frozenset[tuple[str, str]] = frozenset()

    async def restore(self) -> None:
        """Make the host as the records say, once, before any container is looked at.

        Whatever belongs to no record goes: pairs and addresses of spare sandboxes, and of
        containers that have ended. If it fails, this daemon has no networks.
        """
        records = [c.record for c in self.runs.containers() if c.record.network is not None]
        held = [
            (place.network, address)
            for record in records
            for place in (record.network.endpoints if record.network else ())
            for address in place.addresses
        ]
        self.runs.host.database.submit(self.runs.networks.correct(held))
        if self.runs.stack is None:
            return
        wanted = [n for n in self.runs.networks.list() if n.ledgers]
        known = {network.id for network in wanted}
        endpoints: list[Endpoint] = []
        bindings: list[PortBinding] = []
        for record in records:
            mine = {n: e for n, e in endpoints_of(record.id, record.network).items() if n in known}
            endpoints += mine.values()
            bindings += bindings_of(record, mine)
        try:
            await self._restore(wanted, endpoints, bindings)
        except OrlopError as error:
            log.exception("this daemon goes on without container networks")
            self.runs.networks.why_none = f"this daemon has no container networks: {error.message}"
            self.runs.close()

    async def _restore(
        self,
        networks: Sequence[Network],
        endpoints: Sequence[Endpoint],
        bindings: Sequence[PortBinding],
    ) -> None:
        stack = self.runs.need_stack()
        models = [self.runs.networks.desired(network) for network in networks]
        await stack.note_forwarding(models)
        for model in models:
            stack.names.set_network(model, [e for e in endpoints if e.network == model.id])
        with network_errors():
            restored = await stack.plumber.restore(
                Desired(
                    networks=tuple(models), endpoints=tuple(endpoints), bindings=tuple(bindings)
                )
            )
        self._lost = frozenset(endpoint.key for endpoint in restored.missing)
        for conflict in restored.conflicts:
            log.warning("%s", conflict)

    async def adopt(self, container: Container, pid: int) -> None:
        """Serve a container again that a previous supervisor started; `pid` is its PID 1.

        What cannot be served is logged: the container goes on.
        """
        record = container.record
        if record.network is None or self.runs.stack is None or not pid:
            return
        run = Run(endpoints=endpoints_of(record.id, record.network), told=True)
        run.names = self.runs.wants_names(record, self.runs.known(run.endpoints))
        self.runs.keep(container, run)
        try:
            async with self.runs.held(container, run):
                with namespace_of(container, pid) as fd, network_errors():
                    await self._wire_again(run, fd)
                    await self.runs.serve_names(container, run, fd)
                await self.runs.publishing.again(container, run)
            self.runs.host.metering.networks_changed(container)  # pairs that were made again
        except OrlopError as error:
            log.warning("container %s: its network: %s", container.id[:12], error)

    async def _wire_again(self, run: Run, fd: int) -> None:
        """Make the pairs again that somebody removed meanwhile."""
        lost = [one for one in run.endpoints.values() if one.key in self._lost]
        if lost:
            plumber = self.runs.need_stack().plumber
            for endpoint in lost:
                await plumber.disconnect(*endpoint.key)
            made = await plumber.connect(fd, lost, first=len(lost) == len(run.endpoints))
            run.endpoints |= {endpoint.network: endpoint for endpoint in made}
