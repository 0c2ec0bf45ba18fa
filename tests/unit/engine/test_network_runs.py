"""What a run of a container gets of networks, and that all of it is given back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from netplumb.errors import Exhausted, Invalid, NetworkError, Refused, Taken, Unsupported
from netplumb.plan.model import Limits
from supervisor.engine.network_plan import EVERYWHERE
from supervisor.engine.network_stack import default_bridge, identity_of, network_error
from supervisor.engine.record import decode
from supervisor.errors import (
    Conflict,
    Internal,
    InvalidArgument,
    NotFound,
    NotImplementedYet,
    OrlopError,
    Unavailable,
)
from supervisor.spec.networks import Bandwidth, EndpointOptions, PortRequest
from tests.unit.engine.fake_stack import World

WEB = PortRequest(container_port=80, first=8080, last=8080)


@pytest.fixture
async def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    await made.load("n1", "n2")
    return made


@pytest.fixture(autouse=True)
def descriptors() -> Iterator[None]:
    """None is left open by a test."""
    before = set(os.listdir("/proc/self/fd"))
    yield
    assert set(os.listdir("/proc/self/fd")) <= before


def at(world: World, name: str, **options: Any) -> EndpointOptions:
    return EndpointOptions(network=world.networks.get(name).id, **options)


async def begun(world: World, *names: str, name: str = "web", **options: Any) -> Any:
    """A container that runs in these networks."""
    container = world.add(name, *(at(world, one) for one in names), **options)
    world.runs.plan(container)
    os.close(await world.runs.begin(container))
    return container


def nothing_left(world: World) -> None:
    assert [world.in_use(name) for name in ("bridge", "n1", "n2")] == [0, 0, 0]
    assert world.stack.plumber.endpoints == {}
    assert world.stack.plumber.bindings == []
    assert world.stack.ports.reserved == {}
    assert world.stack.names.asking == {}
    assert not any(world.stack.names.names.values())
    assert all(c.record.network is None for c in world.containers)


# --- a run


async def test_a_run_and_its_end(world: World) -> None:
    container = await begun(world, "n1", "bridge", ports=(WEB,))
    has = container.record.network
    assert [one.interface for one in has.endpoints] == ["eth0", "eth1"]
    assert [one.ipv4 for one in has.endpoints] == ["172.18.0.2/16", "172.17.0.2/16"]
    assert has.default == world.networks.get("bridge").id, "the first by name"
    assert {p.host_ip for p in has.ports} == set(EVERYWHERE)
    assert {p.host_port for p in has.ports} == {8080}
    assert {str(b.container_ip) for b in world.stack.plumber.bindings} == {"172.17.0.2"}
    assert world.stack.names.names[world.networks.get("n1").id] == {"web", container.id[:12]}
    assert world.stack.names.names.get(world.networks.get("bridge").id, set()) == set()
    assert decode(world.database.rows["container", container.id]).network == has
    await world.runs.end(container)
    await world.runs.end(container)
    nothing_left(world)
    world.host.write_now()
    assert decode(world.database.rows["container", container.id]).network is None


async def test_a_run_begins_when_its_record_is_durable(world: World) -> None:
    """Or a program could run with an address that the next supervisor gives to another."""
    container, durable, order = world.add("web", at(world, "n1")), trio.Event(), []
    world.runs.plan(container)
    run: Any = world.runs.find(container)
    run.saved.wait = durable.wait

    async def begin() -> None:
        os.close(await world.runs.begin(container))
        order.append("begun")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(begin)
        await trio.testing.wait_all_tasks_blocked()
        order.append("durable")
        durable.set()
    assert order == ["durable", "begun"]
    await world.runs.end(container)


async def test_an_end_goes_into_the_next_transaction(world: World) -> None:
    """So whoever has the address then cannot be on disk before it was given back."""
    first = await begun(world, "n1", name="first")
    address = first.record.network.endpoints[0].addresses[0]
    await world.runs.end(first)
    second = world.add("second", at(world, "n1", ipv4=address))
    world.runs.plan(second)
    assert {first.id, second.id} <= set(world.database.transactions[-1])
    await world.runs.end(second)


async def test_a_record_is_written_with_its_networks(world: World) -> None:
    container = await begun(world, "n1")
    transaction = next(t for t in world.database.transactions if container.id in t)
    assert world.networks.get("n1").id in transaction
    await world.runs.end(container)


@pytest.mark.parametrize("mode", ["none", "host", "container:" + "a" * 64])
async def test_other_modes_have_nothing(world: World, mode: str) -> None:
    container = world.add("web", mode=mode)
    world.runs.plan(container)
    assert await world.runs.begin(container) == -1
    assert container.record.network is None
    await world.runs.end(container)
    assert world.database.transactions == []


async def test_without_a_stack(world: World) -> None:
    world.runs.stack = None
    with pytest.raises(Unavailable, match="no container networks"):
        world.runs.plan(world.add("web", at(world, "n1")))


async def test_the_default_route(world: World) -> None:
    container = world.add("web", at(world, "n1"), at(world, "n2", priority=5))
    world.runs.plan(container)
    assert container.record.network.default == world.networks.get("n2").id
    os.close(await world.runs.begin(container))
    wanted = {e.network: e.default_route for e in world.stack.plumber.endpoints.values()}
    assert wanted == {world.networks.get("n1").id: False, world.networks.get("n2").id: True}
    await world.runs.end(container)


async def test_bandwidth_mac_and_aliases(world: World) -> None:
    wanted = at(
        world,
        "n1",
        mac="02:42:AA:BB:CC:DD",
        aliases=("db", "db"),
        bandwidth=Bandwidth(down=10**6),
    )
    container = world.add("web", wanted)
    world.runs.plan(container)
    os.close(await world.runs.begin(container))
    (made,) = world.stack.plumber.endpoints.values()
    assert (made.mac, made.limits) == ("02:42:aa:bb:cc:dd", Limits(down=10**6))
    assert made.names == ("web", "db", container.id[:12])
    await world.runs.end(container)


async def test_own_servers_are_asked_for_the_container(world: World) -> None:
    container = await begun(world, "n1", dns=("9.9.9.9",))
    assert [one.address for one in world.stack.names.servers[container.id]] == ["9.9.9.9"]
    assert "nameserver 127.0.0.11\n" in world.runs.resolver_text(container.record)
    await world.runs.end(container)


# --- what fails


async def test_a_plan_that_cannot_be_leaves_nothing(world: World) -> None:
    first = await begun(world, "n2", name="first")
    taken = first.record.network.endpoints[0].addresses[0]
    for bad, error in ((at(world, "n2", ipv4=taken), Conflict), ("nowhere", NotFound)):
        wrong = bad if isinstance(bad, EndpointOptions) else EndpointOptions(network=bad)
        container = world.add("web", at(world, "n1"), wrong)
        with pytest.raises(error):
            world.runs.plan(container)
        assert container.record.network is None
        assert world.in_use("n1") == 0
    await world.runs.end(first)
    nothing_left(world)


@pytest.mark.parametrize("method", ["make_namespace", "connect", "publish", "attach"])
async def test_a_start_that_fails_leaves_nothing(world: World, method: str) -> None:
    part = world.stack.names if method == "attach" else world.stack.plumber
    world.fail(part, method, Refused("do it", 5))
    container = world.add("web", at(world, "n1"), ports=(WEB,))
    world.runs.plan(container)
    with pytest.raises(Internal):
        await world.runs.begin(container)
    await world.runs.end(container)  # as the task does
    nothing_left(world)


async def test_a_start_that_is_cancelled_leaves_nothing(world: World) -> None:
    container = world.add("web", at(world, "n1"), ports=(WEB,))
    world.runs.plan(container)

    async def never() -> None:
        await trio.sleep_forever()

    run: Any = world.runs.find(container)
    run.saved.wait = never
    with trio.move_on_after(0):
        await world.runs.begin(container)
    nothing_left(world)


async def test_a_taken_port_says_whose_it_is(world: World) -> None:
    first = await begun(world, "n1", name="first", ports=(WEB,))
    container = world.add("web", at(world, "n1"), ports=(WEB,))
    world.runs.plan(container)
    endpoint = container.record.network.endpoints[0].endpoint_id
    with pytest.raises(Conflict) as caught:
        await world.runs.begin(container)
    assert caught.value.message == (
        f"driver failed programming external connectivity on endpoint web ({endpoint}): "
        "Bind for 0.0.0.0:8080 failed: port is already allocated by first"
    )
    await world.runs.end(first)
    nothing_left(world)


async def test_a_firewall_that_does_not_forget_keeps_nobody(world: World) -> None:
    container = await begun(world, "n1", ports=(WEB,))
    world.fail(world.stack.plumber, "forget", Refused("forget", 5))
    await world.runs.end(container)
    assert world.in_use("n1") == 0
    assert world.stack.ports.reserved == {}


# --- spare sandboxes


async def test_a_spare_sandbox_is_taken(world: World, autojump_clock: Any) -> None:
    spares = world.with_spares(2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(spares.run)
        await trio.testing.wait_all_tasks_blocked()
        assert (len(spares), world.in_use("bridge")) == (2, 2)
        container = await begun(world, "bridge")
        (mine,) = (e for e in world.stack.plumber.endpoints.values() if e.container == container.id)
        assert str(mine.addresses[0]) == "172.17.0.2/16"
        await trio.sleep(1)
        assert (len(spares), world.in_use("bridge")) == (2, 3)
        await world.runs.end(container)
        world.host.write_now()
        document = world.database.rows["network", world.networks.get("bridge").id]
        assert b'"used":""' in document, "spare sandboxes do not outlive the process"
        nursery.cancel_scope.cancel()
    nothing_left(world)


async def test_a_sandbox_that_was_taken_in_vain_goes(world: World) -> None:
    spares = world.with_spares(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(spares.run)
        await trio.testing.wait_all_tasks_blocked()
        spares.size = 0
        container = world.add("web", at(world, "bridge"))
        world.runs.plan(container)
        assert len(spares) == 0
        await world.runs.end(container)
        nursery.cancel_scope.cancel()
    nothing_left(world)


@pytest.mark.parametrize(
    "special", [{"mac": "02:42:ac:11:00:09"}, {"bandwidth": Bandwidth(up=10**6)}, {"network": "n1"}]
)
async def test_what_is_special_gets_its_own(world: World, special: dict[str, Any]) -> None:
    spares = world.with_spares(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(spares.run)
        await trio.testing.wait_all_tasks_blocked()
        wanted = {"network": "bridge", **special}
        container = world.add("web", at(world, wanted.pop("network"), **wanted))
        world.runs.plan(container)
        assert len(spares) == 1
        await world.runs.end(container)
        nursery.cancel_scope.cancel()
    nothing_left(world)


async def test_no_spare_sandboxes_in_a_network_that_is_nearly_full(world: World) -> None:
    spares = world.with_spares(1)
    free = [world.networks.allocate(world.networks.get("bridge").id) for _ in range(3)]
    bridge = world.networks.get("bridge")
    assert free
    full = bridge.holding(str(a) for a in list(bridge.ledgers[0].subnet.hosts())[1:-20])
    world.networks._networks[bridge.id] = full
    with trio.move_on_after(0.05):
        await spares.run()
    assert len(spares) == 0
    assert world.stack.plumber.endpoints == {}


# --- changes


async def test_join_and_leave(world: World) -> None:
    container = await begun(world, "n2", ports=(WEB,))
    (binding, *_) = world.stack.plumber.bindings
    assert str(binding.container_ip) == "172.19.0.2"
    await world.runs.changes.join(container, at(world, "n1", aliases=("al",)))
    has = container.record.network
    assert [one.interface for one in has.endpoints] == ["eth0", "eth1"]
    assert has.default == world.networks.get("n1").id
    assert world.stack.plumber.routes[container.id] == has.default
    assert {str(b.container_ip) for b in world.stack.plumber.bindings} == {"172.18.0.2"}
    assert world.stack.names.asking[container.id][0] == has.default
    assert "al" in world.stack.names.names[has.default]
    with pytest.raises(Conflict, match="already exists in network n1"):
        await world.runs.changes.join(container, at(world, "n1"))
    await world.runs.changes.leave(container, has.default)
    assert {str(b.container_ip) for b in world.stack.plumber.bindings} == {"172.19.0.2"}
    assert decode(world.database.rows["container", container.id]).network is not None
    await world.runs.changes.leave(container, world.networks.get("n2").id)
    assert container.record.network.endpoints == container.record.network.ports == ()
    await world.runs.changes.join(container, at(world, "n1"))
    assert container.record.network.endpoints[0].interface == "eth0"
    assert {str(b.container_ip) for b in world.stack.plumber.bindings} == {"172.18.0.3"}
    await world.runs.end(container)
    nothing_left(world)


async def test_a_join_that_fails_changes_nothing(world: World) -> None:
    container = await begun(world, "n2")
    before = container.record.network
    world.fail(world.stack.plumber, "connect", Exhausted("full"))
    with pytest.raises(Unavailable):
        await world.runs.changes.join(container, at(world, "n1"))
    assert container.record.network == before
    assert world.in_use("n1") == 0
    await world.runs.end(container)
    nothing_left(world)


async def test_what_does_not_run_cannot_be_changed(world: World) -> None:
    container = world.add("web", at(world, "n1"))
    with pytest.raises(Conflict, match="is not running"):
        await world.runs.changes.join(container, at(world, "n2"))
    with pytest.raises(Conflict, match="is not running"):
        await world.runs.changes.impair(container, "", Limits(delay_ms=1))


async def test_impair_keeps_the_bandwidth(world: World) -> None:
    container = world.add("web", at(world, "n1", bandwidth=Bandwidth(down=10**6)), at(world, "n2"))
    world.runs.plan(container)
    os.close(await world.runs.begin(container))
    one, two = (world.networks.get(name).id for name in ("n1", "n2"))
    await world.runs.changes.impair(container, "", Limits(loss_percent=1))
    assert world.stack.plumber.limits == {
        (container.id, one): Limits(down=10**6, loss_percent=1),
        (container.id, two): Limits(loss_percent=1),
    }
    await world.runs.changes.impair(container, "n2", Limits())
    assert world.stack.plumber.limits[container.id, two] == Limits()
    with pytest.raises(NotFound, match="not connected to network bridge"):
        await world.runs.changes.impair(container, "bridge", Limits())
    world.fail(world.stack.plumber, "limit", Unsupported("no netem"))
    with pytest.raises(NotImplementedYet, match="no netem"):
        await world.runs.changes.impair(container, "", Limits(delay_ms=1))
    await world.runs.end(container)


async def test_a_new_name_is_known(world: World) -> None:
    container = await begun(world, "n1")
    container.record.name = "new"
    world.runs.changes.renamed(container)
    assert world.stack.names.names[world.networks.get("n1").id] == {"new", container.id[:12]}
    assert container.record.network.endpoints[0].names[0] == "new"
    await world.runs.end(container)


# --- errors, names


@pytest.mark.parametrize(
    "error, kind",
    [
        (Invalid("x"), InvalidArgument),
        (Taken("x"), Conflict),
        (Exhausted("x"), Unavailable),
        (Unsupported("x"), NotImplementedYet),
        (Refused("x", 5), Internal),
    ],
)
def test_errors(error: NetworkError, kind: type[OrlopError]) -> None:
    assert type(network_error(error)) is kind
    assert network_error(error).message == error.message


def test_two_daemons_have_two_identities() -> None:
    assert identity_of("orlop").name == "orlop"
    assert default_bridge(identity_of("orlop")) == "orlop0"
    odd = [identity_of(text) for text in ("a/b", "a.b", "x" * 40, "ü", "orlop-2")]
    assert len({one.name for one in odd}) == len(odd)
    bridges = {default_bridge(one) for one in odd}
    assert len(bridges) == len(odd)
    assert all(len(bridge) <= 15 for bridge in bridges)
