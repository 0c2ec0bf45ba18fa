"""R11, R18, R20, R37, R43: what is done very often, very much at once, or for very long."""

from __future__ import annotations

import hashlib
import os
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

from tests.api.box import eventually
from tests.bench.client import Client
from tests.chaos.listening import listening
from tests.chaos.rig import Rig, seconds_since, sized
from tests.support import procfs
from tests.support.nest import CONSTANT
from tests.support.network_storm import shim_of
from tests.support.pace import limit

Tell = Callable[[str], None]
CLIENTS = 4
LIFECYCLES = sized("LIFECYCLES", 20_000, 100)
OOMS = sized("OOMS", 500, 100)
LOGGED = sized("LOGGED_MIB", 1024, 8) << 20
KIB, MIB = 1024, 1 << 20
MOST_SLOPE = 1 * MIB  # per SLOPE_LIFECYCLES
SLOPE_LIFECYCLES = 10_000
LEAST_FOR_SLOPE = 5_000  # fewer lifecycles than that say nothing of a slope


# --- R43: nothing grows


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What the supervisor has at rest; `tasks` are trio's."""

    files: int
    threads: int
    tasks: int


def held(rig: Rig) -> Held:
    """As it is now."""
    return Held(
        files=rig.daemon.open_files(),
        threads=len(os.listdir(f"/proc/{rig.daemon.pid}/task")),
        tasks=int(rig.ask("GET", "/info")["NGoroutines"]),
    )


def resident(pid: int) -> int:
    """Bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def slope(points: list[tuple[float, float]]) -> float:
    """Of the line that fits best."""
    return statistics.linear_regression(*zip(*points, strict=True)).slope


class Lifecycles:
    """Clients that make, start, wait for, read and remove containers; each their own."""

    def __init__(self, rig: Rig, count: int) -> None:
        self.done = 0
        self._rig = rig
        self._numbers = iter(range(count))

    def client(self, _: int) -> None:
        """Until there have been enough."""
        with Client(self._rig.daemon.socket) as client:
            for number in self._numbers:
                self._one(client, number % 256)
                self.done += 1

    def _one(self, client: Client, code: int) -> None:
        body = {"Image": "box", "Cmd": ["sh", "-c", f"echo {code}; exit {code}"]}
        made = client.call("POST", "/containers/create", body)["Id"]
        client.call("POST", f"/containers/{made}/start")
        assert client.call("POST", f"/containers/{made}/wait")["StatusCode"] == code
        assert client.call("GET", f"/containers/{made}/json")["State"]["ExitCode"] == code
        client.call("DELETE", f"/containers/{made}")


def test_lifecycles_leave_nothing_and_nothing_grows(rig: Rig, tell: Tell) -> None:
    _run(rig, LIFECYCLES // 4)  # what is made once and kept is no growth
    eventually(lambda: rig.daemon.idle_shims() > 0)
    before = held(rig)
    began = time.monotonic()
    points = _run(rig, LIFECYCLES)
    took = seconds_since(began)
    eventually(lambda: not _more(before, held(rig)), 20)
    per = slope(points[len(points) // 4 :]) * SLOPE_LIFECYCLES
    said = f"{per / MIB:.2f} MiB per {SLOPE_LIFECYCLES}" if LIFECYCLES >= LEAST_FOR_SLOPE else "?"
    tell(
        f"R43: {LIFECYCLES} lifecycles of {CLIENTS} clients, {LIFECYCLES / took:.0f} a second: "
        f"the supervisor's memory {points[0][1] / MIB:.1f} → {points[-1][1] / MIB:.1f} MiB, slope "
        f"{said}; descriptors, threads, tasks as before {astuple(before)}"
    )
    assert LIFECYCLES < LEAST_FOR_SLOPE or per <= MOST_SLOPE
    assert points[-1][1] - points[0][1] < 16 * MIB


def _run(rig: Rig, count: int) -> list[tuple[float, float]]:
    """(lifecycles so far, resident bytes), a point for each fortieth of them."""
    run = Lifecycles(rig, count)
    points: list[tuple[float, float]] = []
    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(run.client, number) for number in range(CLIENTS)]
        while not all(client.done() for client in clients):
            if run.done >= len(points) * count / 40:
                points.append((float(run.done), float(resident(rig.daemon.pid))))
            time.sleep(0.02)
        for client in clients:
            client.result()
    return [*points, (float(run.done), float(resident(rig.daemon.pid)))]


def _more(before: Held, now: Held) -> bool:
    return any(
        later > earlier for earlier, later in zip(astuple(before), astuple(now), strict=True)
    )


# --- R20: many are out of memory at once


SMALL = {"Memory": 8 * MIB, "MemorySwap": 8 * MIB}
ONE_CHILD = "sh -c 'exec tail /dev/zero'; echo survived; exec sleep 100000"


def test_many_out_of_memory_at_once(rig: Rig, tell: Tell, tmp_path: Path) -> None:
    """Each is told, by its state and by an event; one whose child alone was killed goes on."""
    os.mkfifo(tmp_path / "fifo")
    wait = {**SMALL, "Binds": [f"{tmp_path}:/go:ro"]}
    told: Counter[tuple[str, str]] = Counter()
    with listening(rig, lambda made, action: told.update([(made, action)])):
        pid = rig.up("child", "sh", "-c", ONE_CHILD, HostConfig=SMALL)
        command = ["sh", "-c", ": </go/fifo; exec tail /dev/zero"]
        with ThreadPoolExecutor(CLIENTS) as pool:
            names = [f"eats-{number}" for number in range(OOMS)]
            list(pool.map(lambda name: rig.create(name, *command, HostConfig=wait), names))
            list(pool.map(lambda name: rig.ask("POST", f"/containers/{name}/start"), names))
        began = time.monotonic()
        with open(tmp_path / "fifo", "w"):  # all of them go on at once
            eventually(lambda: len(rig.ask("GET", "/containers/json")) == 1, 900)
        took = seconds_since(began)
        states = [rig.state(name) or {} for name in names]
        flags = [state["OOMKilled"] for state in states]
        ids = [rig.box.inspect(name)["Id"] for name in names]
        child = rig.box.inspect("child")
        eventually(lambda: all(told[made, "oom"] for made in [*ids, child["Id"]]), 20)
    assert flags.count(True) == OOMS
    assert {state["ExitCode"] for state in states} == {137}
    assert (child["State"]["Status"], child["State"]["Pid"]) == ("running", pid)
    assert [told[made, "die"] for made in ids] == [1] * OOMS
    tell(
        f"R20: {OOMS} containers out of memory at once: {OOMS} told as OOMKilled with 137 and by "
        f"an event, all within {took:.1f} s; one whose child alone was killed goes on"
    )


# --- R18: very much, very fast, in one line


def test_a_line_without_an_end(rig: Rig, tell: Tell, tmp_path: Path) -> None:
    """Every byte of it can be read again, and the shim keeps none in its memory."""
    piece = os.urandom(MIB).replace(b"\n", b"\0")
    (tmp_path / "piece").write_bytes(piece)
    times = LOGGED // MIB
    script = (
        f"echo up; read x </go; i=0; while [ $i -lt {times} ]; do cat /d/piece; i=$((i+1)); done"
    )
    config = {
        "Binds": [f"{tmp_path}:/d:ro"],
        "LogConfig": {"Type": "json-file", "Config": {"max-size": f"{2 * LOGGED}"}},
    }
    pid = rig.up("long", "sh", "-c", f"mkfifo /go; {script}", HostConfig=config)
    shim = shim_of(str(rig.box.inspect("long")["Id"]))
    with most_memory(shim) as memory:
        began = time.monotonic()
        with open(f"/proc/{pid}/root/go", "w") as fifo:
            fifo.write("on\n")
        assert rig.ask("POST", "/containers/long/wait")["StatusCode"] == 0
        took = seconds_since(began)
    expected, found = hashlib.sha256(b"up\n"), hashlib.sha256()
    for _ in range(times):
        expected.update(piece)
    for data in logged(rig, "long"):
        found.update(data)
    assert found.digest() == expected.digest()
    tell(
        f"R18: one line of {LOGGED // MIB} MiB, any bytes, {LOGGED / MIB / took:.0f} MiB/s: read "
        f"again byte by byte; the shim's private memory grew by {memory.grown / MIB:.1f} MiB"
    )
    assert memory.grown <= 4 * MIB


class Memory:
    """The private memory of a process beside what it was at first, bytes."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._first = self._now()
        self.grown = 0

    def look(self) -> None:
        """Remember it if it was never more."""
        self.grown = max(self.grown, self._now() - self._first)

    def _now(self) -> int:
        lines = Path(f"/proc/{self._pid}/smaps_rollup").read_text().splitlines()
        return KIB * sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


@contextmanager
def most_memory(pid: int) -> Iterator[Memory]:
    """What a process has grown by while the block runs, as far as a look each 50 ms shows."""
    memory, over = Memory(pid), threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            try:
                memory.look()
            except OSError:
                return  # it has ended

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield memory
    finally:
        over.set()
        thread.join()


def logged(rig: Rig, name: str) -> Iterator[bytes]:
    """What a container wrote, piece by piece."""
    with Client(rig.daemon.socket) as client:
        client.send("GET", f"/containers/{name}/logs?stdout=1")
        client.head()
        frames = b""
        while piece := client.chunk():
            frames += piece
            while len(frames) >= 8 and len(frames) >= (end := 8 + int.from_bytes(frames[4:8])):
                yield frames[8:end]
                frames = frames[end:]
    assert not frames


# --- R11: a fork bomb beside everybody else


LIMIT = 64
# Each process makes two and ends; those that were refused are replaced by others' children.
BOMB = "trap '' TERM; b() { b | b & }; echo up; (b) 2>/dev/null; read x"


def test_a_fork_bomb_beside_the_api(rig: Rig, tell: Tell) -> None:
    """Within its limit it slows nobody down much, and a stop takes no longer than it may."""
    config = {"PidsLimit": LIMIT, "NanoCpus": 10**9}
    pid = rig.up("bomb", "sh", "-c", BOMB, HostConfig=config, OpenStdin=True)
    times, most = [], 0
    for number in range(100):
        began = time.monotonic()
        rig.ask("GET", "/containers/bomb/json")
        times.append(seconds_since(began))
        if number % 20 == 0:
            most = max(most, len(procfs.descendants(pid)))
    began = time.monotonic()
    rig.ask("POST", "/containers/bomb/stop?t=1")
    took = seconds_since(began)
    assert (rig.state("bomb") or {})["ExitCode"] == 137
    p99 = sorted(times)[-2]
    tell(
        f"R11: beside a fork bomb of up to {most} processes an inspect takes {p99 * 1000:.0f} ms "
        f"(p99); its stop of 1 s takes {took:.1f} s"
    )
    assert LIMIT // 2 < most <= LIMIT
    assert p99 < limit(2)
    assert 1 <= took < limit(6)


# --- R37: a program that always fails


QUICK = "supervisor.lifecycle.restart.LONGEST_DELAY=0.8 supervisor.lifecycle.restart.STABLE_AFTER=2"
WANTED = (0.1, 0.2, 0.4, 0.8, 0.8)


def test_a_crash_loop_waits_longer_and_longer(rig: Rig, tell: Tell) -> None:
    """Twice as long each time, up to the most; from the beginning after a run that lasted."""
    rig.daemon.kill()
    rig.daemon.settings = {CONSTANT: QUICK}
    rig.daemon.start()
    moments: list[tuple[str, float]] = []
    script = (
        "n=$(cat /n 2>/dev/null || echo 0); echo $((n+1)) >/n; [ $n != 5 ] || sleep 2.5; exit 1"
    )
    policy = {"RestartPolicy": {"Name": "always"}}
    with listening(rig, lambda _, action: moments.append((action, time.monotonic()))):
        rig.create("loop", "sh", "-c", script, HostConfig=policy)
        rig.ask("POST", "/containers/loop/start")
        eventually(lambda: [action for action, _ in moments].count("start") >= 7, 30)
    ends = [at for action, at in moments if action == "die"]
    begins = [at for action, at in moments if action == "start"][1:]
    pauses = [begin - end for end, begin in zip(ends, begins, strict=False)]
    wanted = (*WANTED, 0.1)
    for pause, least in zip(pauses, wanted, strict=False):
        assert least * 0.9 <= pause < least + limit(1.5), pauses
    restarts = int(rig.box.inspect("loop")["RestartCount"])
    assert restarts >= len(wanted)
    tell(
        "R37: pauses of a crash loop, the longest 0.8 s, one run of 2.5 s before the last: "
        + ", ".join(f"{pause:.2f}" for pause in pauses[: len(wanted)])
    )
