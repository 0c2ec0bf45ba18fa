"""Shim and init of a container, through the shim protocol: namespaces, mounts, failures, ends."""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisor.errors import Conflict, InitError
from supervisor.kernel.namespaces import PROC_NAMES, namespace_inode
from supervisor.shim.exit_record import ExitRecord
from supervisor.spec.types import Mount
from tests.support import procfs
from tests.support.shim_rig import SECONDS, Container, ShimRig, descriptors, running_rig

ALL = ("pid", "mount", "network", "uts", "ipc", "cgroup")
MAPPED = {"userns": "private:100000:65536"}
MOST_DESCRIPTORS = 16


@pytest.fixture(scope="module")
def rig() -> Iterator[ShimRig]:
    with running_rig() as rig:
        yield rig


def inodes(pid: int) -> dict[str, int]:
    return {kind: namespace_inode(pid, kind) for kind in PROC_NAMES}


def wait_gone(pid: int) -> None:
    deadline = time.monotonic() + SECONDS
    # An orphan's zombie is ours (a subreaper's) to reap, which the leak check does.
    while (found := procfs.process(pid)) and not found.zombie:
        assert time.monotonic() < deadline, f"process {pid} does not end"
        time.sleep(0.01)


def bind(source: Path, destination: str, *words: str) -> Mount:
    return Mount(type="bind", source=str(source), destination=destination, options=words)


# --- namespaces -----------------------------------------------------------------------------


def test_each_namespace_is_its_own(rig: ShimRig) -> None:
    with rig.container("sleep", "1000") as container:
        container.created()
        ours, theirs = inodes(os.getpid()), inodes(container.start())
    assert [kind for kind in PROC_NAMES if ours[kind] != theirs[kind]] == [
        kind for kind in PROC_NAMES if kind in ALL
    ]


@pytest.mark.parametrize(
    "kind, option",
    [
        ("pid", "pid"),
        ("network", "network"),
        ("uts", "uts"),
        ("ipc", "ipc"),
        ("cgroup", "cgroupns"),
    ],
)
def test_the_hosts_where_asked(rig: ShimRig, kind: str, option: str) -> None:
    with rig.container("sleep", "1000", **{option: "host"}) as container:
        container.created()
        theirs = inodes(container.start())
        ours = inodes(os.getpid())
    assert {k for k in PROC_NAMES if ours[k] == theirs[k]} == {kind, "user"}


def test_what_the_namespaces_hold(rig: ShimRig) -> None:
    script = "echo $$; hostname; cat /sys/class/net/lo/flags; ls /sys/class/net; ipcs -q | wc -l"
    pid, name, flags, *rest = rig.run(script, hostname="vessel").split()
    assert (pid, name) == ("1", "vessel")
    assert int(flags, 16) & 1  # IFF_UP
    assert "lo" in rest
    assert os.uname().nodename != "vessel"


def test_ids_are_mapped(rig: ShimRig) -> None:
    with rig.container("sleep", "1000", **MAPPED) as container:
        container.created()
        pid = container.start()
        assert Path(f"/proc/{pid}/uid_map").read_text().split() == ["0", "100000", "65536"]
        assert os.stat(f"/proc/{pid}").st_uid == 100_000
        assert namespace_inode(pid, "user") != namespace_inode(os.getpid(), "user")
    script = "id -u; stat -c %u:%g /bin/busybox; touch /made; stat -c %u /made"
    assert rig.run(script, **MAPPED).split() == ["0", "0:0", "0"]


def test_files_of_a_mapped_root_are_its_own_on_the_host(rig: ShimRig) -> None:
    with rig.container("touch", "/made", **MAPPED) as container:
        container.created()
        container.start()
        assert container.exited().code == 0
        # The upper is idmapped: what container root makes is the image owner's on disk.
        assert (container.bundle / "upper/made").stat().st_uid == 0


# --- mounts ---------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, MAPPED], ids=["plain", "mapped"])
def test_masked_paths_are_empty_and_cannot_be_written(
    rig: ShimRig, options: dict[str, Any]
) -> None:
    script = """
        for path in /proc/kcore /proc/keys /proc/timer_list /proc/interrupts; do
            if [ -f $path ] || [ -c $path ]; then head -c 1 $path | wc -c; fi
        done
        for path in /sys/firmware /proc/scsi /proc/acpi; do
            if [ -d $path ]; then ls -A $path; touch $path/x 2>/dev/null && echo written; fi
        done
        true
    """
    found = set(rig.run(script, **options).split())
    assert found == {"0"}


def test_masks_can_be_lifted(rig: ShimRig) -> None:
    size = rig.run("head -c 1 /proc/interrupts | wc -c", masked_paths=(), readonly_paths=())
    assert size == "1\n"


@pytest.mark.parametrize("path", ["/proc/sys/kernel/hostname", "/proc/sys/vm/overcommit_memory"])
def test_read_only_paths(rig: ShimRig, path: str) -> None:
    script = f"cat /proc/sys/kernel/ostype; echo x >{path} && echo written; true"
    output = rig.run(script, privileged=False)
    assert output.startswith("Linux\n")
    assert "Read-only file system" in output
    assert "written" not in output


def test_dev_has_what_it_should_and_no_more(rig: ShimRig) -> None:
    listed = rig.run("ls /dev; for n in fd stdin ptmx; do readlink /dev/$n; done").split()
    assert listed == [
        *("core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm"),
        *("stderr", "stdin", "stdout", "tty", "urandom", "zero"),
        *("/proc/self/fd", "/proc/self/fd/0", "pts/ptmx"),
    ]
    script = "stat -c '%n %a %t:%T %u:%g' /dev/null /dev/zero /dev/tty; head -c 3 /dev/zero | wc -c"
    assert rig.run(script).splitlines() == [
        *("/dev/null 666 1:3 0:0", "/dev/zero 666 1:5 0:0", "/dev/tty 666 5:0 0:0", "3"),
    ]


def test_dev_in_a_user_namespace(rig: ShimRig) -> None:
    script = "echo x >/dev/null; head -c 3 /dev/zero | wc -c; stat -c '%F %t:%T' /dev/full"
    assert rig.run(script, **MAPPED) == "3\ncharacter special file 1:7\n"


@pytest.mark.parametrize("options", [{}, MAPPED], ids=["plain", "mapped"])
def test_the_cgroup_mount_shows_the_containers_own(rig: ShimRig, options: dict[str, Any]) -> None:
    script = """
        cat /proc/self/cgroup
        for file in $(find /sys/fs/cgroup -name cgroup.procs); do
            echo "$file" $(grep -cx 1 "$file") $(wc -l <"$file")
        done
        mkdir /sys/fs/cgroup/new /sys/fs/cgroup/*/new 2>/dev/null && echo made
        true
    """
    lines = rig.run(script, **options).splitlines()
    own = [line for line in lines if line[0].isdigit()]
    controllers = {"memory", "pids", "cpu"} if rig.layout.v1 else {""}
    for line in own:
        _, names, path = line.split(":")
        if set(names.split(",")) & controllers:
            assert path == "/"
    files = [line.split() for line in lines if line.startswith("/")]
    assert files
    # PID 1 is in each; what else is there is the script's own.
    assert all(ours == "1" and int(count) <= 4 for _, ours, count in files)
    assert len(files) == len({path for path, _, _ in files})
    assert "made" not in lines


def test_binds(rig: ShimRig, short_folder: Path) -> None:
    (short_folder / "file").write_text("kept")
    output = rig.run(
        "cat /data/file /one && echo x >/data/other; echo x 2>&1 >/locked/no; true",
        binds=(
            bind(short_folder, "/data", "rbind"),
            bind(short_folder, "/locked", "rbind", "ro"),
            bind(short_folder / "file", "/one", "rbind"),
        ),
    )
    assert "keptkept" in output
    assert "Read-only file system" in output
    assert sorted(os.listdir(short_folder)) == ["file", "other"]


def test_a_destination_that_leads_out_stays_in(rig: ShimRig, short_folder: Path) -> None:
    """The image's own link to the host's folder is resolved inside the image."""
    (short_folder / "secret").write_text("host")
    with rig.container("ls", "/way", binds=(bind(short_folder, "/way/../../../../in"),)) as c:
        c.created()
        c.start()
        assert c.exited().code != 0  # /way was never made, /in was
        assert (c.bundle / "upper/in").is_dir()


def test_tmpfs_and_shm(rig: ShimRig) -> None:
    script = "grep -E ' (/t|/dev/shm) ' /proc/mounts; echo x >/t/x; cat /t/x"
    lines = rig.run(script, tmpfs={"/t": "size=1m,noexec"}, shm_size=4 << 20).splitlines()
    words = {line.split()[1]: line.split()[3].split(",") for line in lines[:-1]}
    assert {"size=1024k", "noexec", "nosuid"} <= set(words["/t"])
    assert {"size=4096k", "noexec", "nosuid", "nodev"} <= set(words["/dev/shm"])
    assert lines[-1] == "x"


def test_a_read_only_root(rig: ShimRig) -> None:
    output = rig.run("touch /x; touch /dev/shm/x && echo shm", read_only=True)
    assert "/x: Read-only file system" in output
    assert output.endswith("shm\n")


def test_nothing_of_the_host_is_reachable(rig: ShimRig) -> None:
    output = rig.run("cut -d' ' -f5 /proc/self/mountinfo")
    targets = output.split()
    assert targets[0] == "/"
    assert all(target == "/" or target.startswith(("/proc", "/dev", "/sys")) for target in targets)
    assert str(rig.folder) not in output


def test_no_mount_reaches_the_host(rig: ShimRig) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    with rig.container("sleep", "1000", tmpfs={"/t": ""}) as container:
        container.created()
        container.start()
        assert Path("/proc/self/mountinfo").read_text() == before


def test_descriptors_of_the_command(rig: ShimRig) -> None:
    """Nothing of shim and init crosses execve."""
    with rig.container("sleep", "1000") as container:
        pid = container.start()
        assert sorted(os.listdir(f"/proc/{pid}/fd")) == ["0", "1", "2"], descriptors(pid)


# --- created, started -----------------------------------------------------------------------


def test_a_created_container_waits_for_its_start(rig: ShimRig) -> None:
    with rig.container("sh", "-c", "echo ran; sleep 1000") as container:
        pid = container.created()
        assert container.shim.call("state")["phase"] == "created"
        assert os.path.samefile(f"/proc/{pid}/exe", "/proc/self/exe")
        time.sleep(0.1)
        assert container.output() == ""
        assert container.start() == pid
        assert os.readlink(f"/proc/{pid}/exe") == "/bin/busybox"
        with pytest.raises(Conflict, match="cannot start"):
            container.start()


def test_a_start_may_come_before_created(rig: ShimRig) -> None:
    with rig.container("true") as container:
        assert container.start() > 0
        assert container.exited().code == 0


def test_a_held_shim_makes_no_init_before_the_start(rig: ShimRig) -> None:
    with rig.container("sh", "-c", "echo it runs", hold=True) as container:
        assert container.shim.call("state") == {
            "phase": "preparing",
            "run": 1,
            "pid": 0,
            "started_ns": 0,
            "record": None,
        }
        assert not container.group.procs()
        assert container.start() > 0
        assert container.exited().code == 0
        assert container.output() == "it runs\n"


def test_a_held_shim_ends_with_its_last_connection(rig: ShimRig) -> None:
    with rig.container("true", hold=True) as container:
        container.shim.call("state")  # it serves: so its socket is there
        second = container.reconnect()
        second.event("hello")
        container.shim.connection.shutdown(socket.SHUT_RDWR)
        assert not second.ended(0.2)
        pidfd = os.pidfd_open(container.shim_pid)
        second.connection.shutdown(socket.SHUT_RDWR)
        ready, _, _ = select.select([pidfd], [], [], SECONDS)
        os.close(pidfd)
        second.connection.close()
        assert ready, "the shim lives on without anybody"
        assert not (container.bundle / "shim.sock").exists()
        assert container.record() is None


def test_an_init_that_dies_on_its_way_has_not_started(rig: ShimRig) -> None:
    with rig.container("true", hold=True) as container:
        container.group.freeze()
        number = container.shim.send("start")
        deadline = time.monotonic() + SECONDS
        while not container.group.procs():
            assert time.monotonic() < deadline
        container.group.kill()
        with pytest.raises(InitError, match="ended before the start"):
            container.shim.reply(number)
        record = container.exited()
        assert record.error is not None
        assert record.started_ns == 0


def test_init_reaps_and_passes_signals(rig: ShimRig) -> None:
    script = "trap 'echo asked; exit 7' TERM; echo up; while :; do sleep 0.02; done"
    with rig.container("sh", "-c", script, init=True) as container:
        container.created()
        pid = container.start()
        assert Path(f"/proc/{pid}/comm").read_text() == "orlop-init\n"
        assert len(descriptors(pid)) == 3
        wait_for_output(container, "up\n")
        container.shim.call("signal", signal=int(signal.SIGTERM))
        assert container.exited().code == 7
        assert container.output() == "up\nasked\n"
    orphan = "(sleep 0.05 &) ; sleep 0.3; ps -o stat | grep -c Z"
    with rig.container("sh", "-c", orphan, init=True) as container:
        container.start()
        container.exited()
        assert container.output() == "0\n"


def wait_for_output(container: Container, text: str) -> None:
    deadline = time.monotonic() + SECONDS
    while text not in container.output():
        assert time.monotonic() < deadline, container.output()
        time.sleep(0.01)


# --- failures -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, step, path, number",
    [
        ({"binds": (bind(Path("/no/such"), "/data"),)}, "shim", "/no/such", errno.ENOENT),
        ({"user": "ghost"}, "user", "", 0),
        ({"cwd": "/bin/busybox"}, "cwd", "/bin/busybox", errno.ENOTDIR),
        ({"sysctls": {"net.ipv4.no_such": "1"}}, "sysctl", "net.ipv4.no_such", errno.ENOENT),
        ({"binds": (bind(Path("/"), "/etc/passwd"),)}, "mount", "/etc/passwd", errno.ENOTDIR),
    ],
    ids=["bind", "user", "cwd", "sysctl", "mount"],
)
def test_a_step_that_fails(
    rig: ShimRig, options: dict[str, Any], step: str, path: str, number: int
) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    with rig.container("true", **options) as container:
        record = container.exited()
        assert container.shim.call("state")["phase"] == "exited"
        error = error_of(record)
        assert (error.step, error.path, error.errno) == (step, path, number)
        assert error.message
        assert record.started_ns == 0
        assert container.group.procs() == []
        assert not (container.bundle / "shim.err").exists()
    assert Path("/proc/self/mountinfo").read_text() == before


@pytest.mark.parametrize(
    "command, number",
    [("no-such", errno.ENOENT), ("/etc/passwd", errno.EACCES), ("/no/such", errno.ENOENT)],
)
@pytest.mark.parametrize("init", [False, True])
def test_a_command_that_cannot_run(rig: ShimRig, command: str, number: int, init: bool) -> None:
    with rig.container(command, init=init) as container:
        container.created()
        with pytest.raises(InitError) as caught:
            container.start()
        assert (caught.value.step, caught.value.path) == ("execve", command)
        assert caught.value.errno == number
        assert error_of(container.exited()).errno == number
        assert container.group.procs() == []


def error_of(record: ExitRecord) -> InitError:
    assert record.error is not None
    return InitError.from_json(record.error)


# --- the end --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "script, code, number", [("exit 3", 3, 0), ("true", 0, 0), ("kill -9 $$; sleep 9", 137, 9)]
)
def test_the_exit_record_is_there_before_anybody_hears(
    rig: ShimRig, script: str, code: int, number: int
) -> None:
    # PID 1 of a pid namespace cannot kill itself; the host's is killed as any process.
    with rig.container("sh", "-c", script, pid="host") as container:
        container.start()
        record = container.exited()
        assert record == container.record()
        assert (record.code, record.signal, record.error) == (code, number, None)
        assert 0 < record.started_ns <= record.finished_ns
        assert json.loads((container.bundle / "exit.json").read_bytes())["run"] == 1
        assert not (container.bundle / "exit.json.tmp").exists()


def test_the_shim_stays_until_it_is_acknowledged(rig: ShimRig) -> None:
    with rig.container("sh", "-c", "exit 5") as container:
        with pytest.raises(Conflict, match="nothing to acknowledge"):
            container.shim.call("acknowledge")
        container.start()
        record = container.exited()
        again = container.reconnect()
        assert again.event("hello")["shim_pid"] == container.shim_pid
        assert again.call("state")["record"] == record.to_json()
        again.call("acknowledge")
        assert again.ended()
        again.connection.close()
        wait_gone(container.shim_pid)
        assert not (container.bundle / "shim.sock").exists()
        assert container.record() == record


@pytest.mark.parametrize("user", ["", "nobody"])
@pytest.mark.parametrize("init", [False, True])
def test_a_container_ends_with_its_shim(rig: ShimRig, user: str, init: bool) -> None:
    """A shim killed by SIGKILL takes every process of the container with it."""
    with rig.container("sh", "-c", "sleep 1000 & wait", user=user, init=init) as container:
        container.created()
        pid = container.start()
        os.kill(container.shim_pid, signal.SIGKILL)
        assert container.shim.ended()
        wait_gone(pid)
        deadline = time.monotonic() + SECONDS
        while container.group.populated():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert container.record() is None


def test_a_shim_is_small(rig: ShimRig) -> None:
    with rig.container("sleep", "1000", open_stdin=True) as container:
        container.created()
        container.start()
        held = descriptors(container.shim_pid)
        assert len(held) <= MOST_DESCRIPTORS, held
        assert os.listdir(f"/proc/{container.shim_pid}/task") == [str(container.shim_pid)]


def test_a_shim_with_a_terminal_is_small(rig: ShimRig) -> None:
    with rig.container("sh", "-c", "tty; stty size; sleep 1000", tty=True) as container:
        container.created()
        container.shim.call("resize", rows=40, columns=100)
        container.start()
        wait_for_output(container, "40 100")
        assert container.output().startswith("/dev/pts/0\r\n")
        assert len(descriptors(container.shim_pid)) <= MOST_DESCRIPTORS
