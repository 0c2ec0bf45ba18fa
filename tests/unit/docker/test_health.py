"""Health checks of requests and images: what is refused, inherited, meant and shown."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.docker.create import merge_image
from supervisor.docker.health import check_of, health_json
from supervisor.docker.inspect import config_json, container_json, host_config_json
from supervisor.docker.listing import filter_summary, status_text
from supervisor.docker.views import ContainerView
from supervisor.errors import InvalidArgument
from supervisor.lifecycle.health import Check, Health, Result
from supervisor.oci.config import ImageConfig
from tests.unit.docker.bodies import decoded, options

SECOND = 1_000_000_000
OF_IMAGE = {"Test": ["CMD", "/probe"], "Interval": 7 * SECOND, "Timeout": 2 * SECOND, "Retries": 9}


def meant(asked: dict[str, Any] | None, image: dict[str, Any] | None, **fields: Any) -> Any:
    body = decoded(Healthcheck=asked, **fields)
    return check_of(merge_image(body, ImageConfig(healthcheck=image)))


@pytest.mark.parametrize(
    "asked, image, check",
    [
        (None, None, None),
        ({}, None, None),
        ({"Interval": SECOND}, None, None),
        ({"Test": ["CMD", "a", "b c"]}, None, Check(command=("a", "b c"))),
        ({"Test": ["CMD-SHELL", "a b"]}, None, Check(command=("/bin/sh", "-c", "a b"))),
        ({"Test": ["NONE"]}, OF_IMAGE, None),
        (
            {"Test": ["CMD", "x"], "Interval": SECOND // 2, "StartPeriod": 4 * SECOND},
            None,
            Check(command=("x",), interval=0.5, start_period=4),
        ),
        (None, OF_IMAGE, Check(command=("/probe",), interval=7, timeout=2, retries=9)),
        ({}, OF_IMAGE, Check(command=("/probe",), interval=7, timeout=2, retries=9)),
        (
            {"Test": ["CMD", "mine"], "Timeout": SECOND, "StartInterval": SECOND},
            OF_IMAGE,
            Check(command=("mine",), interval=7, timeout=1, start_interval=1, retries=9),
        ),
        # What nobody has checked in an image is no reason not to run it.
        (None, {"Test": ["WHAT", "x"]}, None),
        (None, {"Test": ["CMD"]}, None),
        (None, {"Test": []}, None),
        (
            None,
            {"Test": ["CMD", "x"], "Interval": 1, "Timeout": -5, "Retries": -1},
            Check(command=("x",), interval=0.001),
        ),
    ],
)
def test_what_is_meant(asked: Any, image: Any, check: Check | None) -> None:
    assert meant(asked, image) == check


def test_the_shell_is_the_requests() -> None:
    found = meant({"Test": ["CMD-SHELL", "x"]}, None, Shell=["/bin/ash", "-ec"])
    assert found == Check(command=("/bin/ash", "-ec", "x"))


@pytest.mark.parametrize(
    "asked, words",
    [
        ({"Interval": 999_999}, "Interval in Healthcheck cannot be less than 1ms"),
        ({"Interval": -1}, "Interval in Healthcheck cannot be less than 1ms"),
        ({"Timeout": 1}, "Timeout in Healthcheck cannot be less than 1ms"),
        ({"StartPeriod": 1}, "StartPeriod in Healthcheck cannot be less than 1ms"),
        ({"StartInterval": 1}, "StartInterval in Healthcheck cannot be less than 1ms"),
        ({"Retries": -1}, "Retries in Healthcheck cannot be negative"),
        ({"Test": ["SHELL", "x"]}, "give one of NONE, CMD, CMD-SHELL"),
        ({"Test": ["CMD"]}, "no command after CMD"),
        ({"Test": ["CMD-SHELL", ""]}, "no command after CMD-SHELL"),
        ({"Test": ["CMD", "a\0b"]}, "NUL"),
        ({"Test": "true"}, "Healthcheck.Test"),
        ({"Interval": "5s"}, "Healthcheck.Interval"),
        ({"Retries": 1 << 63}, "Healthcheck.Retries"),
    ],
)
def test_what_is_refused(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        decoded(Healthcheck=asked)


def test_a_millisecond_is_enough() -> None:
    assert decoded(Healthcheck={"Interval": 1_000_000}).healthcheck is not None


def test_what_is_done_about_it() -> None:
    check = {"Test": ["CMD", "x"]}
    for action in ("", "none", "restart", "kill", "stop"):
        options({"OrlopOnUnhealthy": action}, Healthcheck=check)
    options({"OrlopOnUnhealthy": "none"})
    with pytest.raises(InvalidArgument, match="give one of none, restart, kill, stop"):
        options({"OrlopOnUnhealthy": "reboot"}, Healthcheck=check)
    for without in (None, {"Test": ["NONE"]}):
        with pytest.raises(InvalidArgument, match="needs a health check"):
            options({"OrlopOnUnhealthy": "restart"}, Healthcheck=without)


# --- what is shown ----------------------------------------------------------------------------

LOG = (
    Result(start_ns=1795231857_217818576, end_ns=1795231857_266524642, exit_code=1),
    Result(start_ns=1795231858_000000000, end_ns=1795231858_500000000, exit_code=-1, output="x"),
)


def view(status: str, health: Health | None) -> ContainerView:
    return ContainerView(
        id="a" * 64, name="hc", created_ns=1, status=status, started_ns=SECOND, health=health
    )


def test_the_state_of_it() -> None:
    assert health_json(Health(status="unhealthy", failing_streak=3, log=LOG)) == {
        "Status": "unhealthy",
        "FailingStreak": 3,
        "Log": [
            {
                "Start": "2026-11-21T03:30:57.217818576Z",
                "End": "2026-11-21T03:30:57.266524642Z",
                "ExitCode": 1,
                "Output": "",
            },
            {
                "Start": "2026-11-21T03:30:58Z",
                "End": "2026-11-21T03:30:58.5Z",
                "ExitCode": -1,
                "Output": "x",
            },
        ],
    }


def test_inspect_has_it_where_something_is_checked() -> None:
    assert container_json(view("running", Health()))["State"]["Health"]["Status"] == "starting"
    assert "Health" not in container_json(view("running", None))["State"]
    asked = {"Test": ["CMD-SHELL", "x"], "Interval": 1_000_000, "Retries": 1}
    body = decoded(Healthcheck=asked)
    shown = config_json(body, "h")["Healthcheck"]
    assert shown == {"Test": ("CMD-SHELL", "x"), "Interval": 1_000_000, "Retries": 1}
    assert "Healthcheck" not in config_json(decoded(), "h")
    assert "OrlopOnUnhealthy" not in host_config_json(decoded().host_config, "none")


@pytest.mark.parametrize(
    "status, health, text, filtered",
    [
        ("running", None, "Up 4 seconds", "none"),
        ("running", "starting", "Up 4 seconds (health: starting)", "starting"),
        ("running", "healthy", "Up 4 seconds (healthy)", "healthy"),
        ("running", "unhealthy", "Up 4 seconds (unhealthy)", "unhealthy"),
        ("paused", "healthy", "Up 4 seconds (Paused)", "healthy"),
    ],
)
def test_the_list(status: str, health: str | None, text: str, filtered: str) -> None:
    shown = view(status, Health(status=health) if health else None)
    assert status_text(shown, 5 * SECOND) == text
    assert filter_summary(shown).health == filtered
