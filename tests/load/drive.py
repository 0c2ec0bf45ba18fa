"""Running a load: clients that start the containers, a watch beside them, and the end of all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from tests.bench.client import Client, RequestFailed
from tests.bench.fleet import cpu_seconds, memory
from tests.bench.residue import Count, settled
from tests.bench.rig import Rig
from tests.load.mix import Kind

KIB = 1024
SETTLE_SECONDS = 0.2
SAMPLE_SECONDS = 0.5
HEALTHY_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One container's start: when, since the load's begin, and how long, in seconds."""

    kind: str
    at: float
    create: float
    start: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The state at a moment: containers that run, bytes and CPU seconds of the supervisor."""

    at: float
    running: int
    rss: int
    cpu: float


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a load came to. `wrong` are sentences; `left` is what there is more of afterwards."""

    starts: list[Start] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    left: dict[str, int] = field(default_factory=dict)
    starting_seconds: float = 0.0
    removing_seconds: float = 0.0
    kept: int = 0
    supervisor_private: int = 0
    shim_private: list[int] = field(default_factory=list)


class Load:
    """One load on a daemon that nothing else uses."""

    def __init__(self, rig: Rig, kinds: Sequence[Kind], network: str, clients: int) -> None:
        self.rig = rig
        self.kinds = kinds
        self.network = network
        self.clients = clients
        self.outcome = Outcome()
        self._numbers = iter(range(len(kinds)))
        self._kept: dict[str, Kind] = {}
        self._running = 0
        self._begun = 0.0
        self._over = threading.Event()

    def run(self) -> Outcome:
        """Start all, look at those that live, remove them, and count what is left."""
        before = settled(self.rig, None)
        self._begun = time.monotonic()
        with ThreadPoolExecutor(self.clients + 1) as pool:
            watching = pool.submit(self._watch)
            try:
                self._all_at_once(pool, self._start_some)
                self.outcome.starting_seconds = time.monotonic() - self._begun
                self._look()
                begun = time.monotonic()
                self._all_at_once(pool, self._remove_some)
                self.outcome.removing_seconds = time.monotonic() - begun
            finally:
                self._over.set()
            watching.result()
        self.outcome.left = _more(before, settled(self.rig, before))
        return self.outcome

    def _all_at_once(self, pool: ThreadPoolExecutor, one: Callable[[Client], None]) -> None:
        for future in [pool.submit(self._with_client, one) for _ in range(self.clients)]:
            future.result()

    def _with_client(self, one: Callable[[Client], None]) -> None:
        with self.rig.client() as client:
            one(client)

    # --- starting -----------------------------------------------------------------------

    def _start_some(self, client: Client) -> None:
        for number in self._numbers:
            kind = self.kinds[number]
            try:
                self._start_one(client, kind)
            except RequestFailed as error:
                self.outcome.wrong.append(f"{kind.name}: {error}")

    def _start_one(self, client: Client, kind: Kind) -> None:
        begun = time.monotonic()
        made = client.call("POST", "/containers/create", kind.body(self.network))["Id"]
        created = time.monotonic()
        try:
            client.call("POST", f"/containers/{made}/start")
        except RequestFailed:
            client.call("DELETE", f"/containers/{made}?force=1")
            raise
        times = {"create": created - begun, "start": time.monotonic() - created}
        self.outcome.starts.append(Start(kind=kind.name, at=begun - self._begun, **times))
        if kind.code is None:
            self._kept[made] = kind
            self._running = len(self._kept)
        else:
            self._end_of(client, made, kind)

    def _end_of(self, client: Client, made: str, kind: Kind) -> None:
        code = client.call("POST", f"/containers/{made}/wait")["StatusCode"]
        if code != kind.code:
            self.outcome.wrong.append(f"{kind.name}: ended with {code}, not {kind.code}")
        if kind.lines and (lines := self._lines(made)) != kind.lines:
            self.outcome.wrong.append(f"{kind.name}: {lines} lines in its log, not {kind.lines}")
        client.call("DELETE", f"/containers/{made}")

    def _lines(self, container: str) -> int:
        """Of a finished container's log; a connection of its own, as the answer is a stream."""
        with self.rig.client() as client:
            path = f"/containers/{container}/logs?stdout=1"
            client.send("GET", path, extra="Connection: close\r\n")
            client.head()
            return client.until_end().count(b"line ")

    # --- while they live ----------------------------------------------------------------

    def _watch(self) -> None:
        pid = self.rig.daemon.pid
        while not self._over.wait(SAMPLE_SECONDS):
            self.outcome.samples.append(
                Sample(
                    at=time.monotonic() - self._begun,
                    running=self._running,
                    rss=memory(pid)["Rss"] * KIB,
                    cpu=cpu_seconds([pid]),
                )
            )

    def _look(self) -> None:
        """The containers that live are as they should be; what they cost."""
        self.outcome.kept = len(self._kept)
        # One that ends at once may have been told as started a moment before.
        time.sleep(SETTLE_SECONDS)
        self.outcome.supervisor_private = memory(self.rig.daemon.pid)["Private"] * KIB
        self.outcome.shim_private = [memory(pid)["Private"] * KIB for pid in self.rig.shims()]
        with self.rig.client() as client:
            listed = {one["Id"]: one for one in client.call("GET", "/containers/json")}
            for container, kind in self._kept.items():
                if container not in listed:
                    self.outcome.wrong.append(f"{kind.name}: {container[:12]} does not run")
            checked = [c for c, kind in self._kept.items() if "Healthcheck" in kind.more]
            deadline = time.monotonic() + HEALTHY_SECONDS
            for container in checked:
                while (health := self._health(client, container)) == "starting":
                    if time.monotonic() > deadline:
                        break
                    time.sleep(0.2)
                if health != "healthy":
                    self.outcome.wrong.append(f"is checked: {container[:12]} is {health}")

    def _health(self, client: Client, container: str) -> str:
        state = client.call("GET", f"/containers/{container}/json")["State"]
        return str(state.get("Health", {}).get("Status", "without health"))

    # --- the end ------------------------------------------------------------------------

    def _remove_some(self, client: Client) -> None:
        while self._kept:
            try:
                container, kind = self._kept.popitem()
            except KeyError:
                return  # another client took the last
            try:
                client.call("DELETE", f"/containers/{container}?force=1")
            except RequestFailed as error:
                self.outcome.wrong.append(f"{kind.name}: {error}")
            self._running = len(self._kept)


def _more(before: Count, after: Count) -> dict[str, int]:
    names = ("mounts", "cgroups", "processes", "descriptors", "folders")
    return {name: getattr(after, name) - getattr(before, name) for name in names}
