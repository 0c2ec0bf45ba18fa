"""Health checks on real containers: probes, their ends, what is shown, told and done about it."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.api.box import FOREVER, IMAGE, Box, eventually, one_line
from tests.support.pace import limit

OFTEN = ("--health-interval", "100ms", "--health-retries", "1")
OK = "test -e /tmp/ok"


def health(box: Box, ref: str) -> dict[str, Any]:
    return dict(box.state(ref)["Health"])


def until(box: Box, ref: str, status: str) -> None:
    eventually(lambda: health(box, ref)["Status"] == status)


def last(box: Box, ref: str) -> dict[str, Any]:
    """The latest result, once there is one."""
    eventually(lambda: health(box, ref)["Log"])
    return dict(health(box, ref)["Log"][-1])


def names(box: Box, *flags: str) -> list[str]:
    return sorted(box.ok("ps", "--format", "{{.Names}}", *flags).split())


def actions(box: Box, ref: str) -> list[str]:
    return [event["Action"] for event in box.events(ref)]


def groups(box: Box, ref: str) -> list[Path]:
    """The groups that are in its cgroup."""
    found = Path("/sys/fs/cgroup").glob(f"**/{box.daemon.cgroup_parent}/{box.inspect(ref)['Id']}/*")
    return [path for path in found if path.is_dir()]


def processes(box: Box, command: str) -> list[str]:
    """Command lines below the daemon's warden that begin with `command`."""
    found = []
    for process in box.daemon.processes():
        with suppress(OSError):  # it has ended meanwhile
            words = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
            found.append(b" ".join(words).decode().strip())
    return [line for line in found if line.startswith(command)]


def test_from_starting_to_unhealthy(box: Box) -> None:
    patient = ("--health-start-period", "1h", "--health-start-interval", "500ms")
    box.start("--name", "hc", "--health-cmd", f"echo said; {OK}", *OFTEN, *patient)
    box.start("--name", "without")
    assert health(box, "hc") | {"Log": []} == {"Status": "starting", "FailingStreak": 0, "Log": []}
    assert "(health: starting)" in box.ok("ps", "--filter", "name=hc")
    assert "Health" not in box.state("without")
    assert names(box, "--filter", "health=none") == ["without"]
    assert names(box, "--filter", "health=starting") == ["hc"]
    box.ok("exec", "hc", "touch", "/tmp/ok")
    until(box, "hc", "healthy")
    assert "(healthy)" in box.ok("ps", "--filter", "health=healthy")
    assert (last(box, "hc")["ExitCode"], last(box, "hc")["Output"]) == (0, "said\n")
    box.ok("exec", "hc", "rm", "/tmp/ok")
    until(box, "hc", "unhealthy")
    assert "(unhealthy)" in box.ok("ps", "--filter", "health=unhealthy")
    seen = health(box, "hc")
    assert seen["FailingStreak"] >= 1
    assert last(box, "hc")["ExitCode"] == 1
    told = actions(box, "hc")
    assert [a for a in told if a.startswith("health_status")] == [
        "health_status: healthy",
        "health_status: unhealthy",
    ]
    probe = f"/bin/sh -c echo said; {OK}"
    assert told.count(f"exec_create: {probe}") == told.count(f"exec_start: {probe}") >= 2
    assert len(seen["Log"]) <= 5


def test_as_dockers_command_has_it(box: Box) -> None:
    flags = ("--health-cmd", OK, "--health-interval", "200ms", "--health-retries", "1")
    started = box.daemon.docker("run", "-d", "--name", "hc", *flags, IMAGE, *FOREVER)
    assert started.returncode == 0, started.stderr
    until(box, "hc", "unhealthy")
    listed = box.daemon.docker("ps", "--filter", "health=unhealthy").stdout
    assert "(unhealthy)" in listed
    shown = box.daemon.docker("inspect", "--format", "{{json .State.Health}}", "hc").stdout
    assert set(json.loads(shown)) == {"Status", "FailingStreak", "Log"}
    config = box.inspect("hc")["Config"]["Healthcheck"]
    assert config == {"Test": ["CMD-SHELL", OK], "Interval": 200_000_000, "Retries": 1}


def test_a_probe_is_killed_with_all_it_started(box: Box) -> None:
    script = "echo begun; (setsid sleep 4711 &); sleep 4712 & sleep 4713"
    box.start("--name", "hc", "--health-cmd", script, *OFTEN, "--health-timeout", "300ms")
    eventually(lambda: len(processes(box, "sleep 471")) >= 3)
    until(box, "hc", "unhealthy")
    result = last(box, "hc")
    assert result["ExitCode"] == -1
    assert result["Output"] == "Health check exceeded timeout (300ms): begun\n"
    box.ok("pause", "hc")  # no further probe
    eventually(lambda: processes(box, "sleep 471") == [])
    # On a busy machine some had not begun when they were killed.
    begun = sum("begun" in entry["Output"] for entry in health(box, "hc")["Log"])
    assert begun
    eventually(lambda: actions(box, "hc").count("exec_die") >= begun)
    eventually(lambda: box.inspect("hc")["ExecIDs"] is None)
    box.ok("unpause", "hc")
    box.ok("rm", "-f", "hc")


def test_what_a_probe_leaves_running_stays(box: Box) -> None:
    script = "test -e /tmp/left || { touch /tmp/left; sleep 4714 >/dev/null 2>&1 & }"
    box.start("--name", "hc", "--health-cmd", script, *OFTEN, "--health-interval", "300ms")
    until(box, "hc", "healthy")
    eventually(lambda: len(health(box, "hc")["Log"]) >= 2)
    assert len(processes(box, "sleep 4714")) == 1
    eventually(lambda: groups(box, "hc") == [])


def test_output_user_and_place(box: Box) -> None:
    box.start("--name", "long", "--health-cmd", "yes | head -c 300000; echo no >&2", *OFTEN)
    script = "id -u; pwd; echo $A; exit 3"
    flags = ("-u", "1234", "-w", "/tmp", "-e", "A=b")
    box.start("--name", "own", "--health-cmd", script, *flags, *OFTEN)
    mapped = ("--userns", "private:100000:65536", "--cgroupns", "private")
    box.start("--name", "mapped", "--health-cmd", "id -u; exit 0", *mapped, *OFTEN)
    assert (last(box, "mapped")["ExitCode"], last(box, "mapped")["Output"]) == (0, "0\n")
    assert last(box, "long")["Output"] == "y\n" * 2048 + "..."
    assert last(box, "own") | {"Start": "", "End": ""} == {
        "Start": "",
        "End": "",
        "ExitCode": 3,
        "Output": "1234\n/tmp\nb\n",
    }


def test_a_command_that_cannot_run(box: Box) -> None:
    body = {
        "Image": IMAGE,
        "Cmd": list(FOREVER),
        "Healthcheck": {"Test": ["CMD", "/no/such"], "Interval": 100_000_000, "Retries": 2},
    }
    status, made = box.daemon.request("POST", "/containers/create?name=hc", body)
    assert status == 201, made
    box.ok("start", "hc")
    until(box, "hc", "unhealthy")
    assert last(box, "hc")["ExitCode"] == -1
    assert "/no/such" in last(box, "hc")["Output"]
    assert box.inspect("hc")["ExecIDs"] is None


def test_nothing_is_probed_while_paused(box: Box) -> None:
    box.start("--name", "hc", "--health-cmd", "true", *OFTEN)
    until(box, "hc", "healthy")
    box.ok("pause", "hc")
    seen = health(box, "hc")["Log"]
    assert "(Paused)" in box.ok("ps", "-a")
    time.sleep(0.5)
    assert health(box, "hc") == {"Status": "healthy", "FailingStreak": 0, "Log": seen}
    box.ok("unpause", "hc")
    eventually(lambda: health(box, "hc")["Log"] != seen)


def test_each_run_starts_over(box: Box) -> None:
    flags = ("--health-interval", "1s", "--health-start-period", "1h", "--health-start-interval")
    box.start("--name", "hc", "--health-cmd", "true", *flags, "150ms", "--stop-timeout", "0")
    until(box, "hc", "healthy")
    before = health(box, "hc")["Log"]
    box.ok("restart", "hc")
    again = health(box, "hc")
    assert (again["Status"], again["Log"]) == ("starting", before)
    until(box, "hc", "healthy")
    box.ok("stop", "hc")
    assert health(box, "hc")["Status"] == "unhealthy"
    assert names(box, "-a", "--filter", "health=unhealthy") == ["hc"]
    assert "Exited" in box.ok("ps", "-a")


def test_the_start_period(box: Box) -> None:
    flags = ("--health-start-period", "1h", "--health-start-interval", "100ms")
    box.start("--name", "hc", "--health-cmd", OK, *OFTEN, *flags)
    eventually(lambda: len(health(box, "hc")["Log"]) >= 3)
    assert (health(box, "hc")["Status"], health(box, "hc")["FailingStreak"]) == ("starting", 0)
    box.ok("exec", "hc", "touch", "/tmp/ok")
    until(box, "hc", "healthy")


def test_what_is_done_about_it(box: Box) -> None:
    bad = ("--health-cmd", "false", *OFTEN, "--health-interval", "300ms", "--stop-timeout", "0")
    box.start("--name", "stopped", *bad, "--on-unhealthy", "stop", "--restart", "always")
    box.start("--name", "killed", *bad, "--on-unhealthy", "kill")
    box.start("--name", "policy", *bad, "--on-unhealthy", "kill", "--restart", "on-failure:1")
    box.start("--name", "again", *bad, "--on-unhealthy", "restart")
    first = box.state("again")["Pid"]
    box.start("--name", "kept", *bad)
    eventually(lambda: box.state("again")["Pid"] not in (0, first))
    for ref in ("stopped", "killed", "policy"):
        box.wait_for(ref, "exited")
        assert box.state(ref)["ExitCode"] == 137
    assert box.inspect("policy")["RestartCount"] == 1
    assert box.inspect("again")["HostConfig"]["OrlopOnUnhealthy"] == "restart"
    until(box, "kept", "unhealthy")
    assert box.status("kept") == "running"


def test_an_image_has_one(box: Box) -> None:
    box.start("--name", "of", "--health-cmd", "echo image", *OFTEN)
    box.ok("commit", "--pause=false", "of", "checked")
    try:
        box.ok("run", "-d", "--name", "as-is", "checked", *FOREVER)
        box.ok("run", "-d", "--name", "other", "--health-cmd", "echo mine", "checked", *FOREVER)
        box.ok("run", "-d", "--name", "off", "--no-healthcheck", "checked", *FOREVER)
        assert last(box, "as-is")["Output"] == "image\n"
        assert last(box, "other")["Output"] == "mine\n"
        assert box.inspect("other")["Config"]["Healthcheck"]["Interval"] == 100_000_000
        assert "Health" not in box.state("off")
        assert box.inspect("off")["Config"]["Healthcheck"]["Test"] == ["NONE"]
    finally:
        box.remove_all()
        box.ok("rmi", "checked")


@pytest.mark.parametrize(
    "flags, words",
    [
        (("--health-cmd", "x", "--health-interval", "1us"), "cannot be less than 1ms"),
        (("--health-cmd", "x", "--health-retries", "-1"), "--health-retries cannot be negative"),
        (("--health-cmd", "x", "--no-healthcheck"), "--no-healthcheck conflicts with --health-"),
        (("--on-unhealthy", "kill"), "needs a health check"),
    ],
)
def test_what_is_refused(box: Box, flags: tuple[str, ...], words: str) -> None:
    done = box.orlop("create", *flags, IMAGE)
    assert done.returncode != 0
    assert words in done.stderr.splitlines()[0]
    assert box.ids() == []


def recorded(box: Box) -> bytes:
    """What the daemon's database has of all containers."""
    path = f"file:{box.daemon.data_root}/orlop.db?mode=ro"
    with closing(sqlite3.connect(path, uri=True)) as database:
        return b"".join(doc for (doc,) in database.execute("SELECT doc FROM records"))


def test_a_restarted_daemon_goes_on(new_box: Box) -> None:
    box = new_box
    box.start("--name", "hc", "--health-cmd", "true", *OFTEN)
    hangs = "sleep 4715 & sleep 4716"
    box.start("--name", "hangs", "--health-cmd", hangs, "--health-interval", "200ms")
    box.start("--name", "ended", "--health-cmd", "true", *OFTEN)
    until(box, "hc", "healthy")
    until(box, "ended", "healthy")
    eventually(lambda: len(processes(box, "sleep 471")) >= 2)
    eventually(lambda: recorded(box).count(b'"healthy"') == 2)  # a moment after it is seen
    box.ok("kill", "ended")
    before = health(box, "hc")["Log"]
    box.daemon.kill()
    assert len(processes(box, "sleep 4716")) == 1
    box.daemon.start()
    until(box, "hc", "healthy")
    assert health(box, "hc")["Log"] != before
    assert health(box, "ended")["Status"] == "unhealthy"
    # The probe that nobody waits for any more is gone before the next one begins.
    eventually(lambda: any(a.startswith("exec_start") for a in actions(box, "hangs")))
    deadline = time.monotonic() + limit(1.0)
    while time.monotonic() < deadline:
        assert len(processes(box, "sleep 4716")) <= 1
        time.sleep(0.05)
    assert one_line(box.ok("rm", "-f", "hangs")) == "hangs"
    eventually(lambda: processes(box, "sleep 471") == [])
