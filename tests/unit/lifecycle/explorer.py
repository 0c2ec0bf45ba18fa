"""Walks the state machine: every state that can be reached, with every fact.

Numbers that only grow (runs, counters, times) are folded together, so the walk ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from msgspec.structs import replace

from supervisor.errors import OrlopError
from supervisor.lifecycle.effects import Effect, Forget
from supervisor.lifecycle.facts import (
    AgentStarted,
    BackoffOver,
    Cleaned,
    CleanFailed,
    Exited,
    Fact,
    Frozen,
    GraceOver,
    KillRequested,
    OomKilled,
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
from supervisor.lifecycle.machine import step
from supervisor.lifecycle.restart import RestartPolicy
from supervisor.lifecycle.state import Exit, State

KILL, TERM, HUP = 9, 15, 1
GRACE = 10.0
SECOND = 1_000_000_000

POLICIES = (RestartPolicy(), RestartPolicy("always"), RestartPolicy("on-failure", 1))
BEGINNINGS = tuple(
    State(policy=policy, auto_remove=auto_remove)
    for policy in POLICIES
    for auto_remove in (False, True)
)

REQUESTS: tuple[Fact, ...] = (
    StartRequested(),
    *(StopRequested(TERM, grace) for grace in (None, 0, GRACE)),
    StopRequested(KILL, GRACE),
    StopRequested(TERM, GRACE, by_agent=True),
    *(RestartRequested(TERM, grace) for grace in (None, GRACE)),
    *(KillRequested(signal, TERM) for signal in (KILL, TERM, HUP)),
    PauseRequested(),
    UnpauseRequested(),
    RemoveRequested(False),
    RemoveRequested(True),
)

EXITS = (
    Exit(0, at_ns=2 * SECOND, uptime_ns=SECOND),
    Exit(1, at_ns=2 * SECOND, uptime_ns=20 * SECOND),
    Exit(137, 9, at_ns=2 * SECOND),
)


def run_facts(run: int) -> tuple[Fact, ...]:
    """Everything that can be observed of a run."""
    return (
        TaskStarted(run, 4711, SECOND),
        StartFailed(run, "exec: not found", 127, 2 * SECOND),
        *(Exited(run, end) for end in EXITS),
        Frozen(run),
        Thawed(run),
        GraceOver(run),
        BackoffOver(run),
        OomKilled(run, 1),
    )


def facts(state: State) -> Iterator[Fact]:
    """Every fact that could come in this state, late ones of the run before among them."""
    yield from REQUESTS
    yield from run_facts(state.run)
    yield from run_facts(state.run - 1)
    yield AgentStarted()
    yield Cleaned()
    yield CleanFailed("device busy")


@dataclass(frozen=True, slots=True)
class Edge:
    """One step: `error` is the refusal if there was one."""

    before: State
    fact: Fact
    after: State
    effects: tuple[Effect, ...]
    error: OrlopError | None = None


def take(state: State, fact: Fact) -> Edge:
    """One step at time 0."""
    try:
        after, effects = step(state, fact, 0.0)
    except OrlopError as error:
        return Edge(state, fact, state, (), error)
    return Edge(state, fact, after, effects)


def fold(state: State) -> State:
    """The state that stands for all that differ only in what decides nothing."""
    return replace(
        state,
        run=min(state.run, 1),
        restart_count=min(state.restart_count, 2),
        backoff=min(state.backoff, 0.1),
        oom_kills=min(state.oom_kills, 1),
        exit=state.exit and Exit(0),
        started_ns=0,
        finished_ns=0,
        failure="",
        error_code="",
    )


def explore() -> list[Edge]:
    """All edges between all reachable states; what is forgotten goes no further."""
    edges: list[Edge] = []
    seen = set(BEGINNINGS)
    queue = deque(BEGINNINGS)
    while queue:
        state = queue.popleft()
        for fact in facts(state):
            edge = take(state, fact)
            edges.append(edge)
            folded = fold(edge.after)
            if Forget() not in edge.effects and folded not in seen:
                seen.add(folded)
                queue.append(folded)
    return edges
