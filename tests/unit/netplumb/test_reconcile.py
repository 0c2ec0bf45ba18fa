"""Desired and observed → operations."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from netplumb.plan.model import Desired, Endpoint, Network
from netplumb.plan.names import Identity
from netplumb.plan.observed import Guard, Link, LinkAddress, Observed
from netplumb.plan.reconcile import Aim, Plan, bridge_addresses, plan
from tests.unit.netplumb.values import ME, endpoint, interfaces, network

AIM = Aim(ME, 0x2000)


def bridge(net: Network, index: int = 5, **change: Any) -> Link:
    made = Link(
        index=index,
        name=net.bridge,
        kind="bridge",
        alias=ME.bridge_alias(net),
        group=ME.bridges,
        mtu=net.mtu,
        up=True,
    )
    return replace(made, **change)


def port(end: Endpoint, index: int = 6, master: int = 5, **change: Any) -> Link:
    made = Link(
        index=index,
        name=end.port,
        kind="veth",
        alias=ME.port_alias(end),
        group=ME.ports,
        master=master,
        up=True,
    )
    return replace(made, **change)


def guards(*networks: Network) -> tuple[Guard, ...]:
    return tuple(Guard(g.version, n.bridge, 0x2000, 4400) for n in networks for g in n.gateways)


def goal(net: Network, *links: Link) -> Observed:
    return Observed(
        links=(bridge(net), *links),
        addresses=tuple(LinkAddress(5, address) for address in bridge_addresses(net)),
        guards=guards(net),
    )


def steps(found: Plan) -> list[str]:
    return [operation.describe() for operation in found.operations]


NET = network("net1", "172.30.1.1/24", "fd00::1/64")
END = endpoint("c", "172.30.1.2/24")
WANTED = Desired(networks=(NET,), endpoints=(END,))


def test_at_the_goal_there_is_nothing_to_do() -> None:
    found = plan(WANTED, goal(NET, port(END)), AIM)
    assert (steps(found), found.missing, found.conflicts) == ([], (), ())


def test_a_bridge_is_made_in_two_rounds() -> None:
    first = plan(Desired(networks=(NET,)), Observed(), AIM)
    assert steps(first) == [
        "guard IPv4 from br-net1",
        "guard IPv6 from br-net1",
        "make the bridge br-net1",
        "mark the bridge br-net1",
    ]
    made = Observed(links=(bridge(NET, up=False),), guards=guards(NET))
    second = plan(Desired(networks=(NET,)), made, AIM)
    assert steps(second) == [
        "add 172.30.1.1/24 to br-net1",
        "add fd00::1/64 to br-net1",
        f"add {bridge_addresses(NET)[2]} to br-net1",
        "set br-net1 up",
    ]
    assert [s.describe() for s in second.settings] == ["net.ipv6.conf.br-net1.disable_ipv6 = 0"]


def test_ipv6_is_off_where_the_network_has_none() -> None:
    plain = network("net1", "172.30.1.1/24")
    found = plan(Desired(networks=(plain,)), goal(plain), AIM)
    assert steps(found) == []
    assert [s.value for s in found.settings] == ["1"]


def test_what_differs_is_corrected() -> None:
    changed = replace(
        goal(NET, port(END, master=0, up=False)),
        links=(
            bridge(NET, mtu=9000, up=False, alias="orlop:bridge:"),
            port(END, master=0, up=False),
        ),
        addresses=(LinkAddress(5, interfaces("10.0.0.1/8")[0]),),
    )
    found = steps(plan(WANTED, changed, AIM))
    assert found == [
        f"put {END.port} on br-net1",
        f"mark {END.port}",
        f"set {END.port} up",
        "mark the bridge br-net1",
        "set the MTU of br-net1",
        "remove 10.0.0.1/8 from br-net1",
        "add 172.30.1.1/24 to br-net1",
        "add fd00::1/64 to br-net1",
        f"add {bridge_addresses(NET)[2]} to br-net1",
        "set br-net1 up",
    ]


def test_isolation_follows_the_network() -> None:
    quiet = replace(NET, icc=False)
    wanted = Desired(networks=(quiet,), endpoints=(END,))
    assert steps(plan(wanted, goal(quiet, port(END)), AIM)) == [f"mark {END.port}"]
    assert steps(plan(wanted, goal(quiet, port(END, isolated=True)), AIM)) == []


def test_what_is_ours_and_not_wanted_goes() -> None:
    old = network("old", "172.31.0.1/24")
    seen = Observed(
        links=(bridge(old, 7), port(endpoint("gone"), 8), port(endpoint("x"), 9, group=ME.trash)),
        guards=(*guards(old), Guard(4, "br-older", 0x2000, 4400)),
    )
    assert steps(plan(Desired(), seen, AIM)) == [
        f"take {endpoint('gone').port} out of use",
        "delete what is out of use",
        "delete the bridge br-old",
        "remove the guard of IPv4 from br-old",
        "remove the guard of IPv4 from br-older",
    ]


def test_others_are_left_alone() -> None:
    other = Identity("other")
    seen = Observed(
        links=(
            Link(index=2, name="eth0", group=0),
            Link(index=3, name="docker0", kind="bridge"),
            Link(index=4, name="olx", group=ME.ports, alias="not ours"),
            Link(index=5, name="oly", alias=f"{ME.name}:port:c:n"),
            bridge(NET, 6, name="br-o", group=other.bridges, alias=other.bridge_alias(NET)),
        ),
        guards=(Guard(4, "br-o", 0x2000, other.rule_priority),),
    )
    assert steps(plan(Desired(), seen, AIM)) == []


def test_an_interface_of_others_in_our_place_is_a_conflict() -> None:
    seen = Observed(
        links=(
            Link(index=2, name=NET.bridge, kind="bridge"),
            Link(index=3, name=END.port, kind="veth"),
        )
    )
    found = plan(WANTED, seen, AIM)
    assert steps(found) == [], "not even a rule for it"
    assert [str(conflict) for conflict in found.conflicts] == [
        "the interface br-net1 that network net1 needs exists and is not ours",
        f"the interface {END.port} that container c needs exists and is not ours",
    ]


def test_an_endpoint_without_a_pair_is_missing() -> None:
    assert plan(WANTED, goal(NET), AIM).missing == (END,)


def test_a_rule_that_is_there_twice_is_removed_once() -> None:
    seen = replace(goal(NET), guards=(*guards(NET), guards(NET)[0]))
    assert steps(plan(Desired(networks=(NET,)), seen, AIM)) == [
        "remove the guard of IPv4 from br-net1"
    ]


def test_a_kernel_without_routing_rules_of_ipv6() -> None:
    seen = Observed(guardable=frozenset((4,)))
    assert steps(plan(Desired(networks=(NET,)), seen, AIM))[:2] == [
        "guard IPv4 from br-net1",
        "make the bridge br-net1",
    ]
