"""Many clients at once: all calls mixed for a while, and followers that must not slow a start."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

from tests.bench.client import Client, RequestFailed
from tests.bench.figures import Figure, median
from tests.bench.fleet import KIB_PER_MB, memory
from tests.bench.latency import exec_of_true
from tests.bench.rig import Rig, Sizes, create, rig

TALKS = ["sh", "-c", "while :; do echo still here; sleep 1; done"]
FOLLOWERS, ATTACHED, TALKERS = 200, 100, 10
MOST_SLOWER = 1.2
MOST_GROWTH_MB = 2.0
FIFTHS = 5
SETTLED = 3  # after so many of them: what is made once and kept is no growth
QUESTIONS = (
    "/containers/json?all=1",
    "/containers/json?limit=5&size=1",
    "/images/json",
    "/info",
    "/version",
    "/networks",
    "/volumes",
    "/system/df",
)
OF_A_CONTAINER = ("json", "top", "changes", "stats?stream=0", "stats?stream=0&one-shot=1")
CHANGES = (
    ("POST", "/stop?t=0"),
    ("POST", "/start"),
    ("POST", "/restart?t=0"),
    ("POST", "/pause"),
    ("POST", "/unpause"),
    ("POST", "/kill?signal=USR1"),
    ("POST", "/update"),
    ("POST", "/resize?h=20&w=70"),
)


class Mixed:
    """Clients that each do anything to a few containers of their own, and ask about all."""

    def __init__(self, rig: Rig, seconds: float) -> None:
        self.rig = rig
        self.until = time.monotonic() + seconds
        self.statuses: Counter[int] = Counter()
        self.failures: Counter[str] = Counter()
        self._lock = threading.Lock()

    def client(self, number: int) -> None:
        """One client, until the time is up; what it made is gone then."""
        order = random.Random(number)
        with self.rig.client() as connection:
            own = [create(connection, ["sleep", "3600"], Memory=64 << 20)]
            try:
                while time.monotonic() < self.until:
                    self._step(connection, order, own)
            finally:
                for container in own:
                    self._ask(connection, "DELETE", f"/containers/{container}?force=1")

    def _step(self, connection: Client, order: random.Random, own: list[str]) -> None:
        what = order.random()
        container = order.choice(own)
        if what < 0.35:
            self._ask(connection, "GET", order.choice(QUESTIONS))
        elif what < 0.6:
            self._ask(connection, "GET", f"/containers/{container}/{order.choice(OF_A_CONTAINER)}")
        elif what < 0.85:
            method, path = order.choice(CHANGES)
            body = {"Memory": 80 << 20, "MemorySwap": -1} if path == "/update" else None
            self._ask(connection, method, f"/containers/{container}{path}", body)
        elif what < 0.9:
            self._count(lambda: exec_of_true(self.rig, connection, container))
        elif what < 0.95:
            self._count(lambda: self.rig.lifecycle(connection))
        elif len(own) < 3:
            own.append(create(connection, ["sleep", "3600"]))
        else:
            self._ask(connection, "DELETE", f"/containers/{own.pop()}?force=1")

    def _ask(self, connection: Client, method: str, path: str, body: object = None) -> None:
        self._count(lambda: connection.call(method, path, body))

    def _count(self, ask: Callable[[], object]) -> None:
        try:
            ask()
            status, said = 200, ""
        except RequestFailed as error:
            word, _, said = str(error).partition(" ")
            status = int(word) if word.isdecimal() else 599
        with self._lock:
            self.statuses[status] += 1
            if status >= 500:
                self.failures[said[:200]] += 1


def mixed(measured: Rig, sizes: Sizes) -> list[Figure]:
    """`sizes.mixed_clients` clients for `sizes.mixed_seconds`: answers, and what has grown.

    On a daemon with metrics, which answers for stats, too. After each fifth of the time everything
    is removed and the daemon's memory read: what still grows in the last two is no plateau.
    """
    profile = measured.profile and measured.profile.with_suffix(".metered.prof")
    with rig(profile, ("--metrics-addr", "127.0.0.1:0")) as own:
        return _mixed(own, sizes.mixed_clients, sizes.mixed_seconds)


def _mixed(rig: Rig, count: int, seconds: float) -> list[Figure]:
    statuses: Counter[int] = Counter()
    failures: Counter[str] = Counter()
    private, opened, taken = [_private(rig)], [rig.daemon.open_files()], 0.0
    for _ in range(FIFTHS):
        run = Mixed(rig, seconds / FIFTHS)
        begun = time.monotonic()
        _together(run, count)
        taken += time.monotonic() - begun
        time.sleep(1.0)  # the trash is emptied, connections are closed
        private.append(_private(rig))
        opened.append(rig.daemon.open_files())
        statuses += run.statuses
        failures += run.failures
    for said, number in failures.most_common(5):
        print(f"{number} × {said}")
    refused = sum(n for status, n in statuses.items() if 400 <= status < 500)
    failed = sum(n for status, n in statuses.items() if status >= 500)
    rows: list[tuple[str, float, str, float | None]] = [
        (f"answers to {count} clients", statuses.total() / taken, "/s", None),
        ("refused with reason (4xx)", refused, "", None),
        ("failed (5xx, or no answer)", failed, "", 0),
        ("the supervisor's private memory before", private[0], "MB", None),
        *(
            (f"{fifth} of {FIFTHS} done", private[fifth], "MB", None)
            for fifth in range(1, FIFTHS + 1)
        ),
        ("growth in the last two", private[-1] - private[SETTLED], "MB", MOST_GROWTH_MB),
        ("descriptors more than after the first", opened[-1] - opened[1], "", 0),
    ]
    return [
        Figure(part="mixed", name=name, value=value, unit=unit, most=most)
        for name, value, unit, most in rows
    ]


def _private(rig: Rig) -> float:
    """MB that are the supervisor's own."""
    return memory(rig.daemon.pid)["Private"] / KIB_PER_MB


def _together(run: Mixed, count: int) -> None:
    with ThreadPoolExecutor(count) as pool:
        for done in [pool.submit(run.client, number) for number in range(count)]:
            done.result()


def followers(rig: Rig, sizes: Sizes) -> list[Figure]:
    """Lifecycles alone and beside clients that follow logs and are attached, in turns."""
    with rig.client() as client:
        talkers = [_talker(client) for _ in range(TALKERS)]
        alone, beside = [], []
        rounds = max(2, sizes.pairs // 10)
        for _ in range(rounds):
            alone += [_timed(rig, client) for _ in range(5)]
            with _followed(rig, talkers):
                beside += [_timed(rig, client) for _ in range(5)]
        rig.remove_all(talkers)
    rows: list[tuple[str, float, str, float | None]] = [
        ("a lifecycle alone, p50", 1000 * median(alone), "ms", None),
        (
            f"beside {FOLLOWERS} logs -f and {ATTACHED} attached, p50",
            1000 * median(beside),
            "ms",
            None,
        ),
        ("the second / the first", median(beside) / median(alone), "×", MOST_SLOWER),
    ]
    return [
        Figure(part="followers", name=name, value=value, unit=unit, most=most)
        for name, value, unit, most in rows
    ]


def _talker(client: Client) -> str:
    container = create(client, TALKS)
    client.call("POST", f"/containers/{container}/start")
    return container


def _timed(rig: Rig, client: Client) -> float:
    begun = time.perf_counter()
    rig.lifecycle(client)
    return time.perf_counter() - begun


@contextmanager
def _followed(rig: Rig, talkers: list[str]) -> Iterator[None]:
    """FOLLOWERS follow the talkers' logs and ATTACHED are attached to them for the block."""
    with ExitStack() as stack:
        for number in range(FOLLOWERS):
            follower = stack.enter_context(rig.client())
            path = f"/containers/{talkers[number % TALKERS]}/logs?stdout=1&follow=1&tail=1"
            follower.send("GET", path)
            status, _ = follower.head()
            assert status == 200, status
        for number in range(ATTACHED):
            attached = stack.enter_context(rig.client())
            path = f"/containers/{talkers[number % TALKERS]}/attach?stream=1&stdout=1"
            attached.send("POST", path, extra="Connection: Upgrade\r\nUpgrade: tcp\r\n")
            status, _ = attached.head()
            assert status == 101, status
        yield
