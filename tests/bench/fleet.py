"""Many containers: how fast they come and go, what each one costs, how latency grows."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.bench import peer
from tests.bench.figures import Figure, median
from tests.bench.merging import pages_merged
from tests.bench.rig import CLIENTS, Rig, Sizes, create, descriptors

ENDS = 20
# On the machine that the targets in /s are for, runc starts 94 a second and removes 71.
START_OF_RUNC = 150 / 94
REMOVE_OF_RUNC = 200 / 71
TURNS = 4
KIB_PER_MB = 1000 * 1000 / 1024


def fleet(rig: Rig, sizes: Sizes) -> list[Figure]:
    """Start, weigh, idle with, and remove a fleet of sleeping containers."""
    count = sizes.fleet
    empty = _weigh("supervisor", f"at 0 of {count}", [rig.daemon.pid], most=60)
    cpu = cpu_seconds([rig.daemon.pid])
    begun = time.perf_counter()
    containers = rig.by_clients(lambda client, _: rig.running(client), count)
    taken = time.perf_counter() - begun
    cpu = cpu_seconds([rig.daemon.pid]) - cpu
    below = cpu_seconds(p.pid for p in rig.daemon.processes() if p.pid != rig.daemon.pid)
    figures = [
        Figure(
            part="fleet",
            name=f"create+start of {count}, {CLIENTS} clients",
            value=count / taken,
            unit="/s",
            least=150,
        ),
        Figure(
            part="fleet",
            name="CPU of the supervisor for a create+start",
            value=1000 * cpu / count,
            unit="ms",
        ),
        Figure(
            part="fleet",
            name="the same with the shim's and init's",
            value=1000 * (cpu + below) / count,
            unit="ms",
            most=8,
        ),
        *empty,
        *_weigh("supervisor", f"at {count}", [rig.daemon.pid], most=65),
        *_weigh("zygote", f"at {count}", [rig.zygote()]),
        *_shims(rig, count),
        _idle(rig, sizes),
        *_merged(rig, count),
    ]
    begun = time.perf_counter()
    rig.remove_all(containers)
    removed = time.perf_counter() - begun
    removal = Figure(
        part="fleet",
        name=f"rm -f of {count}, {CLIENTS} clients",
        value=count / removed,
        unit="/s",
        least=200,
    )
    return [*figures, removal, *_beside_runc(rig, count)]


def _beside_runc(rig: Rig, count: int) -> list[Figure]:
    """How many times runc's own rates ours are, which nothing supervises: in turns, TURNS each."""
    names = [f"c{number}" for number in range(count)]
    parts = [names[number::TURNS] for number in range(TURNS)]
    fleets: list[list[str]] = []

    def start(part: Sequence[str]) -> None:
        fleets.append(rig.by_clients(lambda client, _: rig.running(client), len(part)))

    def remove(_part: Sequence[str]) -> None:
        rig.remove_all(fleets.pop(0))

    ours, theirs = [0.0, 0.0], [0.0, 0.0]  # seconds of starting, of removing
    with peer.runc(rig.layer()) as runc:
        for name in names:
            runc.prepare(name, peer.SLEEP)
        for work, (we, they) in enumerate(((start, runc.start), (remove, runc.remove))):
            for part in parts:
                begun = time.perf_counter()
                we(part)
                between = time.perf_counter()
                _at_once(they, part)
                ours[work] += between - begun
                theirs[work] += time.perf_counter() - between
    rows = [
        (f"runc run --detach of {count}, {CLIENTS} at once", count / theirs[0], "/s", None),
        ("create+start, times runc's rate", theirs[0] / ours[0], "×", START_OF_RUNC),
        (f"runc delete --force of {count}, {CLIENTS} at once", count / theirs[1], "/s", None),
        ("rm -f, times runc's rate", theirs[1] / ours[1], "×", REMOVE_OF_RUNC),
    ]
    return [
        Figure(part="fleet", name=name, value=value, unit=unit, least=least)
        for name, value, unit, least in rows
    ]


def _at_once(one: Callable[[str], None], names: Iterable[str]) -> None:
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(one, names))


def starts(rig: Rig, sizes: Sizes) -> list[Figure]:
    """Start (alone, without create) of containers that exist already, CLIENTS at once."""
    count = sizes.fleet
    containers = rig.by_clients(lambda client, _: create(client, ["sleep", "3600"]), count)
    begun = time.perf_counter()
    rig.by_clients(lambda client, i: client.call(*_start(containers[i])), count)
    taken = time.perf_counter() - begun
    rig.remove_all(containers)
    name = f"start alone of {count}, {CLIENTS} clients"
    return [Figure(part="starts", name=name, value=count / taken, unit="/s", least=150)]


def growth(rig: Rig, sizes: Sizes) -> list[Figure]:
    """Start latency while the number of running containers grows."""
    times = []
    containers = []
    with rig.client() as client:
        for _ in range(sizes.growth):
            containers.append(create(client, ["sleep", "3600"]))
            begun = time.perf_counter()
            client.call(*_start(containers[-1]))
            times.append(time.perf_counter() - begun)
    rig.remove_all(containers)
    first, last = median(times[:ENDS]), median(times[-ENDS:])
    rows: list[tuple[str, float, str, float | None]] = [
        (f"start, p50 of the first {ENDS}", 1000 * first, "ms", None),
        (f"start, p50 of the last {ENDS} of {sizes.growth}", 1000 * last, "ms", None),
        ("last / first", last / first, "×", 1.5),
    ]
    return [
        Figure(part="growth", name=name, value=value, unit=unit, most=most)
        for name, value, unit, most in rows
    ]


def _start(container: str) -> tuple[str, str]:
    return "POST", f"/containers/{container}/start"


def _shims(rig: Rig, count: int) -> list[Figure]:
    shims = rig.shims()
    assert len(shims) == count, f"{len(shims)} shims for {count} containers"
    most: list[tuple[str, Callable[[int], int], int]] = [
        ("threads of a shim, most", lambda pid: len(os.listdir(f"/proc/{pid}/task")), 1),
        ("descriptors of a shim, most", descriptors, 16),
    ]
    return [
        *_weigh("shim", f"each of {count}", shims, private=0.5),
        *(
            Figure(part="fleet", name=name, value=max(map(read, shims)), unit="", most=limit)
            for name, read, limit in most
        ),
    ]


def _merged(rig: Rig, count: int) -> list[Figure]:
    """The shims' memory once more, with KSM; nothing where the host has none."""
    with pages_merged() as merged:
        when = f"each of {count}, pages merged"
        return _weigh("shim", when, rig.shims(), private=0.5) if merged else []


def _weigh(
    what: str,
    when: str,
    pids: Iterable[int],
    *,
    most: float | None = None,
    private: float | None = None,
) -> list[Figure]:
    """p50 of Rss, Pss and private memory; `most` is for Rss."""
    rollups = [memory(pid) for pid in pids]
    targets = {"Rss": most, "Pss": None, "Private": private}
    return [
        Figure(
            part="fleet",
            name=f"{what} {when}, {kind}",
            value=median(rollup[kind] for rollup in rollups) / KIB_PER_MB,
            unit="MB",
            most=target,
        )
        for kind, target in targets.items()
    ]


def memory(pid: int) -> dict[str, int]:
    """KiB by kind; `Private` is what goes when the process goes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    found = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    found["Private"] = found["Private_Clean"] + found["Private_Dirty"]
    return found


def _idle(rig: Rig, sizes: Sizes) -> Figure:
    """CPU of the supervisor, the zygote and all shims while nothing happens."""
    pids = [rig.daemon.pid, rig.zygote(), *rig.shims()]
    time.sleep(1.0)  # deferred work of the starts
    before = cpu_seconds(pids)
    time.sleep(sizes.idle_seconds)
    used = cpu_seconds(pids) - before
    return Figure(
        part="fleet",
        name=f"CPU of all of it, {sizes.fleet} containers idle",
        value=100 * used / sizes.idle_seconds,
        unit="% of a core",
        most=0.1,
    )


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU time so far, of ended threads too (clock_getcpuclockid(3) makes the ids like this)."""
    return sum(time.clock_gettime(~pid << 3 | 2) for pid in pids)
