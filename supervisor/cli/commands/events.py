"""`orlop events`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from supervisor.cli.client import filters_json
from supervisor.cli.context import Context
from supervisor.cli.flags import Parser
from supervisor.cli.listing import printable, shown
from supervisor.cli.timestamps import query_time, rfc3339


def events(words: Sequence[str], context: Context) -> int:
    """Print what happens, a line each, until interrupted or `--until`."""
    parser = Parser("events", "", "Get real time events from the daemon", count=(0, 0))
    parser.filters(
        "-f",
        "--filter",
        help="Only events with this (event=oom, container=web, type=container, label=x=y)",
    )
    parser.flag("--format", help="'json' or a template ('{{.Action}} {{.Actor.ID}}')")
    now = time.time_ns()
    moment = 'this time ("2026-11-21T13:23:37Z", Unix seconds, or "42m" ago)'
    parser.flag("--since", parse=lambda text: query_time(text, now), help=f"From {moment} on")
    parser.flag("--until", parse=lambda text: query_time(text, now), help=f"Until {moment}")
    options = parser.parse(words)
    shape = _shape(options.format)
    with context.client().begin(
        "GET",
        "/events",
        {
            "filters": filters_json(options.filter),
            "since": options.since,
            "until": options.until,
        },
    ) as call:
        for line in call.lines():
            print(shown(shape(json.loads(line))), flush=True)
    return 0


def _shape(wanted: str | None) -> Callable[[Any], str]:
    if not wanted:
        return _sentence
    from supervisor.cli.template import Template, compact

    return compact if wanted == "json" else Template(wanted).render


def _sentence(event: dict[str, Any]) -> str:
    actor = event["Actor"]
    moment = event.get("timeNano") or event["time"] * 1_000_000_000
    attributes = ", ".join(f"{k}={v}" for k, v in sorted((actor["Attributes"] or {}).items()))
    words = (rfc3339(moment), event["Type"], event["Action"], actor["ID"])
    return printable(" ".join(words) + (f" ({attributes})" if attributes else ""))
