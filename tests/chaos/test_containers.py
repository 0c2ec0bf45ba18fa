"""R15, R19, R38: containers that are frozen, that write while their shim dies, that are sick."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from functools import partial

from tests.api.box import eventually
from tests.chaos.rig import FULL, OBEDIENT, Rig, seconds_since, shim
from tests.support import procfs
from tests.support.pace import limit

Tell = Callable[[str], None]
FROZEN = 50 if FULL else 2
CUTS, LOGS = 3, 17 if FULL else 1
PROBES = 20 if FULL else 3
MILLISECOND = 1_000_000


# --- R15


def test_frozen_ones_are_stopped_killed_and_removed(rig: Rig, tell: Tell) -> None:
    """As fast as if they ran: what is killed needs no thaw, and a stop thaws."""
    times: dict[str, list[float]] = {"stop": [], "kill": [], "rm -f": []}
    requests = {
        "stop": ("POST", "/containers/cold/stop?t=20"),
        "kill": ("POST", "/containers/cold/kill"),
        "rm -f": ("DELETE", "/containers/cold?force=1"),
    }
    codes = {"stop": 7, "kill": 137}
    for _ in range(FROZEN):
        for what, (method, path) in requests.items():
            rig.up("cold")
            rig.ask("POST", "/containers/cold/pause")
            assert rig.status("cold") == "paused"
            began = time.monotonic()
            rig.ask(method, path)
            times[what].append(seconds_since(began))
            state = rig.state("cold")
            assert (state is None) == (what == "rm -f")
            if state is not None:
                assert (state["Status"], state["ExitCode"]) == ("exited", codes[what])
                rig.ask("DELETE", "/containers/cold")
    longest = max(max(each) for each in times.values())
    said = ", ".join(f"{what} {max(each):.2f} s" for what, each in times.items())
    tell(f"R15: of {FROZEN} frozen containers each the longest {said}")
    assert longest < limit(5)


# --- R19


COUNTING = "i=0; while :; do echo line $i; i=$((i+1)); done"


def numbers(rig: Rig, name: str) -> list[int]:
    """Of the lines that can be read; each is whole."""
    text = rig.ask("GET", f"/containers/{name}/logs?stdout=1")
    frames = list(payloads(text if isinstance(text, bytes) else b""))
    lines = b"".join(frames).decode().splitlines()
    assert all(re.fullmatch(r"line \d+", line) for line in lines), lines[-3:]
    return [int(line.split()[1]) for line in lines]


def has_more(rig: Rig, name: str, lines: int) -> bool:
    """Than so many lines."""
    return len(numbers(rig, name)) > lines


def payloads(stream: bytes) -> Iterator[bytes]:
    """What the frames of a log's answer hold (Docker's attach format)."""
    at = 0
    while at < len(stream):
        size = int.from_bytes(stream[at + 4 : at + 8])
        yield stream[at + 8 : at + 8 + size]
        at += 8 + size


def test_a_log_whose_writer_was_killed(rig: Rig, tell: Tell) -> None:
    """Its lines are whole and in order to its end; the next run writes on behind them."""
    lines = 0
    for _ in range(LOGS):
        lines += cut_short(rig)
        rig.ask("DELETE", "/containers/writes")
    tell(
        f"R19: {LOGS * CUTS} shims killed while they logged: {lines} lines, 0 broken, 0 missing "
        "but at the end"
    )


def cut_short(rig: Rig) -> int:
    """The shim is killed in CUTS runs of one container; how many lines can be read."""
    read = 0
    rig.create("writes", "sh", "-c", COUNTING)
    for cut in range(CUTS):
        rig.ask("POST", "/containers/writes/start")
        eventually(partial(has_more, rig, "writes", read))
        os.kill(shim(rig, "writes"), 9)
        eventually(lambda: rig.status("writes") == "exited")
        found = numbers(rig, "writes")
        begins = [at for at, number in enumerate(found) if number == 0]
        assert len(begins) == cut + 1
        for begin, end in zip(begins, [*begins[1:], len(found)], strict=True):
            assert found[begin:end] == list(range(end - begin))  # only the end is lost
        read = len(found)
    return read


# --- R38


HANGS = "(setsid sleep 7719 &); sleep 7719 & sleep 7719"


def sleepers(rig: Rig) -> list[procfs.Process]:
    """The processes that probes have left."""
    found = []
    for process in rig.daemon.processes():
        try:
            with open(f"/proc/{process.pid}/cmdline", "rb") as file:
                if file.read() == b"sleep\x007719\x00":
                    found.append(process)
        except OSError:
            continue
    return found


def test_probes_that_hang(rig: Rig, tell: Tell) -> None:
    """Each is killed with all that it has started, before the next one begins."""
    check = {
        "Test": ["CMD-SHELL", HANGS],
        "Interval": 20 * MILLISECOND,
        "Timeout": 200 * MILLISECOND,
        "Retries": PROBES,
    }
    pid = rig.up("sick", *OBEDIENT, Healthcheck=check)
    most = 0

    def is_unhealthy() -> bool:
        nonlocal most
        most = max(most, len(sleepers(rig)))
        return bool((rig.state("sick") or {})["Health"]["Status"] == "unhealthy")

    eventually(is_unhealthy, 60)
    health = (rig.state("sick") or {})["Health"]
    assert health["FailingStreak"] >= PROBES
    assert len(health["Log"]) <= 5
    assert {one["ExitCode"] for one in health["Log"]} == {-1}
    assert most <= 3
    rig.ask("POST", "/containers/sick/pause")  # no further probe
    eventually(lambda: not sleepers(rig))
    rig.ask("POST", "/containers/sick/unpause")
    state = rig.state("sick") or {}
    assert (state["Status"], state["Pid"]) == ("running", pid)
    rig.ask("DELETE", "/containers/sick?force=1")
    tell(f"R38: {PROBES} probes that hang, with 3 processes each: at most {most} at once, 0 left")


def test_a_probe_that_prints_megabytes(rig: Rig, tell: Tell) -> None:
    """The daemon keeps the beginning, and no more of it in its memory."""
    prints = "head -c 33554432 /dev/zero | tr '\\0' x"
    check = {"Test": ["CMD-SHELL", prints], "Interval": 20 * MILLISECOND, "Timeout": 10**11}
    before = resident(rig.daemon.pid)
    rig.up("wordy", *OBEDIENT, Healthcheck=check)
    eventually(lambda: (rig.state("wordy") or {})["Health"]["Log"], 60)
    grown = resident(rig.daemon.pid) - before
    (first, *_) = (rig.state("wordy") or {})["Health"]["Log"]
    assert (first["ExitCode"], first["Output"]) == (0, "x" * 4096 + "...")
    rig.ask("DELETE", "/containers/wordy?force=1")
    tell(f"R38: a probe that prints 32 MiB: 4 KiB are kept, the daemon grew by {grown >> 10} KiB")
    assert grown < 16 << 20


def resident(pid: int) -> int:
    """Bytes."""
    with open(f"/proc/{pid}/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
