"""From the kernel's word that a cgroup is out of memory to the event on the API."""

from __future__ import annotations

import json
import os
import select
import time
from pathlib import Path

from tests.bench.client import Client
from tests.bench.figures import Figure, percentile
from tests.bench.rig import Rig, Sizes, create
from tests.support import places

LIMIT = 8 << 20
MISSED_SECONDS = 5.0
# The shell waits until it is told to, so that the kernel's first word can be listened for.
EAT = "read go </go/fifo; exec tail /dev/zero"


def ooms(rig: Rig, sizes: Sizes) -> list[Figure]:
    """Containers killed for memory one after the other; how late, and how many unheard of."""
    times = []
    with places.short_folder() as folder, rig.client() as client, rig.client() as events:
        os.mkfifo(folder / "fifo")
        events.send("GET", '/events?filters={"event":["oom"]}')
        status, _ = events.head()
        assert status == 200, status
        for _ in range(sizes.ooms):
            taken = _kill_one(rig, client, events, folder)
            if taken is not None:
                times.append(1000 * taken)
    missed = sizes.ooms - len(times)
    rows: list[tuple[str, float, str, float | None]] = [
        ("out of memory → event, p50", percentile(times, 50), "ms", 50),
        ("out of memory → event, max", max(times), "ms", 50),
        (f"events missed of {sizes.ooms}", missed, "", 0),
    ]
    return [
        Figure(part="oom", name=name, value=value, unit=unit, most=most)
        for name, value, unit, most in rows
    ]


def _kill_one(rig: Rig, client: Client, events: Client, folder: Path) -> float | None:
    container = create(
        client, ["sh", "-c", EAT], Memory=LIMIT, MemorySwap=LIMIT, Binds=[f"{folder}:/go:ro"]
    )
    client.call("POST", f"/containers/{container}/start")
    noticed = _Noticed(rig.daemon.cgroup_parent, container)
    try:
        with open(folder / "fifo", "wb", buffering=0) as fifo:
            fifo.write(b"go\n")
        begun = noticed.wait()
        if not _heard(events, container):
            return None
        return time.perf_counter() - begun
    finally:
        noticed.close()
        client.call("POST", f"/containers/{container}/wait")
        client.call("DELETE", f"/containers/{container}")


class _Noticed:
    """The kernel's own announcement, taken by the bench itself from the cgroup's files."""

    def __init__(self, parent: str, container: str) -> None:
        from supervisor.kernel.cgroups import Hierarchy, detect

        self._watch = Hierarchy(detect(), parent).open(container).oom_watch()

    def wait(self) -> float:
        """Block until it comes; when it came."""
        poll = select.epoll()
        try:
            poll.register(self._watch.fd, self._watch.events)
            ready = poll.poll(MISSED_SECONDS)
            now = time.perf_counter()
        finally:
            poll.close()
        if not ready:
            raise AssertionError("the kernel did not run out of the container's memory")
        return now

    def close(self) -> None:
        self._watch.close()


def _heard(events: Client, container: str) -> bool:
    """The next event comes in time and is of this container."""
    if not events.buffered:
        ready, _, _ = select.select([events.socket], [], [], MISSED_SECONDS)
        if not ready:
            return False
    return bool(json.loads(events.chunk())["Actor"]["ID"] == container)
