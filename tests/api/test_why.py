"""`orlop why`: real ends, and what holds a container up."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.box import FOREVER, IMAGE, Box, eventually, one_line
from tests.support.daemon import Daemon, running_daemon

LENGTH = 20
TIGHT = ("-m", "16m", "--memory-swap", "16m")


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """A daemon that has metrics, at a free port."""
    with running_daemon(("--metrics-addr", "127.0.0.1:0")) as daemon:
        yield daemon


def asked(box: Box, ref: str, *flags: str) -> dict[str, Any]:
    return dict(json.loads(box.ok("why", "--json", *flags, ref)))


def last(box: Box, ref: str) -> dict[str, Any]:
    """The latest run that is over."""
    return dict(asked(box, ref)["Runs"][-1])


def ended(box: Box, name: str, *flags: str, script: str) -> dict[str, Any]:
    """The same, of a new container that runs a script to its end."""
    box.orlop("run", "--name", name, *flags, IMAGE, "sh", "-c", script)
    return last(box, name)


def test_exit_codes(box: Box) -> None:
    failed = ended(box, "failed", script="echo one; echo two >&2; echo three; echo four; exit 3")
    assert failed["Why"] == "it failed: exit code 3"
    assert failed["Next"] == "not started again: it has no restart policy"
    assert sorted(failed["LastLines"]) == ["four", "three", "two"]
    assert ended(box, "done", script="exit 0")["Why"] == "it was done: exit code 0"
    text = box.ok("why", "failed")
    assert text.startswith("failed (")
    assert "run 1 ends after 0." in text
    assert "| four" in text


def test_out_of_memory(box: Box) -> None:
    greedy = ended(box, "greedy", *TIGHT, script="echo hungry; exec tail /dev/zero")
    assert greedy["OOMKilled"]
    assert greedy["MemoryLimit"] == 16 << 20
    assert 15 << 20 < greedy["MemoryPeak"] <= 16 << 20
    assert greedy["Why"].startswith("killed by the kernel, out of memory: limit 16MiB, peak 1")
    assert greedy["LastLines"] == ["hungry"]
    if os.access("/dev/kmsg", os.R_OK) and greedy["KilledByKernel"]:
        (victim,) = greedy["KilledByKernel"]
        assert victim["Command"] == "tail"
        assert (
            8 << 20 < victim["Memory"] <= 20 << 20
        )  # pages of its files are not all charged to it
    (event,) = [e for e in asked(box, "greedy")["Events"] if e["Action"] == "oom"]
    assert event["Words"].startswith("the kernel kills a process of it: out of memory: limit 16MiB")


def test_a_child_out_of_memory(box: Box) -> None:
    """The program itself went on."""
    survivor = ended(box, "survivor", *TIGHT, script="tail /dev/zero; exit 4")
    assert (survivor["OOMKilled"], survivor["OOMKills"]) == (False, 1)
    assert survivor["Why"].startswith(
        "it failed: exit code 4; the kernel had killed a process of it, out of memory: limit 16MiB"
    )


def test_signals(box: Box) -> None:
    assert "killed by SIGSEGV (segmentation fault)" in (
        ended(box, "broken", "--init", script="kill -SEGV $$")["Why"]
        + ended(box, "broken-too", "--pid", "host", script="kill -SEGV $$")["Why"]
    )
    box.start("--name", "shot")
    os.kill(box.state("shot")["Pid"], signal.SIGKILL)
    box.wait_for("shot", "exited")
    assert last(box, "shot")["Why"].startswith("killed by SIGKILL, which Orlop did not send")
    box.start("--name", "stopped")
    box.ok("stop", "-t", "0", "stopped")
    stopped = asked(box, "stopped")
    assert stopped["Runs"][-1]["Why"] == "stopped by request: SIGKILL"
    assert [e["Words"] for e in stopped["Events"]] == ["SIGKILL is sent to it by request"]


def test_a_program_that_is_not_there(box: Box) -> None:
    assert box.orlop("run", "--name", "never", IMAGE, "/no/program").returncode == 127
    never = last(box, "never")
    assert never["Why"].startswith("it could not start: ")
    assert "/no/program" in never["Why"]
    assert never["Why"].endswith("(exit code 127)")
    assert never["StartedAt"].startswith("0001-")
    assert never["LastLines"] == []


def test_what_a_restart_policy_did(box: Box) -> None:
    box.start("--name", "again", "--restart", "on-failure:2", script="echo $$ was here; exit 9")
    box.wait_for("again", "exited")
    runs = asked(box, "again")["Runs"]
    assert [run["Run"] for run in runs] == [1, 2, 3]
    assert [run["Next"] for run in runs] == [
        "the policy on-failure starts it again after 0.1 s: restart 1 of at most 2",
        "the policy on-failure starts it again after 0.2 s: restart 2 of at most 2",
        "not started again: its restarts (2) are used up",
    ]
    for run in runs:
        assert run["LastLines"] == ["1 was here"]  # its own
    assert {run["Why"] for run in runs} == {"it failed: exit code 9"}
    shown = box.ok("why", "--runs", "1", "again")
    assert "run 3 ends" in shown
    assert "run 2" not in shown
    assert "2 earlier runs are not shown" in shown


def test_a_restart_by_request(box: Box) -> None:
    box.start("--name", "turned", script="echo begun; sleep 1000")
    box.wait_for_log("turned", "begun")
    box.ok("restart", "-t", "0", "turned")
    eventually(lambda: box.logs("turned").count("begun") == 2)
    answer = asked(box, "turned")
    (run,) = answer["Runs"]
    assert run["Next"] == "started again by request"
    assert run["LastLines"] == ["begun"]  # not those of the run after it
    assert answer["State"]["Running"]


def test_the_history_is_bounded_and_outlives_the_daemon(new_box: Box) -> None:
    box = new_box
    box.ok("create", "--name", "often", *TIGHT, IMAGE, "sh", "-c", "exit 5")
    for _ in range(LENGTH + 1):
        box.ok("start", "often")
        box.wait_for("often", "exited")
    box.ok("create", "--name", "greedy", *TIGHT, IMAGE, "tail", "/dev/zero")
    box.ok("start", "greedy")
    box.wait_for("greedy", "exited")
    before = box.inspect("often")["OrlopHistory"]
    assert [run["Run"] for run in before] == list(range(2, LENGTH + 2))
    greedy = box.inspect("greedy")["OrlopHistory"]
    box.start("--name", "later", *TIGHT, script="sleep 1; exec tail /dev/zero")
    box.daemon.kill()
    box.daemon.start()
    assert box.inspect("often")["OrlopHistory"] == before
    assert box.inspect("greedy")["OrlopHistory"] == greedy
    box.wait_for("later", "exited")
    (later,) = box.inspect("later")["OrlopHistory"]
    assert later["OOMKilled"]
    assert later["MemoryLimit"] == 16 << 20


def test_an_end_while_the_daemon_was_away(new_box: Box) -> None:
    box = new_box
    box.start("--name", "greedy", *TIGHT, script="sleep 1; exec tail /dev/zero")
    pid = box.state("greedy")["Pid"]
    box.daemon.kill()
    eventually(lambda: not os.path.exists(f"/proc/{pid}"))
    box.daemon.start()
    box.wait_for("greedy", "exited")
    run = last(box, "greedy")
    assert run["OOMKilled"]
    assert run["Why"].startswith("killed by the kernel, out of memory: limit 16MiB, peak 1")


def test_why_it_is_slow(box: Box) -> None:
    box.start("--name", "busy", "--cpus", "0.1", *TIGHT, script="while :; do :; done")

    def throttled() -> bool:
        (cpu,) = (one for one in asked(box, "busy")["Now"] if one["What"] == "CPU")
        return bool(cpu["Slow"] and "of at most 0.1, throttled in" in cpu["Words"])

    eventually(throttled)
    what = {one["What"] for one in asked(box, "busy")["Now"]}
    assert {"CPU", "memory", "waiting"} <= what
    text = box.ok("why", "busy")
    assert "What it waits for" in text
    assert "running for" in text
    fields = "{{.Throttled}} {{.CPUWait}} {{.MemWait}} {{.IOWait}}"
    share, *waits = box.ok("stats", "--no-stream", "--format", fields, "busy").split()
    assert float(share.removesuffix("%")) > 50
    assert all(wait == "--" or wait.endswith("s") for wait in waits)
    assert "I/O WAIT" in box.ok("stats", "--no-stream", "--all-columns", "busy")
    box.ok("kill", "busy")
    box.start("--name", "idle")
    cpu = asked(box, "idle")["Now"][0]
    assert (cpu["Slow"], cpu["Words"]) == (False, "0.00 CPUs now, no limit")


def test_without_metrics(new_box: Box) -> None:
    new_box.ok("run", "-d", "--name", "box", IMAGE, *FOREVER)
    assert "not known: the daemon's metrics are off" in new_box.ok("why", "box")


def test_what_there_is_not(box: Box) -> None:
    refused = box.orlop("why", "nobody")
    assert refused.returncode == 1
    assert "No such container: nobody" in one_line(refused.stderr)
    wrong = box.orlop("why", "--tail", "-1", "nobody")
    assert 'invalid argument "-1" for "--tail" flag' in one_line(wrong.stderr)
