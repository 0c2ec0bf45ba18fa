"""Containers' places in networks: chosen, written down with their addresses, given back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from netplumb.errors import NetworkError
from netplumb.plan.model import Endpoint, Interface
from supervisor.engine import network_plan
from supervisor.engine.network_records import KIND, Network
from supervisor.engine.network_run import Run
from supervisor.engine.network_stack import network_error
from supervisor.engine.record import Record
from supervisor.spec.namespaces import parse_userns
from supervisor.spec.networks import EndpointOptions
from supervisor.store.database import Put, Ticket

if TYPE_CHECKING:
    from supervisor.engine.network_runs import NetworkRuns


def owns_network(record: Record) -> bool:
    """Its network namespace is made by itself, in a user namespace of its own."""
    return bool(parse_userns(record.options.userns))


class Places:
    """The part of `NetworkRuns` that is about addresses."""

    def __init__(self, runs: NetworkRuns) -> None:
        self.runs = runs

    # --- choosing -----------------------------------------------------------------------

    def choose(
        self,
        record: Record,
        run: Run,
        options: EndpointOptions,
        network: Network,
        *,
        default: bool,
    ) -> Endpoint:
        """Choose the endpoint in one network; it is in `run` then."""
        taken = [one.interface for one in run.endpoints.values()]
        networks, identity = self.runs.networks, self.runs.need_stack().identity
        addresses = networks.allocate(network.id, ipv4=options.ipv4, ipv6=options.ipv6)
        try:
            made = network_plan.new_endpoint(
                record,
                network,
                options,
                addresses,
                identity=identity,
                interface=network_plan.next_interface(taken),
                default=default,
            )
        except NetworkError as error:
            self._release(network.id, addresses)
            raise network_error(error) from error
        run.endpoints[network.id] = made
        return made

    def take_sandbox(
        self, record: Record, run: Run, options: EndpointOptions, network: Network
    ) -> bool:
        """Take a spare sandbox for a container that wants nothing special."""
        spares = self.runs.sandboxes
        special = options.ipv4 or options.ipv6 or options.mac or owns_network(record)
        if spares is None or special or len(record.endpoints) != 1 or not network.predefined:
            return False
        if network_plan.limits_of(options.bandwidth) is not None:
            return False
        run.sandbox = spares.take()
        if run.sandbox is None:
            return False
        names = network_plan.dns_names(record, network, options)
        run.endpoints[network.id] = replace(run.sandbox.endpoint, container=record.id, names=names)
        return True

    # --- giving back --------------------------------------------------------------------

    def give_back(self, endpoints: Iterable[Endpoint]) -> None:
        """Their addresses are free; the ledgers are written with whatever comes next."""
        for endpoint in endpoints:
            self._release(endpoint.network, endpoint.addresses)

    def _release(self, network_id: str, addresses: Iterable[Interface]) -> None:
        if self.runs.networks.find(network_id) is None:
            return
        self.runs.networks.release(network_id, [str(one.ip) for one in addresses])
        self.runs.host.write_later((KIND, network_id), lambda: self._put(network_id))

    # --- writing down -------------------------------------------------------------------

    def save(self, record: Record) -> Ticket:
        """The record and the ledgers of its networks, in one transaction."""
        has = record.network
        ids = [one.network for one in has.endpoints] if has is not None else []
        ledgers = [put for one in ids if (put := self._put(one)) is not None]
        return self.runs.host.save(record, ledgers)

    def _put(self, network_id: str) -> Put | None:
        """Its record without the addresses of spare sandboxes, which no process outlives."""
        network, spares = self.runs.networks.find(network_id), self.runs.sandboxes
        if network is None:
            return None
        for address in spares.addresses(network_id) if spares is not None else ():
            ledger = network.ledger(address.version)
            if ledger is not None:
                network = network.with_ledger(ledger.release(address))
        return network.put()
