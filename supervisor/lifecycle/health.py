"""Health checks of one run, as Docker has them: when to probe, and what the results mean.

Pure: facts in, effects out, time is an argument. The meanings are moby's daemon/health.go. A
run begins "starting"; one success makes it healthy, `retries` failures in a row unhealthy;
failures in the start period do not count until there was a success.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any

import msgspec
from msgspec.structs import replace

NONE = "none"
STARTING = "starting"
HEALTHY = "healthy"
UNHEALTHY = "unhealthy"

LOG_LENGTH = 5
OUTPUT_LIMIT = 4096
NO_STATUS = -1
"""The exit code of a probe that was killed at its timeout, or never ran."""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """What is run, and when; seconds. The first probe comes one interval after the start.

    `start_interval` takes the interval's place in the start period, until a probe succeeds.
    """

    command: tuple[str, ...]
    interval: float = 30.0
    timeout: float = 30.0
    start_period: float = 0.0
    start_interval: float = 5.0
    retries: int = 3


class Result(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One probe: wall clock in ns, its exit code, the begin of its output."""

    start_ns: int
    end_ns: int
    exit_code: int
    output: str = ""


class Health(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What people see of it. `log` has the latest results, oldest first, of earlier runs too."""

    status: str = STARTING
    failing_streak: int = 0
    log: tuple[Result, ...] = ()


class Stage(StrEnum):
    """Where the checks of a run are."""

    IDLE = "idle"
    WAITING = "waiting"
    PROBING = "probing"
    PAUSED = "paused"


class State(msgspec.Struct, frozen=True, kw_only=True):
    """`number` counts the waits, each with the probe that follows it; `began` and `probed` are
    when the run and the latest probe began, in seconds of the caller's clock."""

    check: Check
    health: Health = Health()
    stage: Stage = Stage.IDLE
    number: int = 0
    began: float = 0.0
    probed: float = 0.0


# --- facts ------------------------------------------------------------------------------


class Started(msgspec.Struct, frozen=True):
    """The container's program runs, for `age` seconds by now."""

    age: float = 0.0


class Due(msgspec.Struct, frozen=True):
    """The wait asked for by Wait is over."""

    number: int


class Probed(msgspec.Struct, frozen=True):
    """The probe asked for by Probe is over."""

    number: int
    result: Result


class Paused(msgspec.Struct, frozen=True):
    """The container is frozen, or about to be."""


class Resumed(msgspec.Struct, frozen=True):
    """It runs again."""


class Ended(msgspec.Struct, frozen=True):
    """The run is over."""


Fact = Started | Due | Probed | Paused | Resumed | Ended


# --- effects ----------------------------------------------------------------------------


class Wait(msgspec.Struct, frozen=True):
    """Report Due(number) after `seconds`."""

    number: int
    seconds: float


class Probe(msgspec.Struct, frozen=True):
    """Run the command and report Probed(number, …) with what came of it."""

    number: int


class Abandon(msgspec.Struct, frozen=True):
    """The wait or the probe under way is not wanted any more; a probe is killed."""


class Announce(msgspec.Struct, frozen=True):
    """The status has changed to this."""

    status: str


Effect = Wait | Probe | Abandon | Announce
Outcome = tuple[State, tuple[Effect, ...]]


def step(state: State, fact: Fact, now: float) -> Outcome:
    """The state after `fact`, and what is to be done; a fact that does not fit changes nothing.

    `now` is seconds of a clock that does not jump.
    """
    rule = TABLE.get((state.stage, type(fact)))
    if rule is None or (isinstance(fact, Due | Probed) and fact.number != state.number):
        return state, ()
    return rule(state, fact, now)


def at_rest(health: Health) -> Health:
    """`health` as it is shown while the container does not run: unhealthy, as docker's."""
    return replace(health, status=UNHEALTHY)


def _start(state: State, fact: Started, now: float) -> Outcome:
    fresh = replace(state.health, status=STARTING, failing_streak=0)
    return _wait(replace(state, health=fresh, began=now - fact.age), now)


def _wait(state: State, now: float) -> Outcome:
    check, number = state.check, state.number + 1
    young = now - state.began < check.start_period and state.health.status == STARTING
    seconds = check.start_interval if young else check.interval
    return replace(state, stage=Stage.WAITING, number=number), (Wait(number, seconds),)


def _probe(state: State, fact: Due, now: float) -> Outcome:
    return replace(state, stage=Stage.PROBING, probed=now), (Probe(fact.number),)


def _judge(state: State, fact: Probed, now: float) -> Outcome:
    before = state.health
    health = replace(before, log=(*before.log, fact.result)[-LOG_LENGTH:])
    if fact.result.exit_code == 0:
        health = replace(health, status=HEALTHY, failing_streak=0)
    elif not _is_excused(state):
        streak = before.failing_streak + 1
        status = UNHEALTHY if streak >= state.check.retries else before.status
        health = replace(health, status=status, failing_streak=streak)
    after, waits = _wait(replace(state, health=health), now)
    news = (Announce(health.status),) if health.status != before.status else ()
    return after, (*news, *waits)


def _is_excused(state: State) -> bool:
    """A failure of the probe would not count: it began in the start period, before a success."""
    young = state.probed - state.began < state.check.start_period
    return young and state.health.status == STARTING


def _pause(state: State, _fact: Paused, _now: float) -> Outcome:
    return replace(state, stage=Stage.PAUSED), (Abandon(),)


def _resume(state: State, _fact: Resumed, now: float) -> Outcome:
    return _wait(state, now)


def _end(state: State, _fact: Ended, _now: float) -> Outcome:
    return replace(state, stage=Stage.IDLE), (Abandon(),)


# What a fact does in which stage; one without a row changes nothing.
TABLE: dict[tuple[Stage, type[Fact]], Callable[[State, Any, float], Outcome]] = {
    (Stage.IDLE, Started): _start,
    (Stage.WAITING, Due): _probe,
    (Stage.WAITING, Paused): _pause,
    (Stage.WAITING, Ended): _end,
    (Stage.PROBING, Probed): _judge,
    (Stage.PROBING, Paused): _pause,
    (Stage.PROBING, Ended): _end,
    (Stage.PAUSED, Resumed): _resume,
    (Stage.PAUSED, Ended): _end,
}
