"""The tables themselves: as nft sees them, owned, flushed, restored, and closed meanwhile."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from netplumb.apply.netlink import NETFILTER, Netlink
from netplumb.apply.nft import commit
from netplumb.apply.plumber import Plumber, open_plumber
from netplumb.apply.settings import Settings
from netplumb.errors import Refused, Taken
from netplumb.plan import links, netlink
from netplumb.plan.model import Desired
from netplumb.plan.names import Identity
from netplumb.plan.nft import objects, ruleset
from netplumb.plan.nft.objects import INET, Element, interface_value
from netplumb.plan.operation import Operation
from tests.kernel.netplumb.rig import (
    ANY4,
    QUIET,
    Container,
    Outside,
    ask,
    echo_from,
    endpoint,
    network,
    publish,
    run_operations,
)
from tests.support.pace import limit

Make = Callable[..., Container]
ME = Identity()
RULESET = Path(__file__).with_name("ruleset.nft")


def nft(*arguments: str) -> str:
    """What nft says."""
    done = subprocess.run(["nft", *arguments], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


def listed() -> list[dict[str, Any]]:
    """The ruleset as nft's JSON has it, without handles and counters."""
    found = json.loads(nft("-j", "list", "ruleset"))["nftables"]
    return [thing for thing in found if "metainfo" not in thing]


def elements_of(name: str, family: str = "inet") -> list[Any]:
    kinds = [kind for thing in listed() for kind in (thing.get("set"), thing.get("map")) if kind]
    (found,) = [k for k in kinds if (k["family"], k["name"]) == (family, name)]
    listed_elements: list[Any] = found.get("elem", [])
    return listed_elements


def tables() -> set[str]:
    return {f"{t['table']['family']} {t['table']['name']}" for t in listed() if "table" in t}


def shown() -> str:
    """The text of the ruleset without what differs from run to run."""
    text = nft("-s", "list", "ruleset")
    lines = [line.partition(" # progname")[0] for line in text.splitlines()]
    kept = [line for line in lines if not line.strip().startswith("flags owner")]
    return "\n".join(kept).replace("{\n\n", "{\n").strip() + "\n"


# --- the check of the host ------------------------------------------------------------------------


async def test_what_is_tried_is_not_the_firewall_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a daemon's start the firewall is made by its own thread while another tries out, in a
    namespace that nobody has, what the kernel can. They share no socket: what is made through
    one of that namespace never comes to be here, and it is closed in between.
    """
    trying, go_on = threading.Event(), threading.Event()

    def commit_slowly(socket: Netlink, operations: Sequence[Operation]) -> None:
        if threading.current_thread().name == "netplumb-links":
            trying.set()
            assert go_on.wait(limit(30))
        commit(socket, operations)

    monkeypatch.setattr("netplumb.apply.firewall.commit", commit_slowly)
    plumber = Plumber(Settings())
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(plumber.check_host)
            try:
                assert await trio.to_thread.run_sync(trying.wait, limit(30))
                await plumber._firewall.replace((), guarded=())
                own = plumber._firewall._socket
                made = tables()
            finally:
                go_on.set()
        assert f"inet {ME.name}" in made
        assert own is not None
        assert own is plumber._firewall._socket
        assert own.socket.fileno() >= 0
    finally:
        await plumber._close()


# --- the tables -----------------------------------------------------------------------------------


async def test_the_ruleset_as_nft_lists_it(plumber: Plumber) -> None:
    """Made by our own encoder, read by nft."""
    await plumber.add_network(network(1))
    await plumber.remove_network("net1")
    await plumber._firewall.replace((), guarded=(4, 6))
    assert shown() == RULESET.read_text()


def bytecode(family: int) -> dict[str, list[bytes]]:
    """The rules of all chains of a family, as the kernel keeps them."""
    found: dict[str, list[bytes]] = {}
    ask_all = netlink.message(10 << 8 | 7, netlink.NLM_F_DUMP, bytes((family, 0, 0, 0)))
    with Netlink(NETFILTER) as asking:
        for answer in asking.dump(ask_all):
            rule = netlink.attributes(answer.body[4:])
            found.setdefault(netlink.read_text(rule[2]), []).append(rule[4])
    return found


def test_our_encoder_agrees_with_nfts() -> None:
    """nft reads the listing, and makes the same expressions of it, byte for byte.

    Of the chains where it does not put things in another order first.
    """
    text = RULESET.read_text().partition("table bridge")[0]
    done = subprocess.run(["nft", "-f", "-"], input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    theirs = bytecode(INET)
    nft("flush ruleset")
    with Netlink(NETFILTER) as making:
        commit(making, objects.make_table(ruleset.main_table(ME, 0x2000, guarded=(4, 6))))
    ours = bytecode(INET)
    assert {name: len(rules) for name, rules in ours.items()} == {
        name: len(rules) for name, rules in theirs.items()
    }
    for name in ("loopback-guard", "marks", "forward", "strangers", "to-host"):
        assert ours[name] == theirs[name], name


async def test_elements_are_what_nft_makes_of_them(plumber: Plumber, container: Make) -> None:
    net, inner = network(1), network(2, internal=True)
    await plumber.add_network(net)
    await plumber.add_network(inner)
    box = container(endpoint("c", net, 2))
    await plumber.connect(box.fd, box.endpoints)
    await plumber.publish(
        [
            publish(ANY4, 8080, box, 80),
            publish("10.9.0.1", 8081, box, 80, "udp"),
            publish("127.0.0.1", 8082, box, 80),
            publish("::", 8083, box, 80),
        ]
    )
    port = box.endpoints[0].port
    same = sorted(element["concat"] for element in elements_of("same"))
    assert same == [["ol-net1", "ol-net1"], ["ol-net2", "ol-net2"]]
    assert elements_of("internal") == ["ol-net2"]
    assert elements_of("masquerade4") == elements_of("masquerade6") == ["ol-net1"]
    assert elements_of("members4") == [{"concat": ["ol-net1", "172.30.1.2"]}]
    assert elements_of("ports4") == [[{"concat": ["tcp", 8080]}, {"concat": ["172.30.1.2", 80]}]]
    assert elements_of("addressed4") == [
        [{"concat": ["10.9.0.1", "udp", 8081]}, {"concat": ["172.30.1.2", 80]}]
    ]
    assert elements_of("loopback4") == [{"concat": ["127.0.0.1", "tcp", 8082]}]
    assert elements_of("ports6") == [[{"concat": ["tcp", 8083]}, {"concat": ["fd30:1::2", 80]}]]
    assert elements_of("senders4", "bridge") == [
        {"concat": [port, "02:42:ac:1e:01:02", "172.30.1.2"]}
    ]
    assert sorted(e["concat"][2] for e in elements_of("senders6", "bridge")) == [
        "fd30:1::2",
        "fe80::42:acff:fe1e:102",
    ]
    await plumber.forget("c")
    for name in ("members4", "members6", "ports4", "addressed4", "loopback4", "ports6"):
        assert elements_of(name) == []


async def test_500_ports_stay_one_map(plumber: Plumber, container: Make) -> None:
    net = network(1)
    await plumber.add_network(net)
    box = container(endpoint("c", net, 2))
    await plumber.connect(box.fd, box.endpoints)
    rules = sum("rule" in thing for thing in listed())
    bindings = [publish(ANY4, 10_000 + n, box, 80) for n in range(500)]
    for binding in bindings:
        await plumber.publish([binding])
    assert len(elements_of("ports4")) == 500
    assert sum("rule" in thing for thing in listed()) == rules
    await plumber.unpublish(bindings[100:])
    assert len(elements_of("ports4")) == 100
    await plumber.restore(plumber.desired)
    assert len(elements_of("ports4")) == 100


async def test_a_transaction_is_all_or_nothing(plumber: Plumber) -> None:
    await plumber.add_network(network(1))
    wrong = Element(INET, "nowhere", interface_value("x"))
    right = Element(INET, "internal", interface_value("x"))

    def both() -> None:
        socket = plumber._firewall._open()
        commit(
            socket,
            [*objects.add_elements("orlop", [right]), *objects.add_elements("orlop", [wrong])],
        )

    with pytest.raises(Refused, match="add 1 of set nowhere: No such file or directory"):
        await plumber._filters.run(both)
    assert elements_of("internal") == []


async def test_no_networks_no_tables(plumber: Plumber) -> None:
    await plumber.restore(Desired())
    assert tables() == set()
    await plumber.add_network(network(1))
    assert tables() == {"inet orlop", "bridge orlop"}
    await plumber.remove_network("net1")
    assert tables() == set()


async def test_others_tables_are_left_alone(plumber: Plumber) -> None:
    nft("add table inet mine; add chain inet mine x")
    await plumber.add_network(network(1))
    await plumber.restore(Desired())
    assert tables() == {"inet mine"}


async def test_others_rules_still_judge_what_ours_let_pass(
    plumber: Plumber, container: Make, outside: Outside
) -> None:
    net = network(1)
    await plumber.add_network(net)
    box = container(endpoint("c", net, 2))
    await plumber.connect(box.fd, box.endpoints)
    async with trio.open_nursery() as nursery:
        await echo_from(nursery, outside)
        assert await ask(box, outside.OWN4, 80) == outside.HOST4
        nft(
            "add table inet mine; add chain inet mine f "
            "{ type filter hook forward priority 10; policy drop; }"
        )
        assert await ask(box, outside.OWN4, 80, within=QUIET) is None
        nursery.cancel_scope.cancel()


# --- owned tables ---------------------------------------------------------------------------------


def has_persistent_owners() -> bool:
    """Linux 6.9 and newer: an owned table that outlives its owner."""
    with Netlink(NETFILTER) as trying:
        table = ruleset.bridge_table(Identity("try"), flags=objects.OWNER | objects.PERSIST)
        try:
            commit(trying, objects.make_table(table))
            commit(trying, objects.remove_table(table.family, table.name, destroy=True))
        except Refused:
            return False
        return True


async def test_nobody_flushes_what_is_owned(
    plumber: Plumber, container: Make, outside: Outside, reports: list[str]
) -> None:
    net = network(1)
    await plumber.add_network(net)
    assert plumber.protection.owned == has_persistent_owners()
    if not plumber.protection.owned:
        return  # an older kernel: the tests below are for it
    before = shown()
    nft("flush ruleset")
    assert shown() == before
    for attempt in (
        "delete table inet orlop",
        "flush chain inet orlop forward",
        "add element inet orlop internal { x }",
    ):
        assert subprocess.run(["nft", attempt], capture_output=True).returncode != 0
    assert shown() == before
    assert reports == []


async def test_the_tables_outlive_the_process(container: Make, outside: Outside) -> None:
    net = network(1)
    box = container(endpoint("c", net, 2))
    async with open_plumber() as plumber:
        await plumber.add_network(net)
        await plumber.connect(box.fd, box.endpoints)
        await plumber.publish([publish(ANY4, 8080, box, 80)])
        wanted = plumber.desired
    async with trio.open_nursery() as nursery:
        await echo_from(nursery, box)
        assert await ask(outside, outside.HOST4, 8080) == outside.OWN4
        async with open_plumber() as plumber:
            await plumber.restore(wanted)
            assert plumber.protection.owned == has_persistent_owners()
            assert await ask(outside, outside.HOST4, 8080) == outside.OWN4
        nursery.cancel_scope.cancel()


async def test_tables_that_an_owner_left_behind_may_have_none_next(outside: Outside) -> None:
    async with open_plumber() as plumber:
        await plumber.add_network(network(1))
        wanted = plumber.desired
    async with open_plumber(Settings(own_tables=False)) as plumber:
        await plumber.restore(wanted)
        assert not plumber.protection.owned
        assert plumber.protection.senders
    async with open_plumber() as plumber:
        await plumber.restore(wanted)
        assert plumber.protection.owned == has_persistent_owners()


async def test_two_processes_cannot_have_the_same_tables(plumber: Plumber) -> None:
    await plumber.add_network(network(1))
    if not plumber.protection.owned:
        return
    async with open_plumber() as other:
        with pytest.raises(Taken, match="another process owns the nftables table orlop"):
            await other.restore(Desired(networks=(network(2),)))


# --- tables without an owner ----------------------------------------------------------------------


def of(box: Container | Outside, version: int) -> str:
    if isinstance(box, Outside):
        return box.OWN4 if version == 4 else box.OWN6
    return box.ip4 if version == 4 else box.ip6


@contextmanager
def two_networks(container: Make) -> Iterator[tuple[Container, Container, Container]]:
    yield (
        container(endpoint("a", network(1), 2)),
        container(endpoint("b", network(2), 2)),
        container(endpoint("c", network(3, internal=True), 2)),
    )


async def plumb(plumber: Plumber, boxes: tuple[Container, ...]) -> None:
    for net, box in zip((network(1), network(2), network(3, internal=True)), boxes, strict=True):
        await plumber.add_network(net)
        await plumber.connect(box.fd, box.endpoints)


@pytest.mark.parametrize(
    "damage",
    [
        "flush ruleset",
        "delete table inet orlop",
        "flush table inet orlop",
        "flush chain inet orlop forward",
        "flush set inet orlop masquerade4",
        "add rule inet orlop forward accept",
        "delete table bridge orlop",
    ],
)
async def test_what_others_change_is_restored(
    container: Make, outside: Outside, reports: list[str], damage: str
) -> None:
    settings = Settings(own_tables=False, report=reports.append)
    with two_networks(container) as boxes:
        async with open_plumber(settings) as plumber, trio.open_nursery() as nursery:
            await plumb(plumber, boxes)
            await plumber.publish([publish(ANY4, 8080, boxes[0], 80)])
            await echo_from(nursery, *boxes, outside)
            assert not plumber.protection.owned
            before = sorted(shown().splitlines())
            assert reports == [], "our own changes are none of others'"
            nft(damage)
            with trio.fail_after(5):
                while not reports or sorted(shown().splitlines()) != before:
                    await trio.sleep(0.01)
            assert set(reports) == {"the firewall was changed by others and has been restored"}
            assert await ask(boxes[0], outside.OWN4, 80) == outside.HOST4
            assert await ask(outside, outside.HOST4, 8080) == outside.OWN4
            assert await ask(boxes[0], boxes[1].ip4, 80, within=QUIET) is None
            nursery.cancel_scope.cancel()


async def test_changes_in_others_tables_are_no_reason(reports: list[str]) -> None:
    async with open_plumber(Settings(own_tables=False, report=reports.append)) as plumber:
        await plumber.add_network(network(1))
        nft("add table inet mine; add chain inet mine x; delete table inet mine")
        await trio.sleep(0.3)
        assert reports == []


async def test_a_change_finds_the_tables_gone(container: Make, outside: Outside) -> None:
    """Before the notice of it came."""
    settings = Settings(own_tables=False)
    with two_networks(container) as boxes:
        async with open_plumber(settings) as plumber, trio.open_nursery() as nursery:
            await plumb(plumber, boxes)
            await echo_from(nursery, boxes[0])
            nft("flush ruleset")
            await plumber.publish([publish(ANY4, 8080, boxes[0], 80)])
            assert await ask(outside, outside.HOST4, 8080) == outside.OWN4
            nursery.cancel_scope.cancel()


async def test_without_tables_nothing_leaves_a_network(container: Make, outside: Outside) -> None:
    """Nobody restores them: the process has ended. What is left is closed, not open."""
    with two_networks(container) as boxes:
        a, b, c = boxes
        async with trio.open_nursery() as nursery:
            await echo_from(nursery, *boxes, outside, None)
            async with open_plumber(Settings(own_tables=False)) as plumber:
                await plumb(plumber, boxes)
                assert await ask(a, outside.OWN4, 80) == outside.HOST4
                closed = plumber.protection.guards
            nft("flush ruleset")
            outside.route_to_host()
            for kind in ("tcp", "udp"):
                for source, target in ((a, b), (a, c), (b, a), (c, a), (a, outside), (c, outside)):
                    for version in closed:
                        address = of(target, version)
                        assert await ask(source, address, 80, kind, within=QUIET) is None
                assert await ask(outside, a.ip4, 80, kind, within=QUIET) is None
            # Within a network, and with the host, containers go on talking.
            assert await ask(a, "172.30.1.1", 80) == a.ip4
            assert await ask(None, a.ip6, 80) == "fd30:1::1"
            nursery.cancel_scope.cancel()


async def test_the_control_without_the_guards_it_is_open(container: Make) -> None:
    """It is the routing rules that close it."""
    with two_networks(container) as boxes:
        a, b, _ = boxes
        async with trio.open_nursery() as nursery:
            await echo_from(nursery, b)
            async with open_plumber(Settings(own_tables=False)) as plumber:
                await plumb(plumber, boxes)
            nft("flush ruleset")
            assert await ask(a, b.ip4, 80, within=QUIET) is None
            for net in (network(1), network(2)):
                run_operations(links.remove_guard(4, net.bridge, 0x2000, ME.rule_priority))
            assert await ask(a, b.ip4, 80) == a.ip4
            nursery.cancel_scope.cancel()
