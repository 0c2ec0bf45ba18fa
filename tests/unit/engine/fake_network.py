"""Networks without a kernel or a disk: what the engine's `Networks` asks of its surroundings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_network
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import trio

from netplumb.plan import model
from supervisor.engine.events import EventBus
from supervisor.engine.network_copies import NetworkCopies
from supervisor.engine.network_records import NetworkDefaults
from supervisor.engine.networks import Networks
from supervisor.errors import NotFound, OrlopError
from supervisor.lifecycle.machine import Phase
from supervisor.spec.networks import EndpointOptions, EndpointRun, NetworkRun
from supervisor.store.database import Delete, Put
from supervisor.store.row_copies import RowCopies

ENGINE_ID = "e" * 32
DEFAULTS = NetworkDefaults(bridge="orlop0")


class MemoryDatabase:
    """Rows by kind and key; `fail` is raised by the next write."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], bytes] = {}
        self.fail: Exception | None = None

    async def all(self, kind: str) -> list[tuple[str, bytes]]:
        return [(key, doc) for (of, key), doc in sorted(self.rows.items()) if of == kind]

    async def apply(self, operations: Iterable[Put | Delete]) -> None:
        await trio.lowlevel.checkpoint()
        if self.fail is not None:
            failure, self.fail = self.fail, None
            raise failure
        for operation in operations:
            if isinstance(operation, Put):
                self.rows[operation.kind, operation.key] = operation.doc
            else:
                self.rows.pop((operation.kind, operation.key), None)

    async def delete(self, kind: str, key: str) -> None:
        await self.apply([Delete(kind, key)])

    def keys(self, kind: str) -> list[str]:
        return [key for of, key in sorted(self.rows) if of == kind]


class FakeStack:
    """Bridges by network id; `fail` is raised by what comes next."""

    def __init__(self, *routes: str) -> None:
        self.routes = routes
        self.made: dict[str, model.Network] = {}
        self.fail: OrlopError | None = None

    async def host_subnets(self) -> Sequence[model.Subnet]:
        await trio.lowlevel.checkpoint()
        return [ip_network(text) for text in self.routes]

    async def add_network(self, network: model.Network) -> None:
        self._fail()
        self.made[network.id] = network

    async def remove_network(self, network_id: str) -> None:
        self._fail()
        self.made.pop(network_id, None)

    def _fail(self) -> None:
        if self.fail is not None:
            failure, self.fail = self.fail, None
            raise failure


@dataclass
class FakeContainer:
    """A container as far as networks look at it."""

    record: Any
    state: Any

    @property
    def id(self) -> str:
        return str(self.record.id)


class FakeRuns:
    """Running containers join and leave by their records alone."""

    def __init__(self, networks: Networks) -> None:
        self.networks = networks
        self.fail: OrlopError | None = None

    async def join(self, container: Any, options: EndpointOptions) -> None:
        if self.fail is not None:
            raise self.fail
        run = container.record.network
        made = place(self.networks, options.network, options.ipv4)
        container.record.network = replace(run, endpoints=(*run.endpoints, made))

    async def leave(self, container: Any, network_id: str) -> None:
        run = container.record.network
        gone = run.endpoint(network_id)
        self.networks.release(network_id, gone.addresses)
        kept = tuple(one for one in run.endpoints if one.network != network_id)
        container.record.network = replace(run, endpoints=kept)


def place(networks: Networks, network_id: str, ipv4: str = "") -> EndpointRun:
    """A run's place in a network, with addresses of its ledger."""
    addresses = networks.allocate(network_id, ipv4=ipv4)
    texts = {address.version: str(address) for address in addresses}
    return EndpointRun(
        network=network_id,
        endpoint_id="f" * 64,
        port="olport",
        interface="eth0",
        mac="02:42:ac:11:00:02",
        ipv4=texts.get(4, ""),
        ipv6=texts.get(6, ""),
        names=("web", "al"),
    )


class NetworkWorld:
    """Networks with containers that are records only."""

    def __init__(
        self, defaults: NetworkDefaults = DEFAULTS, *routes: str, folder: Path | None = None
    ) -> None:
        self.folder = folder  # of copies
        self.database = MemoryDatabase()
        self.bus = EventBus()
        self.saved: list[str] = []
        self.containers: list[FakeContainer] = []
        self.defaults = defaults
        self.stack: FakeStack | None = FakeStack(*routes)
        self.networks = self.reload()

    def reload(self) -> Networks:
        """As after a restart; `load` is the caller's."""
        find: Callable[[str], Any] = self.find
        containers: Any = lambda: self.containers  # noqa: E731
        host: Any = self
        self.networks = Networks(host, ENGINE_ID, containers, find)
        self.networks.defaults = self.defaults
        self.networks.stack = self.stack
        self.networks.runs = FakeRuns(self.networks)
        if self.folder is not None:
            self.networks.copies = NetworkCopies(RowCopies(self.folder))
        return self.networks

    def find(self, ref: str) -> FakeContainer:
        for container in self.containers:
            if ref in (container.id, container.record.name):
                return container
        raise NotFound(f"No such container: {ref}")

    def save(self, record: Any) -> Any:
        self.saved.append(record.id)

        async def wait() -> None:
            """It is there at once."""

        return SimpleNamespace(wait=wait)

    def add(
        self,
        name: str,
        *networks: str,
        mode: str = "bridge",
        live: bool = False,
        phase: Phase = Phase.RUNNING,
    ) -> FakeContainer:
        """A container in these networks; a live one has addresses in them."""
        ids = [self.networks.get(one).id for one in networks]
        run = None
        if live and mode == "bridge":
            run = NetworkRun(
                endpoints=tuple(place(self.networks, one) for one in ids), default=ids[0]
            )
        record = SimpleNamespace(
            id=f"{len(self.containers) + 1:064x}",
            name=name,
            options=SimpleNamespace(network=mode),
            endpoints=tuple(EndpointOptions(network=one) for one in ids),
            network=run,
            changed=lambda: None,
        )
        state = SimpleNamespace(live=live, phase=phase, run=1)
        record.state = state
        self.containers.append(FakeContainer(record, state))
        return self.containers[-1]

    def events(self) -> list[tuple[str, dict[str, str]]]:
        return [(event.action, event.attributes) for event in self.bus._memory]
