"""The DNS server at 127.0.0.11, asked by real resolvers and by dnslib, and upstreams of ours."""

from __future__ import annotations

import errno
import itertools
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
import trio
from dnslib import (  # type: ignore[import-untyped, unused-ignore]
    EDNS0,
    QTYPE,
    RCODE,
    RR,
    SOA,
    A,
    DNSRecord,
)
from msgspec.structs import replace

from netplumb.apply import upstream
from netplumb.apply.nameserver import ADDRESS, Bounds, NameServer, open_nameserver
from netplumb.apply.plumber import Plumber
from netplumb.apply.upstream import Server
from tests.kernel.netplumb.rig import (
    ANY4,
    PATIENCE,
    QUIET,
    Container,
    endpoint,
    network,
    serve_tcp,
)

Make = Callable[..., Container]


@dataclass
class Resolver:
    """A DNS server of the host's, on its loopback. `answer` makes the reply, None is silence."""

    address: str = "127.0.0.53"
    port: int = 5300
    answer: Callable[[DNSRecord], DNSRecord | bytes | None] = lambda q: address(q, "9.9.9.9")
    by_tcp: Callable[[DNSRecord], DNSRecord | bytes | None] | None = None
    questions: list[str] = field(default_factory=list)
    peers: list[tuple[int, int]] = field(default_factory=list)

    @property
    def server(self) -> Server:
        return Server(self.address, self.port)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            await udp.bind((self.address, self.port))
            listeners = await trio.open_tcp_listeners(self.port, host=self.address)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.serve_listeners, self._connection, listeners)
                task_status.started()
                while True:
                    raw, peer = await udp.recvfrom(4096)
                    query = DNSRecord.parse(raw)
                    self.peers.append((query.header.id, peer[1]))
                    made = self._reply("udp", query, self.answer)
                    if made is not None:
                        await udp.sendto(made, peer)

    async def _connection(self, stream: trio.SocketStream) -> None:
        query = DNSRecord.parse((await stream.receive_some(4096))[2:])
        made = self._reply("tcp", query, self.by_tcp or self.answer)
        if made is not None:
            await stream.send_all(len(made).to_bytes(2, "big") + made)
        await stream.aclose()

    def _reply(
        self, way: str, query: DNSRecord, make: Callable[[DNSRecord], DNSRecord | bytes | None]
    ) -> bytes | None:
        self.questions.append(f"{way} {query.q.qname} {QTYPE[query.q.qtype]}")
        made = make(query)
        return bytes(made.pack()) if isinstance(made, DNSRecord) else made


def address(query: DNSRecord, *texts: str, ttl: int = 60) -> DNSRecord:
    """A reply with addresses."""
    reply = query.reply()
    for text in texts:
        reply.add_answer(RR(query.q.qname, QTYPE.A, rdata=A(text), ttl=ttl))
    return reply


@pytest.fixture
async def resolver(nursery: trio.Nursery, host: None) -> Resolver:
    made = Resolver()
    await nursery.start(made.run)
    return made


@pytest.fixture
async def names(resolver: Resolver) -> AsyncIterator[NameServer]:
    bounds = Bounds(questions=6, questions_each=4, connections_each=3)
    async with open_nameserver([resolver.server], bounds) as names:
        yield names


@dataclass
class Town:
    """web and db in net1; lone in net2; caged in net3, which is internal."""

    plumber: Plumber
    names: NameServer
    web: Container
    db: Container
    lone: Container
    caged: Container


@pytest.fixture
async def town(plumber: Plumber, names: NameServer, container: Make) -> Town:
    one, two, three = network(1), network(2), network(3, internal=True)
    boxes = [
        container(endpoint("web", one, 2, names=("web", "www", "Shop"))),
        container(endpoint("db", one, 3, names=("db",))),
        container(endpoint("lone", two, 2)),
        container(endpoint("caged", three, 2)),
    ]
    for net in (one, two, three):
        await plumber.add_network(net)
    for box in boxes:
        await join(plumber, names, box)
    for net in (one, two, three):
        ends = [e for e in plumber.desired.endpoints if e.network == net.id]
        names.set_network(net, ends)
    return Town(plumber, names, *boxes)


async def join(plumber: Plumber, names: NameServer, box: Container) -> None:
    (end,) = box.endpoints
    await plumber.connect(box.fd, box.endpoints)
    await names.attach(end.container, box.fd, [end.network])


async def ask(
    box: Container,
    name: str,
    kind: str = "A",
    *,
    raw: bytes | None = None,
    tcp: bool = False,
    within: float = PATIENCE,
    size: int | None = None,
) -> DNSRecord | None:
    """The answer of 127.0.0.11; None if there is none."""
    query = DNSRecord.question(name, kind)
    if size is not None:
        query.add_ar(EDNS0(udp_len=size))
    data = bytes(query.pack()) if raw is None else raw
    kind_ = socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM
    with box.socket(socket.AF_INET, kind_) as asking, trio.move_on_after(within):
        await asking.connect((ADDRESS, 53))
        if tcp:
            stream = trio.SocketStream(asking)
            await stream.send_all(len(data).to_bytes(2, "big") + data)
            got = await upstream.read_framed(stream)
        else:
            await asking.send(data)
            got = await asking.recv(65535)
        found = DNSRecord.parse(got) if got else None
        assert raw is not None or found is None or found.header.id == query.header.id
        return found
    return None


async def addresses(box: Container, name: str, kind: str = "A", **options: bool) -> list[str]:
    found = await ask(box, name, kind, **options)  # type: ignore[arg-type]
    assert found is not None
    assert found.header.rcode == RCODE.NOERROR, RCODE[found.header.rcode]
    return [str(record.rdata) for record in found.rr]


async def code(box: Container, name: str, kind: str = "A") -> str:
    found = await ask(box, name, kind)
    assert found is not None
    return str(RCODE[found.header.rcode])


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("tcp", [False, True])
async def test_names_of_the_network(town: Town, resolver: Resolver, *, tcp: bool) -> None:
    assert await addresses(town.db, "web", tcp=tcp) == ["172.30.1.2"]
    assert await addresses(town.db, "WWW", tcp=tcp) == ["172.30.1.2"]
    assert await addresses(town.db, "shop.net1", "AAAA", tcp=tcp) == ["fd30:1::2"]
    assert await addresses(town.web, "db.", tcp=tcp) == ["172.30.1.3"]
    assert await addresses(town.web, "2.1.30.172.in-addr.arpa", "PTR", tcp=tcp) == ["web.net1."]
    assert await addresses(town.web, "db", "MX", tcp=tcp) == []
    assert resolver.questions == [], "nobody else is asked"


async def test_a_name_of_another_network_is_nobodys(town: Town, resolver: Resolver) -> None:
    resolver.answer = lambda query: query.reply()
    assert await addresses(town.lone, "web") == []
    assert resolver.questions == ["udp web. A"], "it may be a name outside"


async def test_names_follow_the_network(town: Town) -> None:
    net = network(1)
    moved = replace(town.db.endpoints[0], names=("db", "www"))
    town.names.set_network(net, [town.web.endpoints[0], moved])
    seen = [(await addresses(town.db, "www"))[0] for _ in range(4)]
    assert sorted(set(seen)) == ["172.30.1.2", "172.30.1.3"], "they take turns"
    town.names.remove(town.web.endpoints[0])
    assert await addresses(town.db, "www") == ["172.30.1.3"]
    town.names.add(replace(town.web.endpoints[0], names=("new",)))
    assert await addresses(town.db, "new") == ["172.30.1.2"]
    town.names.set_networks("lone", ["net2", "net1"])
    assert await addresses(town.lone, "www") == ["172.30.1.3"]
    town.names.forget_network("net1")
    assert await code(town.db, "www") == "NXDOMAIN", "it is in no network any more"


@pytest.mark.parametrize(
    "command",
    [
        ("getent", "ahostsv4", "web"),
        ("busybox", "nslookup", "web"),
        (
            sys.executable,
            "-c",
            "import socket; print(socket.getaddrinfo('web', 80, socket.AF_INET)[0][4][0])",
        ),
    ],
    ids=["glibc", "busybox", "python"],
)
async def test_real_resolvers(town: Town, tmp_path: Path, command: tuple[str, ...]) -> None:
    run = partial(town.db.run_with_resolver, tmp_path, *command)
    done = await trio.to_thread.run_sync(run)
    assert "172.30.1.2" in done.stdout, done.stderr


async def test_a_program_talks_to_a_neighbour_by_name(
    town: Town, tmp_path: Path, nursery: trio.Nursery
) -> None:
    await nursery.start(serve_tcp, town.web, 80)
    program = "import socket; print(socket.create_connection(('web', 80), 5).recv(100).decode())"
    run = partial(town.db.run_with_resolver, tmp_path, sys.executable, "-c", program)
    done = await trio.to_thread.run_sync(run)
    assert done.stdout.strip() in ("172.30.1.3", "fd30:1::3"), done.stderr


async def test_a_container_may_have_a_dns_server_of_its_own(town: Town) -> None:
    """On port 53 of all its addresses, by both protocols."""
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with town.db.socket(socket.AF_INET, kind) as own:
            await own.bind((ANY4, 53))
            if kind == socket.SOCK_STREAM:
                own.listen()
            assert await addresses(town.db, "web") == ["172.30.1.2"]
            assert await addresses(town.db, "web", tcp=True) == ["172.30.1.2"]


async def test_it_listens_at_the_same_ports_again_unless_the_container_has_one(
    town: Town, container: Make
) -> None:
    def ports(name: str) -> list[int]:
        client = town.names.clients[name]
        return [sock.getsockname()[1] for sock in (client.udp, client.tcp)]

    usual = ports("db")
    assert ports("web") == usual, "else the rules that lead there are encoded anew each time"
    box = container(endpoint("busy", network(1), 9))
    await town.plumber.connect(box.fd, box.endpoints)
    with box.socket(socket.AF_INET, socket.SOCK_STREAM) as own:
        await own.bind((ANY4, usual[1]))
        own.listen()
        await town.names.attach("busy", box.fd, ["net1"])
        assert usual[1] not in ports("busy")
        assert await addresses(box, "web", tcp=True) == await addresses(box, "web")


async def test_only_the_container_itself_can_ask(town: Town) -> None:
    query = bytes(DNSRecord.question("web").pack())
    port = town.names.clients["db"].udp.getsockname()[1]
    for target in (("172.30.1.3", 53), ("172.30.1.3", port)):
        with town.web.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            await asking.sendto(query, target)
            with trio.move_on_after(QUIET) as scope, suppress(ConnectionRefusedError):
                await asking.recvfrom(1000)
            assert scope.cancelled_caught


# --- attaching ------------------------------------------------------------------------------------


async def test_detached_is_silent_and_lets_the_namespace_go(town: Town) -> None:
    town.names.detach("db")
    town.names.detach("db")
    assert await ask(town.db, "web", within=QUIET) is None
    port = town.db.endpoints[0].port
    await town.plumber.forget("db")
    town.db.close()
    with trio.fail_after(PATIENCE):
        while port in {name for _, name in socket.if_nameindex()}:
            await trio.sleep(0.01)


async def test_the_next_process_serves_the_same_container(town: Town, resolver: Resolver) -> None:
    town.names.detach("db")
    async with open_nameserver([resolver.server]) as names:
        names.set_network(network(1), town.plumber.desired.endpoints[:2])
        for _ in range(3):
            await names.attach("db", town.db.fd, ["net1"])
            assert await addresses(town.db, "web") == ["172.30.1.2"]
            assert await addresses(town.db, "web", tcp=True) == ["172.30.1.2"]


async def test_without_nftables_port_53_itself_is_taken(
    town: Town, container: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from netplumb.apply import nameserver

    def no_nftables(*_: object) -> None:
        raise OSError(errno.EPROTONOSUPPORT, "as a kernel without it says")

    monkeypatch.setattr(nameserver, "Netlink", no_nftables)
    box = container(endpoint("plain", network(1), 9))
    await join(town.plumber, town.names, box)
    assert town.names.clients["plain"].udp.getsockname() == (ADDRESS, 53)
    assert await addresses(box, "web") == ["172.30.1.2"]


# --- others' names --------------------------------------------------------------------------------


@pytest.mark.parametrize("tcp", [False, True])
async def test_other_names_are_asked_for(town: Town, resolver: Resolver, *, tcp: bool) -> None:
    assert await addresses(town.web, "Example.org", tcp=tcp) == ["9.9.9.9"]
    assert resolver.questions == ["udp Example.org. A"]


async def test_answers_are_kept(town: Town, resolver: Resolver) -> None:
    for _ in range(3):
        assert await addresses(town.web, "example.org") == ["9.9.9.9"]
    assert await addresses(town.db, "EXAMPLE.org", tcp=True) == ["9.9.9.9"]
    assert resolver.questions == ["udp example.org. A"]
    town.names.set_servers([resolver.server])
    assert await addresses(town.web, "example.org") == ["9.9.9.9"]
    assert len(resolver.questions) == 1, "the same servers as before"
    town.names.set_servers([Server("127.0.0.99"), resolver.server])
    assert await addresses(town.web, "example.org") == ["9.9.9.9"]
    assert len(resolver.questions) == 2


async def test_a_no_is_passed_on_and_kept(town: Town, resolver: Resolver) -> None:
    def no(query: DNSRecord) -> DNSRecord:
        reply = query.reply()
        reply.header.rcode = RCODE.NXDOMAIN
        soa = SOA("ns.example", "root.example", (1, 2, 3, 4, 60))
        reply.add_auth(RR("example", QTYPE.SOA, rdata=soa, ttl=60))
        return reply

    resolver.answer = no
    assert await code(town.web, "nope.example") == "NXDOMAIN"
    assert await code(town.web, "nope.example") == "NXDOMAIN"
    assert len(resolver.questions) == 1


async def test_a_container_may_have_servers_of_its_own(
    town: Town, names: NameServer, nursery: trio.Nursery
) -> None:
    own = Resolver("127.0.0.54", answer=lambda q: address(q, "8.8.8.8"))
    await nursery.start(own.run)
    assert await addresses(town.web, "example.org") == ["9.9.9.9"]
    await names.attach("web", town.web.fd, ["net1"], [own.server])
    for _ in range(2):
        assert await addresses(town.web, "example.org") == ["8.8.8.8"]
        assert await addresses(town.db, "example.org") == ["9.9.9.9"]
    assert own.questions == ["udp example.org. A"]


async def test_an_internal_network_never_asks_anybody(town: Town, resolver: Resolver) -> None:
    assert await addresses(town.caged, "caged") == ["172.30.3.2"]
    for name, kind in (("example.org", "A"), ("8.8.8.8.in-addr.arpa", "PTR"), ("x", "ANY")):
        assert await code(town.caged, name, kind) == "NXDOMAIN"
    # Nor does it see what others have asked for.
    await addresses(town.web, "example.org")
    assert await code(town.caged, "example.org") == "NXDOMAIN"
    assert len(resolver.questions) == 1
    town.names.set_networks("caged", ["net3", "net1"])
    assert await addresses(town.caged, "example.com") == ["9.9.9.9"]


async def test_a_long_answer_comes_by_tcp(town: Town, resolver: Resolver) -> None:
    """Also to a client that asked by UDP, as far as it has room for it."""
    many = [f"10.0.{n}.1" for n in range(60)]

    def cut(query: DNSRecord) -> DNSRecord:
        reply = query.reply()
        reply.header.tc = 1
        return reply

    resolver.answer = cut
    resolver.by_tcp = lambda query: address(query, *many)
    assert await addresses(town.web, "long.example", tcp=True) == many
    assert resolver.questions == ["udp long.example. A", "tcp long.example. A"]
    small = await ask(town.web, "long.example")
    assert small is not None
    assert (small.header.tc, small.rr) == (1, []), "512 octets: ask again by TCP"
    large = await ask(town.web, "long.example", size=4096)
    assert large is not None
    assert (large.header.tc, len(large.rr)) == (0, 60)


async def test_the_next_server_is_asked(
    town: Town, resolver: Resolver, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "SECONDS", QUIET)
    bad = Resolver("127.0.0.54", answer=lambda query: None)
    await nursery.start(bad.run)
    town.names.set_servers([bad.server, resolver.server])
    assert await addresses(town.web, "a.example") == ["9.9.9.9"], "silence"

    def fails(query: DNSRecord) -> DNSRecord:
        reply = query.reply()
        reply.header.rcode = RCODE.SERVFAIL
        return reply

    bad.answer = fails
    assert await addresses(town.web, "b.example") == ["9.9.9.9"], "a failure"
    town.names.set_servers([Server("127.0.0.99"), resolver.server])
    assert await addresses(town.web, "c.example") == ["9.9.9.9"], "a closed port"
    town.names.set_servers([bad.server])
    assert await code(town.web, "d.example") == "SERVFAIL"
    town.names.set_servers([])
    assert await code(town.web, "e.example") == "SERVFAIL"


async def test_forged_answers_are_passed_over(town: Town, resolver: Resolver) -> None:
    """With a wrong id, a wrong question, garbage; the true one comes after them."""

    async def run(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            await udp.bind(("127.0.0.55", 5300))
            task_status.started()
            raw, peer = await udp.recvfrom(4096)
            query = DNSRecord.parse(raw)
            wrong_id = address(query, "6.6.6.6")
            wrong_id.header.id ^= 1
            other = address(DNSRecord.question("liar.example"), "6.6.6.6")
            other.header.id = query.header.id
            for lie in (bytes(wrong_id.pack()), bytes(other.pack()), b"\xff" * 30, raw, b""):
                await udp.sendto(lie, peer)
            await udp.sendto(bytes(address(query, "9.9.9.9").pack()), peer)

    async with trio.open_nursery() as nursery:
        await nursery.start(run)
        town.names.set_servers([Server("127.0.0.55", 5300)])
        assert await addresses(town.web, "true.example") == ["9.9.9.9"]


async def test_ids_and_ports_cannot_be_guessed(town: Town, resolver: Resolver) -> None:
    for number in range(20):
        await addresses(town.web, f"n{number}.example")
    ids, ports = zip(*resolver.peers, strict=True)
    assert len(set(ids)) > 18
    assert len(set(ports)) > 15
    steps = {b - a for a, b in itertools.pairwise(ids)}
    assert len(steps) > 15, "no counter"


async def test_the_same_question_is_asked_once(town: Town, resolver: Resolver) -> None:
    release = trio.Event()
    seen: list[list[str]] = []
    resolver.answer = lambda query: None

    async def slow(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            await udp.bind(("127.0.0.56", 5300))
            task_status.started()
            raw, peer = await udp.recvfrom(4096)
            await release.wait()
            await udp.sendto(bytes(address(DNSRecord.parse(raw), "9.9.9.9").pack()), peer)

    async def one(box: Container) -> None:
        seen.append(await addresses(box, "busy.example"))

    async with trio.open_nursery() as nursery:
        await nursery.start(slow)
        town.names.set_servers([Server("127.0.0.56", 5300)])
        for box in (town.web, town.db, town.lone):
            nursery.start_soon(one, box)
        with trio.fail_after(PATIENCE):
            while town.names._asking < 3:
                await trio.sleep(0.01)
        town.names.detach("web")  # the one that asked first goes
        release.set()
        with trio.fail_after(PATIENCE):
            while len(seen) < 2:
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert seen == [["9.9.9.9"]] * 2


# --- bad manners ----------------------------------------------------------------------------------


async def test_malformed_packets_are_ignored(town: Town) -> None:
    good = bytes(DNSRecord.question("web").pack())
    for raw in (b"", b"x", bytes(12), bytes(500), good[:-3], b"\xff" * 600, os.urandom(4000)):
        with town.db.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            await asking.connect((ADDRESS, 53))
            await asking.send(raw)
    assert await ask(town.db, "", raw=good[:2] + b"\x80" + good[3:], within=QUIET) is None
    assert await ask(town.db, "", raw=b"\0" * 11, tcp=True, within=QUIET) is None
    assert await addresses(town.db, "web") == ["172.30.1.2"]


async def test_strange_questions_are_refused(town: Town, resolver: Resolver) -> None:
    chaos = DNSRecord.question("version.bind", "TXT", qclass="CH")
    notify = DNSRecord.question("web")
    notify.header.opcode = 4
    future = DNSRecord.question("web")
    future.add_ar(EDNS0(udp_len=1232, version=9))
    for record, rcode in ((chaos, "REFUSED"), (notify, "NOTIMP"), (future, "NOERROR")):
        found = await ask(town.db, "", raw=bytes(record.pack()))
        assert found is not None
        assert RCODE[found.header.rcode] == rcode
        if record is future:
            assert found.ar[0].edns_rcode == 1, "BADVERS"
    assert resolver.questions == []


async def test_a_flood_of_questions_is_bounded(town: Town, resolver: Resolver) -> None:
    """Four of one container, six of all: the rest is dropped, and names go on."""
    resolver.answer = lambda query: None
    with town.db.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        await asking.connect((ADDRESS, 53))
        for number in range(50):
            await asking.send(bytes(DNSRecord.question(f"f{number}.example").pack()))
        assert await addresses(town.db, "web") == ["172.30.1.2"]
        assert len(resolver.questions) == 4
    with town.lone.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        await asking.connect((ADDRESS, 53))
        for number in range(50):
            await asking.send(bytes(DNSRecord.question(f"g{number}.example").pack()))
        assert await addresses(town.lone, "lone") == ["172.30.2.2"]
        assert len(resolver.questions) == 6
    assert town.names._asking == 6


async def test_connections_are_bounded(town: Town) -> None:
    held = []
    for _ in range(8):
        connection = town.db.socket(socket.AF_INET, socket.SOCK_STREAM)
        await connection.connect((ADDRESS, 53))
        held.append(connection)
    with trio.fail_after(PATIENCE):
        while len(town.names.clients["db"].open) < 3:
            await trio.sleep(0.01)
    closed = 0
    for connection in held:
        with trio.move_on_after(QUIET / 3), suppress(ConnectionResetError):
            closed += await connection.recv(1) == b""
    assert closed == 5
    for connection in held:
        connection.close()
    with trio.fail_after(PATIENCE):
        while town.names.clients["db"].open:
            await trio.sleep(0.01)
    assert await addresses(town.db, "web", tcp=True) == ["172.30.1.2"]


async def test_many_questions_on_one_connection(town: Town) -> None:
    with town.db.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
        await connection.connect((ADDRESS, 53))
        stream = trio.SocketStream(connection)
        for _ in range(20):
            data = bytes(DNSRecord.question("web").pack())
            whole = len(data).to_bytes(2, "big") + data
            await stream.send_all(whole[:5])
            await stream.send_all(whole[5:])
            found = DNSRecord.parse(await upstream.read_framed(stream))
            assert str(found.rr[0].rdata) == "172.30.1.2"
