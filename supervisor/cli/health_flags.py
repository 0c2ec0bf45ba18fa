"""The flags of `run` and `create` about health checks, and what they become in the request."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from supervisor.cli.failures import Misuse
from supervisor.cli.flags import Parser, integer
from supervisor.spec.units import parse_duration

Json = dict[str, Any]

_TIMES = {
    "health_interval": "Interval",
    "health_timeout": "Timeout",
    "health_start_period": "StartPeriod",
    "health_start_interval": "StartInterval",
    "health_retries": "Retries",
}
_ACTIONS = ("none", "restart", "kill", "stop")


def declare_health(parser: Parser) -> None:
    """How the container's health is checked, and what is done where it is bad."""
    flag = parser.flag
    flag("--health-cmd", help="Command to run to check health, by a shell")
    for name, text in (
        ("interval", "Time between running the check (default 30s)"),
        ("timeout", "Maximum time to allow one check to run (default 30s)"),
        ("start-period", "Time for the container to start before failures count (default 0s)"),
        ("start-interval", "Time between checks in the start period (default 5s)"),
    ):
        flag(f"--health-{name}", kind="duration", parse=parse_duration, help=text)
    flag(
        "--health-retries",
        kind="int",
        parse=integer,
        help="Consecutive failures needed to report unhealthy (default 3)",
    )
    parser.switch("--no-healthcheck", help="Disable any health check of the image")
    flag(
        "--on-unhealthy",
        parse=action,
        help="What to do with an unhealthy container: none, restart, kill, stop (default none)",
    )


def action(text: str) -> str:
    """What --on-unhealthy takes; raises ValueError."""
    if text not in _ACTIONS:
        raise ValueError(f"{', '.join(_ACTIONS)} is expected")
    return text


def health_fields(options: Namespace, program: str) -> Json:
    """`Healthcheck` of a request, nothing where none is asked for; raises Misuse."""
    command = options.health_cmd
    times = {field: value for name, field in _TIMES.items() if (value := getattr(options, name))}
    if options.no_healthcheck:
        if command or times:
            raise Misuse("--no-healthcheck conflicts with --health-* options", program)
        return {"Healthcheck": {"Test": ["NONE"]}}
    for name, field in _TIMES.items():
        if times.get(field, 0) < 0:
            raise Misuse(f"--{name.replace('_', '-')} cannot be negative", program)
    if not command and not times:
        return {}
    test = {"Test": ["CMD-SHELL", command]} if command else {}
    return {"Healthcheck": {**test, **times}}
