"""R1, R3, R4, R5: processes of Orlop die in the middle of everything."""

from __future__ import annotations

import os
import random
import select
import signal
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import datetime
from functools import partial
from typing import TypeVar

from tests.api.box import eventually
from tests.chaos.rig import (
    FULL,
    Gone,
    Refused,
    Rig,
    alive,
    cpu_seconds,
    has_ended,
    is_gone,
    seconds_since,
    shim,
    sized,
)
from tests.support import places
from tests.support.daemon import Daemon
from tests.support.network_storm import kill
from tests.support.pace import limit

T = TypeVar("T")
Tell = Callable[[str], None]
KILLS = sized("KILLS", 1000, 8)
# Where the machine has not the time for all of them.
KILL_SECONDS = sized("KILL_SECONDS", 7200, 600)
WHOLE_RESTARTS = 50 if FULL else 2
SHIM_KILLS = 500 if FULL else 12
AT_ONCE = 50 if FULL else 8
ENDS = 500 if FULL else 24
AWAY_SECONDS = 60.0 if FULL else 0.0

CLIENTS = 4


class Churn:
    """Clients that make, start, wait for and remove containers while the supervisor dies.

    A client that gets no answer asks what became of its container and goes on from there.
    """

    def __init__(self, rig: Rig, seed: int) -> None:
        self.rig = rig
        self.over = threading.Event()
        self.chance = random.Random(seed)
        self.happened: Counter[str] = Counter()
        self.wrong: list[str] = []

    def has_ended(self, count: int) -> bool:
        """So many lifecycles have, or something went wrong."""
        return self.happened["ended"] >= count or bool(self.wrong)

    def client(self, number: int) -> None:
        """Lifecycles until it is over."""
        for count in range(1 << 20):
            if self.over.is_set():
                return
            name = f"churn-{number}-{count}"
            try:
                self._lifecycle(name, self.chance.randrange(256))
            except (Refused, AssertionError) as error:
                self.wrong.append(f"{name}: {error}")

    def _lifecycle(self, name: str, code: int) -> None:
        command = ["sh", "-c", f"sleep 0.0{code % 10}; exit {code}"]
        self._until_answered(lambda: self._create(name, command))
        started = self._start(name)
        path = f"/containers/{name}/wait"
        told = self._until_answered(lambda: self.rig.ask("POST", path))["StatusCode"]
        state = self._until_answered(lambda: self.rig.state(name))
        assert state is not None, "it was acknowledged and is gone"
        if started:
            self.happened["ended"] += 1
            assert (told, state["ExitCode"]) == (code, code), (told, state)
        self._until_answered(lambda: self._remove(name))

    def _create(self, name: str, command: list[str]) -> None:
        if self.rig.state(name) is None:  # nobody was told of the last attempt
            self.rig.create(name, *command)

    def _start(self, name: str) -> bool:
        """False if it was not acknowledged and did not come to run its program."""
        try:
            self.rig.ask("POST", f"/containers/{name}/start")
        except Gone:
            self.happened["starts interrupted"] += 1
            state = self._until_answered(lambda: self.rig.state(name))
            assert state is not None, "it was acknowledged and is gone"
            if state["Status"] == "created":
                return self._start(name)
            if state["Error"]:
                assert "lost" in state["Error"], state
                return False
        return True

    def _remove(self, name: str) -> None:
        self.rig.ask("DELETE", f"/containers/{name}?force=1", expected={204, 404})

    def _until_answered(self, ask: Callable[[], T]) -> T:
        while True:
            try:
                return ask()
            except Gone:
                self.happened["requests interrupted"] += 1


def test_supervisor_killed_under_churn(rig: Rig, tell: Tell) -> None:
    churn = Churn(rig, seed=KILLS)
    ready: list[float] = []
    with ThreadPoolExecutor(CLIENTS) as pool:
        for number in range(CLIENTS):
            pool.submit(churn.client, number)
        try:
            for _ in range(KILLS):
                enough = churn.happened["ended"] + churn.chance.randrange(1, 6)
                eventually(partial(churn.has_ended, enough), 60)
                time.sleep(churn.chance.uniform(0, 0.05))
                with rig.lock:
                    rig.daemon.kill()
                    began = time.monotonic()
                    rig.start()
                    ready.append(seconds_since(began))
        finally:
            churn.over.set()
    assert churn.wrong == []
    assert churn.happened["ended"] >= len(ready)
    tell(
        f"R1: {len(ready)} kills under churn of {CLIENTS} clients: {churn.happened['ended']} ends, "
        f"0 wrong, {churn.happened['requests interrupted']} requests interrupted, "
        f"ready after {statistics.median(ready) * 1000:.0f} ms (median), without the imports"
    )
    assert statistics.median(ready) < limit(5)


def test_a_restart_with_its_imports(tell: Tell) -> None:
    """What R1 leaves out, as its daemons are forked: a new interpreter, and its modules."""
    with places.short_folder() as folder:
        daemon = Daemon(folder)  # by a warden that starts programs
        rig = Rig(daemon)
        try:
            daemon.start()
            rig.box.build()
            pid = rig.up("stays")
            ready, used = [], []
            for _ in range(WHOLE_RESTARTS):
                daemon.kill()
                began = time.monotonic()
                daemon.start()
                ready.append(seconds_since(began))
                used.append(cpu_seconds(daemon.pid))
            assert alive(pid)
            assert rig.status("stays") == "running"
        finally:
            daemon.close()
    tell(
        f"R1: {WHOLE_RESTARTS} kills, ready after {statistics.median(ready) * 1000:.0f} ms "
        f"(median) and {statistics.median(used) * 1000:.0f} ms of a processor, with the imports"
    )
    assert statistics.median(used) < limit(4)


def test_shims_killed(rig: Rig, tell: Tell) -> None:
    """Each is noticed, its container's process is gone, and the loss is said."""
    noticed = []
    for number in range(SHIM_KILLS):
        name = f"shimless-{number}"
        pid = rig.up(name)
        began = time.monotonic()
        assert kill(shim(rig, name))
        assert rig.ask("POST", f"/containers/{name}/wait")["StatusCode"] == 137
        noticed.append(seconds_since(began))
        # It leaves its group, which is waited for, a moment before it is a zombie.
        eventually(partial(is_gone, pid))
        state = rig.state(name)
        assert state is not None
        assert "shim was lost" in state["Error"]
        rig.ask("DELETE", f"/containers/{name}")
    tell(
        f"R3: {SHIM_KILLS} shims killed: all noticed, after {statistics.median(noticed):.3f} s "
        f"(median), {max(noticed):.2f} s at most"
    )
    assert max(noticed) < limit(5)


def test_supervisor_and_all_shims_killed(rig: Rig, tell: Tell) -> None:
    pids = [rig.up(f"all-{number}") for number in range(AT_ONCE)]
    shims = [shim(rig, f"all-{number}") for number in range(AT_ONCE)]
    rig.daemon.kill()
    for one in shims:
        assert kill(one)
    rig.start()
    for number in range(AT_ONCE):
        eventually(partial(has_ended, rig, f"all-{number}"))
        state = rig.state(f"all-{number}")
        assert state is not None
        assert state["ExitCode"] == 137
    eventually(lambda: not [pid for pid in pids if alive(pid)])
    rig.ask("POST", "/containers/all-0/start")
    assert rig.status("all-0") == "running"
    tell(f"R4: supervisor and {AT_ONCE} shims killed at once: {AT_ONCE} told as 137, 0 live on")


def test_zygote_killed(rig: Rig) -> None:
    """With its spares; containers go on, and the next start gets another zygote."""
    pid = rig.up("before")
    for process in rig.daemon.processes():
        with suppress(OSError), open(f"/proc/{process.pid}/cmdline", "rb") as file:
            if file.read().startswith(b"orlop-zygote"):
                kill(process.pid)
    after = rig.up("after")
    assert alive(pid)
    assert alive(after)
    for name in ("before", "after"):
        rig.ask("POST", f"/containers/{name}/stop?t=20")
        assert (rig.state(name) or {})["ExitCode"] == 7


# Said by the test, the last one by the kernel's OOM killer; none costs anything until then.
END = "mkfifo /go; echo up; read x </go; {last}"
EAT = {"Memory": 8 << 20, "MemorySwap": 8 << 20}
KINDS = ("its own code", "killed", "out of memory")


def test_ends_while_the_supervisor_is_away(rig: Rig, tell: Tell) -> None:
    """Codes, signals, OOM flags and times are told by its successor as they were."""
    kinds = [KINDS[number % len(KINDS)] for number in range(ENDS)]
    pids = [_to_end(rig, f"away-{n}", n % 256, kind) for n, kind in enumerate(kinds)]
    rig.daemon.kill()
    killed = time.monotonic()
    with Endings(pids) as endings:
        for kind, pid in zip(kinds, pids, strict=True):
            if kind == "killed":
                os.kill(pid, signal.SIGKILL)
            else:
                with open(f"/proc/{pid}/root/go", "w") as fifo:
                    fifo.write("on\n")
        endings.wait(120)
    time.sleep(max(0.0, killed + AWAY_SECONDS - time.monotonic()))
    rig.start()
    late = []
    for number, kind in enumerate(kinds):
        state = rig.state(f"away-{number}")
        assert state is not None
        code = number % 256 if kind == "its own code" else 128 + signal.SIGKILL
        told = state["Status"], state["ExitCode"], state["OOMKilled"]
        assert told == ("exited", code, kind == "out of memory"), (number, state)
        at = datetime.fromisoformat(state["FinishedAt"][:26] + "+00:00").timestamp()
        late.append(at - endings.at[pids[number]])
    late.sort()
    tell(
        f"R5: {ENDS} containers ended in an outage of {seconds_since(killed):.0f} s: {ENDS} codes, "
        f"signals and OOM flags right; FinishedAt beside the end, ms: least {late[0] * 1000:.1f}, "
        f"median {statistics.median(late) * 1000:.1f}, most {late[-1] * 1000:.1f}"
    )
    assert abs(statistics.median(late)) < limit(0.25)
    assert max(map(abs, late)) < limit(5)


def _to_end(rig: Rig, name: str, code: int, kind: str) -> int:
    """The pid of a container that ends like this once it is told to."""
    last, host = (f"exit {code}", {}) if kind != KINDS[2] else ("exec tail /dev/zero", EAT)
    return rig.up(name, "sh", "-c", END.format(last=last), HostConfig=host)


class Endings:
    """When each of these processes ended, by the wall clock, as the kernel announces it."""

    def __init__(self, pids: list[int]) -> None:
        self.at: dict[int, float] = {}
        self._pids = {os.pidfd_open(pid): pid for pid in pids}
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Endings:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        for fd in self._pids:
            os.close(fd)

    def wait(self, seconds: float) -> None:
        """Until all have."""
        eventually(lambda: len(self.at) == len(self._pids), seconds)

    def _watch(self) -> None:
        deadline = time.monotonic() + limit(180)
        with closing(select.epoll()) as waiting:
            for fd in self._pids:
                waiting.register(fd, select.EPOLLIN)
            while len(self.at) < len(self._pids) and time.monotonic() < deadline:
                for fd, _ in waiting.poll(1.0):
                    self.at[self._pids[fd]] = time.time()
                    waiting.unregister(fd)
