"""Files of the data root are damaged or gone: what was acknowledged is found again from others."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.api.box import eventually
from tests.chaos.rig import FULL, OBEDIENT, Rig, alive
from tests.support.copies import are_copied
from tests.support.network_storm import shim_of

Tell = Callable[[str], None]
DAMAGE: dict[str, Callable[[bytes], bytes | None]] = {
    "cut": lambda data: data[: len(data) // 2],
    "zeros": lambda data: bytes(len(data)),
    "flipped": lambda data: bytes([*data[:-9], *(b ^ 0x55 for b in data[-9:])]),
    "empty": lambda _: b"",
    "gone": lambda _: None,
}
DATABASE = ("orlop.db", "orlop.db-wal", "orlop.db*")
POLICY = {"Name": "on-failure", "MaximumRetryCount": 3}


def damage(rig: Rig, pattern: str, how: str) -> None:
    """Do it to all such files of a daemon that does not run."""
    for path in sorted(rig.daemon.data_root.glob(pattern)):
        if path.is_file() and ".corrupt" not in path.name:
            data = DAMAGE[how](path.read_bytes())
            path.unlink()
            if data is not None:
                path.write_bytes(data)


def lose(rig: Rig, pattern: str, how: str) -> None:
    """The daemon is killed, files are damaged, the next one starts."""
    eventually(lambda: are_copied(rig.daemon.data_root))
    rig.daemon.kill()
    damage(rig, pattern, how)
    rig.start()


def shown(rig: Rig, name: str) -> dict[str, Any]:
    """What a container is, and is to be."""
    seen = rig.box.inspect(name)
    kept = ("Id", "Name", "Image", "Created", "Path", "Args", "Config", "HostConfig", "Mounts")
    told = ("Status", "Pid", "ExitCode", "StartedAt", "FinishedAt", "Error", "OOMKilled")
    return {
        **{key: seen[key] for key in kept},
        **{key: seen["State"][key] for key in told},
    }


def labels_of_volumes(rig: Rig) -> dict[str, str]:
    """All volumes by name."""
    return {one["Name"]: str(one["Labels"]) for one in rig.ask("GET", "/volumes")["Volumes"]}


def tidy(rig: Rig) -> None:
    """What was set aside is no leftover."""
    for path in rig.daemon.data_root.glob("*.corrupt*"):
        path.unlink()


@pytest.mark.parametrize("which", DATABASE)
def test_containers_are_found_again_without_their_database(
    rig: Rig, tell: Tell, which: str
) -> None:
    """The one that runs, the one that has ended, the one that never ran; again and again."""
    rig.ask("POST", "/volumes/create", {"Name": "kept", "Labels": {"v": "1"}})
    pid = rig.up("runs", Labels={"a": "b"}, HostConfig={"Binds": ["kept:/v"], "PidsLimit": 99})
    rig.up("ended", "sh", "-c", "echo up; exit 7", HostConfig={"RestartPolicy": {"Name": "no"}})
    rig.ask("POST", "/containers/ended/wait")
    rig.create("made", *OBEDIENT, HostConfig={"RestartPolicy": POLICY}, Volumes={"/anonymous": {}})
    rig.ask("POST", "/containers/made/rename?name=renamed")
    names = ("runs", "ended", "renamed")
    before = {name: shown(rig, name) for name in names}
    assert (before["ended"]["ExitCode"], before["runs"]["Pid"]) == (7, pid)
    volumes = labels_of_volumes(rig)
    images = rig.ask("GET", "/images/json")
    for how in DAMAGE:
        lose(rig, which, how)
        assert {name: shown(rig, name) for name in names} == before, how
        assert alive(pid)
        # Without its latest transactions it may have more, of a moment before.
        assert labels_of_volumes(rig).items() >= volumes.items()
        assert rig.ask("GET", "/images/json") == images
    rig.ask("POST", "/containers/runs/stop?t=20")
    rig.ask("POST", "/containers/renamed/start")
    rig.ready("renamed")
    rig.ask("POST", "/containers/renamed/stop?t=20")
    assert [shown(rig, name)["ExitCode"] for name in names] == [7, 7, 7]
    tidy(rig)
    tell(
        f"R34: {which} {', '.join(DAMAGE)}: 3 of 3 containers as before, the one that runs goes on"
    )


def test_a_run_that_ended_together_with_the_database(rig: Rig) -> None:
    """Its exit record tells the end; where there is none, that it is not known."""
    command = ("sh", "-c", "echo up; read x; exit 5")
    told, lost = (rig.up(name, *command, OpenStdin=True) for name in ("told", "lost"))
    shim = shim_of(str(rig.box.inspect("lost")["Id"]))
    eventually(lambda: are_copied(rig.daemon.data_root))
    rig.daemon.kill()
    os.kill(shim, 9)
    os.kill(told, 9)
    eventually(lambda: not alive(told) and not alive(lost))
    damage(rig, "orlop.db*", "gone")
    rig.start()
    for name in ("told", "lost"):
        eventually(partial(has_ended, rig, name))
        assert shown(rig, name)["ExitCode"] == 137
    assert "shim was lost" in shown(rig, "lost")["Error"]
    assert shown(rig, "told")["Error"] == ""


OTHERS = (
    *("images/*", "networks/*", "volumes/*/*.json"),
    *("containers/*/config.json", "containers/*/records.log"),
)


@pytest.mark.parametrize("pattern", OTHERS)
def test_other_damaged_files(rig: Rig, pattern: str) -> None:
    """Nobody asks them as long as there is the database."""
    for how in DAMAGE if FULL else ("cut",):
        rig.ask("POST", "/volumes/create", {"Name": "kept", "Labels": {"a": "b"}})
        pid = rig.up("kept")
        before = shown(rig, "kept")
        rig.daemon.kill()
        damage(rig, pattern, how)
        rig.start()
        assert shown(rig, "kept") == before, how
        rig.up("new")
        rig.remove_all()
        eventually(partial(is_gone, pid))


def has_ended(rig: Rig, name: str) -> bool:
    """It is shown as exited."""
    return rig.status(name) == "exited"


def is_gone(pid: int) -> bool:
    """There is no such process any more."""
    return not alive(pid)
