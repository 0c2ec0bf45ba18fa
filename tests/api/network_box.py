"""A daemon on a machine of its own: a network namespace plays the host, another one the outside.

    outside 10.9.0.2, fd99::2 ── up0 10.9.0.1, fd99::1 of the host ── bridges ── containers

The daemon also has a mount namespace of its own, with its own /etc/resolv.conf, which names the
outside as the resolver. So nothing of the real host's network is touched or depended on.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import select
import socket
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, fields
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Self

from dnslib import (  # type: ignore[import-untyped, unused-ignore]
    QTYPE,
    RCODE,
    RR,
    A,
    DNSRecord,
)
from pyroute2 import IPRoute

from netplumb.plan import links
from supervisor.engine.network_records import decode
from tests.api.box import FOREVER, IMAGE, Box, eventually, one_line
from tests.kernel.netplumb.rig import (
    CLONE_NEWNET,
    CLONE_NEWNS,
    MS_BIND,
    MS_PRIVATE,
    MS_REC,
    PATIENCE,
    QUIET,
    Outside,
    Space,
    check,
    in_thread,
    libc,
    own_namespace,
    run_operations,
)
from tests.support import places
from tests.support.daemon import Daemon

LISTENING = {"tcp": "0A", "tcp6": "0A", "udp": "07", "udp6": "07"}
STATE_COLUMN = 3
SPARE_SANDBOXES = 2  # the daemon's default
NAME_SERVER = "127.0.0.11"
RETRY = 0.3


class Entered(Space):
    """A network namespace that somebody else made, such as a running container's."""

    def __init__(self, fd: int) -> None:
        self.fd = fd


class Machine:
    """What a daemon takes for its machine; `resolv_conf` may be written at any time."""

    def __init__(self, folder: Path) -> None:
        self.resolv_conf = folder / "resolv.conf"
        self.resolv_conf.write_text(f"nameserver {Outside.OWN4}\n")
        network, self._mounts = in_thread(self._make)
        self.host = Entered(network)
        self.outside = self.host.do(Outside)

    def _make(self) -> tuple[int, int]:
        check(libc.unshare(CLONE_NEWNET | CLONE_NEWNS))
        check(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None))
        own = os.fsencode(self.resolv_conf)
        check(libc.mount(own, b"/etc/resolv.conf", None, MS_BIND, None))
        run_operations(links.set_up(1))
        for switch in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            Path("/proc/sys/net", switch).write_text("0")
        return own_namespace(), os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)

    def inside(self, command: list[str]) -> list[str]:
        """`command` as it is started on this machine, with the same pid."""
        fds = {"net": self.host.fd, "mount": self._mounts}
        flags = [f"--{kind}=/proc/{os.getpid()}/fd/{fd}" for kind, fd in fds.items()]
        return ["nsenter", *flags, f"--wdns={os.getcwd()}", *command]

    def forwarding(self) -> list[str]:
        """Whether it forwards IPv4 and IPv6: "0" or "1" each."""
        switches = ("ipv4/ip_forward", "ipv6/conf/all/forwarding")
        return self.host.do(lambda: [Path("/proc/sys/net", s).read_text()[:1] for s in switches])

    def close(self) -> None:
        """Let it go."""
        self.outside.close()
        self.host.close()
        os.close(self._mounts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """What networks leave on a machine and in the records, each entry printable.

    Spare sandboxes come and go, so pairs and elements of nftables' sets are only counted.
    """

    links: Counter[str]
    addresses: Counter[str]
    rules: Counter[str]
    filters: Counter[str]
    listening: Counter[str]
    ledgers: Counter[str]

    @classmethod
    def take(cls, box: NetworkBox) -> Footprint:
        """The state now."""
        return box.host.do(lambda: cls._look(box))

    @classmethod
    def _look(cls, box: NetworkBox) -> Footprint:
        with IPRoute() as route:
            found = {link["index"]: link for link in route.get_links()}
            addresses = [
                f"{address.get_attr('IFA_ADDRESS')} of {name_of(found[address['index']])}"
                for address in route.get_addr()
                if address["index"] in found
            ]
            rules = [str(rule["attrs"]) for rule in route.get_rules()]
        return cls(
            links=Counter(map(name_of, found.values())),
            addresses=Counter(text for text in addresses if not text.endswith("of a pair")),
            rules=Counter(rules),
            filters=Counter(elements(json.loads(box.nft("-j", "list", "ruleset")))),
            listening=Counter(listening()),
            ledgers=Counter(box.ledgers()),
        )

    def differs(self, other: Footprint) -> list[str]:
        """What the other one has more or less than this, as sentences."""
        result = []
        for field in fields(self):
            ours, theirs = getattr(self, field.name), getattr(other, field.name)
            result += [f"{field.name}: new: {text}" for text in (theirs - ours).elements()]
            result += [f"{field.name}: gone: {text}" for text in (ours - theirs).elements()]
        return result


def name_of(link: Any) -> str:
    """An interface's name; all pairs but the uplink have one."""
    info = link.get_attr("IFLA_LINKINFO")
    kind = info.get_attr("IFLA_INFO_KIND") if info else ""
    name = str(link.get_attr("IFLA_IFNAME"))
    return "a pair" if kind == "veth" and name != "up0" else name


def elements(ruleset: dict[str, Any]) -> Iterator[str]:
    """A line for each chain, rule, set, and element of a set, of all tables."""
    for entry in ruleset["nftables"]:
        ((kind, value),) = entry.items()
        if kind == "metainfo":
            continue
        place = f"{value['family']} {value.get('table', value.get('name'))}"
        name = value.get("name", value.get("chain", ""))
        yield f"{kind} of {place} {name}"
        for _ in value.get("elem", ()):
            yield f"element of {place} {name}"


def listening() -> Iterator[str]:
    """The sockets of this thread's namespace that wait for somebody."""
    for kind, state in LISTENING.items():
        for line in Path(f"/proc/thread-self/net/{kind}").read_text().splitlines()[1:]:
            words = line.split()
            if words[STATE_COLUMN] == state:
                yield f"{kind} {words[1]}"


class NetworkBox(Box):
    """A daemon that has networks, on its machine; short words for what tests do with them."""

    def __init__(self, daemon: Daemon, machine: Machine) -> None:
        super().__init__(daemon)
        self.machine = machine
        self.host, self.outside = machine.host, machine.outside
        self._numbers = itertools.count(1)
        self._spaces: list[Space] = []

    # --- commands

    def docker(self, *arguments: str, **options: Any) -> str:
        """The stripped output of a stock docker command that must succeed."""
        done = self.daemon.docker(*arguments, **options)
        assert done.returncode == 0, (arguments, done.returncode, done.stdout, done.stderr)
        return str(done.stdout).strip()

    def refused(self, *arguments: str) -> str:
        """What a stock docker command says, which must fail and say it in one line."""
        done = self.daemon.docker(*arguments)
        assert done.returncode != 0, (arguments, done.stdout)
        return told(done.stderr)

    def nft(self, *arguments: str) -> str:
        """The output of nft on the host."""
        done = self.host.run("nft", *arguments)
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    # --- networks and containers

    def name(self, word: str) -> str:
        """A name that nothing of this daemon has had."""
        return f"{word}{next(self._numbers)}"

    def network(self, *flags: str) -> str:
        """The name of a new network."""
        name = self.name("net")
        self.docker("network", "create", *flags, name)
        return name

    def up(self, *flags: str, script: str = "", name: str = "") -> str:
        """The name of a new running container."""
        name = name or self.name("box")
        command = ("sh", "-c", script) if script else FOREVER
        self.docker("run", "-d", "--name", name, *flags, IMAGE, *command)
        return name

    def inside(self, ref: str, *command: str) -> str:
        """The output of a command in a running container."""
        return self.docker("exec", ref, *command)

    def space(self, ref: str) -> Space:
        """The network namespace of a running container, for the time of the test."""
        path = f"/proc/{self.state(ref)['Pid']}/ns/net"
        self._spaces.append(Entered(os.open(path, os.O_RDONLY | os.O_CLOEXEC)))
        return self._spaces[-1]

    def endpoint(self, ref: str, network: str = "bridge") -> dict[str, Any]:
        """What the API says of a container's place in a network."""
        return dict(self.inspect(ref)["NetworkSettings"]["Networks"][network])

    def address(self, ref: str, network: str = "bridge") -> str:
        """A running container's IPv4 address."""
        return str(self.endpoint(ref, network)["IPAddress"])

    def address6(self, ref: str, network: str = "bridge") -> str:
        """A running container's IPv6 address."""
        return str(self.endpoint(ref, network)["GlobalIPv6Address"])

    def view(self, network: str) -> dict[str, Any]:
        """What the API says of a network."""
        status, answer = self.daemon.request("GET", f"/networks/{network}")
        assert status == 200, answer
        return dict(answer)

    def networks(self) -> list[str]:
        """The names of all that are not predefined."""
        _, found = self.daemon.request("GET", "/networks")
        return [one["Name"] for one in found if one["Name"] not in {"bridge", "host", "none"}]

    def subnet(self, network: str, version: int = 4) -> dict[str, str]:
        """Its Subnet and Gateway."""
        configs = self.view(network)["IPAM"]["Config"]
        (found,) = (c for c in configs if (":" in c["Subnet"]) == (version == 6))
        return dict(found)

    def host_port(self, ref: str, port: str = "80/tcp") -> int:
        """The host's port that a container's port is published on."""
        found = self.inspect(ref)["NetworkSettings"]["Ports"][port]
        return int(found[0]["HostPort"])

    # --- what is left

    def ledgers(self) -> Iterator[str]:
        """How many addresses are in use, as the database has it; spare sandboxes do not count."""
        path = self.daemon.data_root / "orlop.db"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            rows = database.execute("SELECT doc FROM records WHERE kind = 'network'").fetchall()
        for network in (decode(doc) for (doc,) in rows):
            for ledger in network.ledgers:
                spare = SPARE_SANDBOXES if network.predefined else 0
                yield f"{network.name}: {max(0, ledger.in_use - spare)} of {ledger.subnet}"

    def remove_all(self) -> None:
        """Every container and network goes."""
        for space in self._spaces:
            space.close()
        self._spaces.clear()
        super().remove_all()
        for network in self.networks():
            status, answer = self.daemon.request("DELETE", f"/networks/{network}")
            assert status == 204, answer

    def settle(self, before: Footprint) -> None:
        """Nothing is left that was not there `before`; AssertionError says what."""
        left = ["not looked at"]

        def same() -> bool:
            left[:] = before.differs(Footprint.take(self))
            return not left

        try:
            eventually(same, 5.0)
        except AssertionError:
            raise AssertionError("\n".join(["left behind:", *left])) from None


def told(text: str) -> str:
    """The one line of an error that says something: docker adds others."""
    added = ("Run 'docker", "See 'docker", "Usage:", "exit status", "Error: failed to start")
    return one_line("\n".join(x for x in text.splitlines() if x and not x.startswith(added)))


@contextmanager
def network_box(*arguments: str) -> Iterator[NetworkBox]:
    """A started daemon with networks and the usual image, closed and checked at the end."""
    with places.short_folder() as folder, closing(Machine(folder)) as machine:
        daemon = Daemon(folder, arguments, networked=True)
        daemon.command = machine.inside(daemon.command)
        try:
            daemon.start()
            box = NetworkBox(daemon, machine)
            box.build()
            yield box
        finally:
            daemon.close()


# --- talking ------------------------------------------------------------------------------------


class Service:
    """Answers on a port of a namespace, by TCP and UDP, IPv4 and IPv6, until it is closed.

    It tells everybody who they are; subclasses have other answers.
    """

    def __init__(self, space: Space, port: int = 80) -> None:
        self._tcp, self._udp = space.do(lambda: (_listener(port), _datagrams(port)))
        self._stop, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the thread; the port is free."""
        self._stop.close()
        self._thread.join()
        for one in (self._tcp, self._udp, self._stopped):
            one.close()

    def converse(self, connection: socket.socket, peer: str) -> None:
        """Answer one TCP client."""
        connection.sendall(peer.encode())

    def answer(self, question: bytes, peer: str) -> bytes:
        """The answer to a datagram."""
        return peer.encode()

    def _run(self) -> None:
        while True:
            ready, _, _ = select.select([self._tcp, self._udp, self._stopped], [], [])
            if self._stopped in ready:
                return
            with suppress(OSError):  # the other side may have gone
                if self._tcp in ready:
                    self._accept()
                if self._udp in ready:
                    data, ancillary, _, peer = self._udp.recvmsg(4096, 64)
                    # With the packet's own destination as the source.
                    answer = self.answer(data, _plain(peer[0]))
                    self._udp.sendmsg([answer], ancillary, 0, peer)

    def _accept(self) -> None:
        connection, peer = self._tcp.accept()
        with connection:
            connection.settimeout(PATIENCE)
            self.converse(connection, _plain(peer[0]))


def _listener(port: int) -> socket.socket:
    made = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    made.settimeout(PATIENCE)
    return made


def _datagrams(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    made.bind(("::", port))
    return made


def _plain(address: str) -> str:
    return address.removeprefix("::ffff:")


def ask(
    client: Space, address: str, port: int = 80, kind: str = "tcp", *, within: float = PATIENCE
) -> str | None:
    """What a service at that address says first; None if nobody answers in time."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sort = socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM
    with client.do(lambda: socket.socket(family, sort)) as asking:
        asking.settimeout(within if kind == "tcp" else min(within, RETRY))
        deadline = time.monotonic() + within
        while True:
            with suppress(OSError):
                asking.connect((address, port))
                if kind == "udp":  # the first one may be lost while a neighbour is looked for
                    asking.send(b"?")
                return asking.recv(100).decode() or None
            if kind == "tcp" or time.monotonic() >= deadline:
                return None


def page(client: Space, address: str, port: int) -> str:
    """What a web server there has at /; OSError if there is none."""

    def get() -> str:
        connection = HTTPConnection(address, port, timeout=PATIENCE)
        with closing(connection):
            connection.request("GET", "/")
            return connection.getresponse().read().decode()

    return client.do(get)


def silent(client: Space, address: str, port: int = 80, kind: str = "tcp") -> bool:
    """Nobody answers there; beside each such claim another one shows that somebody could."""
    return ask(client, address, port, kind, within=QUIET) is None


class Resolver(Service):
    """A DNS server that knows `names`, and remembers what it was asked."""

    def __init__(self, space: Space, names: dict[str, str]) -> None:
        self.names = names
        self.asked: list[str] = []
        super().__init__(space, 53)

    def answer(self, question: bytes, peer: str) -> bytes:
        """From `names`; otherwise there is no such name."""
        parsed = DNSRecord.parse(question)
        name = str(parsed.q.qname).rstrip(".")
        self.asked.append(name)
        reply = parsed.reply()
        if name not in self.names:
            reply.header.rcode = RCODE.NXDOMAIN
        elif parsed.q.qtype == QTYPE.A:
            reply.add_answer(RR(name, rdata=A(self.names[name]), ttl=5))
        return bytes(reply.pack())

    def converse(self, connection: socket.socket, peer: str) -> None:
        """The same by TCP, with a length before each message."""
        length = int.from_bytes(connection.recv(2, socket.MSG_WAITALL), "big")
        reply = self.answer(connection.recv(length, socket.MSG_WAITALL), peer)
        connection.sendall(len(reply).to_bytes(2, "big") + reply)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What dig was told: the status, and of each answer its last field."""

    status: str
    records: list[str]


def dig(space: Space, *arguments: str, server: str = NAME_SERVER) -> Found:
    """Ask the name server of a container, by Debian's dig in the container's network."""
    done = space.run("dig", "+tries=2", "+time=2", f"@{server}", *arguments)
    status = re.search(r"status: (\w+)", done.stdout)
    assert status, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if line and not line.startswith(";")]
    return Found(status=status[1], records=[line.split()[-1] for line in lines])
