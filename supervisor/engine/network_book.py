"""The networks' records in memory: found by name, and the addresses of each handed out.

Which addresses are in use is known by the networks' ledgers alone: they are stored together with
the record of the container that has the address, and corrected by those at the start.
"""

from __future__ import annotations

import builtins
from collections import defaultdict
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import TYPE_CHECKING

from netplumb.errors import Invalid, Taken
from netplumb.plan import model
from netplumb.plan.ipam import Ledger
from netplumb.plan.model import Address, Interface
from supervisor.engine.network_records import BRIDGE, Network
from supervisor.engine.network_stack import network_error, network_errors
from supervisor.errors import Conflict, InvalidArgument, NotFound
from supervisor.lifecycle import ids
from supervisor.store.database import Put

if TYPE_CHECKING:
    from supervisor.engine.container import Container


class NetworkBook:
    """`containers` gives all containers there are, at the moment of asking."""

    def __init__(self, containers: Callable[[], Iterable[Container]]) -> None:
        self.containers = containers
        self._networks: dict[str, Network] = {}

    # --- asking -------------------------------------------------------------------------

    def list(self) -> builtins.list[Network]:
        """All networks, the predefined ones first, then by name."""
        return sorted(self._networks.values(), key=lambda n: (not n.predefined, n.name))

    def find(self, network_id: str) -> Network | None:
        """By its full id."""
        return self._networks.get(network_id)

    def get(self, ref: str) -> Network:
        """By id, name or unique id prefix; NotFound in docker's words."""
        names = {network.name: network.id for network in self._networks.values()}
        if not ref:
            raise NotFound("network '' not found")
        try:
            return self._networks[ids.resolve(ref, self._networks, names)]
        except NotFound:
            raise NotFound(f"network {ref} not found") from None
        except InvalidArgument:
            raise InvalidArgument(
                f"network {ref} is ambiguous: several networks' ids begin with it"
            ) from None

    def desired(self, network: Network) -> model.Network:
        """What is wanted of the host for it."""
        return network.desired()

    def held_by(self, network_id: str, address: str) -> str:
        """The name of the container that has an address; "" where that is not known."""
        for container in self.containers():
            run = container.record.network
            one = run.endpoint(network_id) if run else None
            if one is not None and address in one.addresses:
                return container.record.name
        return ""

    # --- addresses ----------------------------------------------------------------------

    def allocate(self, network_id: str, *, ipv4: str = "", ipv6: str = "") -> tuple[Interface, ...]:
        """An address of each of its IP versions, in memory only: to be written with `put`.

        Conflict says who has an address that was asked for; Unavailable: there is none left.
        """
        network = self._bridged(network_id)
        self.check_addresses(network, ipv4, ipv6)
        addresses = []
        for ledger in network.ledgers:
            asked = ipv4 if ledger.subnet.version == 4 else ipv6
            changed, address = self._hand_out(network, ledger, asked)
            network = network.with_ledger(changed)
            addresses.append(ledger.interface(address))
        self._networks[network_id] = network
        return tuple(addresses)

    def release(self, network_id: str, addresses: Iterable[str]) -> None:
        """Take addresses (without lengths) back, in memory only."""
        network = self._networks.get(network_id)
        for text in addresses:
            address = ip_address(text)
            ledger = network.ledger(address.version) if network else None
            if network is not None and ledger is not None:
                network = network.with_ledger(ledger.release(address))
        if network is not None:
            self._networks[network_id] = network

    def put(self, network_id: str) -> Put:
        """The record as it is now, for a transaction; NotFound where the network is gone."""
        return self._bridged(network_id).put()

    def correct(self, in_use: Iterable[tuple[str, str]]) -> tuple[Put, ...]:
        """Take as in use exactly these (network id, address); the records that this changes."""
        held: defaultdict[str, builtins.list[str]] = defaultdict(builtins.list)
        for network_id, address in in_use:
            held[network_id].append(address)
        changed = []
        for network in self._networks.values():
            corrected = network.holding(held[network.id])
            if corrected != network:
                changed.append(corrected)
        self._networks |= {network.id: network for network in changed}
        return tuple(network.put() for network in changed)

    def check_addresses(self, network: Network, ipv4: str, ipv6: str) -> None:
        """InvalidArgument, or Conflict, for addresses that no container can have in a network."""
        for version, text in ((4, ipv4), (6, ipv6)):
            if not text:
                continue
            ledger = network.ledger(version)
            if ledger is None:
                raise InvalidArgument(
                    f"the network {network.name} has no IPv{version} subnet for {text}"
                )
            try:
                ledger.release(ip_address(text)).claim(ip_address(text))
            except Taken as error:
                raise Conflict(f"network {network.name}: {error.message}") from None
            except Invalid as error:
                raise network_error(error) from None

    def _hand_out(self, network: Network, ledger: Ledger, asked: str) -> tuple[Ledger, Address]:
        with network_errors():
            if not asked:
                return ledger.allocate()
            address = ip_address(asked)
            if ledger.is_used(address):
                raise self._taken(network, asked)
            return ledger.claim(address), address

    def _taken(self, network: Network, address: str) -> Conflict:
        holder = self.held_by(network.id, address)
        whose = f"container {holder}" if holder else "a container that is being started"
        return Conflict(
            f"the address {address} of network {network.name} is already in use by {whose}"
        )

    def _bridged(self, network_id: str) -> Network:
        network = self._networks.get(network_id)
        if network is None or network.driver != BRIDGE:
            raise NotFound(f"network {network_id} not found")
        return network
