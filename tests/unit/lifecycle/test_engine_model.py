"""The machine together with a model of the engine: does everything come to an end?

The model owes a fact for each effect and may deliver what it owes in any order. Wherever
it owes nothing more, the container must be at rest: nobody waits for what never comes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from supervisor.lifecycle.effects import (
    Cleanup,
    Effect,
    Forget,
    Freeze,
    KillCgroup,
    Signal,
    Spawn,
    StartBackoff,
    StartGrace,
    Thaw,
)
from supervisor.lifecycle.facts import (
    BackoffOver,
    Cleaned,
    CleanFailed,
    Exited,
    Fact,
    Frozen,
    GraceOver,
    KillRequested,
    PauseRequested,
    RemoveRequested,
    RestartRequested,
    StartFailed,
    StartRequested,
    StopRequested,
    TaskStarted,
    Thawed,
    UnpauseRequested,
)
from supervisor.lifecycle.restart import RestartPolicy
from supervisor.lifecycle.state import Exit, Phase, State
from tests.unit.lifecycle.explorer import GRACE, KILL, TERM, fold, take

AT_REST = {Phase.CREATED, Phase.RUNNING, Phase.PAUSED, Phase.EXITED, Phase.DEAD}
REQUESTS: tuple[Fact, ...] = (
    StartRequested(),
    StopRequested(TERM, GRACE),
    RestartRequested(TERM, GRACE),
    PauseRequested(),
    UnpauseRequested(),
    RemoveRequested(False),
    RemoveRequested(True),
    KillRequested(KILL),
)


@dataclass(frozen=True, slots=True)
class World:
    """The kernel's and the engine's side: the process, timers and work under way.

    `polite` processes end on SIGTERM; the others on nothing but cgroup.kill. `told` is
    false while the program runs and the engine has not yet said so: a kill of the cgroup
    may come too early then, and the model lets it.
    """

    polite: bool
    starting: bool = False
    alive: bool = False
    told: bool = False
    frozen: bool = False
    doomed: bool = False
    signalled: bool = False
    tell_frozen: bool = False
    tell_thawed: bool = False
    grace: bool = False
    backoff: bool = False
    cleaning: bool = False


@dataclass(frozen=True, slots=True)
class Node:
    state: State
    world: World
    forgotten: bool = False


def apply(world: World, effect: Effect) -> World:
    """What an effect sets going."""
    match effect:
        case Spawn():
            assert not world.alive
            assert not world.starting
            return World(polite=world.polite, starting=True)
        case Signal(signal) if world.polite and signal == TERM:
            return replace(world, signalled=True)
        case KillCgroup() if world.told:
            return replace(world, doomed=True)
        case Freeze():
            return replace(world, frozen=True, tell_frozen=True)
        case Thaw():
            return replace(world, frozen=False, tell_frozen=False, tell_thawed=True)
        case StartGrace():
            return replace(world, grace=True)
        case StartBackoff():
            return replace(world, backoff=True)
        case Cleanup():
            return replace(world, cleaning=True)
    return world


def owed(node: Node) -> Iterator[tuple[Fact, World]]:
    """Every fact that the model could deliver next, and the world then."""
    world, run = node.world, node.state.run
    over = World(polite=world.polite)
    if world.starting:
        yield StartFailed(run, "no", 127, 0), over
        yield TaskStarted(run, 4711, 0), replace(world, starting=False, alive=True, told=True)
    if world.alive and world.doomed:
        yield Exited(run, Exit(137, KILL)), over
    if world.alive and world.signalled and not world.frozen:
        yield Exited(run, Exit(143, TERM)), over
    if world.tell_frozen:
        yield Frozen(run), replace(world, tell_frozen=False)
    if world.tell_thawed:
        yield Thawed(run), replace(world, tell_thawed=False)
    if world.grace:
        yield GraceOver(run), replace(world, grace=False)
    if world.backoff:
        yield BackoffOver(run), replace(world, backoff=False)
    if world.cleaning:
        yield Cleaned(), replace(world, cleaning=False)
        yield CleanFailed("device busy"), replace(world, cleaning=False)


def follow(node: Node, fact: Fact, world: World) -> Node:
    edge = take(node.state, fact)
    for effect in edge.effects:
        world = apply(world, effect)
    return Node(fold(edge.after), world, Forget() in edge.effects)


def explore(beginning: Node, requests: tuple[Fact, ...]) -> dict[Node, list[Node]]:
    """Node → the nodes that follow without a request; all that is reachable with them."""
    graph: dict[Node, list[Node]] = {}
    queue = deque([beginning])
    while queue:
        node = queue.popleft()
        if node in graph:
            continue
        graph[node] = []
        if node.forgotten:
            continue
        graph[node] = [follow(node, fact, world) for fact, world in owed(node)]
        crash = (
            [follow(node, Exited(node.state.run, Exit(1)), World(polite=node.world.polite))]
            if node.world.alive
            else []
        )
        asked = [follow(node, fact, node.world) for fact in requests]
        queue.extend([*graph[node], *crash, *asked])
    return graph


@pytest.mark.parametrize("polite", [True, False])
@pytest.mark.parametrize("policy", [RestartPolicy(), RestartPolicy("always")])
@pytest.mark.parametrize("auto_remove", [True, False])
def test_where_nothing_is_owed_the_container_rests(
    polite: bool, policy: RestartPolicy, auto_remove: bool
) -> None:
    beginning = Node(State(policy=policy, auto_remove=auto_remove), World(polite))
    graph = explore(beginning, REQUESTS)
    assert len(graph) > 100
    for node, following in graph.items():
        if not following and not node.forgotten:
            assert node.state.phase in AT_REST, node
            assert node.state.live == node.world.alive, node
            assert node.world.frozen == (node.state.phase is Phase.PAUSED), node


@pytest.mark.parametrize("auto_remove", [True, False])
def test_a_polite_process_ends_without_a_deadline_even_if_paused(auto_remove: bool) -> None:
    beginning = Node(State(auto_remove=auto_remove), World(polite=True))
    requests = (
        StartRequested(),
        PauseRequested(),
        UnpauseRequested(),
        StopRequested(TERM, None),
        RestartRequested(TERM, None),
    )
    for node, following in explore(beginning, requests).items():
        if not following and not node.forgotten:
            assert node.state.phase in AT_REST, node
            assert not node.world.signalled, node


def test_after_a_stop_nothing_but_a_request_starts_it() -> None:
    """Every way on from a stop, without a further request, ends at rest or forgotten."""
    policy = RestartPolicy("always")
    beginning = Node(State(policy=policy), World(polite=False))
    graph = explore(beginning, REQUESTS)
    stops = [
        follow(node, StopRequested(TERM, GRACE), node.world)
        for node in graph
        if not node.forgotten and node.state.live
    ]
    for node in ends(graph, stops):
        assert node.forgotten or not node.state.live, node
        assert node.forgotten or node.state.phase in (Phase.EXITED, Phase.DEAD), node


def ends(graph: dict[Node, list[Node]], sources: list[Node]) -> Iterator[Node]:
    """Where one gets from `sources` without a request; every cycle would be an endless wait."""
    done: set[Node] = set()
    path: set[Node] = set()

    def visit(node: Node) -> Iterator[Node]:
        assert node not in path, node
        if node in done:
            return
        done.add(node)
        path.add(node)
        if not graph[node]:
            yield node
        for following in graph[node]:
            yield from visit(following)
        path.discard(node)

    for source in sources:
        yield from visit(source)
