"""Orlop side by side with Debian's dockerd: the same image, the same requests, taking turns.

Both have a machine of their own with a default network; what one still does when it has answered
has a pause to end in before the other's turn.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial

from tests.api.box import eventually
from tests.bench.client import Client
from tests.bench.dockerd import CannotRun, dockerd
from tests.bench.figures import Figure, median
from tests.bench.fleet import KIB_PER_MB, memory
from tests.bench.latency import exec_of_true, kill_of_one
from tests.bench.network_fleet import networked
from tests.bench.rig import CLIENTS, Rig, Sizes

PART = "docker"
PAUSE_SECONDS = 0.15
SETTLE_SECONDS = 10.0
ROUNDS = 2
TIMES_AS_FAST = {"none": 12.0, "bridge": 14.0}
# On the machine that the targets in /s are for, dockerd starts 20 and 16 a second and removes 32
# and 19.
START_OF_DOCKERD = {"none": 150 / 20, "bridge": 100 / 16}
REMOVE_OF_DOCKERD = {"none": 200 / 32, "bridge": 100 / 19}

Timed = Callable[[Rig, Client], float]


def docker(rig: Rig, sizes: Sizes) -> list[Figure]:
    """Lifecycles, execs, ends, and a fleet; nothing where dockerd cannot run."""
    try:
        with networked(PART, rig.profile) as (ours, _), dockerd(ours) as theirs:
            return [
                *_lifecycles(ours, theirs, sizes.docker_pairs),
                *_others(ours, theirs, max(1, sizes.docker_pairs // 2)),
                *_fleets(ours, theirs, sizes.docker_fleet),
            ]
    except CannotRun as reason:
        print(f"{PART}: left out: {reason}", file=sys.stderr, flush=True)
        return []


def _lifecycles(ours: Rig, theirs: Rig, count: int) -> list[Figure]:
    figures = []
    for mode, least in TIMES_AS_FAST.items():
        name = f"create→delete of true, network {mode}"
        figures += _compared(name, ours, theirs, partial(_lifecycle, mode), count, least=least)
    return figures


def _lifecycle(mode: str, rig: Rig, client: Client) -> float:
    begun = time.perf_counter()
    rig.lifecycle(client, NetworkMode=mode)
    return time.perf_counter() - begun


def _others(ours: Rig, theirs: Rig, count: int) -> list[Figure]:
    boxes = {}
    for rig in (ours, theirs):
        with rig.client() as client:
            boxes[rig] = rig.running(client)

    def exec_(rig: Rig, client: Client) -> float:
        return exec_of_true(rig, client, boxes[rig])

    figures = _compared("exec of true", ours, theirs, exec_, count)
    for rig, box in boxes.items():
        rig.remove_all([box])
    name = "SIGKILL of PID 1 until wait answers"
    return [*figures, *_compared(name, ours, theirs, kill_of_one, count)]


def _compared(
    name: str, ours: Rig, theirs: Rig, timed: Timed, count: int, *, least: float | None = None
) -> list[Figure]:
    """How many times as long dockerd takes; the fastest of each say it on a busy machine, too."""
    times: dict[Rig, list[float]] = {ours: [], theirs: []}
    with ours.client() as one, theirs.client() as other:
        turns = [(ours, one), (theirs, other)]
        for _ in range(count):
            for rig, client in turns:
                times[rig].append(timed(rig, client))
                time.sleep(PAUSE_SECONDS)
            turns.reverse()
    ratios = [b / a for a, b in zip(times[ours], times[theirs], strict=True)]
    rows = [
        (f"{name}, Orlop, p50", 1000 * median(times[ours]), "ms", None),
        (f"{name}, dockerd, p50", 1000 * median(times[theirs]), "ms", None),
        (f"{name}, dockerd / Orlop, p50 of the pairs", median(ratios), "×", least),
        (f"{name}, dockerd / Orlop, fastest", min(times[theirs]) / min(times[ours]), "×", None),
    ]
    return _figures(rows)


def _fleets(ours: Rig, theirs: Rig, count: int) -> list[Figure]:
    """Rates of starts and removals, the best of the rounds, and what a container's shim weighs."""
    fleets = {
        mode: [(_fleet(ours, count, mode), _fleet(theirs, count, mode)) for _ in range(ROUNDS)]
        for mode in TIMES_AS_FAST
    }
    figures: list[Figure] = []
    for mode, rounds in fleets.items():
        (started, removed, _), (they_started, they_removed, _) = (
            map(max, zip(*side, strict=True)) for side in zip(*rounds, strict=True)
        )
        what = f"of {count}, network {mode}, {CLIENTS} clients"
        figures += [
            *_rates(f"create+start {what}", started, they_started, START_OF_DOCKERD[mode]),
            *_rates(f"rm -f {what}", removed, they_removed, REMOVE_OF_DOCKERD[mode]),
        ]
    weight, their_weight = (side[2] for side in fleets["none"][-1])
    return [
        *figures,
        *_figures(
            [
                ("private memory of a shim, Orlop, p50", weight, "MB", None),
                ("private memory of a shim, dockerd, p50", their_weight, "MB", None),
                ("private memory of a shim, dockerd / Orlop", their_weight / weight, "×", None),
            ]
        ),
    ]


def _fleet(rig: Rig, count: int, mode: str) -> tuple[float, float, float]:
    """Containers started a second and removed a second, and the weight of a shim."""
    begun = time.perf_counter()
    boxes = rig.by_clients(lambda client, _: rig.running(client, NetworkMode=mode), count)
    started = count / (time.perf_counter() - begun)
    weight = _weight(rig, count)
    begun = time.perf_counter()
    rig.remove_all(boxes)
    removed = count / (time.perf_counter() - begun)
    time.sleep(PAUSE_SECONDS)
    return started, removed, weight


def _weight(rig: Rig, count: int) -> float:
    """Megabytes; a shim's short-lived own children, of the same name, are waited for."""
    eventually(lambda: len(rig.shims()) == count, SETTLE_SECONDS)
    return median(memory(pid)["Private"] for pid in rig.shims()) / KIB_PER_MB


def _rates(name: str, ours: float, theirs: float, least: float) -> list[Figure]:
    return _figures(
        [
            (f"{name}, Orlop", ours, "/s", None),
            (f"{name}, dockerd", theirs, "/s", None),
            (f"{name}, Orlop / dockerd", ours / theirs, "×", least),
        ]
    )


def _figures(rows: list[tuple[str, float, str, float | None]]) -> list[Figure]:
    return [
        Figure(part=PART, name=name, value=value, unit=unit, least=least)
        for name, value, unit, least in rows
    ]
