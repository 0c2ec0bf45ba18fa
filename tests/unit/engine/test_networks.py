"""The engine's networks: what is there from the start, made, shown, removed."""

from __future__ import annotations

from ipaddress import ip_interface, ip_network
from pathlib import Path
from typing import Any

import pytest
import trio
from msgspec.structs import replace

from netplumb.plan.ipam import Pool
from supervisor.docker.network_body import IpamBody, NetworkBody, SubnetBody
from supervisor.engine.network_records import KIND, NetworkDefaults, decode, encode
from supervisor.errors import Conflict, Forbidden, InvalidArgument, NotFound, Unavailable
from tests.unit.engine.fake_network import DEFAULTS, FakeStack, NetworkWorld

PREDEFINED = ["bridge", "host", "none"]


@pytest.fixture
async def world() -> NetworkWorld:
    made = NetworkWorld()
    await made.networks.load()
    return made


def body(name: str = "n1", subnet: str = "", **fields: Any) -> NetworkBody:
    config = (SubnetBody(subnet=subnet),) if subnet else ()
    return NetworkBody(name=name, ipam=IpamBody(config=config), **fields)


def names(world: NetworkWorld) -> list[str]:
    return [network.name for network in world.networks.list()]


# --- from the start


async def test_predefined_networks(world: NetworkWorld) -> None:
    assert names(world) == PREDEFINED
    bridge = world.networks.get("bridge")
    assert (bridge.bridge, bridge.driver, bridge.predefined) == ("orlop0", "bridge", True)
    assert bridge.subnets[0].subnet == "172.17.0.0/16"
    assert bridge.options["com.docker.network.bridge.default_bridge"] == "true"
    assert world.networks.get("none").driver == "null"
    assert world.stack is not None
    assert world.stack.made == {}, "loading changes nothing of the host"
    assert sorted(world.database.keys(KIND)) == sorted(n.id for n in world.networks.list())


async def test_predefined_networks_stay_as_they_are(world: NetworkWorld) -> None:
    before = world.networks.list()
    world.stack = FakeStack("172.17.0.0/16")
    await world.reload().load()
    assert world.networks.list() == before


async def test_the_default_network_avoids_the_hosts_routes() -> None:
    world = NetworkWorld(DEFAULTS, "172.17.0.0/16", "172.16.0.0/14")
    await world.networks.load()
    assert world.networks.get("bridge").subnets[0].subnet == "172.20.0.0/16"


async def test_the_daemons_settings_reach_the_default_network(world: NetworkWorld) -> None:
    world.defaults = NetworkDefaults(bridge="br9", icc=False, mtu=1400, host_ip="127.0.0.1")
    await world.reload().load()
    bridge = world.networks.get("bridge")
    assert (bridge.bridge, bridge.icc, bridge.mtu) == ("br9", False, 1400)
    assert bridge.host_ip == "127.0.0.1"
    assert bridge.options["com.docker.network.driver.mtu"] == "1400"
    assert bridge.subnets[0].subnet == "172.17.0.0/16"
    rows = [decode(doc) for _, doc in await world.database.all(KIND)]
    assert bridge in rows


async def test_another_address_of_the_default_network(world: NetworkWorld) -> None:
    world.defaults = replace(DEFAULTS, bip=ip_interface("10.5.0.9/24"))
    held = world.networks.allocate(world.networks.get("bridge").id)
    await world.database.apply([world.networks.get("bridge").put()])
    await world.reload().load()
    assert world.networks.get("bridge").subnets[0].gateway == "172.17.0.1", "somebody is in it"
    world.networks.release(world.networks.get("bridge").id, [str(held[0].ip)])
    await world.database.apply([world.networks.get("bridge").put()])
    await world.reload().load()
    (subnet,) = world.networks.get("bridge").subnets
    assert (subnet.subnet, subnet.gateway) == ("10.5.0.0/24", "10.5.0.9")


async def test_the_address_of_the_default_network_is_somebody_elses(world: NetworkWorld) -> None:
    await world.networks.create(body(subnet="10.5.0.0/16"))
    world.defaults = replace(DEFAULTS, bip=ip_interface("10.5.0.9/24"))
    with pytest.raises(Conflict, match=r"overlaps 10.5.0.0/16 of network n1"):
        await world.reload().load()


async def test_without_a_default_network(world: NetworkWorld) -> None:
    world.defaults = NetworkDefaults(bridge="none")
    await world.reload().load()
    assert names(world) == ["host", "none"]
    world.defaults = DEFAULTS
    await world.reload().load()
    assert names(world) == PREDEFINED


async def test_a_host_without_networks() -> None:
    world = NetworkWorld()
    world.stack = None
    networks = world.reload()
    networks.why_none = "nf_tables is not there"
    await networks.load()
    assert names(world) == ["host", "none"]
    with pytest.raises(Unavailable, match="nf_tables is not there"):
        await networks.create(body())


async def test_a_damaged_record_is_left_out(world: NetworkWorld) -> None:
    await world.networks.create(body())
    for key, doc in (("x" * 64, b"{"), ("y" * 64, b'{"version":99}'), ("z" * 64, b"[]")):
        world.database.rows[KIND, key] = doc
    await world.reload().load()
    assert names(world) == [*PREDEFINED, "n1"]


# --- making


async def test_create(world: NetworkWorld) -> None:
    asked = body(subnet="10.1.0.0/24", labels={"a": "b"}, internal=True)
    network = await world.networks.create(asked)
    assert world.networks.get("n1") == world.networks.get(network.id) == network
    assert world.networks.get(network.id[:10]) == network
    assert world.stack is not None
    made = world.stack.made[network.id]
    assert (made.bridge, made.internal) == (f"ol-{network.id[:12]}", True)
    assert str(made.gateways[0]) == "10.1.0.1/24"
    assert world.events() == [("create", {"name": "n1", "type": "bridge"})]
    await world.reload().load()
    assert world.networks.get("n1") == network


async def test_a_name_is_taken_once(world: NetworkWorld) -> None:
    await world.networks.create(body())
    with pytest.raises(Conflict, match="network with name n1 already exists"):
        await world.networks.create(body())
    refused = []

    async def create() -> None:
        try:
            await world.networks.create(body("n2"))
        except Conflict as error:
            refused.append(error)

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(create)
    assert len(refused) == 4
    assert names(world) == [*PREDEFINED, "n1", "n2"]


async def test_nothing_stays_of_one_that_cannot_be_made(world: NetworkWorld) -> None:
    assert world.stack is not None
    world.stack.fail = Conflict("the interface br9 exists and is not ours")
    with pytest.raises(Conflict, match="br9 exists"):
        await world.networks.create(body())
    assert names(world) == PREDEFINED
    assert len(world.database.keys(KIND)) == 3
    world.database.fail = Unavailable("the disk is full")
    with pytest.raises(Unavailable):
        await world.networks.create(body())
    assert world.stack.made == {}
    assert world.events() == []
    await world.networks.create(body())


async def test_pools_of_the_daemon(world: NetworkWorld) -> None:
    world.networks.defaults = replace(DEFAULTS, pools=(Pool(ip_network("10.9.0.0/23"), 24),))
    for number, subnet in enumerate(("10.9.0.0/24", "10.9.1.0/24")):
        made = await world.networks.create(body(f"n{number}"))
        assert made.subnets[0].subnet == subnet
    with pytest.raises(Unavailable, match="non-overlapping IPv4 address pool"):
        await world.networks.create(body("n9"))


# --- removing


async def test_remove(world: NetworkWorld) -> None:
    network = await world.networks.create(body())
    await world.networks.remove("n1")
    assert world.stack is not None
    assert world.stack.made == {}
    assert network.id not in world.database.keys(KIND)
    assert world.events()[-1] == ("destroy", {"name": "n1", "type": "bridge"})
    with pytest.raises(NotFound, match="network n1 not found"):
        await world.networks.remove("n1")
    with pytest.raises(NotFound):
        world.networks.allocate(network.id)


@pytest.mark.parametrize("name", PREDEFINED)
async def test_predefined_networks_are_not_removed(world: NetworkWorld, name: str) -> None:
    with pytest.raises(Forbidden) as caught:
        await world.networks.remove(name)
    assert caught.value.message == f"{name} is a pre-defined network and cannot be removed"


async def test_a_network_in_use_is_not_removed(world: NetworkWorld) -> None:
    network = await world.networks.create(body())
    world.add("idle", "n1")
    web = world.add("web", "n1", live=True)
    with pytest.raises(Forbidden) as caught:
        await world.networks.remove("n1")
    assert caught.value.message == (
        f"error while removing network: network n1 id {network.id} has active endpoints "
        f'(name:"web" id:"{web.id[:12]}")'
    )
    world.networks.release(network.id, web.record.network.endpoints[0].addresses)
    web.record.network = None
    await world.networks.remove("n1")


async def test_a_network_of_a_starting_container_is_not_removed(world: NetworkWorld) -> None:
    network = await world.networks.create(body())
    world.networks.allocate(network.id)
    with pytest.raises(Forbidden, match="a container that is being started"):
        await world.networks.remove("n1")


async def test_a_network_that_the_host_keeps(world: NetworkWorld) -> None:
    network = await world.networks.create(body())
    assert world.stack is not None
    world.stack.fail = Conflict("it has active endpoints")
    with pytest.raises(Conflict):
        await world.networks.remove("n1")
    assert world.networks.get("n1") == network
    assert network.id in world.database.keys(KIND)
    await world.networks.remove("n1")


async def test_prune(world: NetworkWorld) -> None:
    for name in ("free", "kept", "used"):
        await world.networks.create(body(name))
    world.add("web", "used", live=True)
    removed = await world.networks.prune(lambda view: view.name != "kept")
    assert removed == ["free"]
    assert names(world) == [*PREDEFINED, "kept", "used"]
    assert world.events()[-1] == ("prune", {"reclaimed": "0"})


# --- showing


async def test_views(world: NetworkWorld) -> None:
    network = await world.networks.create(body(subnet="10.1.0.0/24"))
    web = world.add("web", "n1", "bridge", live=True)
    world.add("idle", "n1")
    world.add("own", mode="host", live=True)
    (shown,) = world.networks.view("n1").endpoints
    assert (shown.container_id, shown.container_name) == (web.id, "web")
    assert (shown.ipv4, shown.ipv4_length, shown.ipv4_gateway) == ("10.1.0.2", 24, "10.1.0.1")
    assert (shown.network_name, shown.network_id) == ("n1", network.id)
    assert shown.dns_names == ("web", "al")
    assert shown.by_default
    (default,) = world.networks.view("bridge").endpoints
    assert (default.dns_names, default.by_default) == ((), False)
    assert [e.container_name for e in world.networks.view("host").endpoints] == ["own"]
    assert [view.name for view in world.networks.views()] == [*PREDEFINED, "n1"]


async def test_an_internal_network_has_no_gateway(world: NetworkWorld) -> None:
    await world.networks.create(body(internal=True))
    world.add("web", "n1", live=True)
    assert world.networks.view("n1").endpoints[0].ipv4_gateway == ""


async def test_records_are_read_as_written(world: NetworkWorld) -> None:
    await world.networks.create(body(enable_ipv6=True, options={}, labels={"ä": "ö"}))
    world.add("web", "n1", live=True)
    for network in world.networks.list():
        assert decode(encode(network)) == network


async def test_references(world: NetworkWorld) -> None:
    with pytest.raises(NotFound, match="network '' not found"):
        world.networks.get("")
    with pytest.raises(NotFound, match="network nosuch not found"):
        world.networks.get("nosuch")
    made = [await world.networks.create(body(f"n{number}")) for number in range(17)]
    first = made[0].id[0]
    if sum(network.id[0] == first for network in world.networks.list()) > 1:
        with pytest.raises(InvalidArgument, match="ambiguous"):
            world.networks.get(first)
    assert world.networks.find(made[0].id) == made[0]
    assert world.networks.find("n0") is None


# --- addresses


async def test_allocate_and_release(world: NetworkWorld) -> None:
    network = await world.networks.create(body(subnet="10.1.0.0/29", enable_ipv6=True))
    four, six = world.networks.allocate(network.id)
    assert str(four) == "10.1.0.2/29"
    assert six.network == ip_network(network.subnets[1].subnet)
    world.networks.allocate(network.id, ipv4="10.1.0.4")
    given = [str(world.networks.allocate(network.id)[0].ip) for _ in range(3)]
    assert given == ["10.1.0.3", "10.1.0.5", "10.1.0.6"]
    with pytest.raises(Unavailable, match=r"no available IPv4 addresses on 10.1.0.0/29"):
        world.networks.allocate(network.id)
    before = world.networks.get("n1")
    world.networks.release(network.id, ["10.1.0.4", "10.99.0.1", str(six.ip)])
    assert str(world.networks.allocate(network.id)[0].ip) == "10.1.0.4"
    assert world.networks.get("n1").ledger(6) != before.ledger(6)
    world.networks.release("gone" * 16, ["10.1.0.4"])


async def test_nothing_is_taken_of_what_cannot_be_given_whole(world: NetworkWorld) -> None:
    network = await world.networks.create(body(enable_ipv6=True))
    _, six = world.networks.allocate(network.id)
    before = world.networks.get("n1")
    with pytest.raises(Conflict):
        world.networks.allocate(network.id, ipv6=str(six.ip))
    assert world.networks.get("n1") == before


async def test_an_address_says_who_has_it(world: NetworkWorld) -> None:
    network = await world.networks.create(body(subnet="10.1.0.0/24"))
    world.add("web", "n1", live=True)
    with pytest.raises(Conflict) as caught:
        world.networks.allocate(network.id, ipv4="10.1.0.2")
    assert caught.value.message == (
        "the address 10.1.0.2 of network n1 is already in use by container web"
    )
    world.networks.allocate(network.id, ipv4="10.1.0.9")
    with pytest.raises(Conflict, match="in use by a container that is being started"):
        world.networks.allocate(network.id, ipv4="10.1.0.9")


@pytest.mark.parametrize(
    "ipv4, ipv6, status, text",
    [
        ("10.2.0.9", "", 400, "does not belong to the subnet 10.1.0.0/24"),
        ("10.1.0.0", "", 400, "stands for the subnet"),
        ("10.1.0.255", "", 400, "stands for the subnet"),
        ("10.1.0.1", "", 409, "is the gateway"),
        ("", "fd00::9", 400, "the network n1 has no IPv6 subnet for fd00::9"),
    ],
)
async def test_addresses_that_nobody_can_have(
    world: NetworkWorld, ipv4: str, ipv6: str, status: int, text: str
) -> None:
    network = await world.networks.create(body(subnet="10.1.0.0/24"))
    for call in (
        lambda: world.networks.check_addresses(network, ipv4, ipv6),
        lambda: world.networks.allocate(network.id, ipv4=ipv4, ipv6=ipv6),
    ):
        with pytest.raises((InvalidArgument, Conflict)) as caught:
            call()
        assert caught.value.status == status
        assert text in caught.value.message
    assert world.networks.get("n1") == network


async def test_ledgers_are_corrected_to_what_is_in_use(world: NetworkWorld) -> None:
    network = await world.networks.create(body(subnet="10.1.0.0/24"))
    other = await world.networks.create(body("n2", subnet="10.2.0.0/24"))
    for _ in range(3):
        world.networks.allocate(network.id)
    in_use = [(network.id, "10.1.0.3"), (network.id, "10.1.0.77"), (network.id, "10.8.0.1")]
    rows = world.networks.correct([*in_use, ("gone" * 16, "10.1.0.5")])
    assert [row.key for row in rows] == [network.id], "only what changes is written"
    ledger = decode(rows[0].doc).ledgers[0]
    assert ledger == world.networks.get("n1").ledgers[0]
    assert [n for n in range(1, 100) if ledger.is_used(ip_interface(f"10.1.0.{n}").ip)] == [3, 77]
    assert world.networks.correct(in_use) == ()
    assert world.networks.find(other.id) == other
    assert world.networks.put(network.id) == rows[0]
    assert str(world.networks.allocate(network.id)[0].ip) == "10.1.0.5", "the order goes on"


async def test_pseudo_networks_have_no_addresses(world: NetworkWorld) -> None:
    for name in ("host", "none"):
        with pytest.raises(NotFound):
            world.networks.allocate(world.networks.get(name).id)


# --- copies


@pytest.fixture
async def copied(tmp_path: Path) -> NetworkWorld:
    world = NetworkWorld(folder=tmp_path)
    await world.networks.load()
    return world


async def test_networks_are_restored_from_their_copies(
    copied: NetworkWorld, tmp_path: Path
) -> None:
    await copied.networks.create(body("kept", "10.9.0.0/24", labels={"a": "b"}))
    gone = await copied.networks.create(body("gone"))
    await copied.networks.remove(gone.id)
    copied.networks.allocate(copied.networks.get("kept").id)
    copies = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    before = {n.id: replace(n, created_ns=0) for n in copied.networks.list()}
    copied.database.rows.clear()
    await copied.reload().load()
    after = {n.id: replace(n, created_ns=0) for n in copied.networks.list()}
    kept = copied.networks.get("kept")
    assert not any(ledger.in_use for ledger in kept.ledgers), "those who have addresses tell them"
    assert after[kept.id].labels == {"a": "b"}
    assert after.keys() == before.keys()
    assert after[kept.id].ledgers[0].subnet == before[kept.id].ledgers[0].subnet
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == copies
    assert {decode(doc).name for _, doc in await copied.database.all(KIND)} == set(names(copied))


async def test_copies_are_mended(copied: NetworkWorld, tmp_path: Path) -> None:
    await copied.networks.create(body("n1"))
    copies = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(copies) == 2, "the default network and this"
    first, second = sorted(tmp_path.iterdir())
    first.unlink()
    second.write_bytes(b"{")
    await copied.reload().load()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == copies


async def test_a_damaged_copy_restores_nothing(
    copied: NetworkWorld, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / f"{'a' * 64}.json").write_bytes(b'{"version":1}')
    await copied.reload().load()
    assert names(copied) == PREDEFINED
    assert f"network {'a' * 64}: the copy of its record" in caplog.text


async def test_a_network_whose_copy_cannot_be_written(
    copied: NetworkWorld, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is there all the same, and the next start writes the copy."""
    tmp_path.rename(tmp_path.with_name("away"))
    await copied.networks.create(body("n1"))
    assert "network n1: no copy of its record" in caplog.text
    tmp_path.with_name("away").rename(tmp_path)
    await copied.reload().load()
    assert (tmp_path / f"{copied.networks.get('n1').id}.json").exists()
