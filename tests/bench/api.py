"""What the daemon takes to answer what clients ask most: the list, one container, all stats.

Server time is the CPU time of the daemon's process, so that what else runs on the machine counts
but for the caches that it empties.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from supervisor.lifecycle.ids import short
from tests.bench.client import Client
from tests.bench.figures import Figure, median
from tests.bench.rig import Rig, Sizes, create, rig

ROUNDS = 15
ONES = 100
MOST_MS_OF_LIST = {200: 5.0, 500: 12.0}
MOST_MS_OF_STATS = {200: 50.0}
MOST_MS_OF_ONE = 0.5
LIST = "/containers/json?all=1"


def api(measured: Rig, sizes: Sizes) -> list[Figure]:
    """Lists of `sizes.fleet` and `sizes.growth` containers, inspect, stats of `sizes.fleet`."""
    profile = measured.profile and measured.profile.with_suffix(".metered.prof")
    with rig(profile, ("--metrics-addr", "127.0.0.1:0")) as own, own.client() as client:
        ids = own.by_clients(lambda one, _: own.running(one), sizes.fleet)
        figures = [
            *_stats(own, client, ids),
            _list(own, client, sizes.fleet),
            _one(own, client, ids),
        ]
        ids += own.by_clients(
            lambda one, _: create(one, ["true"], Memory=64 << 20), sizes.growth - sizes.fleet
        )
        figures.append(_list(own, client, sizes.growth))
        own.remove_all(ids)
    return figures


def _list(own: Rig, client: Client, count: int) -> Figure:
    assert len(client.call("GET", LIST)) == count
    taken = [_server_ms(own, lambda: client.call("GET", LIST)) for _ in range(ROUNDS)]
    return _figure(f"list of {count}", median(taken), MOST_MS_OF_LIST.get(count))


def _one(own: Rig, client: Client, ids: list[str]) -> Figure:
    asked = (ids * ONES)[:ONES]

    def inspect_all() -> None:
        for container in asked:
            client.call("GET", f"/containers/{container}/json")

    taken = [_server_ms(own, inspect_all) / ONES for _ in range(ROUNDS)]
    return _figure("inspect", median(taken), MOST_MS_OF_ONE)


def _stats(own: Rig, client: Client, ids: list[str]) -> list[Figure]:
    """All by as many connections at once, as `docker stats --no-stream` asks, and by one."""

    def by_one(flags: str) -> Callable[[], None]:
        def ask() -> None:
            for container in ids:
                client.call("GET", f"/containers/{container}/stats?stream=0{flags}")

        return ask

    while "system_cpu_usage" not in _precpu(client, ids[-1]):  # it has just been started
        time.sleep(0.1)
    ways = {
        "": lambda: _stats_at_once(own, client, ids),
        ", one connection": by_one(""),
        ", one-shot": by_one("&one-shot=1"),
    }
    taken = {name: [_server_ms(own, ask) for _ in range(ROUNDS)] for name, ask in ways.items()}
    most = MOST_MS_OF_STATS.get(len(ids))
    return [_figure(f"stats of {len(ids)}{name}", median(ms), most) for name, ms in taken.items()]


def _stats_at_once(own: Rig, first: Client, ids: Sequence[str]) -> None:
    """The very requests of the docker command: a ping, the list, a short id each."""
    first.send("HEAD", "/_ping")
    first.head()
    first.call("GET", "/v1.50/containers/json")
    with ExitStack() as open_ones:
        asking = [open_ones.enter_context(own.client()) for _ in ids]
        for one, container in zip(asking, ids, strict=True):
            one.send("GET", f"/v1.50/containers/{short(container)}/stats?stream=0")
        for one in asking:
            assert one.answer(*one.head())["precpu_stats"]["system_cpu_usage"]


def _precpu(client: Client, container: str) -> dict[str, object]:
    found: dict[str, object] = client.call("GET", f"/containers/{container}/stats?stream=0")[
        "precpu_stats"
    ]
    return found


def _server_ms(own: Rig, ask: Callable[[], object]) -> float:
    clock = _cpu_clock(own.daemon.pid)
    before = time.clock_gettime_ns(clock)
    ask()
    return (time.clock_gettime_ns(clock) - before) / 1e6


def _cpu_clock(pid: int) -> int:
    """The CPU time of all of a process's threads, those that have ended, too: `CPUCLOCK_SCHED` of
    linux/posix-timers.h."""
    return ~pid << 3 | 2


def _figure(name: str, value: float, most: float | None) -> Figure:
    return Figure(part="api", name=f"{name}, server time", value=value, unit="ms", most=most)
