"""`python -m tests.load.beside`: what a start costs beside 500 containers that have everything.

Each of them is on the default network, limited in memory, processor and processes, writes to its
log, and is checked every 30 s as docker's default has it. Two daemons, each on a machine of its
own (a network namespace), take turns: one has them all, the other one has none. The second one is
also measured before the first one has any and after all are gone: that is the empty host.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.client import Client
from tests.bench.figures import Figure, median, percentile, table
from tests.bench.fleet import cpu_seconds
from tests.bench.rig import IMAGE, Rig
from tests.load.__main__ import RESULTS, daemon
from tests.load.mix import SECOND

MOST_SLOWER = 1.5
SETTLE_SECONDS = 0.15  # for the spare sandboxes, which are made when nothing is started
WATCH_SECONDS = 5.0
HEALTHY_SECONDS = 300.0
BODY = {
    "Image": IMAGE,
    "Cmd": ["sh", "-c", "while :; do echo still here; sleep 30; done"],
    "Healthcheck": {
        "Test": ["CMD", "true"],
        "Interval": 30 * SECOND,
        "StartPeriod": 60 * SECOND,
        "StartInterval": 5 * SECOND,
    },
    "HostConfig": {
        "NetworkMode": "bridge",
        "Memory": 64 << 20,
        "NanoCpus": 500_000_000,
        "PidsLimit": 64,
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "2"}},
    },
}


@dataclass(slots=True, kw_only=True)
class Measured:
    """Times of single starts in seconds; shares of a processor in percent."""

    before: list[float] = field(default_factory=list)
    pairs: list[tuple[float, float]] = field(default_factory=list)  # (none, all)
    after: list[float] = field(default_factory=list)
    filling: float = 0.0
    supervisor: float = 0.0
    shims: float = 0.0
    wrong: list[str] = field(default_factory=list)


def one_more(client: Client) -> float:
    """How long the start of one more takes; it is removed again."""
    made = client.call("POST", "/containers/create", BODY)["Id"]
    begun = time.perf_counter()
    client.call("POST", f"/containers/{made}/start")
    taken = time.perf_counter() - begun
    client.call("DELETE", f"/containers/{made}?force=1")
    time.sleep(SETTLE_SECONDS)
    return taken


@contextmanager
def two_daemons() -> Iterator[tuple[Rig, Rig]]:
    """One that stays empty, one to be filled."""
    with ExitStack() as stack:
        empty = stack.enter_context(daemon(networked=True))
        yield empty, stack.enter_context(daemon(networked=True))


def run(count: int, pairs: int, watch: float = WATCH_SECONDS) -> Measured:
    """Measure with `count` containers, so many times each; at rest, for `watch` seconds."""
    found = Measured()
    with two_daemons() as (empty, full), empty.client() as nobody, full.client() as crowd:
        for client in (nobody, crowd):
            one_more(client)
        found.before = [one_more(nobody) for _ in range(pairs)]
        begun = time.monotonic()
        containers = full.by_clients(lambda client, _: _up(client), count)
        found.filling = time.monotonic() - begun
        found.wrong += _unhealthy(crowd, containers)
        _weigh(full, found, watch)
        for number in range(pairs):
            clients = (nobody, crowd) if number % 2 else (crowd, nobody)
            times = {client: one_more(client) for client in clients}
            found.pairs.append((times[nobody], times[crowd]))
        found.wrong += _not_running(crowd, containers)
        full.remove_all(containers)
        found.after = [one_more(nobody) for _ in range(pairs)]
    return found


def _up(client: Client) -> str:
    made: str = client.call("POST", "/containers/create", BODY)["Id"]
    client.call("POST", f"/containers/{made}/start")
    return made


def _weigh(full: Rig, found: Measured, watch: float) -> None:
    """What all of them cost while nothing is asked for."""
    shims = full.shims()
    before = cpu_seconds([full.daemon.pid]), cpu_seconds(shims)
    time.sleep(watch)
    found.supervisor = 100 * (cpu_seconds([full.daemon.pid]) - before[0]) / watch
    found.shims = 100 * (cpu_seconds(shims) - before[1]) / watch


def _unhealthy(client: Client, containers: Sequence[str]) -> list[str]:
    """Those that are not healthy in time, as sentences."""
    deadline, waiting = time.monotonic() + HEALTHY_SECONDS, list(containers)
    while waiting and time.monotonic() < deadline:
        waiting = [one for one in waiting if _health(client, one) != "healthy"]
        time.sleep(0.5 if waiting else 0)
    return [f"{one[:12]} is not healthy" for one in waiting]


def _health(client: Client, container: str) -> str:
    return str(client.call("GET", f"/containers/{container}/json")["State"]["Health"]["Status"])


def _not_running(client: Client, containers: Sequence[str]) -> list[str]:
    listed: list[dict[str, Any]] = client.call("GET", "/containers/json")
    running = {one["Id"] for one in listed if one["State"] == "running"}
    return [f"{one[:12]} does not run" for one in containers if one not in running]


def figures(found: Measured, count: int) -> list[Figure]:
    """What is to be told of it; the target is of the empty host, before and after."""
    none, all_of_them = zip(*found.pairs, strict=True)
    host = [*found.before, *found.after]
    ratios = [full / empty for empty, full in found.pairs]
    rows: list[tuple[str, float, str, float | None]] = [
        ("start on the empty host, before, p50", 1000 * median(found.before), "ms", None),
        ("start on the empty host, after, p50", 1000 * median(found.after), "ms", None),
        (f"start of one more beside {count}, p50", 1000 * median(all_of_them), "ms", None),
        (f"start of one more beside {count}, p99", 1000 * percentile(all_of_them, 99), "ms", None),
        ("in turns with it, an empty daemon's start, p50", 1000 * median(none), "ms", None),
        (f"beside {count} / empty host", median(all_of_them) / median(host), "×", MOST_SLOWER),
        (f"beside {count} / empty daemon, p50 of the pairs", median(ratios), "×", MOST_SLOWER),
        (f"create and start of {count}, 4 clients", count / found.filling, "/s", None),
        ("the supervisor at rest with all of them", found.supervisor, "% of a core", None),
        ("their shims at rest", found.shims, "% of a core", None),
        ("what went wrong", len(found.wrong), "", 0),
    ]
    return [
        Figure(part="beside", name=name, value=value, unit=unit, most=most)
        for name, value, unit, most in rows
    ]


def parser() -> argparse.ArgumentParser:
    """The options."""
    p = argparse.ArgumentParser(
        prog="python -m tests.load.beside",
        description="Compare the start of one more container beside many that have a network, "
        "limits, a log and health checks with that on an empty host.",
    )
    p.add_argument("--containers", type=int, default=500, metavar="N", help="default 500")
    p.add_argument("--pairs", type=int, default=40, metavar="N", help="starts each; default 40")
    p.add_argument(
        "--results", type=Path, default=RESULTS, metavar="DIR", help=f"default {RESULTS}"
    )
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 1 if something went wrong or a target was missed."""
    options = parser().parse_args(arguments)
    if min(options.containers, options.pairs) < 1:
        parser().error("at least one container and one pair")
    if os.geteuid() != 0:
        parser().error("it needs root, as the supervisor does")
    measured = run(options.containers, options.pairs)
    found = figures(measured, options.containers)
    print(table(found))
    for sentence in itertools.islice(measured.wrong, 20):
        print(sentence)
    options.results.mkdir(parents=True, exist_ok=True)
    name = options.results / time.strftime("beside-%Y%m%dT%H%M%SZ.json", time.gmtime())
    name.write_text(json.dumps([one.to_json() for one in found], indent=1) + "\n")
    print(name, file=sys.stderr)
    return int(any(one.met is False for one in found))


if __name__ == "__main__":
    sys.exit(main())
