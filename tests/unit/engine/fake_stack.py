"""A network without a kernel: what `NetworkRuns` asks of netplumb, and a host with a database."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec

from netplumb.apply.plumber import Restored
from netplumb.errors import NetworkError, Taken
from netplumb.plan.model import Desired, Endpoint, Limits, PortBinding
from netplumb.plan.names import Identity
from netplumb.plan.ports import PortRange
from supervisor.docker.network_body import NetworkBody
from supervisor.engine.copies import Copies
from supervisor.engine.host import Host
from supervisor.engine.network_runs import NetworkRuns
from supervisor.engine.networks import Networks
from supervisor.engine.sandboxes import Sandboxes
from supervisor.lifecycle import machine as m
from supervisor.spec.user_ranges import IdRange
from supervisor.store.database import Delete, Put
from tests.unit.engine.fake_network import DEFAULTS, ENGINE_ID, FakeStack, MemoryDatabase
from tests.unit.engine.test_record import record


class Failing:
    """Methods fail once, if they are told to."""

    def __init__(self) -> None:
        self.failures: dict[str, Exception] = {}

    def check(self, method: str) -> None:
        if method in self.failures:
            raise self.failures.pop(method)


class FakePlumber(Failing):
    def __init__(self) -> None:
        super().__init__()
        self.endpoints: dict[tuple[str, str], Endpoint] = {}
        self.bindings: list[PortBinding] = []
        self.limits: dict[tuple[str, str], Limits | None] = {}
        self.routes: dict[str, str] = {}
        self.restored: Desired | None = None
        self.missing: tuple[Endpoint, ...] = ()

    async def make_namespace(self) -> int:
        self.check("make_namespace")
        return os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)

    async def connect(
        self, namespace: int, endpoints: Sequence[Endpoint], *, first: bool = True
    ) -> tuple[Endpoint, ...]:
        os.fstat(namespace)
        self.check("connect")
        made = tuple(endpoints)
        self.endpoints |= {endpoint.key: endpoint for endpoint in made}
        return made

    def take_over(self, old: Endpoint, new: Endpoint) -> object:
        self.check("take_over")
        del self.endpoints[old.key]
        self.endpoints[new.key] = new
        return None

    async def disconnect(self, container: str, network_id: str) -> None:
        self.endpoints.pop((container, network_id), None)

    async def forget(self, container: str) -> None:
        self.check("forget")
        self.endpoints = {k: e for k, e in self.endpoints.items() if e.container != container}
        self.bindings = [b for b in self.bindings if b.container != container]

    async def reroute(self, namespace: int, container: str, network_id: str) -> None:
        self.routes[container] = network_id

    async def publish(self, bindings: Sequence[PortBinding]) -> None:
        self.check("publish")
        self.bindings += [one for one in bindings if one not in self.bindings]

    async def unpublish(self, bindings: Iterable[PortBinding]) -> None:
        gone = list(bindings)
        self.bindings = [one for one in self.bindings if one not in gone]

    async def limit(self, container: str, network_id: str, limits: Limits | None) -> None:
        self.check("limit")
        self.limits[container, network_id] = limits

    async def restore(self, desired: Desired) -> Restored:
        self.check("restore")
        self.restored = desired
        self.endpoints = {endpoint.key: endpoint for endpoint in desired.endpoints}
        self.bindings = list(desired.bindings)
        return Restored(missing=self.missing, conflicts=())


class FakePorts:
    """Ports by number; from 32768 on where any will do."""

    def __init__(self) -> None:
        self.reserved: dict[tuple[str, int], str] = {}
        self.served: list[PortBinding] = []

    async def reserve(
        self, container: str, host_ips: Sequence[Any], wanted: PortRange | None, protocol: str
    ) -> int:
        holder: str | None = None
        candidates = range(wanted.first, wanted.last + 1) if wanted else range(32768, 33000)
        for port in candidates:
            holder = self.reserved.get((protocol, port))
            if holder in (None, container):
                self.reserved[protocol, port] = container
                return port
        raise Taken(f"Bind for {host_ips[0]}:{port} failed: port is already allocated by {holder}")

    def serve(self, binding: PortBinding) -> None:
        assert self.reserved[binding.protocol, binding.host_port] == binding.container
        self.served.append(binding)

    def release(self, container: str) -> None:
        self.reserved = {k: c for k, c in self.reserved.items() if c != container}


class FakeNames(Failing):
    """Names by network, and who asks: container → its networks."""

    def __init__(self) -> None:
        super().__init__()
        self.names: dict[str, set[str]] = {}
        self.asking: dict[str, list[str]] = {}
        self.servers: dict[str, Any] = {}

    def set_network(self, network: Any, endpoints: Iterable[Endpoint] = ()) -> None:
        self.names[network.id] = {name for one in endpoints for name in one.names}

    def add(self, endpoint: Endpoint) -> None:
        self.names.setdefault(endpoint.network, set()).update(endpoint.names)

    def remove(self, endpoint: Endpoint) -> None:
        known = self.names.setdefault(endpoint.network, set())
        known -= set(endpoint.names)

    async def attach(
        self, container: str, namespace: int, networks: Sequence[str], servers: Any = None
    ) -> None:
        os.fstat(namespace)
        self.check("attach")
        self.asking[container], self.servers[container] = list(networks), servers

    def set_networks(self, container: str, networks: Sequence[str]) -> None:
        if container in self.asking:
            self.asking[container] = list(networks)

    def detach(self, container: str) -> None:
        self.asking.pop(container, None)


class FakeNetworkStack(FakeStack):
    def __init__(self) -> None:
        super().__init__()
        self.plumber = FakePlumber()
        self.ports = FakePorts()
        self.names = FakeNames()
        self.identity = Identity("orlop")

    async def note_forwarding(self, networks: Sequence[Any]) -> None:
        """Nothing outlives this."""

    def refresh_resolvers(self) -> None:
        """There are none."""


class Container:
    """A container as far as its networks look at it."""

    def __init__(self, made: Any) -> None:
        self.record = made

    @property
    def id(self) -> str:
        return str(self.record.id)

    @property
    def state(self) -> m.State:
        state = self.record.state
        assert isinstance(state, m.State)
        return state


class Tickets(MemoryDatabase):
    """What was submitted, one transaction an entry; all of it is durable at once."""

    def __init__(self) -> None:
        super().__init__()
        self.transactions: list[list[str]] = []

    def submit(self, operations: Iterable[Put | Delete]) -> Any:
        done = list(operations)
        self.transactions.append([one.key for one in done])
        for one in done:
            if isinstance(one, Put):
                self.rows[one.kind, one.key] = one.doc
            else:
                self.rows.pop((one.kind, one.key), None)

        async def wait() -> None:
            """It is there."""

        return SimpleNamespace(wait=wait)


class FakeUserIds:
    """Ranges of user ids without end, and namespaces that are none."""

    def __init__(self) -> None:
        self.gives = False
        self.there_are = True
        self.given = 0
        self.aside: list[IdRange] = []
        self.made: list[tuple[str, str]] = []

    def set_aside(self) -> IdRange | None:
        if not self.there_are:
            return None
        self.given += 1
        self.aside.append(IdRange(first=65536 * self.given, size=65536))
        return self.aside[-1]

    def put_back(self, ids: IdRange) -> None:
        self.aside.remove(ids)

    async def make(self, uid_map: str, gid_map: str) -> tuple[int, int]:
        self.made.append((uid_map, gid_map))
        return os.open("/dev/null", os.O_RDONLY), os.open("/dev/null", os.O_RDONLY)


class World:
    """Networks and their runs, on a fake host."""

    def __init__(self, folder: Path) -> None:
        self.containers: list[Any] = []
        self.database = Tickets()
        self.stack = FakeNetworkStack()
        self.user_ids = FakeUserIds()
        host: Any = Host.__new__(Host)
        host.database, host._unwritten, host.dns = self.database, {}, ()
        host.root = SimpleNamespace(bundle=lambda _id: folder)
        host.bundle = lambda _container: folder
        host.copies = Copies(host.root)
        host.hostname = lambda _record: "web"
        host.bus = SimpleNamespace(publish=lambda *_: None)
        nothing: Callable[..., None] = lambda *_: None  # noqa: E731
        host.metering = SimpleNamespace(
            stage=nothing, networked=nothing, networks_changed=nothing, pools=None
        )
        self.host = host
        self.networks = Networks(host, ENGINE_ID, lambda: self.containers, lambda ref: None)  # type: ignore[arg-type,return-value]
        self.networks.defaults = DEFAULTS
        self.networks.stack = self.stack
        self.runs = NetworkRuns(host, self.networks, lambda: self.containers)
        self.runs.stack = self.stack  # type: ignore[assignment]

    async def load(self, *names: str) -> None:
        """The default network and some of the user's."""
        await self.networks.load()
        for name in names:
            await self.networks.create(NetworkBody(name=name))

    def with_spares(self, count: int) -> Sandboxes:
        stack: Any = self.stack
        self.runs.sandboxes = Sandboxes(
            count,
            stack,
            self.networks,
            lambda: self.networks.get("bridge"),
            self.user_ids,
            self.user_ids.make,
        )
        return self.runs.sandboxes

    def add(self, name: str, *endpoints: Any, mode: str = "bridge", **options: Any) -> Any:
        """A container that is to be in these networks."""
        made = record({"NetworkMode": mode}, id=f"{len(self.containers) + 1:064x}", name=name)
        made.endpoints = endpoints
        made.options = replace(made.options, network=mode, **options)
        made.state = msgspec.structs.replace(made.state, pid=os.getpid(), run=1)
        self.containers.append(Container(made))
        return self.containers[-1]

    def in_use(self, name: str) -> int:
        """How many addresses of a network are handed out."""
        return sum(ledger.in_use for ledger in self.networks.get(name).ledgers)

    def fail(self, part: Failing, method: str, error: NetworkError) -> None:
        part.failures[method] = error
