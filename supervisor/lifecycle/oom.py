"""Was it the kernel's OOM killer that ended a container?"""

from __future__ import annotations

from signal import SIGKILL

KILLED = 128 + SIGKILL


def verdict(exit_code: int, signal: int, oom_kills: int, killed_by_us: bool) -> bool:
    """True if the run ended because of an OOM kill.

    `exit_code` is docker's (128 + signal), `signal` the one that ended PID 1 (0 = none),
    `oom_kills` counts the cgroup's OOM kills in this run. The kernel's counter
    (`oom_kill` of memory.events, or of v1's memory.oom_control) does not say *which*
    process died: a child's death that PID 1 survived is an event and no more. A shell as
    PID 1 reports its child's SIGKILL as exit code 137, so that counts as well. A SIGKILL
    that we sent ourselves explains the death without the OOM killer.
    """
    died_of_kill = signal == SIGKILL or exit_code == KILLED
    return oom_kills > 0 and died_of_kill and not killed_by_us
