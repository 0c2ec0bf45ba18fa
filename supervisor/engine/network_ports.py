"""The published ports of containers that run: reserved on the host, and led to them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from netplumb.errors import NetworkError, Taken
from netplumb.plan.model import Endpoint
from netplumb.plan.ports import PortRange
from supervisor.engine import network_plan
from supervisor.engine.network_run import Run, bindings_of, host_has_ipv6
from supervisor.engine.network_stack import network_error
from supervisor.engine.record import Record
from supervisor.errors import OrlopError
from supervisor.spec.networks import PortRequest, PublishedPort

if TYPE_CHECKING:
    from supervisor.engine.container import Container
    from supervisor.engine.network_runs import NetworkRuns

log = logging.getLogger("orlop.network")


class Publishing:
    """The part of `NetworkRuns` that is about ports."""

    def __init__(self, runs: NetworkRuns) -> None:
        self.runs = runs

    async def publish(
        self, container: Container, run: Run, requests: Sequence[PortRequest]
    ) -> tuple[PublishedPort, ...]:
        """Reserve and publish; what came of it. Conflict in docker's words."""
        record, stack = container.record, self.runs.need_stack()
        towards = towards_of(container, run)
        if towards is None or not requests:
            return ()
        try:
            made = [port for one in requests for port in await self._reserve(record, one, towards)]
            bound = network_plan.bindings(record.id, made, towards)
            await stack.plumber.publish(bound)
            for binding in bound:
                stack.ports.serve(binding)
        except NetworkError as error:
            raise self._not_published(record, towards, error) from error
        run.bindings = bound
        return tuple(made)

    async def _reserve(
        self, record: Record, request: PortRequest, towards: Endpoint
    ) -> list[PublishedPort]:
        networks, ports = self.runs.networks, self.runs.need_stack().ports
        usual = networks.get(towards.network).host_ip or networks.defaults.host_ip
        addresses = network_plan.host_addresses(request.host_ip, usual, ipv6=host_has_ipv6())
        wanted = PortRange(request.first, request.last or request.first) if request.first else None
        number = await ports.reserve(record.id, addresses, wanted, request.protocol)
        return [
            PublishedPort(
                container_port=request.container_port,
                protocol=request.protocol,
                host_ip=str(address),
                host_port=number,
            )
            for address in addresses
        ]

    def _not_published(self, record: Record, towards: Endpoint, error: NetworkError) -> OrlopError:
        text = error.message
        for other in self.runs.containers():  # netplumb knows its id only
            if isinstance(error, Taken) and other.id in text:
                text = text.replace(other.id, other.record.name)
        has = record.network
        place = has.endpoint(towards.network) if has is not None else None
        number = f" ({place.endpoint_id})" if place is not None else ""
        return type(network_error(error))(
            f"driver failed programming external connectivity on endpoint {record.name}{number}: "
            f"{text}"
        )

    async def move(self, container: Container, run: Run) -> tuple[PublishedPort, ...]:
        """Publish the same ports of the host for another endpoint; with none, nowhere."""
        record, stack = container.record, self.runs.need_stack()
        had = record.network
        towards = towards_of(container, run)
        await stack.plumber.unpublish(run.bindings)
        run.bindings = []
        if towards is None or had is None:
            stack.ports.release(container.id)
            return ()
        if not had.ports:
            return await self.publish(container, run, record.options.ports)
        run.bindings = network_plan.bindings(record.id, had.ports, towards)
        await stack.plumber.publish(run.bindings)
        for binding in run.bindings:
            stack.ports.serve(binding)
        return had.ports

    async def again(self, container: Container, run: Run) -> None:
        has = container.record.network
        assert has is not None
        stack, run.bindings = self.runs.need_stack(), bindings_of(container.record, run.endpoints)
        for binding in run.bindings:
            try:
                only = PortRange(binding.host_port, binding.host_port)
                await stack.ports.reserve(container.id, [binding.host_ip], only, binding.protocol)
                await stack.plumber.publish([binding])  # also if its pair was made anew
                stack.ports.serve(binding)
            except NetworkError as error:
                log.warning("container %s: %s: %s", container.id[:12], binding, error)


def towards_of(container: Container, run: Run) -> Endpoint | None:
    """The endpoint that published ports lead to: that of the default route."""
    has = container.record.network
    return run.endpoints.get(has.default) if has is not None else None
