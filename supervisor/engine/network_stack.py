"""The host's network as this daemon has it: links and firewall, published ports, name server.

    async with open_network_stack(settings, database) as stack:
        engine.networks.stack = engine.network_runs.stack = stack

Opening changes nothing of the host; `NetworkRuns.restore` does, once the records are read.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import msgspec
import trio

from netplumb import errors
from netplumb.apply import forwarding
from netplumb.apply.forwarding import Forwarding
from netplumb.apply.nameserver import NameServer, open_nameserver
from netplumb.apply.plumber import Plumber, open_plumber
from netplumb.apply.ports import Ports, open_ports
from netplumb.apply.settings import Settings
from netplumb.apply.upstream import Server
from netplumb.plan import resolv
from netplumb.plan.model import Network, Subnet
from netplumb.plan.names import DEFAULT, Identity
from supervisor.errors import (
    Conflict,
    Internal,
    InvalidArgument,
    NotImplementedYet,
    OrlopError,
    Unavailable,
)
from supervisor.store.database import Database

log = logging.getLogger("orlop.network")

KIND = "network-stack"
_FORWARDING = "forwarding"
RECONCILE_SECONDS = 30.0
RESOLV_CONF = Path("/etc/resolv.conf")
_LONGEST_IDENTITY = 32
_STATUS: tuple[tuple[type[errors.NetworkError], type[OrlopError]], ...] = (
    (errors.Invalid, InvalidArgument),
    (errors.Taken, Conflict),
    (errors.Exhausted, Unavailable),
    (errors.Unsupported, NotImplementedYet),
)


def network_error(error: errors.NetworkError) -> OrlopError:
    """The same error as a caller of the engine knows it."""
    for theirs, ours in _STATUS:
        if isinstance(error, theirs):
            return ours(error.message)
    return Internal(error.message)


@contextmanager
def network_errors() -> Iterator[None]:
    """Let netplumb's errors be OrlopError's."""
    try:
        yield
    except errors.NetworkError as error:
        raise network_error(error) from error


def identity_of(cgroup_parent: str) -> Identity:
    """Whose the interfaces are: two daemons on one host have two cgroup parents."""
    plain = cgroup_parent.replace("-", "")
    if plain.isascii() and plain.isalnum() and len(cgroup_parent) <= _LONGEST_IDENTITY:
        return Identity(cgroup_parent)
    return Identity(f"x-{hashlib.sha256(cgroup_parent.encode()).hexdigest()[:16]}")


def default_bridge(identity: Identity) -> str:
    """The device of the default network, unless the daemon is told another."""
    if identity.name == DEFAULT:
        return "orlop0"
    return f"ol-{hashlib.sha256(identity.name.encode()).hexdigest()[:8]}"


class StackSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`dns` are asked by containers in place of the host's resolvers. `check`: see first if this
    kernel can do it at all."""

    identity: Identity
    dns: tuple[str, ...] = ()
    check: bool = True


@asynccontextmanager
async def open_network_stack(
    settings: StackSettings, database: Database
) -> AsyncIterator[NetworkStack]:
    """The network of the caller's namespace; Unavailable says what the kernel lacks.

    What it holds is closed at the end. Bridges, firewall and pairs stay: containers live on.
    """
    plumbing = Settings(
        identity=settings.identity,
        forwarding=await _kept_forwarding(database),
        report=lambda text: log.warning("%s", text),
    )
    if settings.check:
        await _check(plumbing)
    async with (
        open_plumber(plumbing) as plumber,
        open_ports() as ports,
        open_nameserver() as names,
        trio.open_nursery() as nursery,
    ):
        stack = NetworkStack(settings, database, plumber, ports, names)
        stack.refresh_resolvers()
        nursery.start_soon(stack.keep_in_order)
        try:
            yield stack
        finally:
            nursery.cancel_scope.cancel()


async def _check(plumbing: Settings) -> None:
    reason = ""
    async with open_plumber(plumbing) as plumber:
        try:
            await plumber.check_host()
        except errors.NetworkError as error:
            reason = error.message
    if reason:  # not from inside: it would come out as a group
        raise Unavailable(f"this host has no container networks: {reason}")


class NetworkStack:
    """Made by `open_network_stack`. `resolvers` are those that the name server asks."""

    def __init__(
        self,
        settings: StackSettings,
        database: Database,
        plumber: Plumber,
        ports: Ports,
        names: NameServer,
    ) -> None:
        self.settings = settings
        self.plumber = plumber
        self.ports = ports
        self.names = names
        self.resolvers: tuple[str, ...] = ()
        self._database = database
        self._forwarding = plumber.settings.forwarding

    @property
    def identity(self) -> Identity:
        """Whose the interfaces are."""
        return self.settings.identity

    # --- networks -----------------------------------------------------------------------

    async def host_subnets(self) -> Sequence[Subnet]:
        """Where the host's routes lead, default routes left out."""
        with network_errors():
            return await self.plumber.host_subnets()

    async def add_network(self, network: Network) -> None:
        """Make a network, or change it in place."""
        await self.note_forwarding([network])
        with network_errors():
            await self.plumber.add_network(network)
        if network.id not in self.names.networks:
            self.names.set_network(network)

    async def remove_network(self, network_id: str) -> None:
        """Remove a network; Conflict while a container is in it."""
        with network_errors():
            await self.plumber.remove_network(network_id)
        self.names.forget_network(network_id)

    # --- what outlives the process ------------------------------------------------------

    async def note_forwarding(self, networks: Sequence[Network]) -> None:
        """Remember what forwarding is before these networks let it be switched on.

        Before, and durable: whoever comes after a crash could not know that it was off.
        """
        outer = [network for network in networks if not network.internal]
        found = forwarding.look(
            self._forwarding,
            ipv4=any(network.gateway(4) for network in outer),
            ipv6=any(network.has_ipv6 for network in outer),
        )
        if found != self._forwarding:
            document = {"host": _this_boot(), "ipv4": found.ipv4, "ipv6": found.ipv6}
            await self._database.put(KIND, _FORWARDING, json.dumps(document).encode())
            self._forwarding = found

    # --- in the background --------------------------------------------------------------

    async def keep_in_order(self) -> None:
        """Look now and then for what nobody announced. Until cancelled."""
        while True:
            await trio.sleep(RECONCILE_SECONDS)
            self.refresh_resolvers()
            try:
                restored = await self.plumber.reconcile()
            except errors.NetworkError as error:
                log.warning("the network could not be looked after: %s", error)
            else:
                for conflict in restored.conflicts:
                    log.warning("%s", conflict)

    def refresh_resolvers(self) -> None:
        """Take the host's resolvers as they are now, unless the daemon was given others."""
        found = self.settings.dns or resolv.parse(_read(RESOLV_CONF)).servers
        if found != self.resolvers:
            self.resolvers = found
            self.names.set_servers([Server(address) for address in found])


async def _kept_forwarding(database: Database) -> Forwarding:
    for key, document in await database.all(KIND):
        if key != _FORWARDING:
            continue
        try:
            kept = json.loads(document)
            if kept["host"] == _this_boot():
                return Forwarding(kept["ipv4"], kept["ipv6"])
        except (ValueError, KeyError, TypeError) as error:
            log.warning("what forwarding was before is not known any more: %r", error)
    return Forwarding()


def _this_boot() -> str:
    """What forwarding belongs to: this boot of the kernel, this network namespace."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{Path('/proc/self/ns/net').stat().st_ino}"


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
