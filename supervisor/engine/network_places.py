"""Containers' places in networks: chosen, written down with their addresses, given back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from netplumb.errors import NetworkError
from netplumb.plan.model import Endpoint, Interface
from supervisor.engine import network_plan
from supervisor.engine.network_records import KIND, Network
from supervisor.engine.network_run import Run
from supervisor.engine.network_stack import network_error
from supervisor.engine.record import Record
from supervisor.engine.userns import range_of
from supervisor.spec.namespaces import donors, parse_userns
from supervisor.spec.networks import EndpointOptions
from supervisor.spec.user_ranges import IdRange
from supervisor.store.database import Put, Ticket

if TYPE_CHECKING:
    from supervisor.engine.network_runs import NetworkRuns


def owns_network(record: Record) -> bool:
    """Its network namespace belongs to a user namespace of its own, or of another container."""
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
        if spares is None or not _is_plain(record, options, network):
            return False
        if owns_network(record) and donors(record.options):
            return False  # its user namespace is another container's
        run.sandbox = spares.take(range_of(record.options))
        if run.sandbox is None:
            return False
        names = network_plan.dns_names(record, network, options)
        run.endpoints[network.id] = replace(run.sandbox.endpoint, container=record.id, names=names)
        return True

    def reserve(self, record: Record) -> IdRange | None:
        """The user ids of a spare sandbox for a new container that could take it."""
        spares, options = self.runs.sandboxes, next(iter(record.endpoints), None)
        if spares is None or options is None:
            return None
        network = self.runs.networks.find(options.network)
        if network is None or not _is_plain(record, options, network):
            return None
        return spares.reserve()

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


def _is_plain(record: Record, options: EndpointOptions, network: Network) -> bool:
    """It wants nothing but to be in the default network."""
    special = options.ipv4 or options.ipv6 or options.mac
    if special or len(record.endpoints) != 1 or not network.predefined:
        return False
    return network_plan.limits_of(options.bandwidth) is None
