"""The container network by itself: wiring a namespace, publishing ports, names, recovery.

All in network namespaces of the bench's own; the daemon has no part in it.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Interface, ip_address
from typing import Any

import trio
from pyroute2 import IPRoute, NetNS

from netplumb.apply.nameserver import open_nameserver
from netplumb.apply.plumber import open_plumber
from netplumb.apply.ports import open_ports
from netplumb.apply.settings import Settings
from netplumb.plan import pair
from netplumb.plan.model import Endpoint, Network, PortBinding
from netplumb.plan.names import Identity, mac_of
from tests.bench.figures import Figure, median, spread
from tests.bench.rig import Rig, Sizes
from tests.kernel.netplumb.rig import Container, Space, own_host, serve_tcp

ME = Identity()
NET = Network(
    id="bench", name="bench", bridge="ol-bench", gateways=(IPv4Interface("172.30.0.1/16"),)
)
PORTS = 500
BATCH = 20
MEGABYTES = 64
CLIENTS = 4


def network(_rig: Rig, sizes: Sizes) -> list[Figure]:
    """Every figure of the network."""
    figures = [*_imports(), _encoding()]
    with own_host():
        wired, direct = trio.run(_wiring, sizes.pairs), _by_pyroute2(sizes.pairs // 3)
        figures += wired[0]
        figures += spread("network", "the same by pyroute2's IPRoute", direct)
        ratio = median(direct) / median(wired[1])
        figures.append(Figure(part="network", name="times faster", value=ratio, unit="", least=5))
    for measure in (_throughput, _publishing, _recovery, _names, _proxy):
        with own_host():
            figures += trio.run(measure, sizes)
    return figures


def endpoint(number: int, life: str = "") -> Endpoint:
    """The endpoint of container number N."""
    address = IPv4Interface((int(IPv4Address("172.30.0.2")) + number, 16))
    name = f"c{number}{life}"
    return Endpoint(
        container=name,
        network=NET.id,
        port=ME.port_name(name, NET.id),
        addresses=(address,),
        mac=mac_of(address.ip),
        names=(name,),
    )


def binding(number: int) -> PortBinding:
    """Published port number N, of container 0."""
    return PortBinding(
        container="c0",
        host_ip=IPv4Address(0),
        host_port=10_000 + number,
        container_ip=ip_address("172.30.0.2"),
        container_port=80,
    )


@contextmanager
def spaces(count: int) -> Iterator[list[Space]]:
    """So many new namespaces."""
    made = [Space() for _ in range(count)]
    try:
        yield made
    finally:
        for space in made:
            space.close()


async def timed(times: list[float], awaitable: Awaitable[Any]) -> None:
    """Add how long it took, in seconds."""
    begun = time.perf_counter()
    await awaitable
    times.append(time.perf_counter() - begun)


# --- what it costs to have it -----------------------------------------------------------------


def _imports() -> list[Figure]:
    ours = _import_cost("netplumb.apply.plumber, netplumb.apply.ports, netplumb.apply.nameserver")
    theirs = _import_cost("pyroute2")
    rows = [
        ("importing netplumb, with trio there", ours[0], "ms", 100.0),
        ("its memory", ours[1], "MB", 6.0),
        ("importing pyroute2, with trio there", theirs[0], "ms", None),
        ("its memory", theirs[1], "MB", None),
    ]
    return [
        Figure(part="network", name=name, value=value, unit=unit, most=most)
        for name, value, unit, most in rows
    ]


def _import_cost(modules: str) -> tuple[float, float]:
    """CPU milliseconds and megabytes beyond trio's own; the best of three."""
    program = (
        "import time, trio\n"
        "pages = lambda: int(open('/proc/self/statm').read().split()[1])\n"
        "before, begun = pages(), time.process_time()\n"
        f"import {modules}\n"
        "print(1000 * (time.process_time() - begun), (pages() - before) * 4 / 1024)"
    )
    runs = [
        tuple(map(float, subprocess.check_output([sys.executable, "-c", program]).split()))
        for _ in range(3)
    ]
    return min(run[0] for run in runs), min(run[1] for run in runs)


def _encoding() -> Figure:
    """All messages of one container."""
    times = []
    for number in range(200):
        end = endpoint(number)
        begun = time.perf_counter()
        pair.host_side(end, NET, ME, bridge=5, namespace=9)
        pair.inside([(end, NET, 2)])
        times.append(1e6 * (time.perf_counter() - begun))
    return Figure(part="network", name="encoding it, p50", value=median(times), unit="µs")


# --- wiring ---------------------------------------------------------------------------------------


async def _wiring(count: int) -> tuple[list[Figure], list[float]]:
    """One after the other, as a start waits for it."""
    times: list[float] = []
    forgotten: list[float] = []
    async with open_plumber() as plumber:
        await plumber.add_network(NET)
        for first in range(0, count, BATCH):
            with spaces(BATCH) as batch:
                for number, space in enumerate(batch, first):
                    await timed(times, plumber.connect(space.fd, [endpoint(number)]))
                for number in range(first, first + BATCH):
                    await timed(forgotten, plumber.forget(f"c{number}"))
            await _settled()
    return [
        *spread("network", "wiring a namespace", times, most=2),
        *spread("network", "forgetting it", forgotten),
    ], times


async def _settled() -> None:
    """The kernel has removed all pairs: that holds the lock that everything here needs."""
    with trio.move_on_after(5):
        while any(
            name.startswith("ol") and name != NET.bridge for _, name in socket.if_nameindex()
        ):
            await trio.sleep(0.02)


def _by_pyroute2(count: int) -> list[float]:
    """Pair, bridge, addresses, route, both ends up, by its calls."""
    times = []
    with IPRoute() as route:
        route.link("add", ifname="br0", kind="bridge")
        (bridge,) = route.link_lookup(ifname="br0")
        route.addr("add", index=bridge, address="172.31.0.1", prefixlen=16)
        route.link("set", index=bridge, state="up")
        for number in range(count):
            with spaces(1) as (space,):
                begun = time.perf_counter()
                _wire_by_pyroute2(route, bridge, space, number)
                times.append(time.perf_counter() - begun)
    return times


def _wire_by_pyroute2(route: IPRoute, bridge: int, space: Space, number: int) -> None:
    name = f"v{number}"
    peer = {"ifname": "eth0", "net_ns_fd": space.fd}
    route.link("add", ifname=name, kind="veth", peer=peer)
    (index,) = route.link_lookup(ifname=name)
    route.link("set", index=index, master=bridge)
    route.link("set", index=index, state="up")
    with NetNS(f"/proc/{os.getpid()}/fd/{space.fd}", flags=0) as inner:
        (eth0,) = inner.link_lookup(ifname="eth0")
        address = str(IPv4Address("172.31.0.2") + number)
        inner.addr("add", index=eth0, address=address, prefixlen=16)
        inner.link("set", index=1, state="up")
        inner.link("set", index=eth0, state="up")
        inner.route("add", dst="default", gateway="172.31.0.1")


async def _throughput(sizes: Sizes) -> list[Figure]:
    """By several at once."""
    with spaces(sizes.fleet) as made:
        async with open_plumber() as plumber:
            await plumber.add_network(NET)
            waiting = iter(enumerate(made))

            async def client() -> None:
                for number, space in waiting:
                    await plumber.connect(space.fd, [endpoint(number)])

            begun = time.perf_counter()
            async with trio.open_nursery() as nursery:
                for _ in range(CLIENTS):
                    nursery.start_soon(client)
            rate = sizes.fleet / (time.perf_counter() - begun)
    name = f"wired by {CLIENTS} at once"
    return [Figure(part="network", name=name, value=rate, unit="/s", least=300)]


# --- the firewall -----------------------------------------------------------------------------


async def _publishing(_sizes: Sizes) -> list[Figure]:
    """Each port by itself, with all the others there."""
    added: list[float] = []
    removed: list[float] = []
    async with open_plumber() as plumber:
        await plumber.add_network(NET)
        await plumber.publish([binding(number) for number in range(PORTS)])
        for number in range(PORTS, PORTS + 200):
            await timed(added, plumber.publish([binding(number)]))
            await timed(removed, plumber.unpublish([binding(number)]))
    return [
        *spread("network", f"publishing a port beside {PORTS}", added, most=5),
        *spread("network", f"removing one of {PORTS}", removed, most=5),
    ]


async def _recovery(sizes: Sizes) -> list[Figure]:
    """A new process takes all of it over; then somebody flushes the ruleset."""
    count = sizes.fleet
    restored: list[float] = []
    healed: list[float] = []
    with spaces(count) as made:
        async with open_plumber() as plumber:
            await plumber.add_network(NET)
            for number, space in enumerate(made):
                await plumber.connect(space.fd, [endpoint(number)])
            await plumber.publish([binding(number) for number in range(PORTS)])
            wanted = plumber.desired
        for _ in range(5):
            async with open_plumber() as plumber:
                await timed(restored, plumber.restore(wanted))
        healing = trio.Event()
        settings = Settings(own_tables=False, report=lambda _: healing.set())
        async with open_plumber(settings) as plumber:
            await plumber.restore(wanted)
            for _ in range(5):
                healing = trio.Event()
                subprocess.run(["nft", "flush", "ruleset"], check=True)
                await timed(healed, healing.wait())
                await trio.sleep(0.6)
    what = f"{count} containers, {PORTS} ports"
    return [
        *spread("network", f"restoring {what}", restored, most=500),
        *spread("network", f"a flushed ruleset is back, {what}", healed, most=1000),
    ]


# --- names and the proxy ----------------------------------------------------------------------


async def _names(sizes: Sizes) -> list[Figure]:
    """Serving a container, and its questions."""
    attached: list[float] = []
    asked: list[float] = []
    async with open_plumber() as plumber, open_nameserver() as names:
        await plumber.add_network(NET)
        with spaces(sizes.pairs) as made:
            for number, space in enumerate(made):
                await plumber.connect(space.fd, [endpoint(number)])
            names.set_network(NET, plumber.desired.endpoints)
            for number, space in enumerate(made):
                await timed(attached, names.attach(f"c{number}", space.fd, [NET.id]))
            question = b"\0\1\1\0\0\1\0\0\0\0\0\0\2c7\0\0\1\0\1"
            with made[0].socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
                await asking.connect(("127.0.0.11", 53))
                for _ in range(500):
                    await timed(asked, _ask(asking, question))
    return [
        *spread("network", "serving a container names", attached, most=2),
        *spread("network", "a name of a neighbour", asked, most=1),
    ]


async def _ask(asking: trio.socket.SocketType, question: bytes) -> None:
    await asking.send(question)
    answer = await asking.recv(512)
    assert answer[-4:] == IPv4Address("172.30.0.9").packed, answer


async def _proxy(_sizes: Sizes) -> list[Figure]:
    """From the host's loopback into a container."""
    connected: list[float] = []
    async with open_plumber() as plumber, open_ports() as ports, trio.open_nursery() as nursery:
        await plumber.add_network(NET)
        box = Container(endpoint(0))
        await plumber.connect(box.fd, box.endpoints)
        local = ip_address("127.0.0.1")

        async def published(inner: int) -> int:
            port = await ports.reserve("c0", [local], None)
            ports.serve(
                PortBinding(
                    container="c0",
                    host_ip=local,
                    host_port=port,
                    container_ip=ip_address(box.ip4),
                    container_port=inner,
                )
            )
            return port

        await nursery.start(serve_tcp, box, 80)
        port = await published(80)
        for _ in range(200):
            await timed(connected, _connect(port))
        rate = await _pour(box, await published(81))
        box.close()
        nursery.cancel_scope.cancel()
    return [
        *spread("network", "a connection by the proxy", connected),
        Figure(part="network", name="through the proxy", value=rate, unit="MB/s"),
    ]


async def _connect(port: int) -> None:
    with trio.socket.socket() as client:
        await client.connect(("127.0.0.1", port))
        assert await client.recv(100)


async def _pour(box: Container, port: int) -> float:
    """Megabytes a second."""

    async def drain(listener: trio.socket.SocketType) -> None:
        connection, _ = await listener.accept()
        with connection:
            left = MEGABYTES << 20
            while left > 0:
                left -= len(await connection.recv(1 << 18))
            await connection.send(b"x")

    rate = 0.0
    with box.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        await listener.bind((str(IPv4Address(0)), 81))
        listener.listen()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drain, listener)
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            begun = time.perf_counter()
            for _ in range(MEGABYTES):
                await stream.send_all(bytes(1 << 20))
            await stream.receive_some(1)
            rate = MEGABYTES / (time.perf_counter() - begun)
            await stream.aclose()
    return rate
