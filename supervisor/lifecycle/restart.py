"""Restart policies: may a container that exited be started again, and after how long.

Docker's meanings (`docker run --restart`): the delay starts at 0.1 s, doubles up to
60 s, and starts over once a run lasted 10 s.
"""

from __future__ import annotations

import msgspec

from supervisor.errors import InvalidArgument

FIRST_DELAY = 0.1
LONGEST_DELAY = 60.0
STABLE_AFTER = 10.0

NAMES = ("no", "always", "unless-stopped", "on-failure")


class RestartPolicy(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """`name` is one of NAMES; `max` bounds the restarts of on-failure, 0 = no bound."""

    name: str = "no"
    max: int = 0


NO_RESTART = RestartPolicy()


def restart_policy(name: str, maximum: int = 0) -> RestartPolicy:
    """A checked policy from a request ("" is "no"); InvalidArgument in docker's words."""
    name = name or "no"
    if name not in NAMES:
        raise InvalidArgument(
            f"invalid restart policy: unknown policy '{name}'; use one of {', '.join(NAMES)}"
        )
    if maximum and name != "on-failure":
        raise InvalidArgument(
            "invalid restart policy: maximum retry count can only be used with 'on-failure'"
        )
    if maximum < 0:
        raise InvalidArgument("invalid restart policy: maximum retry count cannot be negative")
    return RestartPolicy(name, maximum)


def wants_restart(
    policy: RestartPolicy, *, code: int, stop_requested: bool, restart_count: int
) -> bool:
    """True if a run that ended with exit code `code` is to be followed by another.

    A container that was stopped on request is never restarted by its policy.
    """
    if stop_requested:
        return False
    if policy.name == "on-failure":
        return code != 0 and (policy.max == 0 or restart_count < policy.max)
    return policy.name in ("always", "unless-stopped")


def next_delay(previous: float, uptime: float) -> float:
    """Seconds to wait before the next start, after `previous` (0 = there was none).

    `uptime` is how long the run lasted, in seconds.
    """
    if previous <= 0 or uptime >= STABLE_AFTER:
        return FIRST_DELAY
    return min(previous * 2, LONGEST_DELAY)


def starts_with_agent(
    policy: RestartPolicy,
    *,
    code: int,
    stop_requested: bool,
    restart_count: int,
    by_agent: bool = False,
) -> bool:
    """True if a container found exited when the agent starts is to be started.

    As docker: "always" overrides an earlier stop here, "unless-stopped" does not, but for a
    stop that was the agent's own as it ended (`by_agent`).
    """
    if policy.name == "always":
        return True
    if policy.name == "unless-stopped":
        return by_agent or not stop_requested
    return wants_restart(
        policy, code=code, stop_requested=stop_requested, restart_count=restart_count
    )
