"""Spare sandboxes with user ids of their own: made, given with the ids, let go after a while."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

from supervisor.engine.sandboxes import ASKED_SECONDS, RESERVED_SECONDS, Sandboxes
from supervisor.engine.shim_client import ShimGone
from supervisor.engine.task_network import TaskNetwork
from supervisor.spec.build import HostFacts, build_spec
from supervisor.spec.networks import EndpointOptions
from supervisor.spec.types import CgroupPaths, Log, Overlay
from supervisor.spec.user_ranges import IdRange
from tests.unit.engine.fake_stack import World

FIRST = IdRange(first=65536, size=65536)


@pytest.fixture(autouse=True)
def descriptors() -> Iterator[None]:
    """None is left open by a test."""
    before = set(os.listdir("/proc/self/fd"))
    yield
    assert set(os.listdir("/proc/self/fd")) <= before


@pytest.fixture
async def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    await made.load("n1")
    made.user_ids.gives = True
    return made


@asynccontextmanager
async def kept(world: World, size: int = 2) -> AsyncIterator[Sandboxes]:
    """So many are ready in the block; nothing is left of them after it."""
    spares = world.with_spares(size)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(spares.run)
        await trio.testing.wait_all_tasks_blocked()
        yield spares
        nursery.cancel_scope.cancel()
    assert world.user_ids.aside == []


def container(world: World, name: str = "web", network: str = "bridge", **endpoint: Any) -> Any:
    """One that is being made, and wants ids of its own."""
    options = EndpointOptions(network=world.networks.get(network).id, **endpoint)
    return world.add(name, options)


def give(made: Any, ids: IdRange | None) -> None:
    """The container has these ids from now on."""
    assert ids is not None
    made.record.options = replace(made.record.options, userns=ids.mode, userns_chosen=True)


def hosted(world: World, made: Any) -> Any:
    made.host = SimpleNamespace(network_runs=world.runs)
    return made


async def test_a_container_gets_the_ids_of_one_and_then_itself(
    world: World, autojump_clock: Any
) -> None:
    async with kept(world) as spares:
        assert world.user_ids.made == [("0 65536 65536\n",) * 2, ("0 131072 65536\n",) * 2]
        made = container(world)
        give(made, world.runs.places.reserve(made.record))
        assert made.record.options.userns == FIRST.mode
        assert (len(spares), len(world.user_ids.aside)) == (1, 1), "its ids are a container's now"
        network = TaskNetwork(hosted(world, made))
        network.plan()
        assert network.user >= 0
        await network.make()
        assert set(network.given()) == {"network"}
        assert {e.container for e in world.stack.plumber.endpoints.values()} >= {made.id}
        await trio.sleep(1)
        assert len(spares) == 2, "another one is made"
        network.close()
        await network.end()
    assert world.in_use("bridge") == 0
    assert world.stack.plumber.endpoints == {}


async def test_the_spec_joins_a_network_that_is_ready(world: World) -> None:
    async with kept(world):
        made = container(world)
        give(made, world.runs.places.reserve(made.record))
        spec = build_spec(
            made.record.options,
            id=made.id,
            run=1,
            root=Overlay(lower=("/",)),
            host=HostFacts(),
            cgroup=CgroupPaths(),
            log=Log(),
        )
        assert (spec.wire_network, set(spec.given)) == (True, set())
        network = TaskNetwork(hosted(world, made))
        assert network.fit(spec) == spec, "not before there is one"
        network.plan()
        fitted = network.fit(spec)
        assert (fitted.wire_network, set(fitted.given)) == (False, {"network"})
        assert next(n for n in fitted.namespaces if n.type == "user").path == ""
        network.close()
        await network.end()


@pytest.mark.parametrize("gone", [False, True])
async def test_a_shim_that_is_lost_is_no_lack_of_a_network(world: World, gone: bool) -> None:
    asked: list[dict[str, str]] = []

    async def request(_op: str, **fields: str) -> None:
        asked.append(fields)

    def take_network() -> int:
        raise ShimGone("the shim ended before its container had a network")

    made = container(world)
    network = TaskNetwork(hosted(world, made))
    shim: Any = SimpleNamespace(gone=gone, take_network=take_network, request=request)
    await network.wire(shim)
    if gone:
        assert (network.refusal, asked) == (None, [])
    else:
        assert isinstance(network.refusal, ShimGone)
        assert asked == [{"error": network.refusal.message}]


async def test_one_that_is_not_started_soon_loses_it(world: World, autojump_clock: Any) -> None:
    async with kept(world) as spares:
        made = container(world)
        give(made, world.runs.places.reserve(made.record))
        await trio.sleep(RESERVED_SECONDS * 2)
        assert len(spares) == 2
        assert world.in_use("bridge") == 2, "the address of the one that went is free"
        world.runs.plan(made)
        assert world.runs.user_of(made) == -1
        assert await world.runs.begin(made) == -1, "the container makes its own"
        await world.runs.end(made)


async def test_one_whose_container_is_removed_goes_at_once(
    world: World, autojump_clock: Any
) -> None:
    async with kept(world) as spares:
        ids = world.runs.places.reserve(container(world).record)
        assert ids is not None
        spares.unreserve(ids)
        spares.unreserve(ids)
        await trio.sleep(1)
        assert (len(spares), world.in_use("bridge")) == (2, 2)


async def test_only_who_has_its_ids_takes_it(world: World) -> None:
    async with kept(world) as spares:
        made = container(world)
        give(made, FIRST)  # without having reserved them
        world.runs.plan(made)
        assert (len(spares), world.runs.user_of(made)) == (2, -1)
        await world.runs.end(made)


async def test_the_other_kind_is_kept_while_it_is_asked_for(
    world: World, autojump_clock: Any
) -> None:
    async with kept(world) as spares:
        assert spares.take() is None
        await trio.sleep(1)
        plain = spares.take()
        assert plain is not None
        assert plain.ids is None
        assert len(world.user_ids.aside) == 1, "no more in all than there are to be"
        await spares.discard(plain)
        world.networks.release(plain.endpoint.network, ["172.17.0.4"])
        await trio.sleep(ASKED_SECONDS * 2)
        assert (len(spares), len(world.user_ids.aside)) == (2, 2)


@pytest.mark.parametrize(
    "special", [{"mac": "02:42:ac:11:00:09"}, {"ipv4": "172.17.0.9"}, {"network": "n1"}]
)
async def test_what_is_special_gets_no_ids_of_one(world: World, special: dict[str, Any]) -> None:
    async with kept(world) as spares:
        made = container(world, **special)
        assert world.runs.places.reserve(made.record) is None
        assert len(spares) == 2


async def test_none_where_there_are_few_ids(world: World) -> None:
    world.user_ids.there_are = False
    async with kept(world) as spares:
        assert len(spares) == 0


async def test_their_ids_are_given_up_where_they_are_needed(world: World) -> None:
    async with kept(world) as spares:
        world.user_ids.there_are = False
        spares.release()
        assert (len(spares), world.user_ids.aside) == (0, [])
        await trio.testing.wait_all_tasks_blocked()
