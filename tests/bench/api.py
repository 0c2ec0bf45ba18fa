"""What the daemon takes to answer what clients ask most: the list, one container, all stats.

Server time is the CPU time of the daemon's threads (proc(5), schedstat), so that what else runs on
the machine does not count.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

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
    """As `docker stats --no-stream` of all: a request each."""

    def once(flags: str) -> Callable[[], None]:
        def ask() -> None:
            for container in ids:
                client.call("GET", f"/containers/{container}/stats?stream=0{flags}")

        return ask

    figures = []
    for name, flags in (("", ""), (", one-shot", "&one-shot=1")):
        taken = median(_server_ms(own, once(flags)) for _ in range(ROUNDS))
        figures.append(_figure(f"stats of {len(ids)}{name}", taken, MOST_MS_OF_STATS.get(len(ids))))
    return figures


def _server_ms(own: Rig, ask: Callable[[], object]) -> float:
    before = _cpu_ns(own.daemon.pid)
    ask()
    return (_cpu_ns(own.daemon.pid) - before) / 1e6


def _cpu_ns(pid: int) -> int:
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads)


def _figure(name: str, value: float, most: float | None) -> Figure:
    return Figure(part="api", name=f"{name}, server time", value=value, unit="ms", most=most)
