"""`orlop why`: its sentences, the kernel's log, and what is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from supervisor.cli.kernel_log import Victim, find, victims
from supervisor.cli.why_words import ending, following, happening, slowness
from tests.unit.cli.conftest import Orlop
from tests.unit.cli.fake_daemon import Exchange, FakeDaemon

ID = "c" * 64
MIB = 1 << 20
NEVER = "0001-01-01T00:00:00Z"
CHOSEN = (
    "3,{0},{1},-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset={2},mems_allowed=0,"
    "oom_memcg=/orlop/{2},task_memcg=/orlop/{2},task=tail -f,pid={3},uid=0"
)
KILLED = (
    "3,{0},{1},-;Memory cgroup out of memory: Killed process {2} (tail -f) total-vm:18296kB, "
    "anon-rss:16128kB, file-rss:1776kB, shmem-rss:256kB, UID:0 pgtables:72kB oom_score_adj:0"
)


def run(reason: str, code: int = 0, /, **fields: Any) -> dict[str, Any]:
    """An entry of OrlopHistory."""
    return {
        "Run": 1,
        "Reason": reason,
        "ExitCode": code,
        "Signal": 0,
        "OOMKilled": reason == "oom_killed",
        "OOMKills": 0,
        "MemoryLimit": 0,
        "MemoryPeak": 0,
        "Killed": False,
        "StartedAt": "2026-11-21T12:00:00Z",
        "FinishedAt": "2026-11-21T12:00:02.5Z",
        "Error": "",
        "FollowedBy": "",
        "RestartDelay": 0.0,
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "RestartCount": 0,
        **fields,
    }


OOM = {"OOMKills": 1, "MemoryLimit": 16 * MIB, "MemoryPeak": 15 * MIB}


@pytest.mark.parametrize(
    "past,words",
    [
        (run("completed"), "it was done: exit code 0"),
        (run("error", 3), "it failed: exit code 3"),
        (run("error", 126), "it failed: exit code 126, as of a program that is not executable"),
        (run("error", 127), "it failed: exit code 127, as of a program that is not there"),
        (run("error", 139), ("it failed: exit code 139, as of a process that SIGSEGV"
         " (segmentation fault) killed")),
        (run("error", 255), "it failed: exit code 255"),
        (run("signal", 134, Signal=6), "killed by SIGABRT (abort)"),
        (run("signal", 137, Signal=9), ("killed by SIGKILL, which Orlop did not send: somebody on"
         " the host, or the host is out of memory")),
        (run("stopped", 143, Signal=15), "stopped by request: SIGTERM, which it did not outlive"),
        (run("stopped", 137, Signal=9, Killed=True), "stopped by request: SIGKILL"),
        (run("stopped", 0), "stopped by request: exit code 0"),
        (run("health", 137, Signal=9), "ended as its health check failed: SIGKILL"),
        (run("start_failed", 127, Error='exec: "/no\x1b[2J": no'),
         'it could not start: exec: "/no\\x1b[2J": no (exit code 127)'),
        (run("lost", 137, Error="the shim died"), "how it ended is not known: the shim died"),
        (run("oom_killed", 137, Signal=9, **OOM),
         "killed by the kernel, out of memory: limit 16MiB, peak 15MiB"),
        (run("oom_killed", 137, Signal=9), "killed by the kernel, out of memory"),
        (run("error", 1, **OOM), ("it failed: exit code 1; the kernel had killed a process of it,"
         " out of memory: limit 16MiB, peak 15MiB")),
        (run("error", 1, OOMKills=3),
         "it failed: exit code 1; the kernel had killed 3 processes of it, out of memory"),
    ],
)  # fmt: skip
def test_why_a_run_ended(past: dict[str, Any], words: str) -> None:
    assert ending(past, []) == words


def test_the_biggest_victim_is_named() -> None:
    taken = [Victim(7, "small", 1 * MIB, 0), Victim(8, "big\n", 14 * MIB, 0)]
    assert ending(run("oom_killed", 137, **OOM), taken).endswith("it took big\\n with 14MiB")


def policy(name: str, most: int = 0) -> dict[str, Any]:
    return {"RestartPolicy": {"Name": name, "MaximumRetryCount": most}}


@pytest.mark.parametrize(
    "past,words",
    [
        (run("error", 1), "not started again: it has no restart policy"),
        (run("error", 1, FollowedBy="request"), "started again by request"),
        (run("error", 1, FollowedBy="policy", RestartDelay=0.4, RestartCount=2, **policy("always")),
         "the policy always starts it again after 0.4 s: restart 3"),
        (run("error", 1, FollowedBy="policy", RestartDelay=60.0, **policy("on-failure", 4)),
         "the policy on-failure starts it again after 60 s: restart 1 of at most 4"),
        (run("stopped", 0, **policy("unless-stopped")),
         "not started again by the policy unless-stopped: it was stopped by request"),
        (run("completed", 0, **policy("on-failure")),
         "not started again: the policy on-failure restarts only failures"),
        (run("error", 1, RestartCount=2, **policy("on-failure", 2)),
         "not started again: its restarts (2) are used up"),
        (run("start_failed", 127, **policy("always")),
         "not started again: the policy always repeats no first start that fails"),
    ],
)  # fmt: skip
def test_why_another_run_followed_or_none(past: dict[str, Any], words: str) -> None:
    assert following(past) == words


def test_events() -> None:
    assert happening("kill", {"signal": "15"}) == "SIGTERM is sent to it by request"
    limits = {"memoryLimit": str(16 * MIB), "memoryPeak": str(16 * MIB)}
    assert happening("oom", limits).endswith("out of memory: limit 16MiB, peak 16MiB")
    assert happening("oom", {}) == "the kernel kills a process of it: out of memory"
    assert happening("health_status: unhealthy", {}) == "its health check says unhealthy"
    assert happening("pause", {}) == "paused"
    assert happening("exec_start: ls", {}) == ""


def stats(seconds: int, used: float, throttled: int = 0, **more: Any) -> dict[str, Any]:
    cpu = {
        "cpu_usage": {"total_usage": int(used * 1e9)},
        "throttling_data": {
            "periods": seconds * 10,
            "throttled_periods": throttled,
            "throttled_time": throttled * 50_000_000,
        },
    }
    return {"taken_ns": seconds * 1_000_000_000, "cpu_stats": cpu, **more}


def limited(**host: int) -> dict[str, Any]:
    return {"HostConfig": {"NanoCpus": 0, "CpuQuota": 0, "CpuPeriod": 0, **host}}


def test_what_holds_it_up() -> None:
    before = stats(10, 5.0, 2, orlop_pressure={"cpu_some": 10**9, "io_some": 0, "memory_some": 0})
    after = stats(
        12,
        6.0,
        12,
        memory_stats={"usage": 60 * MIB, "limit": 64 * MIB, "failcnt": 7},
        pids_stats={"current": 95, "limit": 100},
        orlop_pressure={"cpu_some": 2 * 10**9, "io_some": 10**8, "memory_some": 0},
    )
    rows = list(slowness(before, after, limited(NanoCpus=500_000_000)))
    assert rows == [
        ("CPU", ("0.50 CPUs now of at most 0.5, throttled in 50% of its periods now,"
         " 0.6 s since its start"), True),
        ("memory", "60MiB of at most 64MiB, the limit was reached 7 times", True),
        ("processes", "95 of at most 100", True),
        ("waiting", "for CPU 50% of the time now, 2.0 s since its start", True),
        ("waiting", "for memory 0% of the time now, 0.0 s since its start", False),
        ("waiting", "for disks 5% of the time now, 0.1 s since its start", False),
    ]  # fmt: skip


def test_what_a_kernel_does_not_tell() -> None:
    before = stats(10, 5.0)
    after = stats(11, 5.0, pids_stats={"current": 1, "limit": (1 << 64) - 1})
    rows = list(slowness(before, after, limited(CpuQuota=20_000, CpuPeriod=10_000)))
    assert rows == [
        ("CPU", ("0.00 CPUs now of at most 2, throttled in 0% of its periods now,"
         " 0.0 s since its start"), False),
        ("waiting", "not known: this host's kernel does not tell (PSI)", False),
    ]  # fmt: skip


def test_victims_are_found_in_the_kernels_log(tmp_path: Path) -> None:
    other = "d" * 64
    records = [
        CHOSEN.format(1, 100, other, 6),
        KILLED.format(2, 101, 6),
        CHOSEN.format(3, 200, ID, 7),
        " SUBSYSTEM=none",
        KILLED.format(4, 201, 8),  # somebody else's, in between
        KILLED.format(5, 202, 7),
        KILLED.format(6, 203, 7),
    ]
    assert find(ID, records) == [Victim(7, "tail -f", (16128 + 256) * 1024, 202)]
    assert victims(ID, str(tmp_path / "none")) == []


VIEW = {
    "Id": ID,
    "Name": "/web",
    "Created": "2026-11-21T12:00:00Z",
    "Config": {"Image": "box"},
    "State": {"Status": "exited", "Running": False, "Pid": 0, "StartedAt": NEVER},
    "RestartCount": 0,
    "OrlopHistory": [run("completed"), run("error", 3, Run=2, FinishedAt="2026-11-21T12:00:03Z")],
}


def logged(exchange: Exchange) -> None:
    exchange.begin(200, content_type="application/vnd.docker.raw-stream")
    exchange.piece(b"one\ntw")
    exchange.piece(b"o\nthree\r\n\x1b[2Jfour")
    exchange.end()


def test_the_time_line(daemon: FakeDaemon, orlop: Orlop, capfd: pytest.CaptureFixture[str]) -> None:
    daemon.on_json("GET", "/containers/web/json", VIEW)
    daemon.on("GET", f"/containers/{ID}/logs", logged)
    daemon.on_json("GET", "/events", None)
    assert orlop("why", "--runs", "1", "--tail", "2", "web") == 0
    shown = capfd.readouterr().out
    assert "web (cccccccccccc), of box: exited\n1 earlier runs are not shown (--runs)\n" in shown
    assert "run 2 ends after 3.0 s: it failed: exit code 3\n" in shown
    assert shown.index("| three\n") < shown.index("| \\x1b[2Jfour\n")
    assert "two" not in shown
    assert "run 1" not in shown
    (asked,) = [r for r in daemon.requests if r.path.endswith("/logs")]
    assert asked.query["since"] == "1795262402.510000000"  # not what run 1 had logged
    assert orlop("why", "--json", "web") == 0
    answer = json.loads(capfd.readouterr().out)
    assert [one["Why"] for one in answer["Runs"]] == [
        "it was done: exit code 0",
        "it failed: exit code 3",
    ]
    assert answer["Runs"][1]["LastLines"] == ["two", "three", "\x1b[2Jfour"]
    assert answer["Now"] == []
