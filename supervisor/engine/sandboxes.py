"""Network namespaces made ahead of need, wired to the default network under another name.

A container that wants nothing special takes one: the mark on the host's end of its pair changes,
nothing else, instead of a new namespace, a pair, addresses and routes. What a crash leaves of
them goes when the network is restored: the namespaces end with the process that holds them, and
no record knows their pairs.
"""

from __future__ import annotations

import itertools
import logging
import os
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import trio

from netplumb.apply.plumber import Plumber
from netplumb.errors import NetworkError
from netplumb.plan.model import Address, Endpoint
from netplumb.plan.names import Identity, mac_of
from supervisor.engine.network_records import Network
from supervisor.engine.networks import Networks
from supervisor.errors import OrlopError

log = logging.getLogger("orlop.sandboxes")

# A start is waited for, a spare sandbox is not: the same thread of the kernel makes both.
CALM_SECONDS = 0.02
RETRY_SECONDS = 10.0
# Addresses that stay free of spare sandboxes, in a small subnet.
KEPT_FREE = 32


class HasPlumber(Protocol):
    """As much of a `NetworkStack` as is needed here."""

    @property
    def plumber(self) -> Plumber: ...

    @property
    def identity(self) -> Identity: ...


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A wired namespace: whoever has it owns `fd` and the endpoint's addresses."""

    fd: int
    endpoint: Endpoint


class Sandboxes:
    """Keeps `size` of them while `run` runs. `network` gives the default network, if there is."""

    def __init__(
        self,
        size: int,
        stack: HasPlumber,
        networks: Networks,
        network: Callable[[], Network | None],
    ) -> None:
        self.size = size
        self._stack = stack
        self._networks = networks
        self._network = network
        self._ready: deque[Sandbox] = deque()
        self._numbers = itertools.count(1)
        self._life = secrets.token_hex(4)
        self._taken = trio.Event()

    def __len__(self) -> int:
        return len(self._ready)

    def addresses(self, network_id: str) -> list[Address]:
        """Those that spare sandboxes have in a network."""
        return [
            one.ip
            for sandbox in self._ready
            for one in sandbox.endpoint.addresses
            if sandbox.endpoint.network == network_id
        ]

    def take(self) -> Sandbox | None:
        """The oldest one, which is the caller's now; another takes its place soon."""
        if not self._ready:
            return None
        self._taken.set()
        return self._ready.popleft()

    async def discard(self, sandbox: Sandbox) -> None:
        """Undo one, but for its addresses."""
        os.close(sandbox.fd)
        with trio.CancelScope(shield=True):
            try:
                await self._stack.plumber.forget(sandbox.endpoint.container)
            except NetworkError as error:
                log.warning("a spare sandbox is not forgotten: %s", error)

    async def run(self) -> None:
        """Keep as many as there are to be; until cancelled, then none is left."""
        try:
            while True:
                self._taken = trio.Event()
                if await self._fill():
                    await self._taken.wait()
                    await self._calm()
                else:
                    await trio.sleep(RETRY_SECONDS)
        finally:
            await self._drain()

    async def _calm(self) -> None:
        """Until nobody has taken one for a while."""
        while self._taken.is_set():
            self._taken = trio.Event()
            await trio.sleep(CALM_SECONDS)

    async def _fill(self) -> bool:
        """False if it cannot be done now."""
        while len(self._ready) < self.size:
            network = self._network()
            if network is None or not _roomy(network):
                return False
            try:
                self._ready.append(await self._make(network))
            except (NetworkError, OrlopError, OSError) as error:
                log.warning("no spare sandbox: %s", error)
                return False
        return True

    async def _make(self, network: Network) -> Sandbox:
        name = f"sandbox-{self._life}-{next(self._numbers)}"
        addresses = self._networks.allocate(network.id)
        fd = -1
        try:
            wanted = Endpoint(
                container=name,
                network=network.id,
                port=self._stack.identity.port_name(name, network.id),
                addresses=addresses,
                mac=mac_of(addresses[0].ip),
            )
            fd = await self._stack.plumber.make_namespace()
            [made] = await self._stack.plumber.connect(fd, [wanted])
        except BaseException:
            if fd >= 0:
                os.close(fd)
            self._networks.release(network.id, [str(one.ip) for one in addresses])
            raise
        return Sandbox(fd, made)

    async def _drain(self) -> None:
        while self._ready:
            sandbox = self._ready.popleft()
            await self.discard(sandbox)
            addresses = [str(one.ip) for one in sandbox.endpoint.addresses]
            self._networks.release(sandbox.endpoint.network, addresses)


def _roomy(network: Network) -> bool:
    """Its subnets have addresses to spare."""
    return all(ledger.range.num_addresses - ledger.in_use > KEPT_FREE for ledger in network.ledgers)
