"""How the latest runs of a container ended: what `orlop why` tells."""

from __future__ import annotations

import msgspec

from supervisor.lifecycle.restart import NO_RESTART, RestartPolicy
from supervisor.lifecycle.state import START_FAILED, Phase, State

LENGTH = 20
ERROR_LIMIT = 1000
BY_POLICY = "policy"
BY_REQUEST = "request"


class PastRun(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One run that is over. Times are wall clock in ns (0 = never), sizes bytes (0 = unknown).

    `reason` is START_FAILED or the word that metrics count it by: completed, error, signal,
    oom_killed, stopped, health, lost. `killed`: SIGKILL went to all of it on request.
    `follow` says who had another run follow: BY_POLICY after `delay` seconds, BY_REQUEST, or
    "" (nobody); `policy` and `restarts` are what the restart policy went by.
    """

    run: int
    reason: str
    code: int
    signal: int = 0
    oom_killed: bool = False
    oom_kills: int = 0
    memory_limit: int = 0
    memory_peak: int = 0
    killed: bool = False
    started_ns: int = 0
    finished_ns: int = 0
    error: str = ""
    follow: str = ""
    delay: float = 0.0
    policy: RestartPolicy = NO_RESTART
    restarts: int = 0


def past_run(before: State, after: State, reason: str, memory: tuple[int, int]) -> PastRun | None:
    """The run that the step from `before` to `after` ended; None if none has ended.

    `memory`: limit and peak as they were at the run's latest OOM kill, (0, 0) without one.
    """
    end = after.exit
    if end is None or end is before.exit:
        return None
    failed = after.run == before.run and after.error_code == START_FAILED
    follow = BY_POLICY if after.phase is Phase.RESTARTING else ""
    if after.run != before.run:
        follow = BY_REQUEST
    return PastRun(
        run=before.run,
        reason=START_FAILED if failed else reason,
        code=end.code,
        signal=end.signal,
        oom_killed=end.oom_killed,
        oom_kills=before.oom_kills,
        memory_limit=memory[0],
        memory_peak=memory[1],
        killed=before.killed,
        started_ns=0 if failed else after.started_ns,
        finished_ns=end.at_ns,
        error=end.error[:ERROR_LIMIT],
        follow=follow,
        delay=after.backoff if follow == BY_POLICY else 0.0,
        policy=before.policy,
        restarts=before.restart_count,
    )
