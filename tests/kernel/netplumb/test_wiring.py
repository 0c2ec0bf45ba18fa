"""Bridges and pairs as the kernel has them."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from msgspec.structs import replace

from netplumb.apply.plumber import Plumber, open_plumber
from netplumb.apply.settings import MARK, Settings
from netplumb.apply.wiring import Wiring
from netplumb.errors import Invalid, Refused, Taken
from netplumb.plan import links
from netplumb.plan.model import Desired
from netplumb.plan.names import Identity, bridge_mac
from netplumb.plan.observed import Link, Observed
from netplumb.plan.reconcile import Aim
from tests.kernel.netplumb.rig import (
    PATIENCE,
    Container,
    Outside,
    Space,
    ask,
    endpoint,
    inode,
    make_veth,
    network,
    own_sysfs,
    run_operations,
    serve_tcp,
)

Make = Callable[..., Container]
ME = Identity()


def look() -> Observed:
    """What this thread's namespace has."""
    looking = Wiring(Aim(ME, MARK))
    try:
        return looking.observe()
    finally:
        looking.close()


def guarded(*versions: int) -> list[int]:
    """Those of the IP versions that have routing rules here."""
    return [version for version in versions if version in look().guardable]


def link(name: str) -> Link:
    found = look().link(name)
    assert found is not None, name
    return found


def ours() -> list[str]:
    """The interfaces here that have our marks."""
    return sorted(x.name for x in look().links if ME.owns(x.group, x.alias))


def addresses(name: str) -> set[str]:
    seen = look()
    index = next(x.index for x in seen.links if x.name == name)
    return {str(a.address) for a in seen.addresses if a.index == index}


def routes() -> str:
    return Path("/proc/thread-self/net/route").read_text()


def routes6() -> str:
    return Path("/proc/thread-self/net/ipv6_route").read_text()


async def gone(name: str, *, within: float = PATIENCE) -> bool:
    """The interface is no more, after some time."""
    with trio.move_on_after(within):
        while look().link(name) is not None:
            await trio.sleep(0.01)
        return True
    return False


async def until(fact: Callable[[], bool]) -> None:
    """Wait for the fact."""
    with trio.fail_after(PATIENCE):
        while not fact():
            await trio.sleep(0.01)


# --- bridges ------------------------------------------------------------------------------------


async def test_a_bridge(plumber: Plumber) -> None:
    net = network(1, mtu=1400)
    await plumber.add_network(net)
    made = link(net.bridge)
    assert (made.kind, made.mtu, made.up) == ("bridge", 1400, True)
    assert (made.group, made.alias) == (ME.bridges, "orlop:bridge:net1")
    assert made.mac == bridge_mac("net1")
    assert addresses(net.bridge) == {
        "172.30.1.1/24",
        "fd30:1::1/64",
        *(f"{a}" for a in addresses(net.bridge) if a.startswith("fe80")),
    }
    assert len(addresses(net.bridge)) == 3
    assert [(g.version, g.bridge) for g in look().guards] == [
        (version, net.bridge) for version in guarded(4, 6)
    ]
    assert plumber.protection.guards == frozenset(guarded(4, 6))


async def test_ipv6_is_off_on_a_bridge_without_it(plumber: Plumber) -> None:
    net = network(1, ipv6=False)
    await plumber.add_network(net)
    assert addresses(net.bridge) == {"172.30.1.1/24"}
    assert Path(f"/proc/sys/net/ipv6/conf/{net.bridge}/disable_ipv6").read_text() == "1\n"


async def test_a_network_goes_without_a_trace(plumber: Plumber) -> None:
    before = look()
    await plumber.add_network(network(1))
    await plumber.add_network(network(2))
    await plumber.remove_network("net1")
    assert ours() == [network(2).bridge]
    await plumber.remove_network("net2")
    await plumber.remove_network("net2")
    assert look() == before


async def test_a_network_is_changed_in_place(plumber: Plumber) -> None:
    net = network(1)
    await plumber.add_network(net)
    index = link(net.bridge).index
    changed = replace(net, mtu=1300, gateways=network(1, ipv6=False).gateways)
    await plumber.add_network(changed)
    assert link(net.bridge).index == index
    assert link(net.bridge).mtu == 1300
    assert addresses(net.bridge) == {"172.30.1.1/24"}
    assert [g.version for g in look().guards] == [4]


async def test_a_bridge_of_others_is_left_alone(plumber: Plumber) -> None:
    net = network(1)
    run_operations(
        links.make_bridge(net.bridge, group=0, mtu=1500, mac=bytes.fromhex("0242aabbcc01"))
    )
    before = look()
    with pytest.raises(Taken, match=f"interface {net.bridge} that network net1 needs exists"):
        await plumber.add_network(net)
    assert look() == before
    assert plumber.desired == Desired()
    restored = await plumber.restore(Desired(networks=(net,)))
    assert [conflict.interface for conflict in restored.conflicts] == [net.bridge]
    assert look() == before


async def test_two_networks_cannot_share_a_bridge(plumber: Plumber) -> None:
    await plumber.add_network(network(1))
    with pytest.raises(Taken, match="network net1 has the bridge"):
        await plumber.add_network(replace(network(2), bridge=network(1).bridge))


async def test_a_network_with_containers_stays(plumber: Plumber, container: Make) -> None:
    net = network(1)
    await plumber.add_network(net)
    box = container(endpoint("c", net, 2))
    await plumber.connect(box.fd, box.endpoints)
    with pytest.raises(Taken, match="network net1 has active endpoints: c"):
        await plumber.remove_network("net1")
    assert net.bridge in ours()


async def test_the_hosts_subnets_without_our_own(plumber: Plumber, outside: Outside) -> None:
    await plumber.add_network(network(1))
    assert {str(subnet) for subnet in await plumber.host_subnets()} == {
        "10.9.0.0/24",
        "fd99::/64",
        *(str(s) for s in await plumber.host_subnets() if str(s) == "fe80::/64"),
    }


# --- pairs --------------------------------------------------------------------------------------


async def test_a_pair(plumber: Plumber, container: Make, tmp_path: Path) -> None:
    net = network(1, mtu=1400)
    await plumber.add_network(net)
    end = endpoint("c", net, 2)
    box = container(end)
    assert await plumber.connect(box.fd, [end]) == (end,)

    port = link(end.port)
    assert (port.kind, port.mtu, port.up, port.isolated) == ("veth", 1400, True, False)
    assert (port.group, port.alias) == (ME.ports, "orlop:port:c:net1")
    assert port.master == link(net.bridge).index
    assert addresses(end.port) == set(), "no IPv6 noise of its own"
    with own_sysfs(tmp_path) as sys:
        assert (sys / f"class/net/{end.port}/brport/hairpin_mode").read_text() == "1\n"

    known = box.do(Path("/proc/thread-self/net/arp").read_text).splitlines()[1].split()
    assert known[0] == "172.30.1.1"
    assert known[2:4] == ["0x6", bridge_mac("net1")], "complete, and for good"

    inner = box.do(look)
    assert [(x.name, x.up) for x in inner.links] == [("lo", True), ("eth0", True)]
    eth0 = inner.links[1]
    assert (eth0.mtu, eth0.mac) == (1400, end.mac)
    found = {str(a.address) for a in inner.addresses if a.index == eth0.index}
    assert found == {"172.30.1.2/24", "fd30:1::2/64", "fe80::42:acff:fe1e:102/64"}
    assert "00000000\t01011EAC" in box.do(routes), "the default route by 172.30.1.1"


@contextmanager
def namespaces_come_and_go() -> Iterator[None]:
    """The kernel's lock is held most of the time."""
    over = threading.Event()

    def churn() -> None:
        while not over.is_set():
            spaces = [Space() for _ in range(5)]
            for space in spaces:
                space.do(lambda space=space: make_veth("x", "y", space.fd))  # type: ignore[misc]
                space.close()

    churning = threading.Thread(target=churn)
    churning.start()
    try:
        yield
    finally:
        over.set()
        churning.join()


async def test_the_port_takes_packets_at_once(
    plumber: Plumber, container: Make, tmp_path: Path
) -> None:
    """The bridge hears of the carrier by a work queue, late if others hold the kernel's lock."""
    net = network(1)
    await plumber.add_network(net)
    states = []
    with own_sysfs(tmp_path) as sys, namespaces_come_and_go():
        for number in range(60):
            box = container(endpoint("c", net, 2, life=number))
            await plumber.connect(box.fd, box.endpoints)
            port = box.endpoints[0].port
            states.append((sys / f"class/net/{port}/brport/state").read_text().strip())
            await plumber.forget("c")
            box.close()
    assert states == ["3"] * 60, "3 is forwarding, 0 disabled"


async def test_ipv6_works_at_once(plumber: Plumber, container: Make) -> None:
    net = network(1)
    await plumber.add_network(net)
    one, two = container(endpoint("a", net, 2)), container(endpoint("b", net, 3))
    await plumber.connect(one.fd, one.endpoints)
    async with trio.open_nursery() as nursery:
        await plumber.connect(two.fd, two.endpoints)
        await nursery.start(serve_tcp, two, 80)  # binding a tentative address fails
        assert await ask(one, two.ip6, 80) == one.ip6
        nursery.cancel_scope.cancel()
    flags = [
        line.split()[4]
        for line in two.do(Path("/proc/thread-self/net/if_inet6").read_text).splitlines()
    ]
    assert not any(int(flag, 16) & 0x40 for flag in flags), "no address is tentative"


async def test_a_network_without_ipv6_has_none_inside(plumber: Plumber, container: Make) -> None:
    net = network(1, ipv6=False)
    await plumber.add_network(net)
    box = container(endpoint("c", net, 2))
    await plumber.connect(box.fd, box.endpoints)
    eth0 = [a for a in box.do(look).addresses if a.index != 1]
    assert [str(a.address) for a in eth0] == ["172.30.1.2/24"]


async def test_two_networks_at_once(plumber: Plumber, container: Make) -> None:
    one, two = network(1), network(2)
    for net in (one, two):
        await plumber.add_network(net)
    first = endpoint("c", one, 2, default_route=False)
    second = endpoint("c", two, 2, interface="eth1")
    box = container(first, second)
    await plumber.connect(box.fd, box.endpoints)
    assert box.links() == ["lo", "eth0", "eth1"]
    lines = [x.split()[:3] for x in box.do(routes).splitlines()[1:]]
    assert [x[0] for x in lines if x[1] == "00000000"] == ["eth1"]


async def test_another_network_for_a_running_container(plumber: Plumber, container: Make) -> None:
    one, two = network(1), network(2)
    for net in (one, two):
        await plumber.add_network(net)
    box = container(endpoint("c", one, 2))
    await plumber.connect(box.fd, box.endpoints)
    second = endpoint("c", two, 2, interface="eth1", default_route=False)
    await plumber.connect(box.fd, [second], first=False)
    assert box.links() == ["lo", "eth0", "eth1"]
    await plumber.disconnect("c", "net2")
    assert await gone(second.port)
    assert box.links() == ["lo", "eth0"]
    assert [e.network for e in plumber.desired.endpoints] == ["net1"]


async def test_the_default_route_moves(plumber: Plumber, container: Make) -> None:
    one, two = network(1), network(2)
    for net in (one, two):
        await plumber.add_network(net)
    box = container(endpoint("c", one, 2))
    await plumber.connect(box.fd, box.endpoints)
    second = endpoint("c", two, 2, interface="eth1", default_route=False)
    await plumber.connect(box.fd, [second], first=False)

    def ways() -> list[str]:
        lines = [x.split()[:2] for x in box.do(routes).splitlines()[1:]]
        lines6 = [x.split() for x in box.do(routes6).splitlines()]
        found = [name for name, to in lines if to == "00000000"]
        return found + [x[9] for x in lines6 if x[1] == "00" and x[4] != "0" * 32]

    assert ways() == ["eth0", "eth0"]
    await plumber.reroute(box.fd, "c", "net2")
    assert ways() == ["eth1", "eth1"]
    await plumber.disconnect("c", "net1")
    assert ways() == ["eth1", "eth1"]
    # A network that comes later and has the default route takes it over.
    await plumber.connect(box.fd, [endpoint("c", one, 3, life=1, interface="eth2")], first=False)
    assert ways() == ["eth2", "eth2"]
    with pytest.raises(Invalid, match="container c is not in network net9"):
        await plumber.reroute(box.fd, "c", "net9")


async def test_an_internal_network_has_no_default_route(plumber: Plumber, container: Make) -> None:
    net = network(1, internal=True)
    await plumber.add_network(net)
    box = container(endpoint("c", net, 2))
    await plumber.connect(box.fd, box.endpoints)
    assert [x.split()[1] for x in box.do(routes).splitlines()[1:]] == ["00011EAC"]


async def test_without_icc_the_ports_are_isolated(plumber: Plumber, container: Make) -> None:
    net = network(1, icc=False)
    await plumber.add_network(net)
    box = container(endpoint("c", net, 2))
    await plumber.connect(box.fd, box.endpoints)
    assert link(box.endpoints[0].port).isolated


async def test_the_pair_goes_with_the_namespace(plumber: Plumber, container: Make) -> None:
    net = network(1)
    await plumber.add_network(net)
    box = container(endpoint("c", net, 2))
    await plumber.connect(box.fd, box.endpoints)
    await plumber.forget("c")
    assert plumber.desired.endpoints == ()
    box.close()
    assert await gone(box.endpoints[0].port)


async def test_a_container_may_start_again_at_once(plumber: Plumber, container: Make) -> None:
    net = network(1)
    await plumber.add_network(net)
    for life in range(20):
        box = container(endpoint("c", net, 2, life=life))
        await plumber.connect(box.fd, box.endpoints)
        box.close()
        await plumber.forget("c")
    await until(lambda: ours() == [net.bridge])


# --- errors -------------------------------------------------------------------------------------


async def test_a_taken_name_gives_another_one(plumber: Plumber, container: Make) -> None:
    net = network(1)
    await plumber.add_network(net)
    end = endpoint("c", net, 2)
    other = Space()
    make_veth(end.port, "eth0", other.fd)
    foreign = link(end.port)
    box = container(end)
    (made,) = await plumber.connect(box.fd, [end])
    assert made.port != end.port
    assert made == replace(end, port=made.port)
    assert link(end.port) == foreign
    assert plumber.desired.endpoints == (made,)
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_tcp, None, 80)
        assert await ask(box, "172.30.1.1", 80) == box.ip4, "and may send"
        nursery.cancel_scope.cancel()
    other.close()


async def nothing_left_of(plumber: Plumber, before: Observed) -> None:
    assert plumber.desired.endpoints == ()
    assert not [e for e in plumber._firewall.elements if e.set.startswith(("members", "senders"))]
    await until(lambda: {x.name for x in look().links} == {x.name for x in before.links})


async def test_a_taken_name_inside_is_an_error(plumber: Plumber, container: Make) -> None:
    net = network(1)
    await plumber.add_network(net)
    before = look()
    box = container(endpoint("c", net, 2))
    box.do(lambda: make_veth("eth0", "x", box.fd))
    with pytest.raises(Refused, match="eth0 in the container: File exists") as caught:
        await plumber.connect(box.fd, box.endpoints)
    assert caught.value.code == "EEXIST"
    await nothing_left_of(plumber, before)


async def test_an_error_inside_leaves_nothing(plumber: Plumber, container: Make) -> None:
    one, two = network(1), network(2)
    for net in (one, two):
        await plumber.add_network(net)
    before = look()
    # The same address twice: the second is refused, when both pairs are there.
    first = endpoint("c", one, 2)
    again = endpoint("c", two, 2, interface="eth1", addresses=first.addresses[:1] * 2)
    box = container(first, again)
    with pytest.raises(Refused, match=r"add 172\.30\.1\.2/24 to eth1: File exists"):
        await plumber.connect(box.fd, box.endpoints)
    await nothing_left_of(plumber, before)
    assert box.links() == ["lo"]


async def test_a_pair_that_has_gone_is_not_mistaken(plumber: Plumber, container: Make) -> None:
    """Its name may be somebody else's by now."""
    net = network(1)
    await plumber.add_network(net)
    end = endpoint("c", net, 2)
    box, other = container(end), container()
    await plumber.connect(box.fd, [end])
    box.close()
    assert await gone(end.port)
    make_veth(end.port, "eth0", other.fd)
    before = look()
    await plumber.disconnect("c", "net1")
    await trio.sleep(0.2)
    assert look() == before
    assert (await plumber.restore(Desired(networks=(net,)))).conflicts == ()
    assert look() == before


async def test_a_namespace_that_is_none(plumber: Plumber) -> None:
    net = network(1)
    await plumber.add_network(net)
    before = look()
    with open(os.devnull) as file, pytest.raises(Refused) as caught:
        await plumber.connect(file.fileno(), [endpoint("c", net, 2)])
    assert caught.value.errno == errno.EINVAL
    await nothing_left_of(plumber, before)


async def test_what_cannot_be_connected(plumber: Plumber, container: Make) -> None:
    net = network(1)
    await plumber.add_network(net)
    box = container(endpoint("c", net, 2))
    with pytest.raises(Invalid, match="network net2 not found"):
        await plumber.connect(box.fd, [endpoint("c", network(2), 2)])
    await plumber.connect(box.fd, box.endpoints)
    with pytest.raises(Taken, match="container c is already in network net1"):
        await plumber.connect(box.fd, box.endpoints)
    await plumber.disconnect("nobody", "net1")
    await plumber.forget("nobody")


async def test_a_full_bridge_is_named(plumber: Plumber, container: Make) -> None:
    net = network(1)
    await plumber.add_network(net)
    bridge = link(net.bridge).index
    crowd, box = container(), container(endpoint("c", net, 2))
    run_operations(
        *(
            links.make_pair(
                port=f"p{n}",
                bridge=bridge,
                group=0,
                mtu=1500,
                interface=f"e{n}",
                mac=bytes((2, 0, 0, 0, n >> 8, n & 255)),
                namespace=crowd.fd,
            )
            for n in range(1023)
        )
    )
    with pytest.raises(Taken, match="network net1 is full: its bridge has 1023 ports"):
        await plumber.connect(box.fd, box.endpoints)
    assert box.links() == ["lo"]
    assert plumber.desired.endpoints == ()
    crowd.close()
    assert await gone("p0", within=10 * PATIENCE)
    await plumber.connect(box.fd, box.endpoints)


# --- prepared namespaces --------------------------------------------------------------------------


async def test_a_prepared_namespace_becomes_a_containers(plumber: Plumber, container: Make) -> None:
    net = network(1)
    await plumber.add_network(net)
    prepared = endpoint("pool-1", net, 2)
    box = container(prepared)
    await plumber.connect(box.fd, [prepared])
    mine = replace(prepared, container="web", names=("web",))
    await plumber.reassign(prepared, mine)
    assert link(prepared.port).alias == "orlop:port:web:net1"
    assert plumber.desired.endpoints == (mine,)
    assert (await plumber.reconcile()).missing == ()
    with pytest.raises(Invalid, match="pool-1 is not in network net1"):
        await plumber.reassign(prepared, mine)
    with pytest.raises(Invalid, match="keeps its port"):
        await plumber.reassign(mine, endpoint("web", net, 3))


async def test_the_mark_follows_by_itself(plumber: Plumber) -> None:
    net = network(1)
    await plumber.add_network(net)
    fd = await plumber.make_namespace()
    try:
        prepared = endpoint("pool-1", net, 2)
        await plumber.connect(fd, [prepared])
        mine = replace(prepared, container="web")
        pending = plumber.take_over(prepared, mine)
        assert plumber.desired.endpoints == (mine,)
        await pending.wait()
        assert link(prepared.port).alias == "orlop:port:web:net1"
    finally:
        os.close(fd)
    await plumber.forget("web")
    assert await gone(prepared.port)


async def test_a_namespace_is_new_and_goes_with_its_fd(plumber: Plumber) -> None:
    one, two = await plumber.make_namespace(), await plumber.make_namespace()
    try:
        assert len({inode(), inode(one), inode(two)}) == 3
        assert not os.get_inheritable(one)
    finally:
        os.close(one)
        os.close(two)


async def test_what_the_host_has_is_tried_elsewhere(plumber: Plumber) -> None:
    await plumber.check_host()
    assert {name for _, name in socket.if_nameindex()} == {"lo"}
    await plumber.add_network(network(1))  # the firewall's socket is still this namespace's


# --- recovery -------------------------------------------------------------------------------------


async def test_the_next_process_finds_everything_as_it_should_be(container: Make) -> None:
    net = network(1)
    box = container(endpoint("c", net, 2))
    async with open_plumber() as plumber:
        await plumber.add_network(net)
        await plumber.connect(box.fd, box.endpoints)
        wanted = plumber.desired
    before = look()
    async with open_plumber() as plumber:
        restored = await plumber.restore(wanted)
        assert (restored.missing, restored.conflicts) == ((), ())
        assert look() == before
        async with trio.open_nursery() as nursery:
            await nursery.start(serve_tcp, box, 80)
            assert await ask(None, box.ip4, 80) == "172.30.1.1"
            nursery.cancel_scope.cancel()


async def test_what_is_not_wanted_any_more_goes(container: Make, outside: Outside) -> None:
    one, two = network(1), network(2)
    boxes = [container(endpoint(f"c{n}", net, 2)) for n, net in enumerate((one, two))]
    async with open_plumber() as plumber:
        for net in (one, two):
            await plumber.add_network(net)
        for box in boxes:
            await plumber.connect(box.fd, box.endpoints)
    lost = endpoint("lost", one, 9)
    async with open_plumber() as plumber:
        wanted = Desired(networks=(one,), endpoints=(boxes[0].endpoints[0], lost))
        restored = await plumber.restore(wanted)
        assert restored.missing == (lost,)
        assert ours() == sorted([one.bridge, boxes[0].endpoints[0].port])
        assert boxes[1].links() == ["lo"]
        await plumber.restore(Desired())
        assert ours() == []
        assert [x.name for x in look().links] == ["lo", "up0"]


async def test_another_agents_network_is_left_alone(container: Make) -> None:
    other = Settings(identity=Identity("other"))
    net = network(1)
    end = endpoint("c", net, 2, identity=other.identity)
    box = container(end)
    async with open_plumber(other) as theirs, open_plumber() as plumber:
        await theirs.add_network(net)
        await theirs.connect(box.fd, [end])
        before = look()
        await plumber.restore(Desired())
        assert look() == before
        mine = network(2)
        await plumber.add_network(mine)
        box2 = container(endpoint("d", mine, 2))
        await plumber.connect(box2.fd, box2.endpoints)
        async with trio.open_nursery() as nursery:
            for one in (box, box2):
                await nursery.start(serve_tcp, one, 80)
                assert await ask(None, one.ip4, 80)
            nursery.cancel_scope.cancel()
        await theirs.restore(Desired())
        assert link(mine.bridge).up


async def test_what_an_admin_removes_comes_back(
    plumber: Plumber, container: Make, reports: list[str]
) -> None:
    net = network(1)
    await plumber.add_network(net)
    box = container(endpoint("c", net, 2))
    await plumber.connect(box.fd, box.endpoints)
    goal = look()

    index = link(net.bridge).index
    run_operations(links.remove_address(index, net.gateways[0]))
    await until(lambda: "172.30.1.1/24" in addresses(net.bridge))

    run_operations(links.remove_guard(4, net.bridge, 0x2000, 4400))
    await until(lambda: set(look().guards) == set(goal.guards))

    run_operations(links.delete_link(index))

    def is_back() -> bool:
        seen = look()
        bridge, port = seen.link(net.bridge), seen.link(box.endpoints[0].port)
        return bridge is not None and port is not None and port.master == bridge.index

    await until(is_back)
    await until(lambda: len(addresses(net.bridge)) == 3 and link(net.bridge).up)
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_tcp, box, 80)
        assert await ask(None, box.ip4, 80) == "172.30.1.1"
        nursery.cancel_scope.cancel()
    assert reports == []


async def test_the_end_of_a_container_is_no_disturbance(
    plumber: Plumber, container: Make, reports: list[str]
) -> None:
    net = network(1)
    await plumber.add_network(net)
    box = container(endpoint("c", net, 2))
    await plumber.connect(box.fd, box.endpoints)
    await trio.sleep(0.2)
    assert not plumber._repairs._disturbed.is_set()
    undisturbed = plumber._repairs._disturbed
    box.close()
    await plumber.forget("c")
    assert await gone(box.endpoints[0].port)
    assert plumber._repairs._disturbed is undisturbed, "no event was used up"
    assert not undisturbed.is_set()
    assert reports == []


# --- many -----------------------------------------------------------------------------------------


async def test_500_containers(plumber: Plumber, container: Make) -> None:
    net = replace(network(1), gateways=network(1, ipv6=False).gateways)
    net = replace(net, gateways=(type(net.gateways[0])("172.30.0.1/16"),))
    await plumber.add_network(net)
    boxes = [container(endpoint(f"c{n}", net, n + 2)) for n in range(500)]

    async def connect(some: list[Container]) -> None:
        for box in some:
            await plumber.connect(box.fd, box.endpoints)

    async with trio.open_nursery() as nursery:
        for first in range(4):
            nursery.start_soon(connect, boxes[first::4])
    assert len(ours()) == 501
    assert len({box.endpoints[0].port for box in boxes}) == 500
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_tcp, boxes[-1], 80)
        for box in boxes[:20]:
            assert await ask(box, boxes[-1].ip4, 80) == box.ip4
        nursery.cancel_scope.cancel()
    assert (await plumber.reconcile()).missing == ()
    for box in boxes:
        await plumber.forget(box.endpoints[0].container)
        box.close()
    with trio.fail_after(4 * PATIENCE):
        while ours() != [net.bridge]:
            await trio.sleep(0.02)
    assert not [e for e in plumber._firewall.elements if e.set.startswith(("members", "senders"))]
