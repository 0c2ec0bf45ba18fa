"""Create, start, wait, stop, kill, pause, rename, restart, remove: each state and its words."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.api.box import FOREVER, IMAGE, Box, eventually
from tests.support.pace import limit

TRAP = "trap 'echo bye; exit 7' TERM USR1; echo up; while :; do sleep 0.05; done"
DEAF = "trap '' TERM; echo up; while :; do sleep 0.05; done"


def test_created_waits_and_start_runs_it(box: Box) -> None:
    identity = box.ok("create", "--name", "made", IMAGE, "sh", "-c", "echo ran; exit 3")
    assert box.status("made") == "created"
    assert box.state("made")["Pid"] == 0
    assert box.logs("made") == ""
    assert box.ok("start", "made") == "made"
    assert box.ok("wait", identity) == "3"
    assert box.logs("made") == "ran\n"
    assert box.status("made") == "exited"


def test_start_attached_gives_output_and_status(box: Box) -> None:
    box.ok("create", "--name", "made", "-i", IMAGE, "sh", "-c", "cat; exit 6")
    done = box.orlop("start", "-a", "-i", "made", input="to it\n")
    assert (done.returncode, done.stdout) == (6, "to it\n")


def test_start_of_one_that_runs_changes_nothing(box: Box) -> None:
    box.start("--name", "on")
    pid = box.state("on")["Pid"]
    box.ok("start", "on")
    assert box.state("on")["Pid"] == pid


def test_wait_before_the_end_and_after(box: Box) -> None:
    box.start("--name", "later", script="sleep 0.4; exit 5")
    with box.running("wait", "later") as waiting:
        out, _ = waiting.communicate(timeout=60)
    assert out == b"5\n"
    assert box.ok("wait", "later") == "5"


def test_stop_gives_the_process_its_grace(box: Box) -> None:
    box.start("--name", "polite", script=TRAP)
    box.wait_for_log("polite", "up")
    assert box.ok("stop", "polite") == "polite"
    assert box.logs("polite") == "up\nbye\n"
    assert box.state("polite")["ExitCode"] == 7


def test_stop_kills_after_the_grace(box: Box) -> None:
    box.start("--name", "deaf", script=DEAF)
    box.wait_for_log("deaf", "up")
    before = time.monotonic()
    box.ok("stop", "-t", "1", "deaf")
    assert 0.9 < time.monotonic() - before < limit(5)
    state = box.state("deaf")
    assert (state["ExitCode"], state["OOMKilled"]) == (137, False)


def test_stop_with_the_containers_own_signal(box: Box) -> None:
    box.start("--name", "other", "--stop-signal", "USR1", script=TRAP)
    box.wait_for_log("other", "up")
    box.ok("stop", "other")
    assert box.state("other")["ExitCode"] == 7


@pytest.mark.parametrize("word", ["USR1", "SIGUSR1", "10"])
def test_kill_with_a_signal(box: Box, word: str) -> None:
    box.start("--name", "target", script=TRAP)
    box.wait_for_log("target", "up")
    box.ok("kill", "-s", word, "target")
    assert box.ok("wait", "target") == "7"


def test_kill_ends_it_with_137(box: Box) -> None:
    box.start("--name", "target", script=DEAF)
    box.ok("kill", "target")
    assert box.ok("wait", "target") == "137"
    done = box.orlop("kill", "target")
    assert done.returncode == 1
    assert "not running" in done.stderr


def test_pause_stops_time_for_it(box: Box) -> None:
    box.start("--name", "counter", script="while :; do echo x; sleep 0.02; done")
    box.wait_for_log("counter", "x")
    box.ok("pause", "counter")
    assert box.status("counter") == "paused"
    before = box.logs("counter")
    time.sleep(0.3)
    assert box.logs("counter") == before
    assert "(Paused)" in box.ok("ps", "--format", "{{.Status}}")
    assert box.orlop("exec", "counter", "true").returncode == 1
    box.ok("unpause", "counter")
    eventually(lambda: len(box.logs("counter")) > len(before))


def test_stop_and_rm_of_a_paused_one(box: Box) -> None:
    for name in ("one", "two"):
        box.start("--name", name)
        box.ok("pause", name)
    box.ok("stop", "-t", "1", "one")
    assert box.status("one") == "exited"
    box.ok("rm", "-f", "two")
    assert len(box.ids()) == 1


def test_rename(box: Box) -> None:
    identity = box.start("--name", "before")
    box.start("--name", "other")
    box.ok("rename", "before", "after")
    assert box.inspect("after")["Id"] == identity
    assert box.orlop("inspect", "before").returncode == 1
    assert box.orlop("rename", "after", "other").returncode == 1
    box.ok("rm", "-f", "after")
    box.start("--name", "before")
    box.start("--name", "after")


def test_rm_needs_force_while_it_runs(box: Box) -> None:
    box.start("--name", "busy")
    done = box.orlop("rm", "busy")
    assert done.returncode == 1
    assert box.status("busy") == "running"
    box.ok("rm", "-f", "busy")
    assert box.ids() == []


def test_restart_command(box: Box) -> None:
    box.start("--name", "again", script=TRAP)
    box.wait_for_log("again", "up")
    pid = box.state("again")["Pid"]
    box.ok("restart", "again")
    assert box.state("again")["Pid"] not in {0, pid}
    box.wait_for_log("again", "up\nbye\nup\n")


def test_policy_on_failure_gives_up_in_the_end(box: Box) -> None:
    box.start("--name", "bad", "--restart", "on-failure:2", script="echo try; exit 1")
    eventually(lambda: box.status("bad") == "exited" and box.inspect("bad")["RestartCount"] == 2)
    assert box.logs("bad") == "try\n" * 3


def test_policy_on_failure_is_content_with_success(box: Box) -> None:
    box.start("--name", "good", "--restart", "on-failure", script="exit 0")
    box.wait_for("good", "exited")
    assert box.inspect("good")["RestartCount"] == 0


def test_policy_always_until_it_is_stopped(box: Box) -> None:
    box.start("--name", "ever", "--restart", "always", script="echo run; sleep 0.1")
    box.wait_for_log("ever", "run\nrun\n")
    box.ok("stop", "-t", "0", "ever")
    time.sleep(0.5)
    assert box.status("ever") == "exited"


def test_of_many_with_one_name_one_wins(box: Box) -> None:
    with ThreadPoolExecutor(8) as pool:
        statuses = list(
            pool.map(
                lambda _: box.daemon.request(
                    "POST", "/containers/create?name=only", {"Image": IMAGE, "Cmd": ["true"]}
                )[0],
                range(8),
            )
        )
    assert sorted(statuses) == [201] + [409] * 7
    assert len(box.ids()) == 1


def test_many_starts_of_one_start_it_once(box: Box) -> None:
    identity = box.ok("create", IMAGE, *FOREVER)
    path = f"/containers/{identity}/start"
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: box.daemon.request("POST", path)[0], range(8)))
    assert statuses.count(204) == 1
    assert statuses.count(304) == 7
    assert box.ok("top", identity).count("sleep") == 1
    assert [e["Action"] for e in box.events(identity)].count("start") == 1


def test_stop_kill_and_rm_at_once(box: Box) -> None:
    for _ in range(5):
        identity = box.start()
        with ThreadPoolExecutor(3) as pool:
            jobs = [
                pool.submit(box.daemon.request, "POST", f"/containers/{identity}/stop?t=1"),
                pool.submit(box.daemon.request, "POST", f"/containers/{identity}/kill"),
                pool.submit(box.daemon.request, "DELETE", f"/containers/{identity}?force=1"),
            ]
        assert all(job.result()[0] < 500 for job in jobs), [job.result() for job in jobs]
        eventually(lambda: not box.ids())
