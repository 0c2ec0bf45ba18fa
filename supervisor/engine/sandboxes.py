"""Network namespaces made ahead of need, wired to the default network under another name.

A container that wants nothing special takes one: the mark on the host's end of its pair changes,
nothing else, instead of a new namespace, a pair, addresses and routes. What a crash leaves of
them goes when the network is restored: the namespaces end with the process that holds them, and
no record knows their pairs.

The network of a container with user ids of its own has to belong to its user namespace, which is
made ahead of need, too, and has its ids from the beginning. So such a container gets the ids of a
spare sandbox when it is made (`reserve`), and that sandbox when it is started, if that is soon.

    made ──► ready ──────────────────────► taken, or discarded
               └──► reserved (own ids) ──► taken, or after RESERVED_SECONDS discarded
"""

from __future__ import annotations

import itertools
import logging
import math
import os
import secrets
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import trio

from netplumb.apply.plumber import Plumber
from netplumb.errors import NetworkError
from netplumb.plan.model import Address, Endpoint
from netplumb.plan.names import Identity, mac_of
from supervisor.engine.network_records import Network
from supervisor.engine.networks import Networks
from supervisor.errors import InitError, OrlopError
from supervisor.spec.user_ranges import IdRange

log = logging.getLogger("orlop.sandboxes")

# A start is waited for, a spare sandbox is not: the same thread of the kernel makes both.
CALM_SECONDS = 0.02
RETRY_SECONDS = 10.0
# How long a container that was made has its sandbox without a start.
RESERVED_SECONDS = 10.0
# How long a kind is kept that is not the usual one, after somebody wanted one.
ASKED_SECONDS = 60.0
# Addresses that stay free of spare sandboxes, in a small subnet.
KEPT_FREE = 32


class HasPlumber(Protocol):
    """As much of a `NetworkStack` as is needed here."""

    @property
    def plumber(self) -> Plumber: ...

    @property
    def identity(self) -> Identity: ...


class UserIds(Protocol):
    """As much of `UserNamespaces` as is needed here."""

    @property
    def gives(self) -> bool:
        """Containers have ids of their own unless they say otherwise."""

    def set_aside(self) -> IdRange | None:
        """Ids for a spare sandbox; None where there are few."""

    def put_back(self, ids: IdRange) -> None:
        """They are no spare sandbox's any more."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A wired namespace: whoever has it owns `fd`, `user` and the endpoint's addresses.

    `user` is the user namespace with `ids` that the network namespace belongs to; -1 and None for
    the host's.
    """

    fd: int
    endpoint: Endpoint
    user: int = -1
    ids: IdRange | None = None

    def close(self) -> None:
        """Let go of the namespaces."""
        for fd in (self.fd, self.user):
            if fd >= 0:
                os.close(fd)


class Sandboxes:
    """Keeps `size` of them while `run` runs. `network` gives the default network, if there is.

    `user_ids` gives ids for those that have their own, `make_owned` makes a user namespace with
    such maps and a network namespace of it (`Zygote.namespaces`).
    """

    def __init__(
        self,
        size: int,
        stack: HasPlumber,
        networks: Networks,
        network: Callable[[], Network | None],
        user_ids: UserIds,
        make_owned: Callable[[str, str], Awaitable[tuple[int, int]]],
    ) -> None:
        self.size = size
        self._stack = stack
        self._networks = networks
        self._network = network
        self._user_ids = user_ids
        self._make_owned = make_owned
        # By whether they have ids of their own; oldest first.
        self._ready: dict[bool, deque[Sandbox]] = {False: deque(), True: deque()}
        self._reserved: deque[tuple[float, Sandbox]] = deque()
        self._asked = {False: -ASKED_SECONDS, True: -ASKED_SECONDS}
        self._numbers = itertools.count(1)
        self._life = secrets.token_hex(4)
        self._taken = False
        self._woken = trio.Event()

    def __len__(self) -> int:
        return sum(map(len, self._ready.values()))

    def addresses(self, network_id: str) -> list[Address]:
        """Those that spare sandboxes have in a network."""
        return [
            one.ip
            for sandbox in self._all()
            for one in sandbox.endpoint.addresses
            if sandbox.endpoint.network == network_id
        ]

    def _all(self) -> list[Sandbox]:
        reserved = (sandbox for _, sandbox in self._reserved)
        return [*self._ready[False], *self._ready[True], *reserved]

    def reserve(self) -> IdRange | None:
        """The ids of a sandbox that stays, for a while, for whoever gets them; None for none.

        They are the caller's. Another sandbox takes its place when it is taken, or has waited in
        vain.
        """
        self._asked[True] = trio.current_time()
        if not self._ready[True]:
            self._wake(taken=True)
            return None
        sandbox = self._ready[True].popleft()
        self._reserved.append((trio.current_time() + RESERVED_SECONDS, sandbox))
        self._put_back(sandbox)
        self._wake(taken=False)
        return sandbox.ids

    def unreserve(self, ids: IdRange) -> None:
        """Whoever was given these ids is no more: nobody will take what belongs to them."""
        for one in self._reserved:
            if one[1].ids == ids:
                self._reserved.remove(one)
                self._reserved.appendleft((trio.current_time(), one[1]))
                self._wake(taken=True)
                return

    def release(self) -> None:
        """Give up the ids of those that nobody has reserved."""
        while self._ready[True]:
            sandbox = self._ready[True].popleft()
            self._reserved.appendleft((trio.current_time(), sandbox))
            self._put_back(sandbox)
        self._wake(taken=True)

    def _put_back(self, sandbox: Sandbox) -> None:
        if sandbox.ids is not None:
            self._user_ids.put_back(sandbox.ids)

    def take(self, ids: IdRange | None = None) -> Sandbox | None:
        """The oldest one in the host's user namespace, or the one with these ids of its own,
        which is the caller's now; another takes its place soon."""
        if ids is not None:
            for one in self._reserved:
                if one[1].ids == ids:
                    self._reserved.remove(one)
                    self._wake(taken=True)
                    return one[1]
            return None
        self._asked[False] = trio.current_time()
        self._wake(taken=True)
        return self._ready[False].popleft() if self._ready[False] else None

    async def discard(self, sandbox: Sandbox) -> None:
        """Undo one, but for its addresses."""
        sandbox.close()
        with trio.CancelScope(shield=True):
            try:
                await self._stack.plumber.forget(sandbox.endpoint.container)
            except NetworkError as error:
                log.warning("a spare sandbox is not forgotten: %s", error)

    async def run(self) -> None:
        """Keep as many as there are to be; until cancelled, then none is left."""
        short = True
        try:
            while True:
                self._woken = trio.Event()
                short = await self._give_up() or short
                if short and not await self._fill():
                    await trio.sleep(RETRY_SECONDS)
                    continue
                with trio.move_on_after(self._patience()):
                    await self._woken.wait()
                short = await self._calm()
        finally:
            await self._drain()

    def _wake(self, *, taken: bool) -> None:
        """There is something to do: another one to make, or else one that may be given up later."""
        self._taken = self._taken or taken
        self._woken.set()

    async def _calm(self) -> bool:
        """Until nobody has taken one for a while; whether anybody has."""
        if not self._taken:
            return False
        while self._taken:
            self._taken = False
            await trio.sleep(CALM_SECONDS)
        return True

    def _patience(self) -> float:
        """Seconds until there may be one to give up, though nobody takes any."""
        usual = self._user_ids.gives
        ends = [self._reserved[0][0]] if self._reserved else []
        if self._ready[not usual]:
            ends.append(self._asked[not usual] + ASKED_SECONDS)
        return max(CALM_SECONDS, min(ends, default=math.inf) - trio.current_time())

    def _wanted(self) -> dict[bool, int]:
        """How many there are to be, by whether they have ids of their own."""
        usual = self._user_ids.gives
        lately = trio.current_time() - self._asked[not usual] < ASKED_SECONDS
        others = self.size // 2 if lately else 0
        return {usual: self.size - others, not usual: others}

    async def _give_up(self) -> bool:
        """Undo those that were reserved for too long, and those of which there are enough.

        Whether there were any.
        """
        given_up = False
        while self._reserved and self._reserved[0][0] <= trio.current_time():
            await self._undo(self._reserved.popleft()[1])
            given_up = True
        for kind, count in self._wanted().items():
            while len(self._ready[kind]) > count:
                sandbox = self._ready[kind].popleft()
                self._put_back(sandbox)
                await self._undo(sandbox)
                given_up = True
        return given_up

    async def _fill(self) -> bool:
        """False if it cannot be done now."""
        for kind, count in self._wanted().items():
            while len(self._ready[kind]) < count:
                network = self._network()
                if network is None or not _roomy(network):
                    return False
                ids = self._user_ids.set_aside() if kind else None
                if kind and ids is None:
                    break
                try:
                    self._ready[kind].append(await self._make(network, ids))
                except BaseException as error:
                    if ids is not None:
                        self._user_ids.put_back(ids)
                    if not isinstance(error, NetworkError | OrlopError | InitError | OSError):
                        raise
                    log.warning("no spare sandbox: %s", error)
                    return False
        return True

    async def _make(self, network: Network, ids: IdRange | None) -> Sandbox:
        name = f"sandbox-{self._life}-{next(self._numbers)}"
        addresses = self._networks.allocate(network.id)
        user = fd = -1
        try:
            wanted = Endpoint(
                container=name,
                network=network.id,
                port=self._stack.identity.port_name(name, network.id),
                addresses=addresses,
                mac=mac_of(addresses[0].ip),
            )
            if ids is not None:
                user, fd = await self._make_owned(*[f"0 {ids.first} {ids.size}\n"] * 2)
            else:
                fd = await self._stack.plumber.make_namespace()
            [made] = await self._stack.plumber.connect(fd, [wanted])
        except BaseException:
            for one in (user, fd):
                if one >= 0:
                    os.close(one)
            self._networks.release(network.id, [str(one.ip) for one in addresses])
            raise
        return Sandbox(fd, made, user, ids)

    async def _undo(self, sandbox: Sandbox) -> None:
        await self.discard(sandbox)
        addresses = [str(one.ip) for one in sandbox.endpoint.addresses]
        self._networks.release(sandbox.endpoint.network, addresses)

    async def _drain(self) -> None:
        self.release()
        while self._reserved:
            await self._undo(self._reserved.popleft()[1])
        while self._ready[False]:
            await self._undo(self._ready[False].popleft())


def _roomy(network: Network) -> bool:
    """Its subnets have addresses to spare."""
    return all(ledger.range.num_addresses - ledger.in_use > KEPT_FREE for ledger in network.ledgers)
