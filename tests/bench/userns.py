"""What user ids of its own (`--userns auto`) add to a start, beside the same container without.

Pairs, taking turns in one run: with user ids of its own and the filter of system calls, as is the
default, and with neither.
"""

from __future__ import annotations

import itertools
import time
from typing import Any

from tests.bench.client import Client
from tests.bench.figures import Figure, median
from tests.bench.network_fleet import REFILL_SECONDS, networked
from tests.bench.rig import Rig, Sizes, create

CONFINED: dict[str, Any] = {"UsernsMode": "auto"}
PLAIN: dict[str, Any] = {"UsernsMode": "host", "SecurityOpt": ["seccomp=unconfined"]}
MOST = 1.25
STEPS = ("create", "start", "wait", "delete", "all")


def userns(rig: Rig, sizes: Sizes) -> list[Figure]:
    """Without a network, and on the default one."""
    figures = _compare(rig, "no network", sizes.pairs, NetworkMode="none")
    with networked("userns", rig.profile) as (made, _):
        figures += _compare(made, "default network", sizes.pairs, NetworkMode="default")
    return figures


def _compare(rig: Rig, name: str, count: int, **host: Any) -> list[Figure]:
    times: dict[bool, list[dict[str, float]]] = {True: [], False: []}
    with rig.client() as client:
        for number in range(count + 3):
            for confined in (True, False) if number % 2 else (False, True):
                taken = _lifecycle(client, **host, **(CONFINED if confined else PLAIN))
                if number >= 3:
                    times[confined].append(taken)
                time.sleep(REFILL_SECONDS if host["NetworkMode"] != "none" else 0.02)
    figures = []
    for step in STEPS:
        with_it, without = ([one[step] for one in times[kind]] for kind in (True, False))
        ratio = median(a / b for a, b in zip(with_it, without, strict=True))
        most = MOST if step in ("start", "all") else None
        rows = (
            (f"{step}, {name}, with user ids of its own and seccomp, p50", median(with_it), "ms"),
            (f"{step}, {name}, with neither, p50", median(without), "ms"),
        )
        figures += [
            Figure(part="userns", name=text, value=1000 * value, unit=unit)
            for text, value, unit in rows
        ]
        figures.append(
            Figure(
                part="userns",
                name=f"{step}, {name}, p50 of the pairs",
                value=ratio,
                unit="×",
                most=most,
            )
        )
    return figures


def _lifecycle(client: Client, **host: Any) -> dict[str, float]:
    """Seconds that each step of one takes."""
    marks = [time.perf_counter()]
    container = create(client, ["true"], **host)
    marks.append(time.perf_counter())
    for method, path in (("POST", "/start"), ("POST", "/wait"), ("DELETE", "")):
        client.call(method, f"/containers/{container}{path}")
        marks.append(time.perf_counter())
    parts = [b - a for a, b in itertools.pairwise(marks)]
    return dict(zip(STEPS, (*parts, marks[-1] - marks[0]), strict=True))
