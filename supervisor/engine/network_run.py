"""One run of a container in networks: what is known of it besides its record."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import trio

from netplumb.errors import NetworkError
from netplumb.plan.model import Endpoint, PortBinding
from supervisor.engine import network_plan
from supervisor.engine.record import Record
from supervisor.engine.sandboxes import Sandbox
from supervisor.errors import Conflict
from supervisor.spec.networks import NetworkRun
from supervisor.store.database import Ticket

if TYPE_CHECKING:
    from supervisor.engine.container import Container

log = logging.getLogger("orlop.network")

_IF_INET6 = Path("/proc/net/if_inet6")


class Run(msgspec.Struct):
    """`endpoints` by network, as they were made or are to be; `bindings` are its published ports;
    `sandbox` is still to be named after the container. `names`: the name server is to be at
    127.0.0.11. `saved` is the record that tells all this. `told`: there were events about it.
    """

    endpoints: dict[str, Endpoint] = msgspec.field(default_factory=dict)
    bindings: list[PortBinding] = msgspec.field(default_factory=list)
    sandbox: Sandbox | None = None
    names: bool = False
    saved: Ticket | None = None
    told: bool = False
    changing: trio.Lock = msgspec.field(default_factory=trio.Lock)

    async def is_saved(self) -> None:
        """Return once the record is durable."""
        if self.saved is not None:
            await self.saved.wait()


def first_default(network_ids: Iterable[str], record: Record) -> list[str]:
    """The networks with the default one at the front: its names come first."""
    default = record.network.default if record.network is not None else ""
    return sorted(network_ids, key=lambda one: one != default)


def endpoints_of(container: str, has: NetworkRun | None) -> dict[str, Endpoint]:
    """The endpoints that a record tells of; those that make no sense are left out, and logged."""
    found: dict[str, Endpoint] = {}
    for place in has.endpoints if has is not None else ():
        try:
            default = has is not None and place.network == has.default
            found[place.network] = network_plan.from_run(container, place, default=default)
        except (NetworkError, ValueError) as error:
            log.warning("container %s: its record: %s", container[:12], error)
    return found


def bindings_of(record: Record, endpoints: dict[str, Endpoint]) -> list[PortBinding]:
    """The ports that a record tells of, if they lead to one of these endpoints."""
    has = record.network
    towards = endpoints.get(has.default) if has is not None else None
    if has is None or towards is None:
        return []
    try:
        return network_plan.bindings(record.id, has.ports, towards)
    except (NetworkError, ValueError) as error:
        log.warning("container %s: its record: %s", record.id[:12], error)
        return []


@contextmanager
def namespace_of(container: Container, pid: int) -> Iterator[int]:
    """The network namespace of a running container, as an fd for the block."""
    try:
        fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        raise Conflict(f"container {container.record.name} is not running") from None
    try:
        yield fd
    finally:
        os.close(fd)


def host_has_ipv6() -> bool:
    """This host can bind to addresses of IPv6."""
    try:
        return bool(_IF_INET6.read_text())
    except OSError:
        return False
