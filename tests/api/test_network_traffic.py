"""Who reaches whom: containers, their host, other machines; by real packets."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable
from threading import Thread

import pytest

from netplumb.plan.names import bridge_mac
from supervisor.kernel.probe import probe
from tests.api.box import IMAGE, eventually, one_line
from tests.api.network_box import NetworkBox, Service, ask, silent
from tests.kernel.netplumb import frames
from tests.kernel.netplumb.frames import ARP, IPV4, IPV6, ethernet, mac
from tests.kernel.netplumb.rig import PATIENCE, Outside, Space
from tests.support.pace import limit

pytestmark = pytest.mark.feature("bridge", "veth", "nftables", "nftables-bridge")

USER_NAMESPACE = ("--userns", "private:100000:65536")
MEGABIT = 1_000_000


# --- the default network


def test_the_default_network_has_an_address_and_a_way_out(net: NetworkBox) -> None:
    box = net.up()
    subnet = net.subnet("bridge")
    lines = net.inside(box, "ip", "-o", "addr").splitlines()
    eth0 = next(line for line in lines if "eth0" in line)
    assert f"{net.address(box)}/" in eth0
    assert not any("inet6" in line for line in lines if "eth0" in line)
    assert f"default via {subnet['Gateway']} dev eth0" in net.inside(box, "ip", "route")
    found = net.endpoint(box)
    assert found["Gateway"] == subnet["Gateway"]
    assert found["MacAddress"] in net.inside(box, "ip", "link", "show", "eth0")


def test_container_and_host_reach_each_other(net: NetworkBox) -> None:
    box = net.up()
    inside, gateway = net.space(box), net.subnet("bridge")["Gateway"]
    with Service(inside), Service(net.host):
        for kind in ("tcp", "udp"):
            assert ask(net.host, net.address(box), kind=kind) == gateway
            assert ask(inside, gateway, kind=kind) == net.address(box)
            assert ask(inside, Outside.HOST4, kind=kind) == net.address(box)
    net.inside(box, "ping", "-c", "1", "-W", "2", gateway)


def test_the_outside_sees_the_hosts_address(net: NetworkBox) -> None:
    inside = net.space(net.up())
    with Service(net.outside):
        for kind in ("tcp", "udp"):
            assert ask(inside, Outside.OWN4, kind=kind) == Outside.HOST4


def test_from_outside_no_container_is_reached(net: NetworkBox) -> None:
    box = net.up()
    net.outside.routing(
        lambda r: r.route("replace", dst=net.subnet("bridge")["Subnet"], gateway=Outside.HOST4)
    )
    with Service(net.space(box)):
        assert ask(net.host, net.address(box))
        for kind in ("tcp", "udp"):
            assert silent(net.outside, net.address(box), kind=kind)


def test_neighbours_on_the_default_network(net: NetworkBox) -> None:
    one, two = net.up(), net.up()
    with Service(net.space(two)):
        assert ask(net.space(one), net.address(two)) == net.address(one)


def test_a_user_namespace_on_a_network(net: NetworkBox) -> None:
    """Its network namespace is its own user namespace's: root inside may change it."""
    network = net.network()
    peer = net.up("--network", network)
    box = net.ok(
        *("run", "-d", *USER_NAMESPACE, "--network", network, "--cap-add", "NET_ADMIN"),
        *("-p", "8080:80", "--name", net.name("box"), IMAGE, "sleep", "100000"),
    )
    own, inside = net.address(box, network), net.space(box)
    with Service(inside), Service(net.space(peer)), Service(net.outside):
        assert ask(inside, net.address(peer, network)) == own
        assert ask(net.space(peer), own) == net.address(peer, network)
        assert ask(inside, Outside.OWN4) == Outside.HOST4
        assert ask(net.outside, Outside.HOST4, 8080) == Outside.OWN4
    net.ok("exec", box, "nslookup", peer)
    net.ok("exec", box, "ip", "addr", "add", "192.0.2.1/32", "dev", "lo")


# --- user networks


def test_networks_do_not_reach_each_other(net: NetworkBox) -> None:
    here, there = net.network(), net.network()
    one, two, three = net.up("--network", here), net.up("--network", here), net.up()
    other = net.up("--network", there)
    with Service(net.space(two)), Service(net.space(other)):
        assert ask(net.space(one), net.address(two, here)) == net.address(one, here)
        for kind in ("tcp", "udp"):
            for stranger in (one, three):
                assert silent(net.space(stranger), net.address(other, there), kind=kind)
            assert silent(net.space(other), net.address(two, here), kind=kind)


def test_an_internal_network_has_no_outside(net: NetworkBox) -> None:
    network = net.network("--internal")
    one, two = net.up("--network", network), net.up("--network", network)
    inside, gateway = net.space(one), net.subnet(network)["Gateway"]
    assert "default" not in net.inside(one, "ip", "route")
    # As a container would that may change its routes, and an outside that knows the way back.
    inside.default_route(gateway)
    net.outside.routing(
        lambda r: r.route("replace", dst=net.subnet(network)["Subnet"], gateway=Outside.HOST4)
    )
    with Service(net.space(two)), Service(net.outside), Service(net.host):
        assert ask(inside, net.address(two, network)) == net.address(one, network)
        assert ask(inside, gateway) == net.address(one, network)
        for kind in ("tcp", "udp"):
            assert silent(inside, Outside.OWN4, kind=kind)
            assert silent(inside, Outside.HOST4, kind=kind)


def test_without_icc_only_host_and_outside(net: NetworkBox) -> None:
    network = net.network("-o", "com.docker.network.bridge.enable_icc=false")
    one, two = net.up("--network", network), net.up("--network", network)
    with Service(net.space(two)), Service(net.outside):
        assert ask(net.host, net.address(two, network))
        assert ask(net.space(one), Outside.OWN4) == Outside.HOST4
        assert silent(net.space(one), net.address(two, network))


def test_without_masquerade_the_containers_own_address_goes_out(net: NetworkBox) -> None:
    network = net.network("-o", "com.docker.network.bridge.enable_ip_masquerade=false")
    box = net.up("--network", network)
    net.outside.routing(
        lambda r: r.route("replace", dst=net.subnet(network)["Subnet"], gateway=Outside.HOST4)
    )
    with Service(net.outside):
        assert ask(net.space(box), Outside.OWN4) == net.address(box, network)


def test_ipv6(net: NetworkBox) -> None:
    network = net.network("--ipv6", "--subnet", "fd77:1::/64")
    one, two = net.up("--network", network), net.up("--network", network)
    inside, other = net.space(one), net.address6(two, network)
    own, gateway = net.address6(one, network), net.subnet(network, 6)["Gateway"]
    assert own.startswith("fd77:1::")
    assert net.address(one, network), "IPv4 as well"
    with Service(net.space(two)), Service(net.outside), Service(net.host):
        for kind in ("tcp", "udp"):
            assert ask(inside, other, kind=kind) == own
            assert ask(inside, gateway, kind=kind) == own
            assert ask(inside, Outside.OWN6, kind=kind) == Outside.HOST6
            assert ask(net.host, other, kind=kind) == gateway
    assert f"default via {gateway}" in net.inside(one, "ip", "-6", "route")


def test_a_networks_mtu(net: NetworkBox) -> None:
    network = net.network("-o", "com.docker.network.driver.mtu=1280")
    box = net.up("--network", network)
    assert "mtu 1280" in net.inside(box, "ip", "link", "show", "eth0")


# --- shared namespaces


def test_a_containers_network_is_shared(net: NetworkBox) -> None:
    owner = net.up("--hostname", "owner")
    guest = net.up("--network", f"container:{owner}")
    assert net.space(owner).links() == net.space(guest).links() == ["lo", "eth0"]
    net.docker("exec", "-d", owner, "nc", "-ll", "-p", "90", "-e", "echo", "me")
    ask = ("exec", guest, "sh", "-c", "nc 127.0.0.1 90 </dev/null")
    eventually(lambda: net.orlop(*ask).stdout == "me\n")
    assert net.inside(guest, "hostname") == "owner"
    for file in ("/etc/hosts", "/etc/resolv.conf"):
        assert net.inside(guest, "cat", file) == net.inside(owner, "cat", file)
    assert "No such container" in net.refused(
        "run", "--rm", "--network", "container:nobody", IMAGE, "true"
    )
    net.docker("stop", "-t", "0", owner)
    # As Docker: its address may be another's from now on.
    assert net.space(guest).links() == ["lo"]
    text = net.refused("run", "--rm", "--network", f"container:{owner}", IMAGE, "true")
    assert "of a non running container" in text


def test_none_has_its_loopback_only(net: NetworkBox) -> None:
    box = net.up("--network", "none")
    assert net.space(box).links() == ["lo"]
    net.inside(box, "ping", "-c", "1", "-W", "2", "127.0.0.1")
    assert list(net.inspect(box)["NetworkSettings"]["Networks"]) == ["none"]


def test_host_is_the_daemons_own(net: NetworkBox) -> None:
    box = net.up("--network", "host")
    assert "up0" in net.space(box).links()
    assert os.stat(f"/proc/{net.state(box)['Pid']}/ns/net").st_ino == os.fstat(net.host.fd).st_ino
    assert list(net.inspect(box)["NetworkSettings"]["Networks"]) == ["host"]


# --- a hostile container


def test_raw_sockets_send_nobody_elses_addresses(net: NetworkBox) -> None:
    """Each lie is sent between two honest frames, which arrive; the rest is in tests/kernel."""
    network = net.network("--ipv6", "--subnet", "fd77:2::/64")
    evil, victim, third = (net.up("--network", network) for _ in range(3))
    ends = {box: net.endpoint(box, network) for box in (evil, victim, third)}
    own, to, other = (mac(ends[box]["MacAddress"]) for box in (evil, victim, third))
    ip, target, others = (ends[box]["IPAddress"] for box in (evil, victim, third))
    gateway, gateway6 = net.subnet(network)["Gateway"], net.subnet(network, 6)["Gateway"]
    own6, target6 = (ends[box]["GlobalIPv6Address"] for box in (evil, victim))

    def datagram(source_mac: bytes, source: str, word: bytes = b"lie") -> bytes:
        return ethernet(to, source_mac, IPV4, frames.udp4(source, target, 9, 99, word))

    lies = [
        datagram(other, ip),
        datagram(mac(bridge_mac(net.view(network)["Id"])), gateway),
        datagram(own, others),
        datagram(own, gateway),
        ethernet(to, own, ARP, frames.arp(2, own, gateway, to, target)),
        ethernet(frames.BROADCAST, own, ARP, frames.arp(1, own, others, bytes(6), target)),
        ethernet(to, own, IPV6, frames.udp6(gateway6, target6, 9, 99, b"lie")),
        ethernet(
            to, own, IPV6, frames.icmp6(own6, target6, 136, frames.advertisement(gateway6, own))
        ),
    ]
    first, last = datagram(own, ip, b"first"), datagram(own, ip, b"last")
    with net.space(evil).raw() as sends, net.space(victim).raw() as hears:
        for frame in (first, *lies, last):
            sends.send(frame)
        heard: list[bytes] = []
        while last not in heard:
            assert select.select([hears], [], [], PATIENCE)[0], "the honest one is missing"
            heard.append(hears.recv(2000))
    assert first in heard
    assert [lie for lie in lies if lie in heard] == []


def test_a_container_cannot_change_its_address(net: NetworkBox) -> None:
    network = net.network()
    box = net.up("--network", network, "--cap-add", "NET_ADMIN")
    peer = net.up("--network", network)
    net.inside(box, "ping", "-c", "1", "-W", "2", net.address(peer, network))
    subnet = net.subnet(network)["Subnet"]
    stolen = f"{subnet.split('/')[0].rsplit('.', 1)[0]}.77/{subnet.split('/')[1]}"
    net.inside(box, "sh", "-c", f"ip addr flush dev eth0; ip addr add {stolen} dev eth0")
    command = ("ping", "-c", "1", "-W", "1", net.address(peer, network))
    assert net.daemon.docker("exec", box, *command).returncode != 0


# --- the host's firewall and settings


def test_rules_come_back_when_somebody_flushes_them(net: NetworkBox) -> None:
    """From Linux 6.9 on our tables are ours alone, and a flush of everybody's is refused."""
    box = net.up("-p", "8081:80")
    other = net.up("--network", net.network())
    before = sorted(line for line in net.nft("list", "ruleset").splitlines() if "chain" in line)
    assert before
    done = net.host.run("nft", "flush", "ruleset")
    if done.returncode == 0:
        at_once = net.nft("list", "ruleset")
        eventually(lambda: "chain" in net.nft("list", "ruleset"), 5.0)
        assert at_once is not None
    else:
        assert "Operation not permitted" in done.stderr
    after = sorted(line for line in net.nft("list", "ruleset").splitlines() if "chain" in line)
    assert after == before
    with Service(net.space(box)), Service(net.outside):
        assert ask(net.outside, Outside.HOST4, 8081) == Outside.OWN4
        assert ask(net.space(box), Outside.OWN4) == Outside.HOST4
        assert silent(net.space(other), net.address(box))


def test_a_daemon_without_a_default_network(new_net: Callable[..., NetworkBox]) -> None:
    """It makes nothing on the host, nor lets it forward, before a network needs it."""
    net = new_net("--bridge", "none")
    assert net.space(net.up()).links() == ["lo"]
    text = net.refused("run", "--rm", "--network", "bridge", IMAGE, "true")
    assert "network bridge not found" in text
    assert net.host.links() == ["lo", "up0"]
    assert net.machine.forwarding() == ["0", "0"]
    net.up("--network", net.network("--internal"))
    assert net.machine.forwarding() == ["0", "0"]
    box = net.up("--network", net.network())
    assert net.space(box).links() == ["lo", "eth0"]
    assert net.machine.forwarding() == ["1", "0"]
    net.up("--network", net.network("--ipv6", "--subnet", "fd77:3::/64"))
    assert net.machine.forwarding() == ["1", "1"]
    net.remove_all()


def test_the_default_networks_addresses_are_the_daemons_to_say(
    new_net: Callable[..., NetworkBox],
) -> None:
    net = new_net(
        *("--bip", "10.70.0.1/24", "--default-address-pool", "base=10.71.0.0/16,size=24"),
        *("--bridge", "front0", "--mtu", "1400", "--warm-sandboxes", "0"),
    )
    assert net.subnet("bridge") == {"Subnet": "10.70.0.0/24", "Gateway": "10.70.0.1"}
    assert "front0" in net.host.links()
    box = net.up()
    assert net.address(box) == "10.70.0.2", "there are no spare sandboxes"
    assert "mtu 1400" in net.inside(box, "ip", "link", "show", "eth0")
    subnets = {net.subnet(net.network())["Subnet"] for _ in range(2)}
    assert subnets == {"10.71.0.0/24", "10.71.1.0/24"}
    net.remove_all()


# --- limits


def seconds_for(source: Space, target: Space, address: str, size: int) -> float:
    """How long that many bytes take."""
    with target.do(lambda: socket.create_server(("", 81))) as listener:

        def receive() -> None:
            connection, _ = listener.accept()
            with connection:
                got = 0
                while got < size:
                    got += len(connection.recv(1 << 16))
                connection.sendall(b"x")

        with source.do(socket.socket) as sending:
            sending.settimeout(limit(20))
            sending.connect((address, 81))
            receiving = Thread(target=receive)
            receiving.start()
            begun = time.monotonic()
            sending.sendall(bytes(size))
            sending.recv(1)
            receiving.join()
            return time.monotonic() - begun


@pytest.mark.parametrize("way", ["down", "up"])
def test_bandwidth(net: NetworkBox, way: str) -> None:
    network, size = net.network(), 512 << 10
    option = f"driver-opt=orlop.bandwidth.{way}=8m"
    slow = net.up("--network", f"name={network},{option}")
    free = net.up("--network", network)
    ends = (slow, free) if way == "up" else (free, slow)
    source, target = (net.space(end) for end in ends)
    seconds = seconds_for(source, target, net.address(ends[1], network), size)
    expected = size * 8 / (8 * MEGABIT)
    assert expected / 2 < seconds < limit(expected * 2)
    back = seconds_for(target, source, net.address(ends[0], network), size)
    assert back < expected / 2, "the other way has no limit"


def test_impairment(net: NetworkBox) -> None:
    """Where the kernel has netem it does as asked; else it says what is missing, at once."""
    network = net.network()
    box, peer = net.up("--network", network), net.up("--network", network)
    lacks = any(one.name == "netem" and one.status != "ok" for one in probe())
    done = net.orlop("network", "impair", "--delay", "80ms", "--loss", "0", box)
    if lacks:
        assert done.returncode == 1
        assert "CONFIG_NET_SCH_NETEM" in one_line(done.stderr)
    else:
        assert done.returncode == 0, done.stderr
    with Service(net.space(box)):
        assert ask(net.space(peer), net.address(box, network))
        begun = time.monotonic()
        assert ask(net.space(peer), net.address(box, network))
        assert (time.monotonic() - begun > 0.08) == (not lacks)
    if not lacks:
        net.ok("network", "impair", "--clear", box)
    for words, said in (
        (("--loss", "101", box), "0 to 100"),
        (("--delay", "10ms", "--network", "nowhere", box), "nowhere"),
        (("--delay", "10ms", "--network", "bridge", box), "not connected"),
        (("--delay", "10ms", "nobody"), "nobody"),
    ):
        done = net.orlop("network", "impair", *words)
        assert done.returncode != 0, words
        assert said in done.stderr
