"""What programs do with processes: end at once, leave zombies, hide, keep what is not theirs."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from tests.api.box import eventually
from tests.chaos.listening import listening
from tests.chaos.rig import FULL, OBEDIENT, Rig, alive, seconds_since
from tests.support import leaks, procfs
from tests.support.network_storm import shim_of
from tests.support.pace import limit

Tell = Callable[[str], None]
CLIENTS = 4
CONTAINERS = 5000 if FULL else 40
EXECS = 5000 if FULL else 160
ORPHANS = 5000 if FULL else 300


def exec_code(rig: Rig, container: str, *command: str) -> int:
    """The exit code of a process that is run in it, once its stream has ended."""
    body = {"Cmd": command, "AttachStdout": True, "AttachStderr": True}
    made = rig.ask("POST", f"/containers/{container}/exec", body)["Id"]
    rig.ask("POST", f"/exec/{made}/start", {"Detach": False})
    return int(rig.ask("GET", f"/exec/{made}/json")["ExitCode"])


def test_programs_that_end_at_once(rig: Rig, tell: Tell) -> None:
    """Each code is told to whoever waits, and in the events, which are in order."""
    codes: dict[str, int] = {}

    def container(number: int) -> None:
        code = number % 256
        body = {"Image": "box", "Cmd": ["sh", "-c", f"exit {code}"]}
        made = rig.ask("POST", "/containers/create", body)["Id"]
        codes[made] = code
        rig.ask("POST", f"/containers/{made}/start")
        assert rig.ask("POST", f"/containers/{made}/wait")["StatusCode"] == code
        state = rig.state(made) or {}
        assert state["StartedAt"] <= state["FinishedAt"], state
        rig.ask("DELETE", f"/containers/{made}")

    def process(number: int) -> None:
        code = number % 256
        assert exec_code(rig, f"of-{number % CLIENTS}", "sh", "-c", f"exit {code}") == code

    for number in range(CLIENTS):
        rig.up(f"of-{number}")
    began = time.monotonic()
    told: dict[str, list[str]] = defaultdict(list)
    with (
        listening(rig, lambda made, action: told[made].append(action), codes=True),
        ThreadPoolExecutor(CLIENTS) as pool,
    ):
        list(pool.map(container, range(CONTAINERS)))
        list(pool.map(process, range(EXECS)))
        eventually(lambda: all(told[made][-1:] == ["destroy"] for made in codes), 30)
    for made, code in codes.items():
        assert told[made] == ["create", "start", f"die{code}", "destroy"]
    tell(
        f"R21: {CONTAINERS} containers and {EXECS} execs that end at once: all codes right, all "
        f"events in order, {(CONTAINERS + EXECS) / seconds_since(began):.0f} a second"
    )


def has_no_zombies(pid: int) -> bool:
    """Nor has any process below it."""
    return not [one for one in procfs.descendants(pid) if one.zombie]


def all_are_gone(pids: list[int]) -> bool:
    """There is none of these processes any more."""
    return not [pid for pid in pids if alive(pid)]


def test_a_storm_of_zombies(rig: Rig, tell: Tell) -> None:
    """Orphans by the hundred, in the container's own pid namespace and in the host's."""
    orphans = f"n=0; while [ $n -lt {ORPHANS} ]; do (true &) ; n=$((n+1)); done; echo up; "
    stay = "while :; do sleep 1000 & wait $!; done"
    # One has an init of its own that reaps; the orphans of the other are its shim's.
    for name, config in (("init", {"Init": True}), ("host", {"PidMode": "host"})):
        rig.up(name, "sh", "-c", orphans + stay, HostConfig=config)
        shim = shim_of(str(rig.box.inspect(name)["Id"]))
        eventually(partial(has_no_zombies, shim))
        assert len(procfs.descendants(shim)) <= 3
        rig.ask("DELETE", f"/containers/{name}?force=1")
    eventually(partial(has_no_zombies, rig.daemon.warden.pid))
    tell(f"R22: 2 × {ORPHANS} orphans that end: 0 zombies")


# Everything that gets away from a signal to the first process's group or session.
HIDERS = """
trap '' TERM HUP INT
(setsid sh -c 'trap "" TERM HUP; sleep 4711' &)
(setsid sh -c '(setsid sh -c "trap \\"\\" TERM HUP; sleep 4712" &)' &)
sh -c 'sleep 4713 & sleep 4714 &' &
if [ -w /sys/fs/cgroup ]; then
  for at in /sys/fs/cgroup /sys/fs/cgroup/unified; do
    mkdir -p $at/inner/most 2>/dev/null && echo $$ >$at/inner/most/cgroup.procs 2>/dev/null
  done
fi
sleep 4715 &
echo up
while :; do sleep 1000 & wait $!; done
"""


def test_what_hides_from_a_stop(rig: Rig, tell: Tell) -> None:
    """Own sessions, double forks, groups of their own making: a stop ends them all."""
    for name, config in (("plain", {}), ("privileged", {"Privileged": True})):
        rig.up(name, "sh", "-c", HIDERS, HostConfig=config)
        shim = shim_of(str(rig.box.inspect(name)["Id"]))
        eventually(partial(all_are_hidden, shim))
        group = str(rig.box.inspect(name)["Id"])
        inner = [folder for folder in groups(rig, group) if folder.endswith("/inner/most")]
        assert bool(inner) == bool(config)
        inside = [one.pid for one in procfs.descendants(shim)]
        rig.ask("POST", f"/containers/{name}/stop?t=0")
        eventually(partial(all_are_gone, inside))
        eventually(partial(has_no_groups, rig, group))
        rig.ask("DELETE", f"/containers/{name}")
    tell("R23: sessions, double forks and groups of their own: 0 processes, 0 groups after a stop")


def groups(rig: Rig, container: str) -> list[str]:
    """Its cgroups, in all hierarchies, and those in them."""
    return [one for one in leaks.cgroups(rig.daemon.cgroup_parent) if container in one]


def has_no_groups(rig: Rig, container: str) -> bool:
    """They are gone."""
    return not groups(rig, container)


def all_are_hidden(below: int) -> bool:
    """Each of HIDERS' sleeps runs there."""
    found = set()
    for one in procfs.descendants(below):
        words = Path(f"/proc/{one.pid}/cmdline").read_bytes().split(b"\0")
        if words[:1] == [b"sleep"]:
            found.add(int(words[1]))
    return found >= {4711, 4712, 4713, 4714, 4715}


def test_a_grandchild_keeps_an_execs_output(rig: Rig, tell: Tell) -> None:
    """The exec ends with its process, and its stream soon after."""
    rig.up("holder", *OBEDIENT)
    body: dict[str, Any] = {
        "Cmd": ["sh", "-c", "(sleep 4716 &); echo out; exit 3"],
        "AttachStdout": True,
        "AttachStderr": True,
    }
    made = rig.ask("POST", "/containers/holder/exec", body)["Id"]
    began = time.monotonic()
    output = rig.ask("POST", f"/exec/{made}/start", {"Detach": False})
    took = seconds_since(began)
    assert output.endswith(b"out\n")
    seen = rig.ask("GET", f"/exec/{made}/json")
    assert (seen["ExitCode"], seen["Running"]) == (3, False)
    left = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if sleeps(pid)]
    assert left, "the grandchild goes on"
    assert took < limit(4)
    rig.ask("POST", "/containers/holder/stop?t=20")
    eventually(partial(all_are_gone, left))
    tell(f"R24: an exec whose grandchild keeps its output ends after {took:.2f} s with its code")


def sleeps(pid: int) -> bool:
    """It is that grandchild."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x004716\x00"
    except OSError:
        return False
