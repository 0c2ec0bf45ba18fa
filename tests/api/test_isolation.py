"""What a container may see, own and use: identity, namespaces, limits, devices, mounts."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from tests.api.box import IMAGE, ONLY_V2, Box, eventually, has_controller
from tests.support.pace import limit

MIB = 1 << 20


def capabilities(text: str) -> int:
    """The mask in a line of /proc/PID/status."""
    return int(text.split()[1], 16)


# --- identity


def test_user_and_groups(box: Box) -> None:
    assert box.output("-u", "1234", script="id -u; id -g") == "1234\n0"
    assert box.output("-u", "1234:55", script="id -u; id -g") == "1234\n55"
    text = box.output("-u", "1234:55", "--group-add", "77", script="id -G")
    assert set(text.split()) == {"55", "77"}


def test_capabilities_by_default_and_as_asked(box: Box) -> None:
    script = "grep CapEff /proc/self/status"
    assert capabilities(box.output(script=script)) == 0xA80425FB  # docker's fourteen
    assert capabilities(box.output("--cap-drop", "ALL", script=script)) == 0
    flags = ("--cap-drop", "ALL", "--cap-add", "NET_ADMIN")
    assert capabilities(box.output(*flags, script=script)) == 1 << 12
    assert capabilities(box.output("-u", "1234", script=script)) == 0


def test_privileged(box: Box) -> None:
    script = "mkdir /m && mount -t tmpfs none /m && echo mounted"
    assert box.run(script=script).returncode != 0
    assert box.output("--privileged", script=script) == "mounted"


def test_no_new_privileges(box: Box) -> None:
    script = "grep NoNewPrivs /proc/self/status"
    assert box.output(script=script).split()[1] == "0"
    assert box.output("--security-opt", "no-new-privileges", script=script).split()[1] == "1"


# --- namespaces


def test_of_the_host_on_request(box: Box) -> None:
    script = "readlink /proc/self/ns/$0"
    for flags, name in (
        (("--pid", "host"), "pid"),
        (("--ipc", "host"), "ipc"),
        (("--net", "host"), "net"),
        (("--uts", "host"), "uts"),
        (("--cgroupns", "host"), "cgroup"),
    ):
        text = box.ok("run", "--rm", *flags, IMAGE, "sh", "-c", script, name)
        assert text == os.readlink(f"/proc/self/ns/{name}"), name


def test_network_none_has_its_own_loopback_up(box: Box) -> None:
    lines = box.output("--net", "none", script="ip -o link; ping -c 1 -W 2 127.0.0.1").splitlines()
    assert "lo" in lines[0]
    assert "UP" in lines[0]
    assert not any(line.startswith("2:") for line in lines)


def test_abstract_sockets_of_the_host_are_out_of_reach(box: Box) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        name = f"orlop-test-{os.getpid()}"
        listening.bind(f"\0{name}")
        assert name in Path("/proc/net/unix").read_text()
        assert name not in box.output(script="cat /proc/net/unix")


def test_user_namespace_maps_root_to_the_range(box: Box) -> None:
    identity = box.start("--userns", "private:100000:65536", script="echo a > /file; sleep 100000")
    eventually(lambda: box.orlop("exec", identity, "test", "-s", "/file").returncode == 0)
    assert os.stat(f"/proc/{box.state(identity)['Pid']}").st_uid == 100000
    assert box.ok("exec", identity, "id", "-u") == "0"
    text = box.ok("exec", identity, "cat", "/proc/self/uid_map")
    assert text.split() == ["0", "100000", "65536"]
    assert box.ok("exec", identity, "stat", "-c", "%u", "/file", "/etc/passwd") == "0\n0"


# --- kernel settings and limits


def test_sysctl_is_the_containers_own(box: Box) -> None:
    file = Path("/proc/sys/net/ipv4/ip_forward")
    before = file.read_text()
    wanted = "0" if before.strip() == "1" else "1"
    flags = ("--sysctl", f"net.ipv4.ip_forward={wanted}")
    assert box.output(*flags, script=f"cat {file}") == wanted
    assert file.read_text() == before
    assert box.run(script=f"echo 1 > {file}").returncode != 0


def test_ulimit(box: Box) -> None:
    flags = ("--ulimit", "nofile=100:200", "--ulimit", "core=0")
    text = box.output(*flags, script="ulimit -Sn; ulimit -Hn; ulimit -c")
    assert text.split() == ["100", "200", "0"]


def test_fork_bomb_stops_at_its_limit(box: Box) -> None:
    identity = box.start("--pids-limit", "20", script="f() { f | f & }; f; sleep 100000")
    time.sleep(0.5)
    count = int(box.cgroup_file(identity, "pids", "pids.current", "pids.current"))
    assert count <= 20
    assert box.cgroup_file(identity, "pids", "pids.max", "pids.max") == "20"


def test_cpus_and_shares(box: Box) -> None:
    identity = box.start("--cpus", "0.5", "--cpu-shares", "512")
    quota = box.cgroup_file(identity, "cpu", "cpu.cfs_quota_us", "cpu.max")
    assert quota.split()[0] == "50000"
    shares = int(box.cgroup_file(identity, "cpu", "cpu.shares", "cpu.weight"))
    assert 1 < shares < 100 if ONLY_V2 else shares == 512


def test_cpuset(box: Box) -> None:
    if has_controller("cpuset"):
        assert box.output("--cpuset-cpus", "0", script="grep Cpus_allowed_list /proc/self/status")
        identity = box.start("--cpuset-cpus", "0")
        assert box.cgroup_file(identity, "cpuset", "cpuset.cpus", "cpuset.cpus") == "0"
    else:
        done = box.run("--cpuset-cpus", "0", script="true")
        assert "cpuset" in done.stderr


def test_update_of_a_live_limit_both_ways(box: Box) -> None:
    identity = box.start("-m", "64m", "--memory-swap", "64m")
    for size in ("128m", "32m"):
        box.ok("update", "--memory", size, "--memory-swap", size, identity)
        value = box.cgroup_file(identity, "memory", "memory.limit_in_bytes", "memory.max")
        assert int(value) == int(size[:-1]) * MIB
        assert box.inspect(identity)["HostConfig"]["Memory"] == int(size[:-1]) * MIB
    box.ok("update", "--cpus", "0.25", identity)
    assert box.cgroup_file(identity, "cpu", "cpu.cfs_quota_us", "cpu.max").startswith("25000")


def test_oom_event_comes_within_a_second(box: Box) -> None:
    identity = box.ok(
        *("create", "-m", "20m", "--memory-swap", "20m", IMAGE),
        *("dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1"),
    )
    box.ok("start", identity)
    assert box.ok("wait", identity) == "137"
    ended = time.time()
    assert box.state(identity)["OOMKilled"] is True
    told = [event for event in box.events(identity) if event["Action"] == "oom"]
    assert len(told) == 1
    assert told[0]["timeNano"] / 1e9 < ended + limit(1)
    assert str(20 * MIB) in told[0]["Actor"]["Attributes"].values()


# --- devices and mounts


def test_devices(box: Box) -> None:
    script = "mknod /disk b 8 0 && ! head -c 1 /disk; mknod /zero c 1 5 && head -c 1 /zero | wc -c"
    done = box.run("--userns", "host", script=script)  # elsewhere nobody makes any
    assert done.stdout.strip() == "1"
    assert "Operation not permitted" in done.stderr
    names = set(box.output(script="ls /dev").split())
    assert {"null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm"} <= names
    assert not {"mem", "kmsg", "vda", "sda"} & names


def test_device_on_request(box: Box) -> None:
    script = "head -c 1 /dev/mine | wc -c; echo > /dev/mine"
    done = box.run("--device", "/dev/zero:/dev/mine:rw", script=script)
    assert (done.returncode, done.stdout.strip()) == (0, "1")


@pytest.mark.parametrize(
    "flags",
    [("-v", "{}:/m:ro"), ("--mount", "type=bind,src={},dst=/m,readonly")],
    ids=["volume", "mount"],
)
def test_read_only_bind(box: Box, tmp_path: Path, flags: tuple[str, str]) -> None:
    (tmp_path / "file").write_text("text")
    done = box.run(flags[0], flags[1].format(tmp_path), script="cat /m/file; echo > /m/new")
    assert (done.returncode, done.stdout) == (1, "text")
    assert "Read-only file system" in done.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_tmpfs_options(box: Box) -> None:
    text = box.output("--tmpfs", "/t:size=1m,mode=700,noexec", script="mount | grep ' /t '")
    assert "tmpfs on /t " in text
    assert "size=1024k" in text
    assert "noexec" in text


def test_proc_is_masked(box: Box) -> None:
    assert box.run(script="echo 1 > /proc/sys/kernel/panic").returncode != 0
    assert box.run(script="echo b > /proc/sysrq-trigger").returncode != 0
    assert box.output(script="cat /proc/keys /proc/timer_list; ls /sys/firmware") == ""
