"""The stories of a container's life, step by step, with docker's events and words."""

from __future__ import annotations

import pytest

from supervisor.errors import Conflict, NotModified
from supervisor.lifecycle.machine import (
    BackoffOver,
    Cleaned,
    CleanFailed,
    Cleanup,
    Effect,
    Emit,
    Exit,
    Exited,
    Fact,
    Forget,
    Freeze,
    Frozen,
    GraceOver,
    KillCgroup,
    KillRequested,
    OomKilled,
    PauseRequested,
    Persist,
    Phase,
    RemoveRequested,
    RestartPolicy,
    RestartRequested,
    Signal,
    Spawn,
    StartBackoff,
    StartFailed,
    StartGrace,
    StartRequested,
    State,
    StopRequested,
    TaskStarted,
    Thaw,
    Thawed,
    UnpauseRequested,
    docker_status,
    resume,
    step,
)

KILL, TERM, HUP = 9, 15, 1
SECOND = 1_000_000_000


class Life:
    """A container fed with facts; keeps its state, and the effects of the latest fact."""

    def __init__(self, state: State | None = None) -> None:
        self.state = state or State()
        self.effects: tuple[Effect, ...] = ()
        self.events: list[str] = []

    def feed(self, *facts: Fact, now: float = 0.0) -> Life:
        for fact in facts:
            self.state, self.effects = step(self.state, fact, now)
            self.events += [one.action for one in self.effects if isinstance(one, Emit)]
        return self

    def running(self) -> Life:
        self.feed(StartRequested(), TaskStarted(self.state.run + 1, 42, SECOND))
        self.events.clear()
        return self

    def exit(self, code: int = 0, signal: int = 0, uptime: float = 1.0) -> Life:
        end = Exit(code, signal, at_ns=5 * SECOND, uptime_ns=int(uptime * SECOND))
        return self.feed(Exited(self.state.run, end))

    @property
    def does(self) -> list[Effect]:
        """The effects that do something: neither disk nor events."""
        return [one for one in self.effects if not isinstance(one, Persist | Emit)]


def refused(life: Life, fact: Fact) -> str:
    before = life.state
    with pytest.raises(Conflict) as caught:
        life.feed(fact)
    assert life.state is before
    return caught.value.message.replace("{name}", "web")


# --- start and end ----------------------------------------------------------------------


def test_start_run_exit() -> None:
    life = Life().feed(StartRequested())
    assert life.effects == (Persist(), Spawn(1))
    assert docker_status(life.state) == "created"
    life.feed(TaskStarted(1, 42, 3 * SECOND))
    assert (life.state.phase, life.state.pid) == (Phase.RUNNING, 42)
    assert life.state.started_ns == 3 * SECOND
    die = Emit("die", (("execDuration", "1"), ("exitCode", "3")))
    assert die in life.exit(3).effects
    assert life.state.phase is Phase.EXITED
    assert life.state.exit == Exit(3, at_ns=5 * SECOND, uptime_ns=SECOND)
    assert (life.state.pid, life.state.finished_ns) == (0, 5 * SECOND)
    assert life.events == ["start", "die"]


def test_second_run_keeps_the_exit_until_it_runs() -> None:
    life = Life().running().exit(3).feed(StartRequested())
    assert life.effects == (Persist(), Spawn(2))
    assert life.state.exit is not None
    assert docker_status(life.state) == "exited"
    assert life.feed(TaskStarted(2, 43, SECOND)).state.exit is None


def test_who_has_never_run_is_created_however_often_its_start_failed() -> None:
    life = Life().feed(StartRequested(), StartFailed(1, "no such file", 127, 9))
    assert life.state.phase is Phase.EXITED
    assert docker_status(life.state) == "created"
    life.feed(StartRequested(), StartFailed(2, "no such file", 127, 9))
    assert docker_status(life.state) == "created"


def test_who_has_run_has_exited_also_after_a_failed_start() -> None:
    life = Life().running().exit(3).feed(StartRequested(), StartFailed(2, "no", 127, 9))
    assert docker_status(life.state) == "exited"
    assert life.state.exit is not None
    assert life.state.exit.code == 127


def test_end_before_the_start_was_seen_is_told_as_both() -> None:
    life = Life().feed(StartRequested()).exit(0, uptime=2.0)
    assert life.events == ["start", "die"]
    assert life.state.started_ns == 3 * SECOND


@pytest.mark.parametrize("code", [125, 126, 127])
def test_start_failure_keeps_code_and_text(code: int) -> None:
    life = Life(State(policy=RestartPolicy("always"))).feed(
        StartRequested(), StartFailed(1, "exec: no such file", code, 9)
    )
    assert life.state.phase is Phase.EXITED
    assert life.state.exit is not None
    assert (life.state.exit.code, life.state.exit.error) == (code, "exec: no such file")
    assert (life.state.failure, life.state.error_code) == ("exec: no such file", "start_failed")
    assert life.events == ["die"]
    life.feed(StartRequested())
    assert (life.state.failure, life.state.error_code) == ("", "")


def test_auto_remove_shows_the_exit_and_goes() -> None:
    life = Life(State(auto_remove=True)).running().exit(3)
    assert life.state.phase is Phase.REMOVING
    assert life.state.exit is not None
    assert life.state.exit.code == 3
    assert life.does == [Cleanup()]
    life.feed(Cleaned())
    assert life.effects == (Forget(), Emit("destroy"))
    assert life.events == ["die", "destroy"]


def test_auto_remove_after_a_failed_start() -> None:
    life = Life(State(auto_remove=True)).feed(StartRequested(), StartFailed(1, "no", 127, 9))
    assert (life.state.phase, life.does) == (Phase.REMOVING, [Cleanup()])


def test_uptime_without_a_measure_is_the_wall_clock_s_and_never_negative() -> None:
    life = Life().running().feed(Exited(1, Exit(0, at_ns=8 * SECOND)))
    assert Emit("die", (("execDuration", "7"), ("exitCode", "0"))) in life.effects
    life = Life().running().feed(Exited(1, Exit(0, at_ns=0)))
    assert Emit("die", (("execDuration", "0"), ("exitCode", "0"))) in life.effects


def test_start_of_what_runs_is_not_modified() -> None:
    for life in (Life().feed(StartRequested()), Life().running()):
        with pytest.raises(NotModified):
            life.feed(StartRequested())


# --- stop -------------------------------------------------------------------------------


def test_stop_signals_then_kills_then_rests() -> None:
    life = Life(State(policy=RestartPolicy("always"))).running()
    life.feed(StopRequested(TERM, 10), now=100.0)
    assert life.does == [Signal(TERM), StartGrace(1, 10)]
    assert docker_status(life.state) == "running"
    life.feed(GraceOver(1))
    assert life.does == [KillCgroup()]
    life.feed(GraceOver(1))
    assert life.effects == ()
    life.exit(137, KILL)
    assert life.state.phase is Phase.EXITED
    assert life.events == ["kill", "kill", "die", "stop"]


def test_stop_with_no_time_kills_at_once() -> None:
    assert Life().running().feed(StopRequested(TERM, 0)).does == [KillCgroup()]
    assert Life().running().feed(StopRequested(KILL, 10)).does == [KillCgroup()]


@pytest.mark.parametrize("grace", [None, -1.0])
def test_stop_with_all_the_time_never_kills(grace: float | None) -> None:
    assert Life().running().feed(StopRequested(TERM, grace)).does == [Signal(TERM)]


def test_stop_of_a_paused_container_thaws_it() -> None:
    life = Life().running().feed(PauseRequested(), Frozen(1), StopRequested(TERM, 10))
    assert life.does == [Signal(TERM), Thaw(), StartGrace(1, 10)]
    assert life.feed(Thawed(1)).effects == ()


def test_stop_while_the_freeze_is_under_way() -> None:
    life = Life().running().feed(PauseRequested(), StopRequested(TERM, 10))
    assert Thaw() in life.does
    assert life.feed(Frozen(1)).does == [Thaw()]


def test_stop_while_starting_is_kept_until_the_program_runs() -> None:
    life = Life().feed(StartRequested(), StopRequested(TERM, 10))
    assert life.does == [StartGrace(1, 10)]
    life.feed(TaskStarted(1, 42, SECOND))
    assert life.does == [Signal(TERM)]
    assert life.state.phase is Phase.STOPPING
    assert life.exit(143, TERM).state.phase is Phase.EXITED
    assert life.events == ["start", "kill", "die", "stop"]


def test_stop_while_starting_that_ran_out_kills_what_starts_then() -> None:
    life = Life().feed(StartRequested(), StopRequested(TERM, 10), GraceOver(1))
    assert life.does == [KillCgroup()]
    assert life.feed(TaskStarted(1, 42, SECOND)).does == [KillCgroup()]


def test_further_stops_signal_again_and_the_earliest_deadline_counts() -> None:
    life = Life().running().feed(StopRequested(TERM, 100))
    assert life.feed(StopRequested(HUP, 10), now=5.0).does == [Signal(HUP), StartGrace(1, 10)]
    assert life.feed(StopRequested(TERM, 50), now=6.0).does == [Signal(TERM)]
    assert life.state.deadline == 15.0
    assert life.feed(StopRequested(TERM, 0)).does == [KillCgroup()]
    assert life.feed(StopRequested(TERM, 0)).does == []


def test_stop_of_what_rests_is_not_modified() -> None:
    for life in (Life(), Life().running().exit()):
        with pytest.raises(NotModified):
            life.feed(StopRequested(TERM, 10))


# --- restart ----------------------------------------------------------------------------


def test_restart_stops_and_starts_and_does_not_count() -> None:
    state = State(auto_remove=True, policy=RestartPolicy("always"), restart_count=4)
    life = Life(state).running().feed(RestartRequested(TERM, 10))
    assert life.does == [Signal(TERM), StartGrace(1, 10)]
    life.exit(143, TERM)
    assert life.state.phase is Phase.STARTING
    assert life.does == [Spawn(2)]
    assert life.state.exit is not None
    life.feed(TaskStarted(2, 43, SECOND))
    assert life.state.restart_count == 0
    assert life.events == ["kill", "die", "stop", "start", "restart"]
    assert life.feed(GraceOver(1)).state.phase is Phase.RUNNING


def test_restart_of_what_rests_starts_it() -> None:
    for life in (Life(), Life().running().exit()):
        life.events.clear()
        life.feed(RestartRequested(TERM, 10), TaskStarted(life.state.run + 1, 43, SECOND))
        assert life.state.phase is Phase.RUNNING
        assert life.events == ["start", "restart"]


def test_stop_after_restart_wins_and_restart_after_stop_wins() -> None:
    life = Life().running().feed(RestartRequested(TERM, 10), StopRequested(TERM, 10))
    assert life.exit().state.phase is Phase.EXITED
    life = Life().running().feed(StopRequested(TERM, 10), RestartRequested(TERM, 10))
    assert life.exit().state.phase is Phase.STARTING


def test_restart_that_fails_to_start_does_not_try_for_ever() -> None:
    life = Life().feed(StartRequested(), RestartRequested(TERM, 10), StartFailed(1, "no", 127, 9))
    assert life.state.phase is Phase.EXITED
    assert not life.state.restart_requested


# --- the policy -------------------------------------------------------------------------


def test_crash_loop_backs_off_and_starts_over_after_a_stable_run() -> None:
    life = Life(State(policy=RestartPolicy("always"))).running()
    delays = []
    for uptime in (0.5, 0.5, 0.5, 30.0, 0.5):
        life.exit(1, uptime=uptime)
        (backoff,) = life.does
        assert isinstance(backoff, StartBackoff)
        delays.append(backoff.seconds)
        assert life.state.phase is Phase.RESTARTING
        run = life.state.run
        life.feed(BackoffOver(run))
        assert life.does == [Spawn(run + 1)]
        assert docker_status(life.state) == "restarting"
        life.feed(TaskStarted(run + 1, 44, SECOND))
    assert delays == [0.1, 0.2, 0.4, 0.1, 0.2]
    assert life.state.restart_count == 5


def test_on_failure_counts_to_its_limit() -> None:
    life = Life(State(policy=RestartPolicy("on-failure", 1))).running().exit(1)
    life.feed(BackoffOver(1), TaskStarted(2, 43, SECOND)).exit(1)
    assert life.state.phase is Phase.EXITED
    life = Life(State(policy=RestartPolicy("on-failure"))).running().exit(0)
    assert life.state.phase is Phase.EXITED


def test_failed_start_by_the_policy_is_tried_again() -> None:
    life = Life(State(policy=RestartPolicy("on-failure", 2))).running().exit(1)
    life.feed(BackoffOver(1), StartFailed(2, "no space", 125, 9))
    assert life.does == [StartBackoff(2, 0.2)]
    life.feed(BackoffOver(2), StartFailed(3, "no space", 125, 9))
    assert (life.state.phase, life.state.failure) == (Phase.EXITED, "no space")


def test_a_start_after_a_stop_is_the_policy_s_again() -> None:
    life = Life(State(policy=RestartPolicy("always"))).running()
    life.feed(StopRequested(TERM, 10)).exit().running()
    assert life.exit(1).state.phase is Phase.RESTARTING


def test_a_restart_that_crashes_at_once_is_told_once_at_most() -> None:
    life = Life(State(policy=RestartPolicy("always"))).feed(RestartRequested(TERM, 10))
    life.exit(1).feed(BackoffOver(1), TaskStarted(2, 43, SECOND))
    assert life.events == ["start", "die", "start"]


def test_stop_and_start_between_two_runs() -> None:
    life = Life(State(policy=RestartPolicy("always"))).running().exit(1)
    stopped = Life(life.state).feed(StopRequested(TERM, 10))
    assert (stopped.state.phase, stopped.events) == (Phase.EXITED, ["stop"])
    assert stopped.feed(BackoffOver(1)).effects == ()
    started = Life(life.state).feed(StartRequested())
    assert (started.does, started.state.restart_count) == ([Spawn(2)], 0)


# --- kill -------------------------------------------------------------------------------


def test_kill_passes_signals_on() -> None:
    life = Life(State(policy=RestartPolicy("always"))).running().feed(KillRequested(HUP, TERM))
    assert life.does == [Signal(HUP)]
    assert Emit("kill", (("signal", "1"),)) in life.effects
    assert life.exit(129, HUP).state.phase is Phase.RESTARTING


@pytest.mark.parametrize("signal, effect", [(KILL, KillCgroup()), (TERM, Signal(TERM))])
def test_kill_that_counts_as_a_stop(signal: int, effect: Effect) -> None:
    life = Life(State(policy=RestartPolicy("always"))).running().feed(KillRequested(signal, TERM))
    assert life.does == [effect]
    assert life.state.phase is Phase.RUNNING
    assert life.exit(128 + signal, signal).state.phase is Phase.EXITED
    assert life.events == ["kill", "die"]


def test_kill_of_a_paused_container() -> None:
    life = Life().running().feed(PauseRequested(), Frozen(1))
    assert Life(life.state).feed(KillRequested(KILL)).does == [KillCgroup()]
    assert Life(life.state).feed(KillRequested(TERM)).does == [Signal(TERM), Thaw()]
    assert Life(life.state).feed(KillRequested(HUP)).does == [Signal(HUP)]


def test_kill_of_what_does_not_run() -> None:
    starting = Life().feed(StartRequested())
    stopping = Life().feed(StartRequested(), StopRequested(TERM, 10))
    for life in (Life(), starting, Life().running().exit()):
        assert refused(life, KillRequested(KILL)) == "Container web is not running"
    assert refused(stopping, KillRequested(HUP)) == "Container web is not running"
    assert stopping.feed(KillRequested(KILL)).does == [KillCgroup()]


def test_kill_between_two_runs_ends_the_restarts() -> None:
    life = Life(State(policy=RestartPolicy("always"))).running().exit(1)
    assert "is restarting" in refused(life, KillRequested(HUP, TERM))
    assert life.feed(KillRequested(TERM, TERM)).state.phase is Phase.EXITED


# --- pause ------------------------------------------------------------------------------


def test_pause_and_unpause() -> None:
    life = Life().running().feed(PauseRequested())
    assert (life.state.phase, life.does) == (Phase.RUNNING, [Freeze()])
    assert refused(life, PauseRequested()) == "Container web is already paused"
    life.feed(Frozen(1))
    assert life.state.phase is Phase.PAUSED
    assert refused(life, PauseRequested()) == "Container web is already paused"
    assert "try unpause" in refused(life, StartRequested())
    assert life.feed(UnpauseRequested()).does == [Thaw()]
    assert life.feed(Thawed(1)).state.phase is Phase.RUNNING
    assert refused(life, UnpauseRequested()) == "Container web is not paused"
    assert life.events == ["pause", "unpause"]


def test_pause_of_what_does_not_run() -> None:
    assert refused(Life(), PauseRequested()) == "Container web is not running"
    assert refused(Life(), UnpauseRequested()) == "Container web is not paused"


# --- removal ----------------------------------------------------------------------------


def test_remove_what_rests() -> None:
    for life in (Life(), Life().running().exit()):
        life.events.clear()
        assert life.feed(RemoveRequested(False)).does == [Cleanup()]
        message = "removal of container web is already in progress"
        assert refused(life, RemoveRequested(True)) == message
        assert "marked for removal" in refused(life, StartRequested())
        life.feed(Cleaned())
        assert life.does == [Forget()]
        assert life.events == ["destroy"]


def test_remove_what_runs_needs_force() -> None:
    life = Life().running()
    assert refused(life, RemoveRequested(False)) == (
        'cannot remove container "web": container is running: '
        "stop the container before removing or force remove"
    )
    assert life.feed(RemoveRequested(True)).does == [KillCgroup()]
    assert life.exit(137, KILL).does == [Cleanup()]
    life.feed(Cleaned())
    assert life.events == ["kill", "die", "destroy"]


def test_remove_of_a_paused_container() -> None:
    life = Life().running().feed(PauseRequested(), Frozen(1))
    assert "must be unpaused first" in refused(life, RemoveRequested(False))
    assert life.feed(RemoveRequested(True)).does == [KillCgroup()]


def test_force_remove_while_starting() -> None:
    life = Life().feed(StartRequested(), RemoveRequested(True))
    assert life.does == [KillCgroup()]
    assert Life(life.state).feed(StartFailed(1, "killed", 125, 9)).does == [Cleanup()]
    assert life.feed(TaskStarted(1, 42, SECOND)).does == [KillCgroup()]
    assert life.exit(137, KILL).does == [Cleanup()]


def test_removal_that_fails_can_be_tried_again() -> None:
    life = Life().feed(RemoveRequested(False), CleanFailed("device busy"))
    assert (life.state.phase, life.state.error_code) == (Phase.DEAD, "clean_failed")
    assert life.state.failure == "device busy"
    assert life.feed(Cleaned()).effects == ()
    assert life.feed(RemoveRequested(False)).does == [Cleanup()]


def test_process_that_would_not_die_is_killed_again() -> None:
    life = Life().running().feed(RemoveRequested(True), CleanFailed("processes remain"))
    assert life.feed(RemoveRequested(False)).does == [KillCgroup()]
    assert life.exit(137, KILL).does == [Cleanup()]


# --- OOM --------------------------------------------------------------------------------


def test_oom_kill_of_a_child_is_an_event_and_no_verdict() -> None:
    life = Life().running().feed(OomKilled(1, 2))
    assert (life.state.oom_kills, life.events) == (2, ["oom"])
    life.exit(0)
    assert life.state.exit is not None
    assert not life.state.exit.oom_killed


def test_oom_kill_that_ends_the_run() -> None:
    life = Life().running().feed(OomKilled(1, 1)).exit(137, KILL)
    assert life.state.exit is not None
    assert life.state.exit.oom_killed
    life.feed(StartRequested())
    assert life.state.oom_kills == 0
    life = Life().running().feed(OomKilled(1, 1), KillRequested(KILL)).exit(137, KILL)
    assert life.state.exit is not None
    assert not life.state.exit.oom_killed


def test_the_shim_s_verdict_stands() -> None:
    life = Life().running().feed(Exited(1, Exit(1, oom_killed=True)))
    assert life.state.exit is not None
    assert life.state.exit.oom_killed


# --- after the agent was away -----------------------------------------------------------


def test_resume_goes_on_with_a_stop() -> None:
    state = Life().running().feed(StopRequested(TERM, 10), now=100.0).state
    assert resume(state, 104.0) == (Signal(TERM), StartGrace(1, 6.0))
    assert resume(state, 3.0) == (Signal(TERM), StartGrace(1, 10))  # another clock
    assert resume(state, 500.0) == (Signal(TERM), StartGrace(1, 10))
    killed = Life(state).feed(GraceOver(1)).state
    assert resume(killed, 0.0) == (KillCgroup(),)
    starting = Life().feed(StartRequested(), StopRequested(TERM, 10)).state
    assert resume(starting, 0.0) == (StartGrace(1, 10),)


def test_resume_goes_on_with_the_rest() -> None:
    life = Life(State(policy=RestartPolicy("always"))).running()
    assert resume(life.state, 0.0) == ()
    assert resume(Life(life.state).feed(PauseRequested()).state, 0.0) == (Freeze(),)
    assert resume(Life(life.state).feed(RemoveRequested(True)).state, 0.0) == (KillCgroup(),)
    assert resume(Life(life.state).exit(1).state, 0.0) == (StartBackoff(1, 0.1),)
    assert resume(Life().feed(RemoveRequested(False)).state, 0.0) == (Cleanup(),)
