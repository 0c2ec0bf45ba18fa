"""Who reaches whom: over a network, between networks, to the outside, by published ports.

Every "no" has a "yes" beside it, over the same way with one thing changed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
from msgspec.structs import replace

from netplumb.apply.plumber import Plumber, open_plumber
from netplumb.apply.settings import Settings
from netplumb.errors import Invalid, Taken
from netplumb.plan.model import Desired
from tests.kernel.netplumb.rig import (
    ANY4,
    ANY6,
    QUIET,
    Container,
    Outside,
    ask,
    configure,
    echo_from,
    endpoint,
    make_veth,
    network,
    publish,
    serve_tcp,
    serve_udp,
)

Make = Callable[..., Container]
KINDS = pytest.mark.parametrize("kind", ["tcp", "udp"])
VERSIONS = pytest.mark.parametrize("version", [4, 6])


@dataclass
class World:
    """Containers a and b in net1, c in net2, i and j in net3, which is internal."""

    plumber: Plumber
    outside: Outside
    nursery: trio.Nursery
    a: Container
    b: Container
    c: Container
    i: Container
    j: Container


@pytest.fixture
async def world(plumber: Plumber, container: Make, outside: Outside) -> AsyncIterator[World]:
    one, two, three = network(1), network(2), network(3, internal=True)
    for net in (one, two, three):
        await plumber.add_network(net)
    boxes = [
        container(endpoint(name, net, number))
        for name, net, number in (
            ("a", one, 2),
            ("b", one, 3),
            ("c", two, 2),
            ("i", three, 2),
            ("j", three, 3),
        )
    ]
    for box in boxes:
        await plumber.connect(box.fd, box.endpoints)
    async with trio.open_nursery() as nursery:
        await echo_from(nursery, *boxes, outside, None)
        yield World(plumber, outside, nursery, *boxes)
        nursery.cancel_scope.cancel()


def of(box: Container | Outside, version: int) -> str:
    if isinstance(box, Outside):
        return box.OWN4 if version == 4 else box.OWN6
    return box.ip4 if version == 4 else box.ip6


def host(version: int) -> str:
    """The host's address on its uplink."""
    return Outside.HOST4 if version == 4 else Outside.HOST6


def gateway(number: int, version: int) -> str:
    return f"172.30.{number}.1" if version == 4 else f"fd30:{number}::1"


# --- networks -----------------------------------------------------------------------------------


@KINDS
@VERSIONS
async def test_a_network_and_the_host(world: World, kind: str, version: int) -> None:
    a, b = world.a, world.b
    assert await ask(a, of(b, version), 80, kind) == of(a, version)
    assert await ask(None, of(a, version), 80, kind) == gateway(1, version)
    assert await ask(a, gateway(1, version), 80, kind) == of(a, version)
    assert await ask(a, host(version), 80, kind) == of(a, version)


@KINDS
@VERSIONS
async def test_the_way_out_is_masqueraded(world: World, kind: str, version: int) -> None:
    assert await ask(world.a, of(world.outside, version), 80, kind) == host(version)


@KINDS
@VERSIONS
async def test_networks_are_apart(world: World, kind: str, version: int) -> None:
    a, b, c = world.a, world.b, world.c
    assert await ask(a, of(b, version), 80, kind) is not None
    assert await ask(a, of(c, version), 80, kind, within=QUIET) is None
    assert await ask(c, of(a, version), 80, kind, within=QUIET) is None


@KINDS
@VERSIONS
async def test_an_internal_network_has_no_way_out_or_in(
    world: World, kind: str, version: int
) -> None:
    i, j, outside = world.i, world.j, world.outside
    assert await ask(i, of(j, version), 80, kind) == of(i, version)
    assert await ask(None, of(i, version), 80, kind) == gateway(3, version)
    # A container that makes itself a route does not get out either.
    i.default_route(gateway(3, 4), gateway(3, 6))
    assert await ask(i, gateway(3, version), 80, kind) == of(i, version), "the route works"
    for target in (of(outside, version), of(world.a, version), host(version), gateway(1, version)):
        assert await ask(i, target, 80, kind, within=QUIET) is None, target
    for neighbour in (world.a, outside):
        assert await ask(neighbour, of(i, version), 80, kind, within=QUIET) is None


@VERSIONS
async def test_nobody_outside_reaches_a_container_by_its_address(
    world: World, version: int
) -> None:
    world.outside.route_to_host()
    a, outside = world.a, world.outside
    assert await ask(outside, host(version), 80) == of(outside, version), "the host is reached"
    for kind in ("tcp", "udp"):
        assert await ask(outside, of(a, version), 80, kind, within=QUIET) is None


@VERSIONS
async def test_without_masquerade_the_address_stays(
    plumber: Plumber, container: Make, outside: Outside, version: int
) -> None:
    net = network(1, masquerade=False)
    await plumber.add_network(net)
    box = container(endpoint("a", net, 2))
    await plumber.connect(box.fd, box.endpoints)
    outside.route_to_host()
    async with trio.open_nursery() as nursery:
        await echo_from(nursery, outside)
        assert await ask(box, of(outside, version), 80) == of(box, version)
        nursery.cancel_scope.cancel()


@KINDS
async def test_a_network_of_ipv6_alone(
    plumber: Plumber, container: Make, outside: Outside, kind: str
) -> None:
    net = replace(network(1), gateways=network(1).gateways[1:])
    await plumber.add_network(net)
    one, two = container(endpoint("a", net, 2)), container(endpoint("b", net, 3))
    for box in (one, two):
        await plumber.connect(box.fd, box.endpoints)
    await plumber.publish([publish(ANY6, 8080, two, 80, kind)])
    async with trio.open_nursery() as nursery:
        await echo_from(nursery, two, outside)
        assert await ask(one, two.ip6, 80, kind) == one.ip6
        assert await ask(one, outside.OWN6, 80, kind) == outside.HOST6
        assert await ask(outside, outside.HOST6, 8080, kind) == outside.OWN6
        nursery.cancel_scope.cancel()
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == "0\n"


@KINDS
@VERSIONS
async def test_without_icc_containers_see_the_host_alone(
    plumber: Plumber, container: Make, kind: str, version: int
) -> None:
    net = network(1, icc=False)
    await plumber.add_network(net)
    one, two = container(endpoint("a", net, 2)), container(endpoint("b", net, 3))
    for box in (one, two):
        await plumber.connect(box.fd, box.endpoints)
    async with trio.open_nursery() as nursery:
        await echo_from(nursery, one, two, None)
        assert await ask(one, gateway(1, version), 80, kind) == of(one, version)
        assert await ask(one, of(two, version), 80, kind, within=QUIET) is None
        await plumber.add_network(replace(net, icc=True))
        assert await ask(one, of(two, version), 80, kind) == of(one, version)
        nursery.cancel_scope.cancel()


# --- published ports ------------------------------------------------------------------------------


@KINDS
@VERSIONS
@pytest.mark.parametrize("calls_iptables", ["0", "1"])
async def test_a_published_port_from_everywhere(
    world: World, kind: str, version: int, calls_iptables: str
) -> None:
    """Also from the container itself, its neighbours and other networks, with br_netfilter too."""
    bridged = Path("/proc/sys/net/bridge")
    if not bridged.exists() and calls_iptables == "1":
        return  # a kernel without br_netfilter has only the other case
    for name in ("iptables", "ip6tables"):
        if bridged.exists():
            (bridged / f"bridge-nf-call-{name}").write_text(calls_iptables)
    anywhere = ANY4 if version == 4 else ANY6
    await world.plumber.publish([publish(anywhere, 8080, world.b, 80, kind)])

    assert await ask(world.outside, host(version), 8080, kind) == of(world.outside, version)
    assert await ask(None, host(version), 8080, kind) == host(version)
    for neighbour in (world.a, world.b):
        for address in (host(version), gateway(1, version)):
            assert await ask(neighbour, address, 8080, kind) == gateway(1, version)
    assert await ask(world.c, host(version), 8080, kind) == gateway(1, version)
    assert await ask(world.i, gateway(3, version), 8080, kind, within=QUIET) is None

    await world.plumber.unpublish([publish(anywhere, 8080, world.b, 80, kind)])
    for source in (world.outside, world.a, world.c, None):
        assert await ask(source, host(version), 8080, kind, within=QUIET) is None


@VERSIONS
async def test_a_port_published_on_one_address(world: World, version: int) -> None:
    await world.plumber.publish([publish(host(version), 8080, world.b, 80)])
    assert await ask(world.outside, host(version), 8080) == of(world.outside, version)
    assert await ask(world.a, host(version), 8080) == gateway(1, version)
    assert await ask(world.a, gateway(1, version), 8080, within=QUIET) is None
    # The same port of another address, and of all others, may lead elsewhere.
    anywhere = ANY4 if version == 4 else ANY6
    await world.plumber.publish([publish(anywhere, 8080, world.c, 81)])
    await world.nursery.start(serve_tcp, world.c, 81)
    assert await ask(world.a, gateway(1, version), 8080) == gateway(2, version)
    assert await ask(world.outside, host(version), 8080) == of(world.outside, version)


async def test_ports_are_not_taken_twice(world: World) -> None:
    await world.plumber.publish([publish(ANY4, 8080, world.b, 80)])
    with pytest.raises(Taken, match="port is already allocated by container b"):
        await world.plumber.publish(
            [publish(ANY4, 8081, world.c, 80), publish(ANY4, 8080, world.c, 80)]
        )
    assert await ask(world.outside, host(4), 8081, within=QUIET) is None, "all or none"
    assert await ask(world.outside, host(4), 8080) is not None
    with pytest.raises(Invalid, match="network net3 is internal: it publishes no ports"):
        await world.plumber.publish([publish(ANY4, 8082, world.i, 80)])


async def test_published_ports_go_with_the_container(world: World) -> None:
    await world.plumber.publish(
        [publish(ANY4, 8080, world.b, 80), publish(ANY4, 8081, world.b, 80)]
    )
    assert await ask(world.outside, host(4), 8080) is not None
    await world.plumber.forget("b")
    assert world.plumber.desired.bindings == ()
    assert await ask(world.outside, host(4), 8080, within=QUIET) is None


async def test_a_udp_client_follows_the_port(world: World) -> None:
    """It keeps its socket, so that connection tracking keeps its translation."""
    box = world.outside

    async def who(expected: bytes) -> None:
        with trio.fail_after(3):
            while True:
                await asking.sendto(b"?", (host(4), 8080))
                with trio.move_on_after(0.2):
                    answer, _ = await asking.recvfrom(100)
                    if answer == expected:
                        return

    async def name(space: Container, word: bytes) -> None:
        with space.socket(2, 2) as server:
            await server.bind((ANY4, 90))
            while True:
                _, peer = await server.recvfrom(100)
                await server.sendto(word, peer)

    world.nursery.start_soon(name, world.a, b"a")
    world.nursery.start_soon(name, world.b, b"b")
    with box.socket(2, 2) as asking:
        # A flow that was there before the port is published, then one that leads elsewhere.
        await asking.sendto(b"?", (host(4), 8080))
        first = publish(ANY4, 8080, world.a, 90, "udp")
        await world.plumber.publish([first])
        await who(b"a")
        await world.plumber.unpublish([first])
        await world.plumber.publish([publish(ANY4, 8080, world.b, 90, "udp")])
        await who(b"b")


# --- published on loopback ------------------------------------------------------------------------


async def test_a_loopback_port_is_for_this_host_alone(world: World) -> None:
    """Even if somebody allows 127.0.0.0/8 on the wire (CVE-2020-8558)."""
    outside = world.outside
    bridge = network(1).bridge
    for name in ("up0", bridge, "all"):
        Path(f"/proc/sys/net/ipv4/conf/{name}/route_localnet").write_text("1")
        Path(f"/proc/sys/net/ipv4/conf/{name}/rp_filter").write_text("0")
    for space, via in ((outside, host(4)), (world.a, gateway(1, 4))):
        for name in ("eth0", "all"):
            space.write(f"ipv4/conf/{name}/route_localnet", "1")
        # Its own 127.0.0.0/8 out of the way: what is for 127.0.0.1 goes to the host.
        space.routing(
            lambda r: r.rule("add", priority=1, table=255),
            lambda r: r.rule("del", priority=0, table=255),
            lambda r: r.rule("add", priority=0, table=7, dst="127.0.0.1/32"),
            lambda r, via=via: r.route("add", dst="127.0.0.1/32", gateway=via, table=7),  # type: ignore[misc]
        )

    assert await ask(outside, "127.0.0.1", 80) is not None, "the way is open"
    assert await ask(world.a, "127.0.0.1", 80) is not None

    await world.nursery.start(serve_tcp, None, 8080)  # as the port proxy would
    await world.nursery.start(serve_udp, None, 8080)
    for kind in ("tcp", "udp"):
        await world.plumber.publish([publish("127.0.0.1", 8080, world.b, 80, kind)])
        assert await ask(None, "127.0.0.1", 8080, kind) == "127.0.0.1"
        for source in (outside, world.a):
            assert await ask(source, "127.0.0.1", 8080, kind, within=QUIET) is None
    assert await ask(outside, host(4), 8080) is not None, "this server is on all addresses"


# --- what is not ours -----------------------------------------------------------------------------


async def second_uplink(nursery: trio.Nursery, outside: Outside) -> tuple[Outside, Container]:
    """Another machine behind the host, to which `outside` has a route by the host."""
    other = Container()
    make_veth("up1", "eth0", other.fd)
    configure("up1", "10.8.0.1/24")
    other.do(lambda: configure("eth0", "10.8.0.2/24"))
    other.default_route("10.8.0.1")
    outside.route_to_host()
    await echo_from(nursery, other)
    return outside, other


async def test_the_host_becomes_no_router_for_others(
    plumber: Plumber, container: Make, outside: Outside
) -> None:
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == "0\n"
    async with trio.open_nursery() as nursery:
        outside, other = await second_uplink(nursery, outside)
        net = network(1)
        await plumber.add_network(net)
        assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == "1\n"
        assert (plumber.forwarding.ipv4, plumber.forwarding.ipv6) == (False, False)
        box = container(endpoint("a", net, 2))
        await plumber.connect(box.fd, box.endpoints)
        assert await ask(box, "10.8.0.2", 80) == "10.8.0.1"
        assert await ask(outside, "10.8.0.2", 80, within=QUIET) is None
        other.close()
        nursery.cancel_scope.cancel()


async def test_a_router_stays_one(container: Make, outside: Outside) -> None:
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    async with open_plumber() as plumber, trio.open_nursery() as nursery:
        outside, other = await second_uplink(nursery, outside)
        await plumber.add_network(network(1))
        assert plumber.forwarding.ipv4 is True
        # IPv6 is forwarded because of us: that is no reason not to forward IPv4.
        assert await ask(outside, "10.8.0.2", 80) == outside.OWN4
        other.close()
        nursery.cancel_scope.cancel()


async def test_forwarding_stays_off_without_need(plumber: Plumber) -> None:
    await plumber.add_network(network(1, internal=True))
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == "0\n"
    assert plumber.forwarding.ipv4 is None
    await plumber.add_network(network(2, ipv6=False))
    assert Path("/proc/sys/net/ipv4/ip_forward").read_text() == "1\n"
    assert Path("/proc/sys/net/ipv6/conf/all/forwarding").read_text() == "0\n"


async def test_what_forwarding_was_is_remembered_by_the_caller(outside: Outside) -> None:
    async with open_plumber() as plumber:
        await plumber.add_network(network(1))
        known, wanted = plumber.forwarding, plumber.desired
    async with open_plumber(Settings(forwarding=known)) as plumber, trio.open_nursery() as nursery:
        await plumber.restore(wanted)
        assert plumber.forwarding == known
        outside, other = await second_uplink(nursery, outside)
        assert await ask(outside, "10.8.0.2", 80, within=QUIET) is None
        await plumber.restore(Desired())
        assert await ask(outside, "10.8.0.2", 80) is not None, "no networks, no rules"
        other.close()
        nursery.cancel_scope.cancel()


async def test_ipv6_routes_learned_from_routers_stay(outside: Outside, plumber: Plumber) -> None:
    accept = Path("/proc/sys/net/ipv6/conf/up0/accept_ra")
    assert accept.read_text() == "1\n"
    await plumber.add_network(network(1))
    assert Path("/proc/sys/net/ipv6/conf/all/forwarding").read_text() == "1\n"
    assert accept.read_text() == "2\n"
