"""Published ports: who reaches them, who has them, and when they are free again."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from threading import Thread

import pytest

from tests.api.box import IMAGE, eventually
from tests.api.network_box import NetworkBox, Service, ask, silent
from tests.kernel.netplumb.rig import ANY4, Outside, Space
from tests.support.pace import limit

pytestmark = pytest.mark.feature("bridge", "veth", "nftables", "nftables-bridge")

HOST4, HOST6, OWN4 = Outside.HOST4, Outside.HOST6, Outside.OWN4
CONNECTIONS = 100


def free(space: Space, port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> bool:
    """Another program of the host could have the port."""
    with space.do(lambda: socket.socket(socket.AF_INET, kind)) as trying:
        if kind == socket.SOCK_STREAM:
            trying.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trying.bind(("", port))
            if kind == socket.SOCK_STREAM:
                trying.listen()
        except OSError:
            return False
        return True


# --- who reaches them


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_a_published_port_from_everywhere(net: NetworkBox, kind: str) -> None:
    network = net.network()
    flags = ("-p", f"8100:80/{kind}")
    box = net.up("--network", network, *flags)
    neighbour, stranger = net.up("--network", network), net.up()
    gateway = net.subnet(network)["Gateway"]
    with Service(net.space(box)):
        assert ask(net.outside, HOST4, 8100, kind) == OWN4, "the client's own address is seen"
        assert ask(net.host, HOST4, 8100, kind) == HOST4
        assert ask(net.host, "127.0.0.1", 8100, kind) == gateway
        assert ask(net.space(neighbour), gateway, 8100, kind) == gateway, "by the host"
        assert ask(net.space(box), gateway, 8100, kind) == gateway, "its own, by the host"
        assert ask(net.space(stranger), HOST4, 8100, kind)


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_ipv6_clients_of_a_container_without_ipv6(net: NetworkBox, kind: str) -> None:
    box = net.up("-p", f"8101:80/{kind}")
    gateway = net.subnet("bridge")["Gateway"]
    with Service(net.space(box)):
        assert ask(net.host, "::1", 8101, kind) == gateway
        assert ask(net.outside, HOST6, 8101, kind) == gateway


def test_ipv6_clients_of_a_container_with_ipv6(net: NetworkBox) -> None:
    network = net.network("--ipv6", "--subnet", "fd77:4::/64")
    box = net.up("--network", network, "-p", "8102:80")
    with Service(net.space(box)):
        assert ask(net.outside, HOST6, 8102) == Outside.OWN6
        assert ask(net.outside, HOST4, 8102) == OWN4
        assert ask(net.host, "::1", 8102)


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_a_port_of_the_loopback_is_nobody_elses(net: NetworkBox, kind: str) -> None:
    network = net.network()
    box = net.up("--network", network, "-p", f"127.0.0.1:8103:80/{kind}", "-p", "8104:80")
    neighbour = net.space(net.up("--network", network))
    with Service(net.space(box)):
        assert ask(net.host, "127.0.0.1", 8103, kind)
        assert ask(net.outside, HOST4, 8104)
        # As if somebody had opened the loopback to the uplink, and routed to it.
        for interface in ("all", "up0"):
            net.host.write(f"ipv4/conf/{interface}/route_localnet", "1")
        net.outside.write("ipv4/conf/all/route_localnet", "1")
        net.outside.routing(
            lambda r: r.addr("delete", index=1, address="127.0.0.1", prefixlen=8),
            lambda r: r.route("replace", dst="127.0.0.0/8", gateway=HOST4),
        )
        try:
            with Service(net.host, 8199):
                assert ask(net.outside, "127.0.0.1", 8199, kind), "the way is open"
            for address in ("127.0.0.1", HOST4):
                assert silent(net.outside, address, 8103, kind), address
            for address in (net.subnet(network)["Gateway"], HOST4):
                assert silent(neighbour, address, 8103, kind), address
        finally:
            net.outside.routing(
                lambda r: r.route("del", dst="127.0.0.0/8", gateway=HOST4),
                lambda r: r.addr("add", index=1, address="127.0.0.1", prefixlen=8),
            )
            for interface in ("all", "up0"):
                net.host.write(f"ipv4/conf/{interface}/route_localnet", "0")


def test_a_port_of_one_address_of_the_host(net: NetworkBox) -> None:
    box = net.up("-p", f"{HOST4}:8105:80")
    with Service(net.space(box)):
        assert ask(net.outside, HOST4, 8105) == OWN4
        assert silent(net.outside, HOST6, 8105)
        assert silent(net.host, "127.0.0.1", 8105)


def test_an_internal_network_reaches_no_published_port(net: NetworkBox) -> None:
    box, inner = net.up("-p", "8106:80"), net.network("--internal")
    inside = net.space(net.up("--network", inner))
    with Service(net.space(box)):
        assert ask(net.outside, HOST4, 8106)
        for address in (HOST4, net.subnet(inner)["Gateway"]):
            assert silent(inside, address, 8106)


# --- what can be asked for


def test_ranges_random_ones_and_both_protocols(net: NetworkBox) -> None:
    flags = ("-p", "8110-8112:80-82", "-p", "90", "-p", "8110:80/udp", "-p", "8120-8122:95")
    box = net.up(*flags)
    ports = net.inspect(box)["NetworkSettings"]["Ports"]
    both = [{"HostIp": ANY4, "HostPort": "8111"}, {"HostIp": "::", "HostPort": "8111"}]
    assert ports["81/tcp"] == both
    assert ports["80/udp"][0]["HostPort"] == "8110"
    random = net.host_port(box, "90/tcp")
    assert {port["HostPort"] for port in ports["90/tcp"]} == {str(random)}
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert low <= random <= high
    assert net.host_port(box, "95/tcp") == 8120
    other = net.up("-p", "8120-8122:95")
    assert net.host_port(other, "95/tcp") == 8121, "the next one of the range"
    assert net.docker("port", box, "81") == f"{ANY4}:8111\n[::]:8111"
    assert f"{ANY4}:8112->82/tcp" in net.docker("ps", "--format", "{{.Ports}}")
    with Service(net.space(box), 82), Service(net.space(other), 95):
        assert ask(net.outside, HOST4, 8112) == OWN4
        assert ask(net.outside, HOST4, 8121) == OWN4


def test_all_exposed_ports(net: NetworkBox) -> None:
    box = net.up("-P", "--expose", "80", "--expose", "53/udp")
    with Service(net.space(box)):
        assert ask(net.outside, HOST4, net.host_port(box)) == OWN4
    assert net.host_port(box, "53/udp")


def test_a_taken_port_says_who_has_it(net: NetworkBox) -> None:
    owner = net.up("-p", "8130:80")
    text = net.refused("run", "-d", "--name", "late", "-p", "8131:81", "-p", "8130:80", IMAGE)
    assert "8130 failed: port is already allocated" in text
    assert owner in text or net.inspect(owner)["Id"][:12] in text
    assert not net.state("late")["Running"]
    assert free(net.host, 8131), "what it had already was given back"
    with net.host.do(lambda: socket.create_server(("", 8132))):
        text = net.refused("run", "-d", "--rm", "-p", "8132:80", IMAGE, "true")
        assert "8132 failed: port is already allocated" in text
        assert f"process {os.getpid()}" in text
    net.docker("rm", "-f", owner)
    net.docker("start", "late")


def test_a_port_is_free_when_its_container_has_ended(net: NetworkBox) -> None:
    box = net.up("-p", "8140:80", "-p", "8140:80/udp")
    assert not free(net.host, 8140)
    assert not free(net.host, 8140, socket.SOCK_DGRAM)
    net.docker("stop", "-t", "0", box)
    eventually(lambda: free(net.host, 8140) and free(net.host, 8140, socket.SOCK_DGRAM))
    net.docker("start", box)
    assert not free(net.host, 8140)
    with Service(net.space(box)):
        assert ask(net.outside, HOST4, 8140) == OWN4
    net.docker("rm", "-f", box)
    eventually(lambda: free(net.host, 8140))
    assert silent(net.outside, HOST4, 8140)


def test_a_failed_start_gives_its_ports_back(net: NetworkBox) -> None:
    text = net.refused("run", "-p", "8141:80", "--name", "never", IMAGE, "/no/such/binary")
    assert "/no/such/binary" in text
    eventually(lambda: free(net.host, 8141))
    assert not net.inspect("never")["NetworkSettings"]["Ports"]
    assert net.endpoint("never")["IPAddress"] == ""


# --- many, long, restarted


def test_many_connections_with_half_close(net: NetworkBox) -> None:
    """Both by the kernel's translation and by the proxy of the loopback."""
    box = net.up("-p", "8150:80")
    for client, address in ((net.outside, HOST4), (net.host, "127.0.0.1")):
        with Echo(net.space(box)), ExitStack() as stack:
            made = [stack.enter_context(client.do(socket.socket)) for _ in range(CONNECTIONS)]
            for number, one in enumerate(made):
                one.settimeout(limit(10))
                one.connect((address, 8150))
                one.sendall(b"%d " % number * 1000)
            for one in made:
                one.shutdown(socket.SHUT_WR)
            for number, one in enumerate(made):
                assert all_of(one) == b"%d " % number * 1000


class Echo(Service):
    """Says back what it was told, but only when the client has said all."""

    def converse(self, connection: socket.socket, peer: str) -> None:
        """In a thread of each client."""
        own = connection.dup()
        own.settimeout(limit(10))
        Thread(target=self._echo, args=(own,)).start()

    @staticmethod
    def _echo(connection: socket.socket) -> None:
        with connection:
            connection.sendall(all_of(connection))
            connection.shutdown(socket.SHUT_WR)
            all_of(connection)


def all_of(connection: socket.socket) -> bytes:
    """Until its end."""
    data = b""
    while piece := connection.recv(1 << 16):
        data += piece
    return data


def test_restart_keeps_ports_and_names(net: NetworkBox) -> None:
    network = net.network()
    box = net.up("--network", network, "-p", "8160:80")
    peer = net.up("--network", network)
    net.docker("restart", "-t", "0", box)
    with Service(net.space(box)):
        assert ask(net.outside, HOST4, 8160) == OWN4
        assert ask(net.host, "127.0.0.1", 8160)
        assert net.address(box, network) in net.inside(peer, "nslookup", box)


def test_a_restart_policy_keeps_ports_and_names(net: NetworkBox) -> None:
    network = net.network()
    flags = ("--restart", "always", "--network", network, "-p", "8161:80", "-p", "85")
    box = net.up(*flags)
    peer, first = net.up("--network", network), net.state(box)["Pid"]
    random = net.host_port(box, "85/tcp")
    os.kill(first, 9)
    eventually(lambda: net.state(box)["Pid"] not in {0, first})
    with Service(net.space(box)), Service(net.space(box), 85):
        assert ask(net.outside, HOST4, 8161) == OWN4
        assert net.host_port(box, "85/tcp") != 0
        assert ask(net.outside, HOST4, net.host_port(box, "85/tcp")) == OWN4
        assert net.address(box, network) in net.inside(peer, "nslookup", box)
    assert random


def test_ports_outlive_the_supervisor(new_net: Callable[..., NetworkBox]) -> None:
    net = new_net()
    network = net.network()
    box = net.up("--network", network, "-p", "8170:80", "-p", "8170:80/udp")
    peer = net.up("--network", network)
    ends = net.up(
        *("-p", "8171:80", "--network", network, "--userns", "host"),
        script="until test -e /end; do sleep 0.05; done",
    )
    pid, address = net.state(box)["Pid"], net.address(box, network)
    ask_from = net.space(peer)
    with Service(net.space(box)):
        root = f"/proc/{net.state(ends)['Pid']}/root"
        net.daemon.kill()
        assert ask(net.outside, HOST4, 8170) == OWN4, "the kernel goes on translating"
        assert ask(ask_from, address), "and the bridge"
        Path(f"{root}/end").touch()
        eventually(lambda: not Path(root).exists())
        net.daemon.start()
        assert net.state(box)["Pid"] == pid
        for kind in ("tcp", "udp"):
            assert ask(net.outside, HOST4, 8170, kind) == OWN4
            assert ask(net.host, "127.0.0.1", 8170, kind)
    assert net.address(box, network) == address
    assert address in net.inside(peer, "nslookup", box)
    assert not free(net.host, 8170)
    assert net.status(ends) == "exited"
    assert free(net.host, 8171), "it has ended meanwhile"
    assert ends not in str(net.view(network)["Containers"])
    late = net.up("--network", network)
    assert net.address(late, network) not in {address, net.address(peer, network)}
    assert "already allocated" in net.refused("run", "-p", "8170:80", IMAGE, "true")
    net.remove_all()


@pytest.mark.parametrize(
    "flags, said",
    [
        (("-p", "192.0.2.1:8180:80"), "192.0.2.1"),
        (("--network", "container:me", "-p", "8180:80"), "conflicting options"),
    ],
)
def test_bad_ports(net: NetworkBox, flags: tuple[str, ...], said: str) -> None:
    net.up(name="me")
    before = net.ids()
    assert said in net.refused("run", "--rm", *flags, IMAGE, "true")
    eventually(lambda: net.ids() == before)
    assert free(net.host, 8180)


# --- with user ids of its own


def test_a_low_port_of_a_user_with_ids_of_its_own(net: NetworkBox) -> None:
    script = "echo of $(id -u) >/tmp/word; exec httpd -f -p 80 -h /tmp"
    flags = ("--userns", "auto", "--user", "1000", "-p", "81:80", "--name", net.name("low"))
    net.ok("run", "-d", *flags, IMAGE, "sh", "-c", script)

    def answer() -> bytes:
        try:
            with net.outside.do(lambda: socket.create_connection((HOST4, 81), limit(5))) as asking:
                asking.sendall(b"GET /word HTTP/1.0\r\n\r\n")
                return b"".join(iter(lambda: asking.recv(4096), b""))
        except OSError:
            return b""

    eventually(lambda: b"of 1000" in answer())
