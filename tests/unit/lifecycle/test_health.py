"""Health checks: what the results mean, when the next probe comes, and every order of events."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from supervisor.lifecycle import health as h
from supervisor.lifecycle.health import HEALTHY, STARTING, UNHEALTHY, Stage

CHECK = h.Check(command=("true",))
FACTS: tuple[type[h.Fact], ...] = (h.Started, h.Due, h.Probed, h.Paused, h.Resumed, h.Ended)


def result(code: int, number: int = 0) -> h.Result:
    return h.Result(start_ns=number, end_ns=number + 1, exit_code=code, output=f"{number}")


class Run:
    """A run whose engine does what it is told at once; `now` is moved by the waits."""

    def __init__(self, age: float = 0.0, health: h.Health | None = None, **check: float) -> None:
        self.now = 1000.0
        self.announced: list[str] = []
        self.waits: list[float] = []
        self.effects: tuple[h.Effect, ...] = ()
        check_ = replace(CHECK, **check)
        self.state = h.State(check=check_, health=health or h.Health())
        self.take(h.Started(age))

    @property
    def health(self) -> h.Health:
        return self.state.health

    def take(self, fact: h.Fact) -> None:
        self.state, self.effects = h.step(self.state, fact, self.now)
        for effect in self.effects:
            if isinstance(effect, h.Announce):
                self.announced.append(effect.status)
            elif isinstance(effect, h.Wait):
                self.waits.append(effect.seconds)

    def probe(self, *codes: int, lasts: float = 0.0) -> None:
        """The wait goes by, and the probe ends with a code; for each of them."""
        for code in codes:
            self.now += self.waits[-1]
            self.take(h.Due(self.state.number))
            assert self.effects == (h.Probe(self.state.number),)
            self.now += lasts
            self.take(h.Probed(self.state.number, result(code)))


def test_dockers_defaults() -> None:
    assert (CHECK.interval, CHECK.timeout, CHECK.start_period) == (30, 30, 0)
    assert (CHECK.start_interval, CHECK.retries) == (5, 3)


@pytest.mark.parametrize(
    "codes, status, streak, announced",
    [
        ((), STARTING, 0, []),
        ((0,), HEALTHY, 0, [HEALTHY]),
        ((1,), STARTING, 1, []),
        ((1, 1), STARTING, 2, []),
        ((1, 1, 1), UNHEALTHY, 3, [UNHEALTHY]),
        ((1, 1, 1, 1), UNHEALTHY, 4, [UNHEALTHY]),
        ((1, 1, 0, 1, 1), HEALTHY, 2, [HEALTHY]),
        ((0, 2, -1, 137, 0), HEALTHY, 0, [HEALTHY, UNHEALTHY, HEALTHY]),
    ],
)
def test_statuses(codes: tuple[int, ...], status: str, streak: int, announced: list[str]) -> None:
    run = Run()
    run.probe(*codes)
    assert (run.health.status, run.health.failing_streak) == (status, streak)
    assert run.announced == announced


def test_failures_in_the_start_period_do_not_count() -> None:
    run = Run(start_period=20, start_interval=5, interval=30, retries=1)
    run.probe(1, 1, 1)
    assert (run.health.status, run.health.failing_streak) == (STARTING, 0)
    assert len(run.health.log) == 3
    run.probe(1)  # at 20 s: the period is over
    assert (run.health.status, run.health.failing_streak) == (UNHEALTHY, 1)


def test_when_the_probe_began_decides_about_the_start_period() -> None:
    run = Run(start_period=20, start_interval=19, retries=1)
    run.probe(1, lasts=5)  # it ends after the period
    assert run.health.status == STARTING
    run.probe(1)
    assert run.health.status == UNHEALTHY


def test_after_a_success_failures_count_in_the_start_period_too() -> None:
    run = Run(start_period=1000, retries=2)
    run.probe(0, 1, 1)
    assert run.announced == [HEALTHY, UNHEALTHY]


def test_intervals() -> None:
    run = Run(start_period=12, start_interval=5, interval=30)
    run.probe(1, 1, 1)
    assert run.waits == [5, 5, 5, 30]
    run = Run(start_period=60, start_interval=5, interval=30)
    run.probe(1, 0, 1)
    assert run.waits == [5, 5, 30, 30]
    assert Run(start_interval=5, interval=30).waits == [30]


def test_a_run_that_is_found_is_as_old_as_it_is() -> None:
    assert Run(age=19, start_period=20, start_interval=5).waits == [5]
    assert Run(age=20, start_period=20, start_interval=5).waits == [30]


def test_a_new_run_starts_over_and_keeps_the_log() -> None:
    run = Run(retries=1)
    run.probe(1)
    again = Run(health=run.health)
    assert again.health == replace(run.health, status=STARTING, failing_streak=0)
    assert again.health.log == (result(1),)


def test_the_log_has_the_last_five() -> None:
    run = Run()
    for number in range(7):
        run.take(h.Due(run.state.number))
        run.take(h.Probed(run.state.number, result(0, number)))
    assert [r.start_ns for r in run.health.log] == [2, 3, 4, 5, 6]


def test_a_pause_abandons_what_is_under_way() -> None:
    run = Run(interval=7)
    run.take(h.Due(1))
    effects: list[tuple[h.Effect, ...]] = []
    late = (h.Probed(1, result(1)), h.Due(1))  # of before the pause
    for fact in (h.Paused(), *late, h.Resumed(), *late):
        run.take(fact)
        effects.append(run.effects)
    assert effects == [(h.Abandon(),), (), (), (h.Wait(2, 7),), (), ()]
    assert run.health == h.Health()


def test_the_end() -> None:
    run = Run()
    run.probe(0)
    run.take(h.Ended())
    assert (run.state.stage, run.effects) == (Stage.IDLE, (h.Abandon(),))
    assert run.health.status == HEALTHY
    assert h.at_rest(run.health).status == UNHEALTHY


# --- every order of facts --------------------------------------------------------------------


def facts(state: h.State) -> tuple[h.Fact, ...]:
    """Everything that can come, late ones of the wait before among them."""
    numbers = (state.number, state.number - 1)
    return (
        h.Started(),
        h.Paused(),
        h.Resumed(),
        h.Ended(),
        *(h.Due(n) for n in numbers),
        *(h.Probed(n, result(code)) for n in numbers for code in (0, 1)),
    )


def fold(state: h.State) -> h.State:
    """The state that stands for all that differ in what decides nothing."""
    health = replace(
        state.health, log=(), failing_streak=min(state.health.failing_streak, CHECK.retries)
    )
    return replace(state, number=0, health=health, began=0, probed=0)


def check_edge(before: h.State, after: h.State, effects: tuple[h.Effect, ...]) -> None:
    waits = [e for e in effects if isinstance(e, h.Wait)]
    probes = [e for e in effects if isinstance(e, h.Probe)]
    news = [e for e in effects if isinstance(e, h.Announce)]
    # Who waits is woken once, under the number that counts.
    assert (after.stage is Stage.WAITING and after != before) == bool(waits)
    assert all(w.number == after.number == before.number + 1 for w in waits)
    # A probe only after a wait, one at a time, and given up when it is not wanted any more.
    assert bool(probes) == (before.stage is Stage.WAITING and after.stage is Stage.PROBING)
    assert (h.Abandon() in effects) == (
        before.stage in (Stage.WAITING, Stage.PROBING, Stage.PAUSED)
        and after.stage is not before.stage
        and after.stage in (Stage.PAUSED, Stage.IDLE)
    )
    # A change of status is told, except that a run begins.
    changed = after.health.status != before.health.status
    assert bool(news) == (changed and before.stage is not Stage.IDLE)
    if after.health.status == UNHEALTHY and changed:
        assert after.health.failing_streak >= after.check.retries
    if after.health.status == HEALTHY and changed:
        assert after.health.failing_streak == 0
    assert len(after.health.log) <= h.LOG_LENGTH


def test_every_state_with_every_fact() -> None:
    beginning = h.State(check=CHECK)
    seen, queue, taken = {fold(beginning)}, deque([beginning]), set()
    while queue:
        state = queue.popleft()
        for fact in facts(state):
            after, effects = h.step(state, fact, 100.0)
            if after is state:
                assert effects == ()
                continue
            taken.add((state.stage, type(fact)))
            check_edge(state, after, effects)
            if fold(after) not in seen:
                seen.add(fold(after))
                queue.append(after)
    assert taken == set(h.TABLE)
    assert {s.stage for s in seen} == set(Stage)
    assert {(s.stage, s.health.status) for s in seen} >= {
        (Stage.WAITING, status) for status in (STARTING, HEALTHY, UNHEALTHY)
    }


@given(
    st.lists(st.tuples(st.integers(0, 9), st.floats(0, 100)), max_size=60),
    st.sampled_from([0.0, 50.0]),
    st.integers(1, 4),
)
def test_any_history(history: list[tuple[int, float]], period: float, retries: int) -> None:
    state, now = h.State(check=replace(CHECK, start_period=period, retries=retries)), 0.0
    for choice, passes in history:
        now += passes
        after, effects = h.step(state, facts(state)[choice], now)
        if after is not state:
            check_edge(state, after, effects)
        state = after


def test_facts_are_all_known() -> None:
    assert {fact for _, fact in h.TABLE} == set(FACTS)
