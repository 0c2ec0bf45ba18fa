"""Docker's HealthConfig: the request's, the image's, what both mean, and State.Health."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from supervisor.docker.decode import Int64, convert
from supervisor.docker.times import rfc3339_nano
from supervisor.errors import InvalidArgument
from supervisor.lifecycle.health import Check, Health

if TYPE_CHECKING:
    from supervisor.docker.create import CreateBody

SHELL = ("/bin/sh", "-c")
ON_UNHEALTHY = ("none", "restart", "kill", "stop")
_KINDS = ("NONE", "CMD", "CMD-SHELL")
_MILLISECOND = 1_000_000
_SECOND = 1_000_000_000
_DURATIONS = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start_period": "StartPeriod",
    "start_interval": "StartInterval",
}


class Healthcheck(msgspec.Struct, rename="pascal", frozen=True, kw_only=True, omit_defaults=True):
    """`Test` is ["NONE"], ["CMD", …] or ["CMD-SHELL", text]; times in nanoseconds.

    What is 0 or empty is the image's, and docker's default where that says nothing either.
    """

    test: tuple[str, ...] = ()
    interval: Int64 = 0
    timeout: Int64 = 0
    start_period: Int64 = 0
    start_interval: Int64 = 0
    retries: Int64 = 0


def check_healthcheck(asked: Healthcheck | None) -> None:
    """InvalidArgument, as far as possible in docker's words, for a request that cannot be."""
    if asked is None:
        return
    for field, name in _DURATIONS.items():
        value: int = getattr(asked, field)
        if value and value < _MILLISECOND:
            raise InvalidArgument(f"{name} in Healthcheck cannot be less than 1ms")
    if asked.retries < 0:
        raise InvalidArgument("Retries in Healthcheck cannot be negative")
    kind, *words = asked.test or ("NONE",)
    if kind not in _KINDS:
        raise InvalidArgument(
            f"Test in Healthcheck begins with {kind!r:.80}: give one of {', '.join(_KINDS)}"
        )
    if kind != "NONE" and not any(words):
        raise InvalidArgument(f"Test in Healthcheck has no command after {kind}")
    if any("\0" in word for word in words):
        raise InvalidArgument("Test in Healthcheck must not contain a NUL byte")


def merge_healthcheck(
    asked: Healthcheck | None, image: Mapping[str, Any] | None
) -> Healthcheck | None:
    """The request's with what it leaves open taken from the image's, field by field."""
    if image is None:
        return asked
    inherited = convert(dict(image), Healthcheck)
    if asked is None:
        return inherited
    unset = {name for name in Healthcheck.__struct_fields__ if not getattr(asked, name)}
    return msgspec.structs.replace(asked, **{name: getattr(inherited, name) for name in unset})


def check_of(body: CreateBody) -> Check | None:
    """The check of a merged body; None without one, or where it is switched off."""
    asked = body.healthcheck
    if asked is None or not asked.test:
        return None
    kind, *words = asked.test
    if kind == "CMD" and any(words):
        command = tuple(words)
    elif kind == "CMD-SHELL" and any(words):
        command = (*(body.shell or SHELL), *words)
    else:  # also what an image has that nobody can run: docker does without, too
        return None
    given = {
        name: max(value, _MILLISECOND) / _SECOND  # an image's were checked by nobody
        for name in _DURATIONS
        if (value := getattr(asked, name)) > 0
    }
    if asked.retries > 0:
        given["retries"] = asked.retries
    return Check(command=command, **given)


def check_on_unhealthy(body: CreateBody) -> None:
    """InvalidArgument for an action that there is not, or one without a check."""
    action = body.host_config.orlop_on_unhealthy
    if action and action not in ON_UNHEALTHY:
        raise InvalidArgument(
            f"OrlopOnUnhealthy (--on-unhealthy) {action!r:.80}: give one of "
            f"{', '.join(ON_UNHEALTHY)}"
        )
    if action not in ("", "none") and check_of(body) is None:
        raise InvalidArgument(
            "OrlopOnUnhealthy (--on-unhealthy) needs a health check: give --health-cmd, "
            "the image has none"
        )


def health_json(health: Health) -> dict[str, Any]:
    """State.Health of inspect."""
    return {
        "Status": health.status,
        "FailingStreak": health.failing_streak,
        "Log": [
            {
                "Start": rfc3339_nano(result.start_ns),
                "End": rfc3339_nano(result.end_ns),
                "ExitCode": result.exit_code,
                "Output": result.output,
            }
            for result in health.log
        ],
    }


def healthcheck_json(check: Healthcheck) -> dict[str, Any]:
    """Config.Healthcheck of inspect."""
    value: dict[str, Any] = msgspec.to_builtins(check)
    return value
