"""What a container tries over the network: the daemon's own ports, and its name server.

The daemon has metrics and an API without TLS on the loopback of its machine, a namespace of its
own. Spoofing, isolation, published ports and flushed rulesets have suites of their own:
tests/kernel/netplumb and tests/api/test_network_*.py.
"""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from dnslib import DNSRecord  # type: ignore[import-untyped, unused-ignore]

from tests.api.network_box import (
    NAME_SERVER,
    NetworkBox,
    Resolver,
    Service,
    ask,
    dig,
    network_box,
)
from tests.attacks.boxes import Canary
from tests.attacks.rounds import rounds
from tests.kernel.netplumb.rig import PATIENCE, QUIET, Outside, Space

pytestmark = [
    pytest.mark.api,
    pytest.mark.feature("bridge", "veth", "nftables", "nftables-bridge"),
]

METRICS, API = 9323, 2375
MIB = 1 << 20


@pytest.fixture(scope="module")
def tempting() -> Iterator[NetworkBox]:
    flags = ("--metrics-addr", f"127.0.0.1:{METRICS}", "--tcp-without-tls")
    with network_box(*flags, "--host", f"tcp://127.0.0.1:{API}") as box:
        yield box


@pytest.fixture
def net(tempting: NetworkBox) -> Iterator[NetworkBox]:
    canary = Canary(tempting.daemon)
    yield tempting
    tempting.remove_all()
    canary.check()


def connects(space: Space, address: str, port: int) -> bool:
    """Somebody takes a connection there."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with space.do(lambda: socket.socket(family, socket.SOCK_STREAM)) as calling:
        calling.settimeout(QUIET)
        with suppress(OSError):
            calling.connect((address, port))
            return True
    return False


def to_the_hosts_loopback(space: Space, gateway: str) -> None:
    """Send what is for 127.0.0.1 to the gateway, as who has CAP_NET_ADMIN and more may."""
    for name in ("eth0", "all"):
        space.write(f"ipv4/conf/{name}/route_localnet", "1")
    space.routing(
        lambda r: r.rule("add", priority=1, table=255),
        lambda r: r.rule("del", priority=0, table=255),
        lambda r: r.rule("add", priority=0, table=7, dst="127.0.0.1/32"),
        lambda r: r.route("add", dst="127.0.0.1/32", gateway=gateway, table=7),
    )


# --- S56: the API and the metrics ---------------------------------------------------------------


@pytest.mark.parametrize("flags", [(), ("--internal",), ("--ipv6", "--subnet", "fd56::/64")])
def test_s56_api_and_metrics_are_out_of_a_containers_reach(
    net: NetworkBox, flags: tuple[str, ...]
) -> None:
    for port in (METRICS, API):
        assert connects(net.host, "127.0.0.1", port), "they are there"
    network = net.network(*flags) if flags else "bridge"
    box = net.up("--network", network, "-p", "127.0.0.1:8056:80", "--cap-add", "NET_ADMIN")
    space = net.space(box)
    subnets = [config["Gateway"] for config in net.view(network)["IPAM"]["Config"]]
    addresses = [*subnets, Outside.HOST4, Outside.HOST6, "127.0.0.1", "::1", NAME_SERVER, "0.0.0.0"]  # noqa: S104
    with Service(net.host, 9399):  # the control: what the host has on all addresses
        assert ask(space, subnets[0], 9399) == net.address(box, network)
    reached = [(a, p) for a in addresses for p in (METRICS, API) if connects(space, a, p)]
    assert reached == []


def test_s56_not_by_a_route_to_the_hosts_loopback(net: NetworkBox) -> None:
    """CVE-2020-8558: the kernel drops it, as long as nobody has set route_localnet."""
    box = net.up("-p", "127.0.0.1:8057:80")
    gateway = net.subnet("bridge")["Gateway"]
    space = net.space(box)
    to_the_hosts_loopback(space, gateway)
    assert [port for port in (METRICS, API) if connects(space, "127.0.0.1", port)] == []
    switches = net.host.do(lambda: list(Path("/proc/sys/net/ipv4/conf").glob("*/route_localnet")))
    assert net.host.do(lambda: {s.parent.name for s in switches if s.read_text() != "0\n"}) == set()
    # The naive one, which lets published ports of the loopback be reached by routing to it.
    net.host.write("ipv4/conf/all/route_localnet", "1")
    net.host.write("ipv4/conf/all/rp_filter", "0")
    try:
        assert connects(space, "127.0.0.1", METRICS), "the attack works where it can"
    finally:
        net.host.write("ipv4/conf/all/route_localnet", "0")


def test_s56_no_container_takes_the_metrics_port(net: NetworkBox) -> None:
    for port in (METRICS, API):
        said = net.refused("run", "--rm", "-p", f"127.0.0.1:{port}:80", "box", "true")
        assert f"{port}" in said
        assert connects(net.host, "127.0.0.1", port)


# --- S60: the name server -----------------------------------------------------------------------

GOOD = bytes(DNSRecord.question("victim").pack())


def hostile(rng: random.Random) -> bytes:
    """A message that no resolver sends."""
    head = bytearray(GOOD[:12])
    head[:2] = rng.randbytes(2)
    name = GOOD[12:]
    kind = rng.randrange(9)
    if kind == 0:
        return rng.randbytes(rng.randrange(1500))
    if kind == 1:  # cut off anywhere
        return bytes(head) + name[: rng.randrange(len(name))]
    if kind == 2:  # counts that lie
        head[4:12] = rng.randbytes(8)
        return bytes(head) + name
    if kind == 3:  # pointers to themselves, forward, to the head
        return bytes(head) + struct.pack(">H", 0xC000 | rng.randrange(64)) + b"\0\1\0\1"
    if kind == 4:  # a thousand labels; a label that goes on beyond the end
        return bytes(head) + b"\1a" * rng.randrange(2000) + b"\0\0\1\0\1"
    if kind == 5:
        return bytes(head) + bytes([rng.randrange(1, 256)]) + rng.randbytes(20)
    if kind == 6:  # any flags: answers, other operations
        head[2:4] = rng.randbytes(2)
        return bytes(head) + name
    if kind == 7:  # any class and type, and rubbish behind
        return bytes(head) + name[:-4] + rng.randbytes(4 + rng.randrange(600))
    garbled = bytearray(GOOD)
    for _ in range(rng.randrange(1, 4)):
        garbled[rng.randrange(len(garbled))] = rng.randrange(256)
    return bytes(garbled)


def resident(pid: int) -> int:
    """Bytes of memory that a process has."""
    text = Path(f"/proc/{pid}/statm").read_text()
    return int(text.split()[1]) * 4096


def by_udp(space: Space, messages: Iterator[bytes]) -> None:
    with space.do(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sending:
        sending.connect((NAME_SERVER, 53))
        for message in messages:
            with suppress(OSError):
                sending.send(message)


def by_tcp(space: Space, messages: Iterator[bytes]) -> None:
    """Each with a length before it, which is wrong sometimes."""
    for number, message in enumerate(messages):
        with space.do(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as sending:
            sending.settimeout(PATIENCE)
            with suppress(OSError):
                sending.connect((NAME_SERVER, 53))
                length = (len(message), 0xFFFF, 0, 1)[number % 4]
                sending.sendall(struct.pack(">H", length) + message)


@pytest.mark.parametrize("send, few", [(by_udp, 600), (by_tcp, 60)])
def test_s60_malformed_questions_are_nobodys_and_harm_nobody(
    net: NetworkBox, send: Callable[[Space, Iterator[bytes]], None], few: int
) -> None:
    inner = net.network("--internal")
    net.up("--network", inner, name="victim")
    space = net.space(net.up("--network", inner))
    rng = random.Random(60)
    with Resolver(net.outside, {}) as outside:
        send(space, (hostile(rng) for _ in range(few)))
        before = resident(net.daemon.pid)
        send(space, (hostile(rng) for _ in range(rounds(few))))
        assert dig(space, "victim").records == [net.address("victim", inner)]
        assert dig(space, "www.example.org").status != "NOERROR"
        assert outside.asked == []
        assert resident(net.daemon.pid) < before + 10 * MIB
        net.docker("network", "connect", net.network(), "victim")
        assert dig(net.space("victim"), "www.example.org").status == "NXDOMAIN"
        assert outside.asked == ["www.example.org"], "the control: who may ask is heard"
