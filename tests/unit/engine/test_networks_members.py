"""Containers that come into networks: when they are made, and while they are there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from supervisor.docker.endpoints import AddressBody, EndpointBody
from supervisor.docker.network_body import ConnectBody, IpamBody, NetworkBody, SubnetBody
from supervisor.docker.options import container_options
from supervisor.engine.network_members import as_resolved, resolve_body, resolve_networks
from supervisor.engine.network_records import NetworkDefaults
from supervisor.engine.network_views import endpoint_views, network_mode, sandbox_id
from supervisor.errors import Conflict, InvalidArgument, OrlopError, Unavailable
from supervisor.lifecycle.machine import Phase
from supervisor.spec.networks import Bandwidth, EndpointOptions
from supervisor.spec.options import ContainerOptions
from tests.unit.docker.bodies import decoded, options
from tests.unit.engine.fake_network import NetworkWorld


@pytest.fixture
async def world() -> NetworkWorld:
    made = NetworkWorld()
    await made.networks.load()
    for number in (1, 2):
        config = (SubnetBody(subnet=f"10.{number}.0.0/24"),)
        await made.networks.create(NetworkBody(name=f"n{number}", ipam=IpamBody(config=config)))
    return made


def resolved(
    world: NetworkWorld, host: dict[str, Any] | None = None, **endpoints: Any
) -> ContainerOptions:
    config = {"NetworkingConfig": {"EndpointsConfig": endpoints}}
    find: Any = world.find
    return resolve_networks(world.networks, find, options(host, **config))


def joined(world: NetworkWorld, found: ContainerOptions) -> list[str]:
    names = {network.id: network.name for network in world.networks.list()}
    return [names[one.network] for one in found.endpoints]


# --- when they are made


async def test_the_default_network(world: NetworkWorld) -> None:
    for mode in ("", "default", "bridge"):
        found = resolved(world, {"NetworkMode": mode})
        assert (found.network, joined(world, found)) == ("bridge", ["bridge"])


async def test_names_and_ids(world: NetworkWorld) -> None:
    id = world.networks.get("n1").id
    for ref in ("n1", id, id[:12]):
        found = resolved(world, {"NetworkMode": ref}, n2={"Aliases": ["x"]})
        assert joined(world, found) == ["n1", "n2"]
        assert found.endpoints[1].aliases == ("x",)
    found = resolved(world, {"NetworkMode": id}, n1={"Aliases": ["x"]})
    assert [(one.network, one.aliases) for one in found.endpoints] == [(id, ("x",))]


async def test_without_a_default_network(world: NetworkWorld) -> None:
    world.networks.defaults = NetworkDefaults(bridge="none")
    publish = {"PortBindings": {"80/tcp": [{"HostPort": "80"}]}}
    found = resolved(world, publish)
    assert (found.network, found.endpoints, found.ports) == ("none", (), ())
    with pytest.raises(OrlopError, match="private"):
        resolved(world, n1={})
    with pytest.raises(OrlopError, match="mac-address and the network mode"):
        resolved(world, default={"MacAddress": "02:42:ac:11:00:02"})
    with pytest.raises(OrlopError, match="host-gateway"):
        resolved(world, {"ExtraHosts": ["a:host-gateway"]})
    world.defaults = world.networks.defaults
    await world.reload().load()
    with pytest.raises(OrlopError) as caught:
        resolved(world, {"NetworkMode": "bridge"})
    assert (caught.value.status, caught.value.message) == (400, "network bridge not found")


async def test_other_containers(world: NetworkWorld) -> None:
    web = world.add("web", mode="none")
    found = resolved(
        world,
        {"NetworkMode": "container:web", "PidMode": "container:web", "IpcMode": "container:web"},
    )
    assert {found.network, found.pid, found.ipc} == {f"container:{web.id}"}
    with pytest.raises(InvalidArgument, match="No such container: nosuch"):
        resolved(world, {"PidMode": "container:nosuch"})


REFUSED: list[tuple[dict[str, Any], dict[str, Any], int, str]] = [
    ({"NetworkMode": "nosuch"}, {}, 400, "network nosuch not found"),
    ({"NetworkMode": "n1"}, {"nosuch": {}}, 400, "network nosuch not found"),
    ({"NetworkMode": "container:nosuch"}, {}, 400, "No such container: nosuch"),
    ({"NetworkMode": "n1"}, {"n1": {"IPAMConfig": {"IPv4Address": "10.2.0.9"}}}, 400, "10.2.0.9"),
    ({"NetworkMode": "n1"}, {"n1": {"IPAMConfig": {"IPv4Address": "10.1.0.1"}}}, 409, "gateway"),
    ({"NetworkMode": "n1"}, {"n1": {"IPAMConfig": {"IPv6Address": "fd00::1"}}}, 400, "no IPv6"),
]


@pytest.mark.parametrize("host, endpoints, status, text", REFUSED, ids=[t for *_, t in REFUSED])
async def test_refused(
    world: NetworkWorld, host: dict[str, Any], endpoints: dict[str, Any], status: int, text: str
) -> None:
    with pytest.raises(OrlopError) as caught:
        resolved(world, host, **endpoints)
    assert caught.value.status == status
    assert text in caught.value.message


async def test_networks_that_ids_stand_for(world: NetworkWorld) -> None:
    """What is refused by name is refused by id, too."""
    ids = {name: world.networks.get(name).id for name in ("bridge", "none", "host", "n1")}
    with pytest.raises(OrlopError, match="network-scoped alias"):
        resolved(world, {"NetworkMode": ids["bridge"]}, **{ids["bridge"]: {"Aliases": ["x"]}})
    with pytest.raises(OrlopError, match="private"):
        resolved(world, {"NetworkMode": "n1"}, **{ids["none"]: {}})
    with pytest.raises(OrlopError, match="sharing network namespace"):
        resolved(world, {"NetworkMode": ids["host"]})
    with pytest.raises(OrlopError, match="names the network n1 twice"):
        resolved(world, {"NetworkMode": ids["n1"]}, **{ids["n1"]: {"GwPriority": 1}, "n1": {}})


async def test_a_host_without_networks(world: NetworkWorld) -> None:
    world.networks.stack = None
    world.networks.why_none = "no nf_tables"
    for mode in ("bridge", "n1", ""):
        with pytest.raises(Unavailable, match="no nf_tables"):
            resolved(world, {"NetworkMode": mode})
    for mode in ("none", "host"):
        assert resolved(world, {"NetworkMode": mode}).network == mode


async def test_what_inspect_shows_of_it(world: NetworkWorld) -> None:
    web = world.add("web", mode="none")
    cases = {"": "bridge", "default": "bridge", "n1": "n1", "none": "none", "host": "host"}
    for asked, shown in {**cases, "container:web": f"container:{web.id}"}.items():
        host = {"NetworkMode": asked, "PidMode": "container:web"}
        config: dict[str, Any] = {"EndpointsConfig": {asked or "default": {}}}
        kept = resolve_body(decoded(host, NetworkingConfig=config), resolved(world, host))
        container_options(kept, lambda _path: ())  # as an update does
        assert kept.host_config.network_mode == shown
        assert kept.host_config.pid_mode == f"container:{web.id}"


async def test_an_update_keeps_what_was_resolved(world: NetworkWorld) -> None:
    made = resolved(world, {"NetworkMode": "n1", "PortBindings": {"80/tcp": [{}]}})
    anew = options({"NetworkMode": "n1", "CpuShares": 512}, NetworkingConfig={})
    kept = as_resolved(anew, made)
    assert (kept.network, kept.endpoints, kept.ports) == (
        made.network,
        made.endpoints,
        made.ports,
    )
    assert kept.resources.cpu_shares == 512


# --- while they are there


def asking(container: str, ipv4: str = "", **fields: Any) -> ConnectBody:
    settings = EndpointBody(ipam_config=AddressBody(ipv4_address=ipv4), **fields)
    return ConnectBody(container=container, endpoint_config=settings)


def networks_of(world: NetworkWorld, container: Any) -> list[str]:
    names = {network.id: network.name for network in world.networks.list()}
    return [names[one.network] for one in container.record.endpoints]


async def test_a_stopped_container_joins_and_leaves(world: NetworkWorld) -> None:
    web = world.add("web", "n1")
    await world.networks.connect("n2", asking("web", "10.2.0.9", aliases=("al",), gw_priority=3))
    assert networks_of(world, web) == ["n1", "n2"]
    assert web.record.endpoints[1] == EndpointOptions(
        network=world.networks.get("n2").id, ipv4="10.2.0.9", aliases=("al",), priority=3
    )
    assert world.saved == [web.id]
    await world.networks.connect("n2", asking("web"))
    assert web.record.endpoints[1].ipv4 == "", "what is asked last holds"
    await world.networks.disconnect("n1", "web", force=False)
    assert networks_of(world, web) == ["n2"]
    assert {action for action, _ in world.events()} == {"create"}, "it does not run"
    assert all(not ledger.in_use for n in world.networks.list() for ledger in n.ledgers)


async def test_a_running_container_joins_and_leaves(world: NetworkWorld) -> None:
    web = world.add("web", "n1", live=True)
    await world.networks.connect("n2", asking("web", "10.2.0.9"))
    assert networks_of(world, web) == ["n1", "n2"]
    assert [one.ipv4 for one in web.record.network.endpoints] == ["10.1.0.2/24", "10.2.0.9/24"]
    with pytest.raises(OrlopError) as caught:
        await world.networks.connect("n2", asking("web"))
    assert (caught.value.status, caught.value.message) == (
        403,
        "endpoint with name web already exists in network n2",
    )
    await world.networks.disconnect("n2", "web", force=True)
    assert networks_of(world, web) == ["n1"]
    assert not world.networks.get("n2").ledgers[0].in_use
    told = {"name": "n2", "type": "bridge", "container": web.id}
    assert world.events()[-2:] == [("connect", told), ("disconnect", told)]
    with pytest.raises(Conflict, match=f"container {web.id} is not connected to network n2"):
        await world.networks.disconnect("n2", "web", force=False)


async def test_a_join_that_fails_changes_nothing(world: NetworkWorld) -> None:
    web = world.add("web", "n1", live=True)
    runs: Any = world.networks.runs
    runs.fail = Unavailable("no address is left")
    with pytest.raises(Unavailable):
        await world.networks.connect("n2", asking("web"))
    assert networks_of(world, web) == ["n1"]
    assert world.saved == []


BAD: list[tuple[str, str, ConnectBody, int, str]] = [
    ("bridge", "nowhere", asking("web"), 404, "network nowhere not found"),
    ("bridge", "n2", asking("nobody"), 404, "No such container: nobody"),
    ("bridge", "n2", asking("web", "10.9.0.9"), 400, "10.9.0.9"),
    ("bridge", "n2", asking("web", "10.2.0.1"), 409, "10.2.0.1"),
    ("bridge", "bridge", asking("web", aliases=("x",)), 400, "network-scoped alias"),
    ("bridge", "none", asking("web"), 400, "private (none) mode"),
    ("bridge", "host", asking("web"), 400, "connected to host network"),
    ("none", "n2", asking("web"), 400, "private (none) mode"),
    ("", "n2", asking("web"), 400, "private (none) mode"),
    ("host", "n2", asking("web"), 400, "connected to host network"),
    ("container:x", "n2", asking("web"), 400, "sharing network namespace"),
]


@pytest.mark.parametrize("mode, ref, body, status, text", BAD, ids=[f"{b[0]}-{b[4]}" for b in BAD])
async def test_bad_joins(
    world: NetworkWorld, mode: str, ref: str, body: ConnectBody, status: int, text: str
) -> None:
    web = world.add("web", mode=mode)
    with pytest.raises(OrlopError) as caught:
        await world.networks.connect(ref, body)
    assert caught.value.status == status, caught.value.message
    assert text in caught.value.message
    assert web.record.endpoints == ()


async def test_what_is_being_removed_is_left_alone(world: NetworkWorld) -> None:
    world.add("web", "n1", phase=Phase.REMOVING)
    for call in (
        world.networks.connect("n2", asking("web")),
        world.networks.disconnect("n1", "web", force=False),
    ):
        with pytest.raises(Conflict, match="marked for removal"):
            await call


async def test_a_container_that_went_meanwhile_does_not_come_back(world: NetworkWorld) -> None:
    web = world.add("web", "n1", live=True)

    async def join(container: Any, _options: EndpointOptions) -> None:
        container.state.phase = Phase.DEAD

    runs: Any = world.networks.runs
    runs.join = join
    await world.networks.connect("n2", asking("web"))
    assert web.id not in world.saved


# --- how they are shown


async def test_endpoint_views(world: NetworkWorld) -> None:
    web = world.add("web", "n1")
    options = replace(
        web.record.endpoints[0],
        ipv4="10.1.0.7",
        mac="02:42:ac:11:00:09",
        aliases=("al",),
        bandwidth=Bandwidth(up=8000),
    )
    gone = EndpointOptions(network="9" * 64)
    web.record.endpoints = (options, gone)
    first, second = endpoint_views(world.networks, web.record)
    assert (first.network_name, first.asked_ipv4, first.ipv4) == ("n1", "10.1.0.7", "")
    assert (first.mac, first.aliases) == ("02:42:ac:11:00:09", ("al",))
    assert first.driver_options == {"orlop.bandwidth.up": "8000"}
    assert second.network_name == "9" * 12, "a network that was removed meanwhile"
    shared = world.add("side", mode=f"container:{web.id}")
    assert endpoint_views(world.networks, shared.record) == ()
    (host,) = endpoint_views(world.networks, world.add("h", mode="host").record)
    assert (host.network_name, host.network_id) == ("host", world.networks.get("host").id)


async def test_modes_and_sandboxes(world: NetworkWorld) -> None:
    web = world.add("web", "n1", live=True)
    for asked, shown in (("n1", "n1"), ("default", "bridge"), ("", "bridge")):
        web.record.body = decoded({"NetworkMode": asked})
        assert network_mode(web.record) == shown
    old = world.add("old", mode="")
    old.record.body = decoded({"NetworkMode": "default"})
    assert network_mode(old.record) == "none"
    assert len(sandbox_id(web.record)) == 64
    assert sandbox_id(old.record) == ""
    assert sandbox_id(world.add("side", mode="container:x", live=True).record) == ""
