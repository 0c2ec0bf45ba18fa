"""R2: whatever fails, dies or takes its time at a step: nothing acknowledged is lost, nothing
half-made is seen, the step can be repeated, and nothing is left.

Each case arms one failpoint in a new daemon, does what passes it until something is refused or
the daemon dies, starts the daemon again without failpoints, and looks.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from supervisor.engine.remains import shims
from supervisor.engine.task import LOST
from supervisor.failpoints.registry import CANNOT_FAIL, POINTS
from tests.api.box import IMAGE, eventually
from tests.chaos.rig import FULL, OBEDIENT, Gone, Refused, Rig, alive

ELSEWHERE = ("network.", "pull.", "recover.", "image.", "exec.")
LIFE = [name for name in POINTS if not name.startswith(ELSEWHERE)]
IMAGES = [name for name in POINTS if name.startswith("image.")]
# Of these a repetition comes by in every shim, and a start is asked for only once in a drive.
IN_SHIMS = ("shim.", "init.")
# Transactions of a life, counted from the daemon's start: each of them is killed.
COMMITS = range(30) if FULL else (1, 4, 8)
# Deaths in a shim that no request notices: how the container ended then.
ENDS = {
    "init.execve": (137, ""),  # it is what the program will be
    "shim.record": (137, LOST),
    "shim.told": (7, ""),  # the record was there
}
# Passed at the daemon's start already, where an error means that there is none.
PASSED_AT_START = {"trash.empty": 2}
# A kill that fails is tried again by the next request only, which waits for 20 s.
SLOW = {"stop.kill"}
# Without ORLOP_CHAOS_FULL these are enough: at least one of each phase.
FEW_KILLED = [
    *("create.folders", "start.spawn", "start.cgroup"),
    *("start.launch", "shim.rootfs", "shim.cloned", "shim.started", "shim.record", "shim.told"),
    *("stop.signal", "stop.kill", "exit.acknowledge", "exit.cgroup", "rm.snapshot", "rm.forget"),
    *("volume.folder", "volume.forget", "trash.empty"),
]
FEW_FAILED = [
    "start.cgroup",
    "shim.record",
    "init.execve",
    "volume.folder",
    "trash.empty",
    "rm.forget",
]
FALLIBLE = [n for n in LIFE if n not in CANNOT_FAIL and (FULL or n not in SLOW)]
NAME = "life"
VOLUME = "life-data"


class Life:
    """One container with its volumes from the first request to the last, another one killed.

    `done` are the steps that were acknowledged, `broken` the one that was not, and why.
    """

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.done: list[str] = []
        self.broken = ""
        self.why = ""
        self.end: dict[str, Any] = {}
        volumes = {"Volumes": {"/anonymous": {}}, "HostConfig": {"Binds": [f"{VOLUME}:/data"]}}
        self.steps: dict[str, Callable[[], object]] = {
            "volume": lambda: rig.ask("POST", "/volumes/create", {"Name": VOLUME}),
            "create": lambda: rig.create(NAME, *OBEDIENT, **volumes),
            "start": lambda: rig.ask("POST", f"/containers/{NAME}/start"),
            "ready": lambda: rig.ready(NAME),
            "stop": self._stop,
            "rm": lambda: rig.ask("DELETE", f"/containers/{NAME}?v=1"),
            "volume rm": lambda: rig.ask("DELETE", f"/volumes/{VOLUME}"),
            "create the other": lambda: rig.create("other", "sleep", "1000"),
            "start the other": lambda: rig.ask("POST", "/containers/other/start"),
            "rm -f the other": lambda: rig.ask("DELETE", "/containers/other?force=1"),
        }

    def _stop(self) -> None:
        self.rig.ask("POST", f"/containers/{NAME}/stop?t=20")
        self.end = self.rig.state(NAME) or {}

    def drive(self) -> None:
        """Take the steps until one is not acknowledged."""
        for step, take in self.steps.items():
            try:
                take()
            except (Gone, Refused) as error:
                self.broken, self.why = step, str(error) or "the daemon died"
                return
            self.done.append(step)

    def retry(self) -> None:
        """Take the broken step again, and those after it: nothing fails now."""
        names = list(self.steps)
        for step in names[names.index(self.broken) :]:
            self.steps[step]()

    def look(self) -> None:
        """What was acknowledged holds, and what was not is there whole or not at all."""
        rig, broken = self.rig, self.broken
        allowed = {
            "volume": {"absent"},
            "create": {"absent", "created"},
            "start": {"created", "running", "exited"},
            "ready": {"running"},
            "stop": {"running", "exited"},
            "rm": {"exited", "dead", "absent"},
        }.get(broken, {"absent"})
        eventually(lambda: rig.status(NAME) in allowed, 30)
        state = rig.state(NAME)
        assert state is None or state["Status"] != "running" or alive(state["Pid"])
        if state is not None and ("stop" in self.done or broken == "stop"):
            eventually(lambda: (rig.state(NAME) or {}).get("Status") != "removing", 10)
            ended = rig.state(NAME) or {"Status": "absent"}
            assert ended["Status"] != "exited" or ended["ExitCode"] == 7, (ended, self.why)
        volumes = {one["Name"] for one in rig.ask("GET", "/volumes")["Volumes"] or ()}
        steps = list(self.steps)
        if "volume" in self.done and steps.index(broken) < steps.index("volume rm"):
            assert VOLUME in volumes
        kept = {f"row volume {name}" for name in volumes} | {f"file volumes/{n}" for n in volumes}
        there = {one for one in rig.remains() if one.startswith(("row volume", "file volumes"))}
        assert there == kept
        others = {"create the other": {"absent", "created"}, "volume rm": {"absent"}}
        if broken == "start the other":
            assert rig.status("other") in {"created", "running", "exited"}
        elif broken != "rm -f the other":
            assert rig.status("other") in others.get(broken, {"absent"})

    def repeat(self) -> None:
        """The broken step and all after it, whatever is there of it by now."""
        rig = self.rig
        if self.broken == "create" and rig.status(NAME) == "created":
            self.broken = "start"  # nobody was told, it is there
        if self.broken == "create the other" and rig.status("other") == "created":
            self.broken = "start the other"
        if self.broken == "rm" and rig.status(NAME) == "absent":
            self.broken = "volume rm"
        if self.broken == "rm -f the other":
            eventually(lambda: rig.status("other") != "removing", 30)
        gone = {"volume rm": VOLUME, "rm -f the other": "other"}.get(self.broken)
        names = [one["Name"] for one in rig.ask("GET", "/volumes")["Volumes"] or ()]
        if gone == VOLUME and VOLUME not in names:
            self.broken = "create the other"
        if gone == "other" and rig.status("other") == "absent":
            return
        self.retry()


def run_killed(rig: Rig, points: str, *, dies: bool) -> Life:
    """A life under `points`, then again without; what became of it."""
    life = Life(rig)
    log = len(rig.daemon.log)
    if rig.restart(points):
        life.drive()
    else:
        life.broken, life.why = "volume", "it died at its start"
    if dies:
        eventually(lambda: not rig.daemon.running)
        assert "failpoint" in rig.daemon.log[log:]
    else:
        assert rig.daemon.running
    rig.restart()
    return life


@pytest.mark.parametrize("name", LIFE if FULL else FEW_KILLED)
def test_killed(rig: Rig, name: str) -> None:
    dies = not name.startswith(IN_SHIMS)
    life = run_killed(rig, f"{name}=kill", dies=dies)
    if name in ENDS:
        assert (life.broken, life.end["ExitCode"], life.end["Error"]) == ("", *ENDS[name])
        return
    assert life.broken, "nothing passes this point"
    life.look()
    life.repeat()
    assert life.end.get("ExitCode", 7) == 7


@pytest.mark.parametrize("number", COMMITS)
def test_killed_at_a_commit(rig: Rig, number: int) -> None:
    life = Life(rig)
    for name in ("database.commit", "database.committed"):
        if rig.restart(f"{name}=kill@{number}"):
            life.drive()
        rig.restart()
        if life.broken:
            life.look()
            life.repeat()
        rig.remove_all()
        life = Life(rig)


@pytest.mark.parametrize("name", FALLIBLE if FULL else FEW_FAILED)
def test_failed_once(rig: Rig, name: str) -> None:
    assert rig.restart(f"{name}=error:ENOSPC*1@{PASSED_AT_START.get(name, 0)}")
    life = Life(rig)
    life.drive()
    assert rig.daemon.running
    if name.startswith(IN_SHIMS):
        rig.restart()  # every shim would do it
    if life.broken:
        life.look()
        life.repeat()
    rig.restart()  # what could not be removed is swept


def test_a_start_after_one_that_failed_while_its_shim_prepares(rig: Rig) -> None:
    """The first shim is slow, and what it mounted late would be below the second one's feet."""
    # Each in its process: the shim of the first container stays for the second's first start.
    assert rig.restart("shim.rootfs=delay:0.5*1@1;start.cgroup=error:ENOSPC*1@1")
    rig.box.ok("run", "--rm", IMAGE, "true")
    eventually(lambda: rig.daemon.idle_shims() > 0)
    rig.create("again", *OBEDIENT)
    with pytest.raises(Refused, match="No space left"):
        rig.ask("POST", "/containers/again/start")
    rig.ask("POST", "/containers/again/start")
    made = rig.box.inspect("again")["Id"]
    assert [one.container for one in shims(rig.daemon.data_root)] == [made]
    rig.ready("again")
    rig.ask("POST", "/containers/again/stop?t=20")
    assert (rig.state("again") or {})["ExitCode"] == 7


def test_all_take_their_time(rig: Rig) -> None:
    assert rig.restart(";".join(f"{name}=delay:0.02*2" for name in LIFE))
    life = Life(rig)
    life.drive()
    assert not life.broken, (life.broken, life.why)
    log = rig.daemon.log
    unseen = [n for n in LIFE if f"failpoint {n}: delay" not in log]
    assert [name for name in unseen if not name.startswith(IN_SHIMS)] == []


def test_no_program_runs_before_the_disk_knows(rig: Rig) -> None:
    """A start whose record is held up waits for it; the supervisor dies meanwhile."""
    rig.create("early", "sleep", "1000")
    assert rig.restart("database.commit=delay:600;start.launch=delay:0")
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(rig.ask, "POST", "/containers/early/start")
        eventually(lambda: "failpoint start.launch" in rig.daemon.log)
        rig.restart()
        with pytest.raises(Gone):
            asked.result()
    assert rig.status("early") == "created"
    rig.ask("POST", "/containers/early/start")
    assert rig.status("early") == "running"
