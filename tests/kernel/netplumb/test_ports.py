"""Reserved host ports, and the proxy on them."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path

import pytest
import trio

from netplumb.apply import proxy_udp
from netplumb.apply.plumber import Plumber
from netplumb.apply.ports import Ports, open_ports
from netplumb.errors import Exhausted, Invalid, Taken
from netplumb.plan.model import PortBinding
from netplumb.plan.ports import PortRange
from tests.kernel.netplumb.rig import (
    ANY4,
    ANY6,
    PATIENCE,
    QUIET,
    Container,
    Outside,
    ask,
    echo_from,
    endpoint,
    network,
    publish,
)

Make = Callable[..., Container]
LOCAL, LOCAL6, ALL, ALL6 = (ip_address(t) for t in ("127.0.0.1", "::1", ANY4, ANY6))


@pytest.fixture
async def ports(host: None) -> AsyncIterator[Ports]:
    async with open_ports(connections=8, flows=8) as ports:
        yield ports


def exactly(port: int) -> PortRange:
    return PortRange(port, port)


@contextmanager
def somebody(kind: socket.SocketKind = socket.SOCK_STREAM, *, v6: bool = False) -> Iterator[int]:
    """A socket of another program; its port."""
    family, address = (socket.AF_INET6, "::") if v6 else (socket.AF_INET, ANY4)
    with socket.socket(family, kind) as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((address, 0))
        if kind == socket.SOCK_STREAM:
            held.listen()
        yield held.getsockname()[1]


def can_bind(port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> bool:
    """Another program can have the port."""
    with socket.socket(socket.AF_INET, kind) as trying:
        trying.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(kind == socket.SOCK_STREAM))
        try:
            trying.bind((ANY4, port))
            if kind == socket.SOCK_STREAM:
                trying.listen()
        except OSError:
            return False
        return True


# --- reserving ------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
async def test_a_reserved_port_is_taken_for_everybody(ports: Ports, protocol: str) -> None:
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with somebody(kind) as port:
        pass
    assert await ports.reserve("web", [ALL], exactly(port), protocol) == port
    assert not can_bind(port, kind)
    assert await ports.reserve("web", [ALL], exactly(port), protocol) == port, "again is no error"
    for other_ip in (ALL, LOCAL):
        words = f"Bind for {other_ip}:{port} failed: port is already allocated by container web"
        with pytest.raises(Taken, match=words):
            await ports.reserve("db", [other_ip], exactly(port), protocol)
    ports.release("web")
    assert can_bind(port, kind)
    assert await ports.reserve("db", [LOCAL], exactly(port), protocol) == port


@pytest.mark.parametrize("v6", [False, True])
async def test_the_process_that_has_it_is_named(ports: Ports, *, v6: bool) -> None:
    name = Path("/proc/self/comm").read_text().strip()
    with somebody(v6=v6) as port:
        host_ip = ALL6 if v6 else ALL
        with pytest.raises(Taken) as caught:
            await ports.reserve("web", [host_ip], exactly(port))
    where = f"[::]:{port}" if v6 else f"{ANY4}:{port}"
    assert str(caught.value) == (
        f"Bind for {where} failed: port is already allocated by process {os.getpid()} ({name})"
    )


async def test_udp_is_not_shared_with_a_generous_program(ports: Ports) -> None:
    """SO_REUSEADDR of both would let both have a UDP port."""
    with somebody(socket.SOCK_DGRAM) as port, pytest.raises(Taken):
        await ports.reserve("web", [ALL], exactly(port), "udp")


async def test_all_addresses_or_none(ports: Ports) -> None:
    with somebody(v6=True) as port, pytest.raises(Taken):
        await ports.reserve("web", [LOCAL, LOCAL6], exactly(port))
    assert can_bind(port), "127.0.0.1 was given back"
    assert await ports.reserve("web", [LOCAL, LOCAL6], exactly(port)) == port


async def test_a_range(ports: Ports) -> None:
    with somebody() as port:
        within = PortRange(port, port + 2)
        if not all(can_bind(p) for p in (port + 1, port + 2)):
            return  # somebody else has one of them
        assert await ports.reserve("a", [ALL], within) == port + 1
        assert await ports.reserve("b", [ALL], within) == port + 2
        with pytest.raises(Exhausted, match=f"all ports of {port}-{port + 2}/tcp are allocated"):
            await ports.reserve("c", [ALL], within)


async def test_any_port_is_of_the_ephemeral_range_and_not_the_last_one(ports: Ports) -> None:
    Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("50000 50003")
    given = [await ports.reserve("a", [ALL, ALL6], None) for _ in range(3)]
    assert given == [50000, 50001, 50002]
    ports.release("a", 50000)
    assert await ports.reserve("a", [ALL], None) == 50003
    assert await ports.reserve("a", [ALL], None, "udp") == 50000
    assert await ports.reserve("b", [ALL], None) == 50000, "the first one again after all others"
    with pytest.raises(Exhausted):
        await ports.reserve("c", [ALL], None)


async def test_an_address_that_the_host_has_not(ports: Ports) -> None:
    with pytest.raises(Invalid, match=r"this host has no address 192\.0\.2\.1"):
        await ports.reserve("a", [ip_address("192.0.2.1")], None)


async def test_sctp_is_reserved_as_far_as_it_goes(ports: Ports) -> None:
    assert await ports.reserve("a", [ALL], exactly(9000), "sctp") == 9000
    with pytest.raises(Taken, match="by container a"):
        await ports.reserve("b", [ALL], exactly(9000), "sctp")


async def test_a_port_is_back_at_once_after_its_connections(
    ports: Ports, container: Make, plumber: Plumber
) -> None:
    """Those that the proxy has closed first stay in TIME_WAIT for a minute."""
    box = await wired(plumber, container)
    async with trio.open_nursery() as nursery:
        await echo_from(nursery, box)
        port = await served(ports, box, "127.0.0.1")
        for _ in range(3):
            assert await ask(None, "127.0.0.1", port) == "172.30.1.1"
            ports.release("c")
            assert await ports.reserve("c", [LOCAL], exactly(port)) == port
            ports.serve(publish("127.0.0.1", port, box, 80))
        nursery.cancel_scope.cancel()


# --- the proxy ------------------------------------------------------------------------------------


async def wired(plumber: Plumber, container: Make, *, ipv6: bool = True) -> Container:
    net = network(1, ipv6=ipv6)
    await plumber.add_network(net)
    box = container(endpoint("c", net, 2))
    await plumber.connect(box.fd, box.endpoints)
    return box


async def served(
    ports: Ports, box: Container, host: str, protocol: str = "tcp", plumber: Plumber | None = None
) -> int:
    """Publish the container's port 80 on any port of that address."""
    port = await ports.reserve("c", [ip_address(host)], None, protocol)
    binding = publish(host, port, box, 80, protocol)
    if plumber is not None:
        await plumber.publish([binding])
    ports.serve(binding)
    return port


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("ipv6", [True, False])
async def test_every_way_to_a_port_on_all_addresses(
    plumber: Plumber,
    ports: Ports,
    container: Make,
    outside: Outside,
    protocol: str,
    *,
    ipv6: bool,
) -> None:
    """By loopback, by the host's address, from outside; by IPv6 also without IPv6 inside."""
    box = await wired(plumber, container, ipv6=ipv6)
    async with trio.open_nursery() as nursery:
        await echo_from(nursery, box)
        port = await served(ports, box, ANY4, protocol, plumber)
        port6 = await served(ports, box, ANY6, protocol, plumber)
        assert await ask(None, "127.0.0.1", port, protocol) == "172.30.1.1"
        assert await ask(None, "127.9.9.9", port, protocol) == "172.30.1.1", "all of 127/8"
        assert await ask(None, outside.HOST4, port, protocol) == outside.HOST4
        assert await ask(outside, outside.HOST4, port, protocol) == outside.OWN4
        inside6 = "fd30:1::1" if ipv6 else "172.30.1.1"
        assert await ask(None, "::1", port6, protocol) == inside6
        direct = (outside.OWN6, outside.HOST6) if ipv6 else ("172.30.1.1",) * 2
        assert await ask(outside, outside.HOST6, port6, protocol) == direct[0]
        assert await ask(None, outside.HOST6, port6, protocol) == direct[1]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
async def test_a_loopback_port_is_seen_by_nobody_else(
    plumber: Plumber, ports: Ports, container: Make, outside: Outside, protocol: str
) -> None:
    box = await wired(plumber, container)
    async with trio.open_nursery() as nursery:
        await echo_from(nursery, box)
        port = await served(ports, box, "127.0.0.1", protocol, plumber)
        assert await ask(None, "127.0.0.1", port, protocol) == "172.30.1.1"
        for source, address in (
            (outside, outside.HOST4),
            (box, "172.30.1.1"),
            (box, outside.HOST4),
            (None, outside.HOST4),
        ):
            assert await ask(source, address, port, protocol, within=QUIET) is None
        nursery.cancel_scope.cancel()


async def test_the_proxy_is_no_way_into_or_out_of_an_internal_network(
    plumber: Plumber, ports: Ports, container: Make
) -> None:
    box = await wired(plumber, container, ipv6=False)
    inner, other = network(3, internal=True), network(2)
    caged, free = container(endpoint("i", inner, 2)), container(endpoint("f", other, 2))
    for net, one in ((inner, caged), (other, free)):
        await plumber.add_network(net)
        await plumber.connect(one.fd, one.endpoints)
    async with trio.open_nursery() as nursery:
        await echo_from(nursery, box)
        port = await served(ports, box, ANY6, "tcp", plumber)
        assert await ask(free, "fd30:2::1", port) == "172.30.1.1"
        assert await ask(caged, "fd30:3::1", port, within=QUIET) is None
        nursery.cancel_scope.cancel()


async def test_a_megabyte_each_way_and_half_closed(
    plumber: Plumber, ports: Ports, container: Make
) -> None:
    """The server answers after the client has closed its side: with the hash of what came."""
    box = await wired(plumber, container)
    sent = os.urandom(3 << 20)

    async def serve(listener: trio.socket.SocketType) -> None:
        connection, _ = await listener.accept()
        stream = trio.SocketStream(connection)
        got = b"".join([bytes(piece) async for piece in stream])
        await stream.send_all(hashlib.sha256(got).digest() + got[::-1])
        await stream.aclose()

    with box.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        await listener.bind((ANY4, 80))
        listener.listen()
        port = await served(ports, box, "127.0.0.1")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, listener)
            client = await trio.open_tcp_stream("127.0.0.1", port)
            with trio.fail_after(4 * PATIENCE):
                await client.send_all(sent)
                await client.send_eof()
                got = b"".join([bytes(piece) async for piece in client])
            await client.aclose()
    assert got == hashlib.sha256(sent).digest() + sent[::-1]


async def test_the_server_may_close_first(plumber: Plumber, ports: Ports, container: Make) -> None:
    """The client goes on sending: its side is still open."""
    box = await wired(plumber, container)
    received: list[bytes] = []

    async def serve(listener: trio.socket.SocketType) -> None:
        connection, _ = await listener.accept()
        stream = trio.SocketStream(connection)
        await stream.send_all(b"welcome")
        await stream.send_eof()
        received.extend([bytes(piece) async for piece in stream])
        await stream.aclose()

    with box.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        await listener.bind((ANY4, 80))
        listener.listen()
        port = await served(ports, box, "127.0.0.1")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, listener)
            client = await trio.open_tcp_stream("127.0.0.1", port)
            assert b"".join([bytes(piece) async for piece in client]) == b"welcome"
            await client.send_all(b"still here")
            await client.aclose()
    assert b"".join(received) == b"still here"


async def test_a_client_that_does_not_read_stops_the_server(
    plumber: Plumber, ports: Ports, container: Make
) -> None:
    """Back-pressure: what is under way is bounded, here by the sockets' small buffers."""
    box = await wired(plumber, container)
    sent = 0

    async def pour(listener: trio.socket.SocketType) -> None:
        nonlocal sent
        connection, _ = await listener.accept()
        with connection:
            while True:
                sent += await connection.send(bytes(65536))

    with box.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        await listener.bind((ANY4, 80))
        listener.listen()
        port = await served(ports, box, "127.0.0.1")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pour, listener)
            client = trio.socket.socket()
            with client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
                await client.connect(("127.0.0.1", port))
                last = -1
                with trio.fail_after(PATIENCE):
                    while sent == 0 or sent != last:
                        last = sent
                        await trio.sleep(0.2)
                assert 0 < sent < 32 << 20
                stuck = sent
                for _ in range(200):
                    await client.recv(1 << 20)
                assert sent > stuck, "and it goes on when the client reads"
            nursery.cancel_scope.cancel()


async def test_connections_are_bounded(plumber: Plumber, ports: Ports, container: Make) -> None:
    """Beyond the bound of 8 they wait in the kernel, and come in when others end."""
    box = await wired(plumber, container)
    accepted: list[trio.socket.SocketType] = []

    async def accept(listener: trio.socket.SocketType) -> None:
        while True:
            accepted.append((await listener.accept())[0])

    with ExitStack() as stack, box.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        await listener.bind((ANY4, 80))
        listener.listen()
        port = await served(ports, box, "127.0.0.1")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept, listener)
            clients = [stack.enter_context(trio.socket.socket()) for _ in range(12)]
            for client in clients:
                await client.connect(("127.0.0.1", port))
            with trio.fail_after(PATIENCE):
                while len(accepted) < 8:
                    await trio.sleep(0.01)
            await trio.sleep(0.1)
            assert len(accepted) == 8
            for client in clients[:3]:
                client.close()
            for server in accepted[:8]:
                server.shutdown(socket.SHUT_WR)
            with trio.fail_after(PATIENCE):
                while len(accepted) < 11:
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
        for server in accepted:
            server.close()


async def test_a_closed_port_inside(plumber: Plumber, ports: Ports, container: Make) -> None:
    box = await wired(plumber, container)
    port = await served(ports, box, "127.0.0.1")
    assert await ask(None, "127.0.0.1", port) is None
    udp = await served(ports, box, "127.0.0.1", "udp")
    assert await ask(None, "127.0.0.1", udp, "udp", within=QUIET) is None
    async with trio.open_nursery() as nursery:
        await echo_from(nursery, box)
        assert await ask(None, "127.0.0.1", port) == "172.30.1.1", "it is asked again"
        assert await ask(None, "127.0.0.1", udp, "udp") == "172.30.1.1"
        nursery.cancel_scope.cancel()


async def test_release_ends_connections(plumber: Plumber, ports: Ports, container: Make) -> None:
    box = await wired(plumber, container)
    with box.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        await listener.bind((ANY4, 80))
        listener.listen()
        port = await served(ports, box, "127.0.0.1")
        client = await trio.open_tcp_stream("127.0.0.1", port)
        server, _ = await listener.accept()
        ports.release("c", port)
        with trio.fail_after(PATIENCE):
            with suppress(trio.BrokenResourceError):
                assert await client.receive_some(1) == b""
        await client.aclose()
        server.close()
    assert can_bind(port)


async def test_udp_clients_have_flows_of_their_own(
    plumber: Plumber, ports: Ports, container: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = await wired(plumber, container)
    with box.socket(socket.AF_INET, socket.SOCK_DGRAM) as server, ExitStack() as stack:
        await server.bind((ANY4, 80))
        port = await served(ports, box, "127.0.0.1", "udp")
        clients = [
            stack.enter_context(trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            for _ in range(12)
        ]
        seen = {}
        for number, client in enumerate(clients[:8]):
            await client.sendto(b"%d" % number, ("127.0.0.1", port))
            word, peer = await server.recvfrom(100)
            assert word == b"%d" % number
            seen[number] = peer
        assert len(set(seen.values())) == 8
        for number in reversed(range(8)):
            await server.sendto(b"to %d" % number, seen[number])
            assert await clients[number].recvfrom(100) == (b"to %d" % number, ("127.0.0.1", port))
        # Answers may come at any time, and large ones, too.
        await server.sendto(bytes(60_000), seen[3])
        assert len(await clients[3].recv(65535)) == 60_000
        # Beyond the bound the flow that was idle for longest ends.
        flows = ports._udp.flows
        assert len(flows) == 8
        await clients[8].sendto(b"8", ("127.0.0.1", port))
        assert (await server.recvfrom(100))[0] == b"8"
        assert len(flows) == 8
        # After a while without a word all of them do.
        ports._udp.expire()
        assert len(flows) == 8
        monkeypatch.setattr(ports._udp, "idle_seconds", 0.0)
        ports._udp.expire()
        assert len(flows) == 0
        assert proxy_udp.IDLE_SECONDS == 90


async def test_descriptors_running_out_stop_nothing(container: Make, plumber: Plumber) -> None:
    """accept(2) fails with EMFILE: the proxy rests instead of spinning, and then goes on."""
    import resource

    box = await wired(plumber, container)
    async with open_ports() as ports, trio.open_nursery() as nursery:
        await echo_from(nursery, box)
        port = await served(ports, box, "127.0.0.1")
        client = trio.socket.socket()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with client:
            spare = os.dup(0)
            os.close(spare)
            resource.setrlimit(resource.RLIMIT_NOFILE, (spare, hard))
            try:
                await client.connect(("127.0.0.1", port))
                begun = trio.current_time()
                busy = time.process_time()
                await trio.sleep(0.5)
                assert time.process_time() - busy < 0.25, "it spins"
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            with trio.fail_after(PATIENCE):
                assert await client.recv(100) == b"172.30.1.1"
            assert trio.current_time() - begun < PATIENCE
        nursery.cancel_scope.cancel()


async def test_serving_what_is_not_reserved(ports: Ports) -> None:
    binding = PortBinding(
        container="c", host_ip=LOCAL, host_port=5, container_ip=LOCAL, container_port=5
    )
    with pytest.raises(Invalid, match="is not reserved for c"):
        ports.serve(binding)
    ports.release("nobody")


def test_many_reserved_ports_cost_little() -> None:
    """500 ports, by TCP and UDP: a socket each, and hardly any memory."""
    program = """
import resource, sys, trio
from ipaddress import ip_address
from netplumb.apply.ports import open_ports
from netplumb.plan.model import PortBinding
from netplumb.plan.ports import PortRange

async def main():
    async with open_ports() as ports:
        before = int(open('/proc/self/statm').read().split()[1])
        tasks = trio.lowlevel.current_statistics().tasks_living
        inside = ip_address('172.30.1.2')
        for number in range(500):
            for protocol in ('tcp', 'udp'):
                port = 20000 + number
                await ports.reserve('c', [ip_address('127.0.0.1')], PortRange(port, port), protocol)
                ports.serve(PortBinding(container='c', host_ip=ip_address('127.0.0.1'),
                    host_port=port, container_ip=inside, container_port=80, protocol=protocol))
        after = int(open('/proc/self/statm').read().split()[1])
        print((after - before) * 4, trio.lowlevel.current_statistics().tasks_living - tasks)

trio.run(main)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    kilobytes, tasks = map(int, done.stdout.split())
    assert tasks == 0
    assert kilobytes < 4096
