"""What holds in every reachable state of a container, whatever happens next."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from supervisor.errors import Conflict, NotModified
from supervisor.lifecycle.effects import (
    Cleanup,
    Emit,
    Forget,
    KillCgroup,
    Persist,
    Signal,
    Spawn,
    StartGrace,
)
from supervisor.lifecycle.facts import (
    FACTS,
    REQUESTS,
    RUN_FACTS,
    Cleaned,
    Exited,
    GraceOver,
    RemoveRequested,
    RestartRequested,
    StartFailed,
    StopRequested,
    TaskStarted,
)
from supervisor.lifecycle.machine import TABLE, Move, resume
from supervisor.lifecycle.state import Phase, State, docker_status
from tests.unit.lifecycle.explorer import GRACE, Edge, explore

HOLDS_A_RUN = {Phase.STARTING, Phase.RUNNING, Phase.PAUSED, Phase.STOPPING}
AT_REST = {Phase.CREATED, Phase.RESTARTING, Phase.EXITED}
GOING = {Phase.REMOVING, Phase.DEAD}


@pytest.fixture(scope="module")
def edges() -> list[Edge]:
    return explore()


@pytest.fixture(scope="module")
def moved(edges: list[Edge]) -> list[Edge]:
    """Edges that changed something or asked for something."""
    return [edge for edge in edges if edge.after != edge.before or edge.effects]


def emitted(edge: Edge) -> list[str]:
    return [effect.action for effect in edge.effects if isinstance(effect, Emit)]


def asked(edge: Edge, effect: type[object]) -> int:
    return sum(isinstance(one, effect) for one in edge.effects)


def states(edges: list[Edge]) -> Iterator[State]:
    return (edge.after for edge in edges if not asked(edge, Forget))


def test_every_request_has_a_row_in_every_phase() -> None:
    assert {(p, f) for p in Phase for f in REQUESTS} <= set(TABLE)


def test_every_phase_is_reached_and_every_row_is_true(edges: list[Edge]) -> None:
    """The table says neither more nor less than what happens."""
    seen: dict[tuple[Phase, type], set[Phase]] = {}
    for edge in edges:
        late = isinstance(edge.fact, RUN_FACTS) and edge.fact.run != edge.before.run
        if edge.error is None and not late:
            targets = seen.setdefault((edge.before.phase, type(edge.fact)), set())
            targets.add(edge.after.phase)
    for row, rule in TABLE.items():
        if isinstance(rule, Move):
            assert seen[row] == set(rule.to), row


def test_what_is_not_in_the_table_changes_nothing(moved: list[Edge]) -> None:
    for edge in moved:
        assert isinstance(TABLE.get((edge.before.phase, type(edge.fact))), Move), edge


def test_facts_of_another_run_change_nothing(moved: list[Edge]) -> None:
    for edge in moved:
        assert not isinstance(edge.fact, RUN_FACTS) or edge.fact.run == edge.before.run, edge


def test_observations_are_never_refused(edges: list[Edge]) -> None:
    for edge in edges:
        if edge.error is not None:
            assert isinstance(edge.fact, REQUESTS), edge
            assert isinstance(edge.error, Conflict | NotModified), edge
            assert edge.error.message.replace("{name}", "x").isprintable()
            assert "{" not in edge.error.message.replace("{name}", "x")


def test_a_stop_is_never_a_conflict(edges: list[Edge]) -> None:
    for edge in edges:
        if isinstance(edge.fact, StopRequested):
            assert not isinstance(edge.error, Conflict), edge


def test_live_goes_with_the_phase(edges: list[Edge]) -> None:
    for state in states(edges):
        if state.phase in HOLDS_A_RUN:
            assert state.live, state
        if state.phase in AT_REST:
            assert not state.live, state
        assert state.live or not state.pid, state
        assert state.pid or state.phase not in (Phase.RUNNING, Phase.PAUSED), state
        assert not state.pid or state.phase is not Phase.STARTING, state
        assert not state.freezing or state.phase is Phase.RUNNING, state
        assert state.run or state.phase in (Phase.CREATED, *GOING), state


def test_a_run_begins_only_when_none_lives(moved: list[Edge]) -> None:
    for edge in moved:
        if asked(edge, Spawn):
            ended = isinstance(edge.fact, Exited)
            assert not edge.before.live or ended, edge
            assert Spawn(edge.before.run + 1) in edge.effects, edge
            assert edge.after.run == edge.before.run + 1, edge
            assert edge.after.phase is Phase.STARTING, edge
        else:
            assert edge.after.run == edge.before.run, edge


def test_only_its_end_ends_a_run_and_that_is_told_once(moved: list[Edge]) -> None:
    for edge in moved:
        over = edge.before.live and (not edge.after.live or bool(asked(edge, Spawn)))
        assert over == ("die" in emitted(edge)), edge
        if over:
            assert isinstance(edge.fact, Exited | StartFailed), edge
            assert edge.after.exit is not None, edge
            assert edge.after.pid == 0, edge


def test_every_start_is_told_before_its_end(moved: list[Edge]) -> None:
    for edge in moved:
        begun = isinstance(edge.fact, TaskStarted) and edge.after.pid != edge.before.pid
        unseen = isinstance(edge.fact, Exited) and edge.before.live and not edge.before.pid
        assert (emitted(edge)[:1] == ["start"]) == (begun or unseen), edge
        assert emitted(edge).count("start") <= 1, edge


def test_the_exit_stays_until_the_next_run_runs(moved: list[Edge]) -> None:
    for edge in moved:
        if edge.before.exit is not None and edge.after.exit is None:
            assert isinstance(edge.fact, TaskStarted), edge


def test_what_is_decided_is_on_disk_first(moved: list[Edge]) -> None:
    for edge in moved:
        assert asked(edge, Persist) <= 1, edge
        if edge.after != edge.before and not asked(edge, Forget):
            assert edge.effects[0] == Persist(), edge


def test_clean_up_is_asked_for_once_and_when_nothing_runs(edges: list[Edge]) -> None:
    for edge in edges:
        if asked(edge, Cleanup):
            assert asked(edge, Cleanup) == 1, edge
            assert not edge.before.cleaning, edge
            assert edge.after.phase is Phase.REMOVING, edge
            assert edge.after.cleaning, edge
    for state in states(edges):
        assert not (state.cleaning and state.live), state
        assert not state.cleaning or state.phase is Phase.REMOVING, state
        assert state.cleaning or state.live or state.phase is not Phase.REMOVING, state


def test_only_what_is_cleaned_is_forgotten(moved: list[Edge]) -> None:
    for edge in moved:
        if asked(edge, Forget):
            assert isinstance(edge.fact, Cleaned), edge
            assert edge.before.cleaning, edge
            assert emitted(edge) == ["destroy"], edge
        else:
            assert "destroy" not in emitted(edge), edge


def test_a_removal_is_never_lost(moved: list[Edge]) -> None:
    for edge in moved:
        if edge.before.phase in GOING:
            assert edge.after.phase in GOING, edge
        if isinstance(edge.fact, RemoveRequested):
            assert edge.after.phase is Phase.REMOVING, edge
            assert asked(edge, KillCgroup) == edge.before.live, edge


def test_force_is_never_refused_but_while_removing(edges: list[Edge]) -> None:
    for edge in edges:
        if edge.fact == RemoveRequested(True) and edge.error is not None:
            assert edge.before.phase is Phase.REMOVING, edge


def test_what_was_stopped_is_not_restarted_by_its_policy(moved: list[Edge]) -> None:
    for edge in moved:
        if edge.before.stop_requested:
            assert edge.after.phase is not Phase.RESTARTING, edge
        if isinstance(edge.fact, StopRequested) and edge.before.phase in HOLDS_A_RUN:
            assert edge.after.phase is Phase.STOPPING, edge
            assert edge.after.stop_requested, edge
            assert not edge.after.restart_requested, edge


def test_a_stop_has_a_way_to_end(moved: list[Edge]) -> None:
    """Killed, or a timer that kills, unless the client asked for neither."""
    for edge in moved:
        if edge.after.phase is not Phase.STOPPING:
            continue
        if isinstance(edge.fact, StopRequested | RestartRequested) and edge.fact.grace is not None:
            assert edge.after.killed or edge.after.deadline is not None, edge
        if edge.after.deadline != edge.before.deadline:
            assert StartGrace(edge.after.run, GRACE) in edge.effects, edge
        if edge.after.killed and not edge.before.killed:
            assert KillCgroup() in edge.effects, edge
        if isinstance(edge.fact, GraceOver):
            assert edge.after.killed, edge


def test_a_run_that_was_killed_before_it_ran_is_killed_when_it_runs(edges: list[Edge]) -> None:
    for edge in edges:
        if isinstance(edge.fact, TaskStarted) and edge.after.pid and not edge.before.pid:
            if edge.before.killed:
                assert KillCgroup() in edge.effects, edge
            elif edge.before.phase is Phase.STOPPING:
                assert Signal(edge.before.stop_signal) in edge.effects, edge
            else:
                assert edge.after.phase is Phase.RUNNING, edge


def test_states_survive_json(edges: list[Edge]) -> None:
    for state in {edge.after for edge in edges}:
        assert msgspec.json.decode(msgspec.json.encode(state), type=State) == state


def test_resume_asks_for_what_the_phase_waits_for(edges: list[Edge]) -> None:
    for state in set(states(edges)):
        effects = resume(state, 0.0)
        assert not any(isinstance(effect, Persist | Spawn | Emit) for effect in effects)
        if state.phase is Phase.RESTARTING or state.phase is Phase.REMOVING:
            assert len(effects) == 1
        if state.phase is Phase.STOPPING and not state.pid:
            assert not any(isinstance(effect, Signal) for effect in effects)
        if state.phase is Phase.STOPPING and (state.killed or state.deadline is not None):
            assert KillCgroup() in effects or StartGrace(state.run, GRACE) in effects
        assert not effects or state.phase in (
            Phase.STOPPING,
            Phase.RUNNING,
            Phase.RESTARTING,
            Phase.REMOVING,
        )


def test_docker_status_knows_docker_s_words_only(edges: list[Edge]) -> None:
    words = {docker_status(state) for state in states(edges)}
    assert words == {
        "created",
        "running",
        "paused",
        "restarting",
        "removing",
        "exited",
        "dead",
    }


def test_docker_status_says_running_while_a_program_runs(edges: list[Edge]) -> None:
    at_work = {"running", "paused"}
    for state in states(edges):
        if state.phase is not Phase.DEAD:  # its removal failed: not to be used any more
            assert (docker_status(state) in at_work) == bool(state.pid), state


def test_docker_status_says_exited_of_what_has_run(edges: list[Edge]) -> None:
    for state in states(edges):
        if docker_status(state) in ("created", "exited"):
            assert (docker_status(state) == "exited") == bool(state.started_ns), state


def test_every_fact_is_explored(edges: list[Edge]) -> None:
    assert {type(edge.fact) for edge in edges} == set(FACTS)
