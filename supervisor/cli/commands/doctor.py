"""`orlop doctor`: what this host's kernel offers, tried here and now, without the daemon."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

from supervisor.cli.context import Context
from supervisor.cli.flags import Parser
from supervisor.kernel.probe import Feature, probe

_COLOURS = {"ok": "32", "warn": "33", "fail": "31"}


def doctor(words: Sequence[str], _context: Context) -> int:
    """Print each feature; status 1 where one that Orlop needs is missing."""
    parser = Parser(
        "doctor",
        "",
        "Check what this host offers, and how to fix what it lacks",
        count=(0, 0),
        notes="The status is 1 where something that Orlop cannot do without is missing.",
    )
    parser.switch("--json", help="Print a JSON array of name, status, found, why and fix")
    options = parser.parse(words)
    features = probe()
    if options.json:
        names = ("name", "status", "found", "why", "fix")
        print(json.dumps([{n: getattr(f, n) for n in names} for f in features], indent=2))
    else:
        _print(features)
    return 1 if any(feature.status == "fail" for feature in features) else 0


def _print(features: Sequence[Feature]) -> None:
    width = max((len(feature.name) for feature in features), default=0)
    colour = os.isatty(1) and "NO_COLOR" not in os.environ
    for feature in features:
        word = f"{feature.status:<4}"
        shown = f"\x1b[{_COLOURS[feature.status]}m{word}\x1b[0m" if colour else word
        print(f"{shown}  {feature.name:<{width}}  {feature.found}")
        print(f"{'':6}{'':<{width}}  why: {feature.why}")
        if feature.fix and feature.status != "ok":
            print(f"{'':6}{'':<{width}}  fix: {feature.fix}")
    counts = {s: sum(f.status == s for f in features) for s in _COLOURS}
    print(f"\n{counts['ok']} ok, {counts['warn']} warn, {counts['fail']} fail")
