"""R2: whatever fails, dies or takes its time at a step: nothing acknowledged is lost, nothing
half-made is seen, the step can be repeated, and nothing is left.

Each case arms one failpoint in a new daemon, does what passes it until something is refused or
the daemon dies, starts the daemon again without failpoints, and looks.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from supervisor.failpoints.registry import CANNOT_FAIL, POINTS
from tests.api.box import eventually
from tests.chaos.rig import FULL, OBEDIENT, Gone, Refused, Rig, alive
from tests.support import image_tars as made

ELSEWHERE = ("network.", "pull.", "recover.", "image.")
LIFE = [name for name in POINTS if not name.startswith(ELSEWHERE)]
IMAGES = [name for name in POINTS if name.startswith("image.")]
# Of these a repetition comes by in every shim, and a start is asked for only once in a drive.
IN_SHIMS = ("shim.", "init.")
# Transactions of a life, counted from the daemon's start: each of them is killed.
COMMITS = range(1, 24) if FULL else (1, 2, 3, 5, 8, 13)
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
        volumes = {"Volumes": {"/anonymous": {}}, "HostConfig": {"Binds": [f"{VOLUME}:/data"]}}
        self.steps: dict[str, Callable[[], object]] = {
            "volume": lambda: rig.ask("POST", "/volumes/create", {"Name": VOLUME}),
            "create": lambda: rig.create(NAME, *OBEDIENT, **volumes),
            "start": lambda: rig.ask("POST", f"/containers/{NAME}/start"),
            "ready": lambda: rig.ready(NAME),
            "stop": lambda: rig.ask("POST", f"/containers/{NAME}/stop?t=20"),
            "rm": lambda: rig.ask("DELETE", f"/containers/{NAME}?v=1"),
            "volume rm": lambda: rig.ask("DELETE", f"/volumes/{VOLUME}"),
            "create the other": lambda: rig.create("other", "sleep", "1000"),
            "start the other": lambda: rig.ask("POST", "/containers/other/start"),
            "rm -f the other": lambda: rig.ask("DELETE", "/containers/other?force=1"),
        }

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


@pytest.mark.parametrize("name", LIFE)
def test_killed(rig: Rig, name: str) -> None:
    dies = not name.startswith(IN_SHIMS)
    life = run_killed(rig, f"{name}=kill", dies=dies)
    if name == "shim.record":
        assert_lost_end(life)
        return
    if name == "shim.told":  # the record was there: nobody need notice
        assert not life.broken, life.why
        return
    assert life.broken, "nothing passes this point"
    life.look()
    life.repeat()


def assert_lost_end(life: Life) -> None:
    """A shim that dies before its record takes the status with it, and that is said."""
    assert not life.broken, life.why
    log = life.rig.daemon.log
    assert "orlop" in log


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


@pytest.mark.parametrize("name", [n for n in LIFE if n not in CANNOT_FAIL])
def test_failed_once(rig: Rig, name: str) -> None:
    skipped = "@2" if name == "trash.empty" else ""
    assert rig.restart(f"{name}=error:ENOSPC*1{skipped}")
    life = Life(rig)
    life.drive()
    assert rig.daemon.running
    if name.startswith(IN_SHIMS):
        rig.restart()  # every shim would do it
    if life.broken:
        life.look()
        life.repeat()
    rig.restart()  # what could not be removed is swept


def test_all_take_their_time(rig: Rig) -> None:
    assert rig.restart(";".join(f"{name}=delay:0.02*2" for name in LIFE))
    life = Life(rig)
    life.drive()
    assert not life.broken, (life.broken, life.why)
    log = rig.daemon.log
    unseen = [n for n in LIFE if f"failpoint {n}: delay" not in log]
    assert [name for name in unseen if not name.startswith(IN_SHIMS)] == []
