"""A container's everyday: stop, kill, pause, restart, rename, update, logs, top, events."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.api.box import IMAGE, Box, eventually
from tests.support import procfs
from tests.support.pace import limit


def test_stop_sends_the_signal_and_keeps_the_code(box: Box) -> None:
    it = box.start(script="trap 'exit 42' TERM; echo up; while :; do sleep 0.05; done")
    box.wait_for_log(it, "up")
    assert box.ok("stop", it) == it
    assert box.state(it)["ExitCode"] == 42


def test_stop_kills_after_its_grace(box: Box) -> None:
    it = box.start(script="trap '' TERM; echo up; while :; do sleep 0.05; done")
    box.wait_for_log(it, "up")
    begin = time.monotonic()
    box.ok("stop", "-t", "1", it)
    assert 0.9 < time.monotonic() - begin < limit(3)
    assert box.state(it)["ExitCode"] == 137


def test_stop_signal_of_the_container(box: Box) -> None:
    it = box.start(
        *("--stop-signal", "USR1"),
        script="trap 'exit 7' USR1; echo up; while :; do sleep 0.05; done",
    )
    box.wait_for_log(it, "up")
    box.ok("stop", it)
    assert box.state(it)["ExitCode"] == 7


def test_kill_sends_any_signal(box: Box) -> None:
    it = box.start(script="trap 'echo got' HUP; echo up; while :; do sleep 0.05; done")
    box.wait_for_log(it, "up")
    box.ok("kill", "-s", "HUP", it)
    box.wait_for_log(it, "got")
    box.ok("kill", it)
    assert box.state(it)["ExitCode"] == 137
    assert box.state(it)["OOMKilled"] is False


def test_a_signal_from_outside_ends_it_and_wait_tells(box: Box) -> None:
    it = box.start()
    with box.running("wait", it) as waiting:
        os.kill(box.state(it)["Pid"], signal.SIGKILL)
        output, _ = waiting.communicate(timeout=limit(10))
    assert output.strip() == b"137"


def test_pause_freezes_and_unpause_goes_on(box: Box) -> None:
    it = box.start(script="i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done")
    box.wait_for_log(it, "3")
    box.ok("pause", it)
    assert box.status(it) == "paused"
    before = box.logs(it)
    time.sleep(0.3)
    assert box.logs(it) == before
    assert box.orlop("pause", it).returncode == 1
    assert box.orlop("exec", it, "true").returncode == 1
    box.ok("unpause", it)
    eventually(lambda: box.logs(it) != before)


@pytest.mark.parametrize("how", ["stop", "rm"])
def test_a_paused_container_stops(box: Box, how: str) -> None:
    it = box.start()
    box.ok("pause", it)
    begin = time.monotonic()
    box.ok(*(("stop", "-t", "1", it) if how == "stop" else ("rm", "-f", it)))
    assert time.monotonic() - begin < limit(3)


def test_restart_is_a_new_run_of_the_same_container(box: Box) -> None:
    it = box.start(script="echo run >> /runs; cat /runs | wc -l; exec sleep 1000")
    box.wait_for_log(it, "1")
    first = box.state(it)["Pid"]
    box.ok("restart", "-t", "0", it)
    box.wait_for_log(it, "2")
    assert box.state(it)["Pid"] != first


def test_restart_policy_on_failure(box: Box) -> None:
    it = box.start("--restart", "on-failure:2", script="exit 3")
    eventually(lambda: box.inspect(it)["RestartCount"] == 2 and box.status(it) == "exited")
    assert box.state(it)["ExitCode"] == 3


def test_rename_frees_the_old_name(box: Box) -> None:
    it = box.start("--name", "before")
    box.ok("rename", "before", "after")
    assert box.inspect("after")["Id"] == it
    assert box.ok("create", "--name", "before", IMAGE, "true")


def test_update_changes_a_live_limit(box: Box) -> None:
    it = box.start("--memory", "64m")
    box.ok("update", "--memory", "128m", "--memory-swap", "-1", it)
    found = box.cgroup_file(it, "memory", "memory.limit_in_bytes", "memory.max")
    assert int(found) == 128 << 20
    assert box.inspect(it)["HostConfig"]["Memory"] == 128 << 20
    box.ok("update", "--memory", "32m", "--memory-swap", "32m", it)
    found = box.cgroup_file(it, "memory", "memory.limit_in_bytes", "memory.max")
    assert int(found) == 32 << 20


def test_top_shows_host_pids(box: Box) -> None:
    it = box.start()
    titles, row = box.ok("top", it).splitlines()
    assert titles.split()[:2] == ["UID", "PID"]
    assert row.split()[1] == str(box.state(it)["Pid"])


def test_ps_filters(box: Box) -> None:
    running = box.start("--label", "kind=a")
    ended = box.ok("create", "--label", "kind=b", IMAGE, "true")
    assert box.ok("ps", "-q", "--no-trunc") == running
    assert box.ok("ps", "-aq", "--no-trunc", "--filter", "label=kind=b") == ended
    assert box.ok("ps", "-aq", "--no-trunc", "--filter", "status=running") == running


def test_events_in_order(box: Box) -> None:
    it = box.ok("create", IMAGE, "true")
    box.ok("start", "-a", it)
    box.ok("rm", it)
    actions = [event["Action"] for event in box.events(it)]
    assert actions == ["create", "attach", "start", "die", "destroy"]


# --- logs -----------------------------------------------------------------------------------


def test_logs_tail_and_timestamps(box: Box) -> None:
    it = box.ok("create", IMAGE, "sh", "-c", "seq 1 100; echo err >&2")
    box.ok("start", "-a", it)
    assert box.ok("logs", "--tail", "2", it) == "100"
    assert len(box.logs(it).splitlines()) == 101
    stamped = box.ok("logs", "-t", "--tail", "3", it).splitlines()
    assert [line.split(" ", 1)[1] for line in stamped] == ["99", "100"]
    assert all(line[10] == "T" and line.split(" ")[0].endswith("Z") for line in stamped)


def test_logs_follow_across_rotations_to_the_end(box: Box) -> None:
    it = box.ok(
        *("run", "-d", "--log-opt", "max-size=20k", "--log-opt", "max-file=9", IMAGE, "sh", "-c"),
        "i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo line $i; [ $i = 9 ] && sleep 1; done",
    )
    with box.running("logs", "-f", it) as following:
        output, _ = following.communicate(timeout=limit(30))
    assert not [line for line in output.decode().splitlines() if len(line.split()) != 2]
    numbers = [int(line.split()[1]) for line in output.decode().splitlines()]
    assert numbers == list(range(1, 2001))
    folder = box.daemon.data_root / "containers" / it
    assert len(list(folder.glob("container.log*"))) > 1


def test_logs_are_bounded_by_default_options(box: Box) -> None:
    it = box.ok(
        *("create", "--log-opt", "max-size=10k", "--log-opt", "max-file=2", IMAGE),
        *("sh", "-c", "yes | head -c 500000"),
    )
    box.ok("start", "-a", it)
    folder = box.daemon.data_root / "containers" / it
    assert sum(p.stat().st_size for p in folder.glob("container.log*")) < 400_000


# --- exec -----------------------------------------------------------------------------------


def test_exec_runs_inside(box: Box) -> None:
    it = box.start("--hostname", "inner", "-e", "A=1")
    assert box.ok("exec", it, "hostname") == "inner"
    assert box.ok("exec", "-e", "B=2", it, "sh", "-c", "echo $A$B") == "12"
    assert box.ok("exec", "-w", "/etc", it, "pwd") == "/etc"
    assert box.ok("exec", "-u", "1000:1000", it, "id", "-u") == "1000"
    assert box.ok("exec", "-i", it, "cat", input="through") == "through"


@pytest.mark.parametrize(
    "command, status",
    [
        (("sh", "-c", "exit 9"), 9),
        (("no-such-program",), 127),
        (("/etc/passwd",), 126),
        (("sh", "-c", "kill -KILL $$"), 137),
    ],
)
def test_exec_status(box: Box, command: tuple[str, ...], status: int) -> None:
    it = box.start()
    assert box.orlop("exec", it, *command).returncode == status
    assert box.status(it) == "running"


def test_exec_ends_with_its_container(box: Box) -> None:
    it = box.start()
    with box.running("exec", it, "sleep", "2222") as process:
        eventually(lambda: "sleep 2222" in box.ok("top", it))
        box.ok("kill", it)
        assert process.wait(limit(10)) == 137


def test_many_execs_leave_no_process(box: Box) -> None:
    it = box.start()
    for _ in range(20):
        box.ok("exec", it, "true")
    assert len(box.ok("top", it).splitlines()) == 2


# --- --init ---------------------------------------------------------------------------------


def test_init_reaps_and_forwards(box: Box) -> None:
    script = (
        "trap 'exit 5' USR1; (sleep 0.1 &) ; (sleep 0.1 &); echo up; while :; do sleep 0.05; done"
    )
    it = box.start("--init", script=script)
    box.wait_for_log(it, "up")
    time.sleep(limit(0.4))
    states = box.ok("exec", it, "sh", "-c", "cat /proc/[0-9]*/stat | cut -d' ' -f3")
    assert "Z" not in states.split()
    assert "orlop-init" in box.ok("exec", it, "cat", "/proc/1/comm")
    box.ok("kill", "-s", "USR1", it)
    box.wait_for(it, "exited")
    assert box.state(it)["ExitCode"] == 5


# --- limits ---------------------------------------------------------------------------------


@pytest.mark.feature("cgroup-pids")
def test_pids_limit_ends_a_fork_bomb(box: Box) -> None:
    script = "for i in $(seq 50); do sleep 100 & done; echo all"
    done = box.run("--pids-limit", "8", script=script)
    assert done.returncode
    assert "fork" in done.stderr
    assert "all" not in done.stdout


def test_out_of_memory_is_told_with_its_limit(box: Box) -> None:
    it = box.ok("create", "--memory", "16m", "--memory-swap", "16m", IMAGE, "tail", "/dev/zero")
    assert box.orlop("start", "-a", it).returncode == 137
    assert box.state(it)["OOMKilled"] is True
    event = next(e for e in box.events(it) if e["Action"] == "oom")
    attributes = event["Actor"]["Attributes"]
    assert int(attributes["memoryLimit"]) == 16 << 20
    assert int(attributes["memoryPeak"]) > 15 << 20
    assert attributes["oomKills"] == "1"


def test_a_childs_oom_kill_does_not_end_the_container(box: Box) -> None:
    script = "tail /dev/zero; echo survived; exec sleep 1000"
    it = box.start("--memory", "16m", "--memory-swap", "16m", script=script)
    box.wait_for_log(it, "survived")
    eventually(lambda: "oom" in [e["Action"] for e in box.events(it)])
    assert box.status(it) == "running"
    box.ok("stop", "-t", "0", it)
    assert box.state(it)["OOMKilled"] is False


def test_a_disk_is_out_of_reach(box: Box) -> None:
    script = "mknod /tmp/disk b 8 0 2>/dev/null; head -c 1 /tmp/disk"
    done = box.run("--cap-add", "MKNOD", script=script)
    assert done.returncode == 1
    assert "not permitted" in done.stderr


# --- users and roots ------------------------------------------------------------------------


def test_capabilities(box: Box) -> None:
    def effective(*flags: str) -> int:
        return int(box.output(*flags, script="grep CapEff /proc/self/status").split()[1], 16)

    assert effective() == 0xA80425FB
    assert effective("--cap-drop", "ALL") == 0
    assert effective("--cap-add", "NET_ADMIN") == 0xA80425FB | 1 << 12
    assert effective("-u", "1000") == 0


def test_user_namespace(box: Box) -> None:
    script = "cat /proc/self/uid_map; touch /mine; stat -c %u /mine"
    done = box.run("--userns", "private:100000:65536", script=script)
    if done.returncode and os.uname().release < "6.13":
        pytest.skip("idmapped overlay layers need Linux 6.13")
    assert done.stdout.split() == ["0", "100000", "65536", "0"], done


def test_rootfs_keeps_the_folder_unless_writable(box: Box, tmp_path: Path) -> None:
    layer = next((box.daemon.data_root / "layers").iterdir())
    root = tmp_path / "root"
    os.system(f"cp -a {layer} {root}")  # noqa: S605 - a path of our own
    box.ok("run", "--rm", "--rootfs", str(root), "sh", "-c", "echo x > /new; cat /new")
    assert not (root / "new").exists()
    box.ok("run", "--rm", "--rootfs", str(root), "--rootfs-rw", "sh", "-c", "echo x > /new")
    assert (root / "new").read_text() == "x\n"


def test_bind_read_only_and_writable(box: Box, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("host\n")
    assert box.output("-v", f"{tmp_path}:/app", script="cat /app/f; echo in > /app/g") == "host"
    assert (tmp_path / "g").read_text() == "in\n"
    assert box.run("-v", f"{tmp_path}:/app:ro", script="echo x > /app/h").returncode == 1
    assert not (tmp_path / "h").exists()


# --- the supervisor goes and comes ------------------------------------------------------------


def test_containers_outlive_a_killed_supervisor(new_box: Box) -> None:
    stays = new_box.start("--name", "stays")
    ends = new_box.start(
        "--name", "ends", script="trap 'exit 21' USR1; while :; do sleep 0.05; done"
    )
    pid = new_box.state(stays)["Pid"]
    ending = new_box.state(ends)["Pid"]
    time.sleep(limit(0.2))
    new_box.daemon.kill()
    os.kill(ending, signal.SIGUSR1)
    time.sleep(limit(0.3))
    new_box.daemon.start()
    assert new_box.state("stays")["Pid"] == pid
    assert new_box.state("ends")["ExitCode"] == 21
    assert new_box.ok("exec", "stays", "echo", "reached") == "reached"
    new_box.ok("stop", "-t", "0", "stays")
    assert new_box.state("stays")["ExitCode"] == 137
    new_box.remove_all()


def test_a_lost_shim_is_noticed_and_takes_its_container_along(new_box: Box) -> None:
    it = new_box.start()
    pid = new_box.state(it)["Pid"]
    os.kill(procfs.parent(pid), signal.SIGKILL)
    new_box.wait_for(it, "exited")
    assert new_box.state(it)["ExitCode"] == 137
    assert "shim was lost" in new_box.state(it)["Error"]
    # Dead by now; reaped by whoever is left as its parent.
    eventually(lambda: not Path(f"/proc/{pid}").exists())
    new_box.remove_all()
