"""A network as it is stored, and its addresses: values in, values out.

One JSON document of kind "network" for each; the addresses of running containers are part of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from ipaddress import ip_address

import msgspec

from netplumb.errors import NetworkError
from netplumb.plan import model
from netplumb.plan.ipam import DEFAULT_POOLS, Ledger, Pool
from netplumb.plan.model import Interface
from supervisor.docker.networks import EndpointView, NetworkView, Subnet
from supervisor.errors import ProtocolError
from supervisor.store.database import Put

KIND = "network"
VERSION = 1
BRIDGE, HOST, NULL = "bridge", "host", "null"
DEFAULT_MTU = 1500


class NetworkDefaults(msgspec.Struct, frozen=True, kw_only=True):
    """What the daemon was told about networks.

    `bridge` is the device of the default network, "none" = there is no such network; `bip` the
    device's address with its length, None = from the pools. `host_ip` is where ports are
    published that name no address, "" = everywhere. `pools` are for networks that ask for no
    subnet.
    """

    bridge: str = "none"
    bip: Interface | None = None
    pools: tuple[Pool, ...] = DEFAULT_POOLS
    icc: bool = True
    mtu: int = DEFAULT_MTU
    host_ip: str = ""

    @property
    def has_bridge(self) -> bool:
        """There is a default network."""
        return self.bridge != "none"


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """One network. `driver` is bridge, host or null; a bridge network has a ledger of addresses
    for each of its IP versions (`ledgers`, one at most of each).

    `predefined`: it is there always. `subnets` are as people see them, `options` as asked for.
    `host_ip`: where ports of its containers are published that name no address, "" = everywhere.
    """

    id: str
    name: str
    created_ns: int
    driver: str = BRIDGE
    predefined: bool = False
    internal: bool = False
    attachable: bool = False
    ipv4: bool = True
    ipv6: bool = False
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    options: dict[str, str] = msgspec.field(default_factory=dict)
    ipam_options: dict[str, str] | None = None
    subnets: tuple[Subnet, ...] = ()
    bridge: str = ""
    mtu: int = DEFAULT_MTU
    icc: bool = True
    masquerade: bool = True
    host_ip: str = ""
    ledgers: tuple[Ledger, ...] = ()

    def ledger(self, version: int) -> Ledger | None:
        """The addresses of that IP version."""
        return next((one for one in self.ledgers if one.subnet.version == version), None)

    def with_ledger(self, ledger: Ledger) -> Network:
        """With that one in place of the one of the same IP version."""
        changed = tuple(
            ledger if one.subnet.version == ledger.subnet.version else one for one in self.ledgers
        )
        return msgspec.structs.replace(self, ledgers=changed)

    def holding(self, addresses: Iterable[str]) -> Network:
        """With exactly these addresses in use; those that its subnets do not have are left out."""
        network = msgspec.structs.replace(
            self, ledgers=tuple(_emptied(one) for one in self.ledgers)
        )
        for text in addresses:
            address = ip_address(text)
            ledger = network.ledger(address.version)
            try:
                network = network if ledger is None else network.with_ledger(ledger.claim(address))
            except NetworkError:  # of a subnet that it had before, or twice
                continue
        return network

    def desired(self) -> model.Network:
        """What is wanted of the host for it."""
        return model.Network(
            id=self.id,
            name=self.name,
            bridge=self.bridge,
            gateways=tuple(ledger.gateway_interface for ledger in self.ledgers),
            internal=self.internal,
            icc=self.icc,
            masquerade=self.masquerade,
            mtu=self.mtu,
        )

    def view(self, endpoints: Sequence[EndpointView] = ()) -> NetworkView:
        """It as the API shows it, with the places of its running containers."""
        return NetworkView(
            id=self.id,
            name=self.name,
            created_ns=self.created_ns,
            driver=self.driver,
            internal=self.internal,
            attachable=self.attachable,
            ipv4=self.ipv4,
            ipv6=self.ipv6,
            labels=self.labels,
            options=self.options,
            ipam_options=self.ipam_options,
            subnets=self.subnets,
            predefined=self.predefined,
            endpoints=tuple(endpoints),
        )

    def put(self) -> Put:
        """The record as it is to be written."""
        return Put(KIND, self.id, encode(self))


def _emptied(ledger: Ledger) -> Ledger:
    return replace(ledger, used=0, others=frozenset())


# --- the stored document --------------------------------------------------------------------


def encode(network: Network) -> bytes:
    """The record as one JSON document."""
    document = {
        "version": VERSION,
        "id": network.id,
        "name": network.name,
        "created_ns": network.created_ns,
        "driver": network.driver,
        "predefined": network.predefined,
        "internal": network.internal,
        "attachable": network.attachable,
        "ipv4": network.ipv4,
        "ipv6": network.ipv6,
        "labels": network.labels,
        "options": network.options,
        "ipam_options": network.ipam_options,
        "subnets": msgspec.to_builtins(network.subnets),
        "bridge": network.bridge,
        "mtu": network.mtu,
        "icc": network.icc,
        "masquerade": network.masquerade,
        "host_ip": network.host_ip,
        "ledgers": [ledger.to_json() for ledger in network.ledgers],
    }
    return json.dumps(document, separators=(",", ":")).encode()


def decode(document: bytes) -> Network:
    """The inverse; ProtocolError for a document of another version or shape."""
    try:
        data = json.loads(document)
        if data.pop("version") != VERSION:
            raise ProtocolError("network record of another version")
        subnets = msgspec.convert(data.pop("subnets"), tuple[Subnet, ...])
        ledgers = tuple(Ledger.from_json(item) for item in data.pop("ledgers"))
        return Network(**data, subnets=subnets, ledgers=ledgers)
    except (ValueError, KeyError, TypeError, AttributeError, NetworkError) as error:
        raise ProtocolError(f"network record: {error!r}") from None
