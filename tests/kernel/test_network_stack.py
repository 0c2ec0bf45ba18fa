"""The daemon's part of the host's network, in a network namespace that plays the host."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from netplumb.errors import Unsupported
from netplumb.plan.model import Network
from supervisor.engine import network_stack
from supervisor.engine.network_stack import (
    KIND,
    NetworkStack,
    StackSettings,
    identity_of,
    open_network_stack,
)
from supervisor.errors import Conflict, Unavailable
from supervisor.store.database import Database
from tests.kernel.netplumb.rig import Space, make_veth, own_host

pytestmark = pytest.mark.feature("bridge", "veth", "nftables")

SETTINGS = StackSettings(identity=identity_of("orlop"))
NET = Network(id="a" * 64, name="n1", bridge="ol-n1", gateways=(IPv4Interface("172.20.0.1/16"),))
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


@pytest.fixture(autouse=True)
def host() -> Iterator[None]:
    """The namespace that the test is in, which forwards nothing."""
    with own_host():
        FORWARDING.write_text("0")
        yield


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    made = await Database.open(tmp_path / "db")
    yield made
    await made.close()


async def noted(database: Database) -> list[bool | None]:
    """What is on disk of what forwarding was."""
    return [json.loads(doc)["ipv4"] for _, doc in await database.all(KIND)]


async def test_what_forwarding_was_is_noted_first(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, list[bool | None]]] = []
    real = NetworkStack.note_forwarding

    async def note(stack: NetworkStack, networks: list[Network]) -> None:
        await real(stack, networks)
        seen.append((FORWARDING.read_text().strip(), await noted(database)))

    monkeypatch.setattr(NetworkStack, "note_forwarding", note)
    async with open_network_stack(SETTINGS, database) as stack:
        assert await noted(database) == []
        await stack.add_network(NET)
        assert seen == [("0", [False])]
        assert FORWARDING.read_text().strip() == "1"
    async with open_network_stack(SETTINGS, database) as stack:
        assert stack.plumber.forwarding.ipv4 is False, "although it is on by now"
        await stack.add_network(NET)
        assert seen[1:] == [("1", [False])]
        await stack.remove_network(NET.id)


async def test_what_forwarding_was_in_another_boot_says_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_network_stack(SETTINGS, database) as stack:
        await stack.note_forwarding([NET])
    monkeypatch.setattr(network_stack, "_this_boot", lambda: "another")
    async with open_network_stack(SETTINGS, database) as stack:
        assert stack.plumber.forwarding.ipv4 is None


async def test_errors_are_the_engines(database: Database) -> None:
    other = Space()
    try:
        make_veth("ol-n1", "peer", other.fd)
        async with open_network_stack(SETTINGS, database) as stack:
            with pytest.raises(Conflict, match="ol-n1"):
                await stack.add_network(NET)
            assert stack.names.networks == frozenset()
    finally:
        other.close()


async def test_the_hosts_resolvers(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "resolv.conf"
    monkeypatch.setattr(network_stack, "RESOLV_CONF", file)
    async with open_network_stack(SETTINGS, database) as stack:
        assert not stack.resolvers
        file.write_text("nameserver 127.0.0.53\nsearch lan\n")
        stack.refresh_resolvers()
        assert stack.resolvers == ("127.0.0.53",)
    own = StackSettings(identity=SETTINGS.identity, dns=("10.0.0.53",))
    async with open_network_stack(own, database) as stack:
        assert stack.resolvers == ("10.0.0.53",)


async def test_a_kernel_that_cannot(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """One error, not in a group: the daemon goes on without networks."""

    async def lacks(_plumber: object) -> None:
        raise Unsupported("this kernel has no nftables")

    monkeypatch.setattr("netplumb.apply.plumber.Plumber.check_host", lacks)
    async with AsyncExitStack() as stack:
        with pytest.raises(Unavailable, match=r"no container networks: .* has no nftables"):
            await stack.enter_async_context(open_network_stack(SETTINGS, database))
    unchecked = StackSettings(identity=SETTINGS.identity, check=False)
    async with open_network_stack(unchecked, database):
        pass
