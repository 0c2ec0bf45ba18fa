"""Networks as things: made, shown, joined, left, removed; their addresses; bad requests."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import Any

import pytest

from tests.api.box import FOREVER, IMAGE, eventually
from tests.api.network_box import SPARE_SANDBOXES, NetworkBox, Service, ask, silent, told
from tests.kernel.netplumb.rig import Outside

pytestmark = pytest.mark.feature("bridge", "veth", "nftables", "nftables-bridge")

PREDEFINED = {"bridge": "bridge", "host": "host", "none": "null"}


# --- made, shown, removed


def test_predefined_networks(net: NetworkBox) -> None:
    _, found = net.daemon.request("GET", "/networks")
    assert {one["Name"]: one["Driver"] for one in found} == PREDEFINED
    assert all(one["Scope"] == "local" and len(one["Id"]) == 64 for one in found)
    options = net.view("bridge")["Options"]
    assert options["com.docker.network.bridge.default_bridge"] == "true"
    assert options["com.docker.network.bridge.name"] in net.host.links()
    for name in PREDEFINED:
        text = net.refused("network", "rm", name)
        assert f"{name} is a pre-defined network and cannot be removed" in text
        assert net.daemon.request("DELETE", f"/networks/{name}")[0] == 403
        status, answer = net.daemon.request("POST", "/networks/create", {"Name": name})
        assert status in {403, 409}, answer
        assert name in answer["message"]


def test_a_network_with_all_it_can_have(net: NetworkBox) -> None:
    name = net.network(
        *("--subnet", "10.77.0.0/24", "--gateway", "10.77.0.254", "--ip-range", "10.77.0.128/25"),
        *("--aux-address", "printer=10.77.0.129", "--label", "a=b"),
        *("-o", "com.docker.network.bridge.name=br77"),
    )
    found = net.view(name)
    config = {
        "Subnet": "10.77.0.0/24",
        "IPRange": "10.77.0.128/25",
        "Gateway": "10.77.0.254",
        "AuxiliaryAddresses": {"printer": "10.77.0.129"},
    }
    assert found["IPAM"] == {"Driver": "default", "Options": {}, "Config": [config]}
    assert found["Labels"] == {"a": "b"}
    assert found["Options"] == {"com.docker.network.bridge.name": "br77"}
    assert found["Containers"] == {}
    assert (found["Internal"], found["EnableIPv6"], found["Scope"]) == (False, False, "local")
    assert "inet 10.77.0.254/24" in net.host.run("busybox", "ip", "addr", "show", "br77").stdout
    first, second = net.up("--network", name), net.up("--network", name)
    assert net.address(first, name) == "10.77.0.128"
    assert net.address(second, name) == "10.77.0.130", "129 is the printer's"
    shown = net.view(name)["Containers"][net.inspect(second)["Id"]]
    end = net.endpoint(second, name)
    assert shown == {
        "Name": second,
        "EndpointID": end["EndpointID"],
        "MacAddress": end["MacAddress"],
        "IPv4Address": "10.77.0.130/24",
        "IPv6Address": "",
    }
    assert (end["Gateway"], end["IPPrefixLen"]) == ("10.77.0.254", 24)
    assert end["NetworkID"] == found["Id"]


def test_subnets_are_found_where_there_is_room(net: NetworkBox) -> None:
    net.host.routing(lambda r: r.route("add", dst="172.18.0.0/16", gateway=Outside.OWN4))
    try:
        names = [net.network() for _ in range(3)]
        subnets = [ip_network(net.subnet(name)["Subnet"]) for name in ["bridge", *names]]
        subnets.append(ip_network("172.18.0.0/16"))
        for at, one in enumerate(subnets):
            assert not any(one.overlaps(other) for other in subnets[:at]), subnets
    finally:
        net.host.routing(lambda r: r.route("del", dst="172.18.0.0/16", gateway=Outside.OWN4))


def test_references_and_filters(net: NetworkBox) -> None:
    one, two = net.network("--label", "kind=a"), net.network("--internal")
    id = net.view(one)["Id"]
    for ref in (one, id, id[:12], id[:5]):
        assert net.view(ref)["Name"] == one

    def named(*filters: str) -> set[str]:
        flags = [word for filter in filters for word in ("--filter", filter)]
        return set(net.docker("network", "ls", "--format", "{{.Name}}", *flags).split())

    assert named() == {"bridge", "host", "none", one, two}
    assert named("label=kind=a") == {one}
    assert named("driver=null") == {"none"}
    assert named("type=custom") == {one, two}
    assert named(f"name={two}") == {two}
    assert named(f"id={id[:8]}") == {one}


def test_remove_and_prune(net: NetworkBox) -> None:
    kept, idle, other = net.network("--label", "keep"), net.network(), net.network()
    used = net.network()
    box = net.up("--network", used)
    text = net.refused("network", "rm", used)
    assert f"network {used}" in text or net.view(used)["Id"] in text
    assert "has active endpoints" in text
    assert box in text
    assert net.daemon.request("DELETE", f"/networks/{used}")[0] == 403
    bridges = set(net.host.links())
    net.docker("network", "rm", other)
    assert len(bridges - set(net.host.links())) == 1, "its bridge has gone"
    net.docker("network", "prune", "-f", "--filter", "label!=keep")
    assert set(net.networks()) == {kept, used}
    net.docker("rm", "-f", box)
    net.docker("network", "rm", used, kept)
    assert idle not in net.networks()
    status, answer = net.daemon.request("DELETE", f"/networks/{used}")
    assert (status, answer["message"]) == (404, f"network {used} not found")


def test_events(net: NetworkBox) -> None:
    begun = time.time()
    name = net.network()
    box = net.up("--network", name)
    net.docker("network", "disconnect", name, box)
    net.docker("network", "connect", name, box)
    net.docker("rm", "-f", box)
    net.docker("network", "rm", name)
    span = ("--since", f"{begun:.6f}", "--until", f"{time.time():.6f}")
    text = net.docker("events", *span, "--filter", "type=network", "--format", "{{json .}}")
    events = [json.loads(line) for line in text.splitlines()]
    assert {event["Actor"]["Attributes"]["name"] for event in events} == {name}
    actions = [event["Action"] for event in events]
    assert actions == ["create", *("connect", "disconnect") * 2, "destroy"]


# --- addresses


def test_addresses_as_asked(net: NetworkBox) -> None:
    name = net.network("--ipv6", "--subnet", "fd77:7::/64", "--subnet", "10.78.0.0/24")
    mac = "02:42:0a:4e:00:63"
    flags = ("--ip", "10.78.0.99", "--ip6", "fd77:7::99", "--mac-address", mac)
    box = net.ok("run", "-d", "--network", name, *flags, IMAGE, "sleep", "100000")
    text = net.inside(box, "ip", "addr", "show", "eth0")
    for words in ("inet 10.78.0.99/24", "inet6 fd77:7::99/64", f"link/ether {mac}"):
        assert words in text
    end = net.endpoint(box, name)
    assert (end["IPAddress"], end["GlobalIPv6Address"]) == ("10.78.0.99", "fd77:7::99")
    assert end["MacAddress"] == mac
    assert end["IPAMConfig"] == {"IPv4Address": "10.78.0.99", "IPv6Address": "fd77:7::99"}
    net.docker("restart", "-t", "0", box)
    assert net.address(box, name) == "10.78.0.99"
    text = net.refused("run", "--rm", "--network", name, "--ip", "10.78.0.99", IMAGE, "true")
    assert "10.78.0.99" in text
    assert "in use" in text
    assert net.inspect(box)["Name"].lstrip("/") in text
    peer = net.up("--network", name)
    with Service(net.space(box)):
        assert ask(net.space(peer), "10.78.0.99") == net.address(peer, name)


def test_an_address_rests_until_all_others_were_used(net: NetworkBox) -> None:
    name = net.network("--subnet", "10.79.0.0/29")
    given = []
    for _ in range(6):
        box = net.up("--network", name)
        given.append(net.address(box, name))
        net.docker("rm", "-f", box)
    assert given == [f"10.79.0.{n}" for n in (2, 3, 4, 5, 6, 2)]


def test_a_full_network(net: NetworkBox) -> None:
    name = net.network("--subnet", "10.80.0.0/29")
    boxes = [net.up("--network", name) for _ in range(5)]
    flags = ("--name", "late", "--network", name, "-p", "8200:80")
    text = net.refused("run", "-d", *flags, IMAGE, "sleep", "100000")
    assert "no available IPv4 addresses on 10.80.0.0/29" in text
    assert not net.state("late")["Running"]
    net.docker("rm", "-f", boxes[2])
    net.docker("start", "late")
    assert net.address("late", name) == "10.80.0.4"


def test_a_stopped_container_has_no_address(net: NetworkBox) -> None:
    name = net.network()
    box = net.up("--network", name)
    assert net.address(box, name)
    net.docker("stop", "-t", "0", box)
    end = net.endpoint(box, name)
    assert (end["IPAddress"], end["Gateway"], end["MacAddress"]) == ("", "", "")
    assert end["NetworkID"] == net.view(name)["Id"]
    assert net.view(name)["Containers"] == {}
    net.docker("network", "rm", name)
    text = net.refused("start", box)
    assert "network" in text
    assert "not found" in text
    net.docker("rm", box)


@pytest.mark.feature("idmapped-mounts")
def test_spare_sandboxes_have_user_ids_of_their_own(net: NetworkBox) -> None:
    """The container's namespaces are those that the daemon had before there was a container."""
    eventually(lambda: len(held(net, "user")) == SPARE_SANDBOXES)
    had = held(net, "net") | held(net, "user")
    box = net.up("-p", "80")
    pid = net.state(box)["Pid"]
    links = {os.readlink(f"/proc/{pid}/ns/{kind}") for kind in ("net", "user")}
    assert links <= had
    assert f"inet {net.address(box)}/" in net.inside(box, "ip", "addr", "show", "eth0")
    assert net.inside(box, "stat", "-L", "-c", "%u:%g", "/proc/net").strip() == "0:0"
    with Service(net.space(box)):
        assert ask(net.outside, Outside.HOST4, net.host_port(box)) == Outside.OWN4
    unstarted = net.name("box")
    net.docker("create", "--name", unstarted, IMAGE, "true")
    net.docker("rm", unstarted)


def held(net: NetworkBox, kind: str) -> set[str]:
    """The namespaces that the daemon has open, as links of /proc say it."""
    folder = Path(f"/proc/{net.daemon.pid}/fd")
    found = set()
    for one in folder.iterdir():
        with suppress(FileNotFoundError):
            link = str(one.readlink())
            if link.startswith(f"{kind}:["):
                found.add(link)
    return found


def test_many_at_once(net: NetworkBox) -> None:
    """On the default network, whose spare sandboxes are soon used up, and on another one."""
    name = net.network()
    networks = {net.name("box"): ("bridge", name)[at % 2] for at in range(20)}
    starting = [
        Popen(
            [
                "docker",
                "run",
                "-d",
                "--name",
                box,
                "--network",
                network,
                "-p",
                "80",
                IMAGE,
                *FOREVER,
            ],
            env=net.daemon.environment,
            stdout=DEVNULL,
        )
        for box, network in networks.items()
    ]
    assert [one.wait(60) for one in starting] == [0] * len(networks)
    told = {box: net.address(box, network) for box, network in networks.items()}
    assert len(set(told.values())) == len(networks)
    assert len({net.host_port(box) for box in networks}) == len(networks)
    for box, address in told.items():
        assert f"inet {address}/" in net.inside(box, "ip", "addr", "show", "eth0")
        with Service(net.space(box)):
            assert ask(net.outside, Outside.HOST4, net.host_port(box)) == Outside.OWN4


# --- several networks


def test_a_running_container_joins_and_leaves(net: NetworkBox) -> None:
    first, second = net.network(), net.network()
    box, peer = net.up("--network", first), net.up("--network", second)
    inside = net.space(box)
    assert inside.links() == ["lo", "eth0"]
    net.docker("network", "connect", "--alias", "al", second, box)
    assert inside.links() == ["lo", "eth0", "eth1"]
    with Service(net.space(peer)), Service(inside):
        assert ask(inside, net.address(peer, second)) == net.address(box, second)
        assert ask(net.space(peer), net.address(box, second))
        assert net.address(box, second) in net.inside(peer, "nslookup", "al")
        text = net.refused("network", "connect", second, box)
        assert f"endpoint with name {box} already exists in network {second}" in text
        gone = net.address(box, second)
        net.docker("network", "disconnect", second, box)
        assert silent(net.space(peer), gone)
        eventually(lambda: inside.links() == ["lo", "eth0"])
    for _ in range(4):  # one after the other, as fast as it goes
        net.docker("network", "connect", second, box)
        assert f"inet {net.address(box, second)}/" in net.inside(box, "ip", "addr")
        net.docker("network", "disconnect", second, box)
    eventually(lambda: inside.links() == ["lo", "eth0"])
    assert list(net.inspect(box)["NetworkSettings"]["Networks"]) == [first]
    text = net.refused("network", "disconnect", second, box)
    assert f"is not connected to network {second}" in text


def test_a_stopped_container_joins_and_leaves(net: NetworkBox) -> None:
    first, second = net.network(), net.network("--subnet", "10.81.0.0/24")
    box = net.name("box")
    net.docker("create", "--name", box, "--network", first, IMAGE, "sleep", "100000")
    net.docker("network", "connect", "--ip", "10.81.0.9", second, box)
    net.docker("start", box)
    assert net.space(box).links() == ["lo", "eth0", "eth1"]
    assert net.address(box, second) == "10.81.0.9"
    net.docker("stop", "-t", "0", box)
    net.docker("network", "disconnect", first, box)
    net.docker("start", box)
    assert net.space(box).links() == ["lo", "eth0"]
    assert list(net.inspect(box)["NetworkSettings"]["Networks"]) == [second]


def test_the_default_route_is_by_priority(net: NetworkBox) -> None:
    low, high = net.network(), net.network()
    inner = net.network("--internal")
    networks = (f"name={low},gw-priority=1", f"name={high},gw-priority=5", inner)
    box = net.name("box")
    flags = [word for network in networks for word in ("--network", network)]
    net.ok("run", "-d", "--name", box, *flags, IMAGE, "sleep", "100000")
    gateways = {name: net.subnet(name)["Gateway"] for name in (low, high)}

    def route() -> str:
        return net.inside(box, "ip", "route", "show", "default")

    assert f"via {gateways[high]} " in route()
    with Service(net.outside):
        assert ask(net.space(box), Outside.OWN4) == Outside.HOST4
        net.docker("network", "disconnect", high, box)
        assert f"via {gateways[low]} " in route()
        assert ask(net.space(box), Outside.OWN4) == Outside.HOST4
    net.docker("network", "disconnect", low, box)
    assert "default" not in route()
    net.ok("network", "connect", "--gw-priority", "9", high, box)
    assert f"via {gateways[high]} " in route()


# --- over restarts of the supervisor


def test_networks_outlive_the_supervisor(new_net: Callable[..., NetworkBox]) -> None:
    net = new_net()
    name = net.network("--subnet", "10.82.0.0/29", "--label", "a=b")
    kept = net.up("--network", name, "--restart", "always")
    view, bridge = net.view(name), net.view("bridge")
    views = [{**one, "Containers": None} for one in (view, bridge)]
    with suppress(TimeoutError):
        net.daemon.stop()
    net.daemon.start()
    again = [{**net.view(ref), "Containers": None} for ref in (name, "bridge")]
    assert again == views
    assert list(net.view(name)["Containers"]) == [net.inspect(kept)["Id"]]
    given = set()
    for _ in range(4):
        given.add(net.address(net.up("--network", name), name))
    assert given == {f"10.82.0.{n}" for n in (2, 3, 4, 5, 6)} - {net.address(kept, name)}
    assert "no available" in net.refused("run", "--rm", "--network", name, IMAGE)
    net.remove_all()


def test_no_address_is_given_twice_when_the_supervisor_is_killed(
    new_net: Callable[..., NetworkBox],
) -> None:
    net = new_net()
    name = net.network("--subnet", "10.94.0.0/27")
    boxes = [net.name("box") for _ in range(8)]
    for box in boxes:
        net.docker("create", "--name", box, "--network", name, IMAGE, "sleep", "100000")
    starting = [
        Popen(["docker", "start", box], env=net.daemon.environment, stdout=DEVNULL, stderr=DEVNULL)
        for box in boxes
    ]
    time.sleep(0.2)  # in the midst of it
    net.daemon.kill()
    for one in starting:
        one.wait(60)
    net.daemon.start()
    net.docker("start", *boxes)
    told = {box: net.address(box, name) for box in boxes}
    assert len(set(told.values())) == len(boxes)
    for box, address in told.items():
        assert f"inet {address}/27" in net.inside(box, "ip", "addr", "show", "eth0")
    with Service(net.space(boxes[0])):
        for box in boxes[1:]:
            assert ask(net.space(box), told[boxes[0]]) == told[box]
    net.remove_all()


# --- what is wrong with it

SUBNET = ("--subnet", "10.83.0.0/24")
CREATE = [
    # flags, what must be said
    (("--subnet", "10.83.0.0/31"), "10.83.0.0/31"),
    (("--subnet", "10.83.0.300/24"), "10.83.0.300/24"),
    (("--subnet", "10.84.0.0/25"), "10.84.0.0/25"),
    (("--subnet", "10.9.0.0/24"), "10.9.0.0/24"),
    ((*SUBNET, "--gateway", "10.85.0.1"), "10.85.0.1"),
    ((*SUBNET, "--ip-range", "10.85.0.0/25"), "10.85.0.0/25"),
    ((*SUBNET, "--aux-address", "x=10.85.0.1"), "10.85.0.1"),
    ((*SUBNET, "--driver", "overlay"), "overlay"),
    (
        (*SUBNET, "-o", "com.docker.network.bridge.name=much-too-long-a-name"),
        "much-too-long-a-name",
    ),
    ((*SUBNET, "-o", "com.docker.network.bridge.name=up0"), "up0"),
    ((*SUBNET, "-o", "com.docker.network.driver.mtu=x"), "mtu"),
    ((*SUBNET, "-o", "com.docker.network.bridge.enable_icc=perhaps"), "enable_icc"),
    (("--subnet", "127.0.0.0/8"), "127.0.0.0/8"),
    (("--subnet", "224.0.0.0/24"), "224.0.0.0/24"),
]


@pytest.mark.parametrize("flags, said", CREATE, ids=[" ".join(flags[-2:]) for flags, _ in CREATE])
def test_bad_networks(net: NetworkBox, flags: tuple[str, ...], said: str) -> None:
    there = net.network("--subnet", "10.84.0.0/16")
    links = net.host.links()
    assert said in net.refused("network", "create", *flags, "bad")
    assert net.networks() == [there]
    assert net.host.links() == links


def test_bad_names(net: NetworkBox) -> None:
    there = net.network()
    assert f"network with name {there} already exists" in net.refused("network", "create", there)
    for name in ("", "-x", "a b", "a/b", "x" * 300):
        status, answer = net.daemon.request("POST", "/networks/create", {"Name": name})
        assert status == 400, (name, answer)
        assert len(answer["message"]) < 500
    assert net.networks() == [there]


RUN = [
    (("--network", "no-such-net"), "network no-such-net not found"),
    (("--network", "{net}", "--ip", "10.86.1.9"), "10.86.1.9"),
    (("--network", "{net}", "--ip", "10.86.0.1"), "10.86.0.1"),
    (("--network", "{net}", "--ip", "10.86.0.0"), "10.86.0.0"),
    (("--network", "{net}", "--ip", "10.86.0.255"), "10.86.0.255"),
    (("--network", "{net}", "--ip6", "fd00::9"), "fd00::9"),
    (("--ip", "10.86.0.9"), "user"),
    (("--network", "none", "--ip", "10.86.0.9"), "user"),
    (("--network", "{net}", "--network", "{net}"), "multiple"),
    (("--network", "host", "--network", "{net}"), "conflicting"),
    (("--network-alias", "x"), "alias"),
    (("--network", "container:nobody"), "nobody"),
    (("--network", "{net}", "--link", "x:y"), "ink"),
]


@pytest.mark.parametrize("flags, said", RUN, ids=[" ".join(flags[-2:]) for flags, _ in RUN])
@pytest.mark.parametrize("command", ["docker", "orlop"])
def test_bad_containers(net: NetworkBox, command: str, flags: tuple[str, ...], said: str) -> None:
    there = net.network("--subnet", "10.86.0.0/24")
    before = net.view(there)
    words = [flag.format(net=there) for flag in flags]
    run: Any = net.daemon.docker if command == "docker" else net.orlop
    done = run("run", "--rm", *words, IMAGE, "true")
    assert done.returncode == 125, done
    assert said in told(done.stderr)
    eventually(lambda: not net.ids())
    assert net.view(there) == before


@pytest.mark.parametrize("mac", ["02:42", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "x"])
def test_bad_mac_addresses(net: NetworkBox, mac: str) -> None:
    there = net.network()
    done = net.orlop("run", "--rm", "--network", there, "--mac-address", mac, IMAGE, "true")
    assert done.returncode == 125
    assert mac in told(done.stderr)
    body = {"Image": IMAGE, "HostConfig": {"NetworkMode": there}, "MacAddress": mac}
    status, answer = net.daemon.request("POST", "/v1.41/containers/create", body)
    assert status == 400, answer
    assert mac in answer["message"]
    assert not net.ids()


def test_bad_joins(net: NetworkBox) -> None:
    name = net.network("--subnet", "10.87.0.0/24")
    box = net.up("--network", name)
    other = net.network("--subnet", "10.88.0.0/24")
    for flags, said in (
        (("nowhere", box), "network nowhere not found"),
        ((other, "nobody"), "nobody"),
        (("--ip", "10.89.0.9", other, box), "10.89.0.9"),
        (("--ip", "10.88.0.1", other, box), "10.88.0.1"),
        (("none", box), "none"),
        (("host", box), "host"),
    ):
        assert said in net.refused("network", "connect", *flags), flags
    shared = net.up("--network", f"container:{box}")
    hosted = net.up("--network", "host")
    for stranger in (shared, hosted):
        assert net.refused("network", "connect", other, stranger)
    assert list(net.inspect(box)["NetworkSettings"]["Networks"]) == [name]
    assert net.space(box).links() == ["lo", "eth0"]
    assert net.view(other)["Containers"] == {}
