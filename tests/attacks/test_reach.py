"""What a program inside a container can reach: files of the kernel, devices, sockets, mounts.

What holds for a container must hold for its exec sessions. The daemon is that of test_inside.py,
which was started with everything that it must not pass on.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from supervisor.kernel import mounts
from tests.attacks.boxes import PROBER, UNCONFINED, Cell, everywhere, links
from tests.support import procfs
from tests.support.pace import IN_GUEST

pytestmark = [pytest.mark.api, pytest.mark.cgroup]


# --- files of the kernel ------------------------------------------------------------------------

# moby's default lists, with what was added to them in 2025.
# fmt: off
MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys",
    "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list",
    "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
)
READ_ONLY = (
    "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
)
KNOBS = (
    "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hotplug",
    "/proc/sys/kernel/sysrq", "/proc/sys/vm/overcommit_memory",
    "/proc/sys/fs/binfmt_misc/register", "/proc/sysrq-trigger", "/sys/kernel/uevent_helper",
    "/sys/kernel/mm/ksm/run", "/sys/power/state", "/sys/fs/cgroup/release_agent",
    "/sys/fs/cgroup/memory/release_agent", "/sys/fs/cgroup/cgroup.procs",
    "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)
# fmt: on
# Each reader of pressure may have a trigger of its own; the exit code is User-Mode Linux's own.
NOT_THE_HOSTS = ("/proc/pressure/", "/proc/self/", "/proc/net/", *(["/proc/exitcode"] * IN_GUEST))


def test_s41_masked_and_read_only_paths(cell: Cell) -> None:
    here = [path for path in (*MASKED, *READ_ONLY) if os.path.exists(path)]
    look = "for p in $0 $@; do test -d $p && ls -A $p || cat $p; done"
    masked = [path for path in here if path in MASKED]
    assert cell.run("sh", "-c", look, *masked).out == ""
    away = "for p in $0 $@; do umount -l $p; umount $p; mount -o remount,rw,bind $p; done; echo end"
    done = cell.run("sh", "-c", away, *here)
    assert done.out == "end\n"
    assert done.err.count("\n") == 3 * len(here)
    admin = {"CapAdd": ["SYS_ADMIN"], "SecurityOpt": ["seccomp=unconfined"]}
    control = cell.run("sh", "-c", "umount /proc/acpi /proc/keys && echo away", host=admin)
    assert control.out == "away\n" or not os.path.exists("/proc/acpi")


@pytest.mark.parametrize("user", ["", "1234"])
def test_s41_not_by_a_user_namespace_of_its_own(cell: Cell, user: str) -> None:
    """Where its filter was taken away: the kernel locks what came from above (MNT_LOCKED)."""
    here = [path for path in (*MASKED, *READ_ONLY) if os.path.exists(path)]
    read_only = "|".join(READ_ONLY)
    script = f"""
        for p in $0 $@; do
            umount -l $p && echo away $p
            case $p in {read_only}) mount -o remount,rw,bind $p && echo writable $p;; esac
        done
        mount -t proc proc /tmp && echo proc; mount -t sysfs sysfs /tmp && echo sysfs
        mount -t cgroup -o memory cgroup /tmp && true > /tmp/release_agent && echo agent
        mount --bind /proc/sys /tmp && true > /tmp/kernel/core_pattern && echo pattern
        mount -t tmpfs tmpfs /tmp && echo inside
    """
    words = ("unshare", "-Urmpf", "sh", "-c", script, *here)
    assert cell.run(*words, host=UNCONFINED, User=user).out == "inside\n"
    assert cell.run(*words, User=user).out == "", "and with the filter there is no such namespace"


@pytest.mark.parametrize("range_of_its_own", [False, True])
def test_s42_nothing_host_wide_is_writable(cell: Cell, range_of_its_own: bool) -> None:
    host = {"UsernsMode": "private:300000:65536"} if range_of_its_own else {}
    ref = cell.start(host=host)
    cell.execute(ref, "mkdir", "-p", "/made")
    for user in ("0", "1234"):
        opened = cell.execute(ref, PROBER, "writable", "/proc", "/sys", User=user)
        assert opened.code == 0
        assert [x for x in opened.out.split() if not x.startswith(NOT_THE_HOSTS)] == []
    # To open it is enough: what is written where it can be would stay.
    try_all = "for p in $0 $@; do (true > $p) && echo $p; done; echo end"
    assert cell.execute(ref, "sh", "-c", try_all, *KNOBS).out == "end\n"
    mount = "mount -t cgroup -o memory c /made || mount -t cgroup2 c /made || echo refused"
    assert cell.execute(ref, "sh", "-c", mount).out == "refused\n"


# --- devices ------------------------------------------------------------------------------------

NODES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9),
         "tty": (5, 0)}  # fmt: skip
LINKS = {
    "core": "/proc/kcore",
    "fd": "/proc/self/fd",
    "ptmx": "pts/ptmx",
    "stderr": "/proc/self/fd/2",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
}
FOLDERS = {"mqueue", "pts", "shm"}
# ptmx finds no devpts beside it, tty no terminal, a pty's slave none behind it.
HARMLESS = {"c 5:2 2", "c 5:0 6", "c 136:0 5", "c 136:1 5"}
ALSO = ("c 1 1", "c 1 2", "c 1 4", "c 1 11", "c 5 1", "c 4 1", "c 10 229", "c 10 200", "c 10 237",
        "b 7 0", "b 8 0", "b 254 0", "b 259 0", "c 136 0", "c 136 1", "c 5 2", "c 5 0")  # fmt: skip


def test_s44_dev_holds_exactly_what_it_should(cell: Cell) -> None:
    for where, text in everywhere(
        cell, "sh", "-c", "cd /dev; stat -c '%n %f %t:%T' *; for l in *; do readlink $l; done"
    ).items():
        lines = [line.split() for line in text.splitlines()]
        modes = {line[0]: (int(line[1], 16), line[2]) for line in lines if len(line) == 3}
        console = {"console"} if where == "terminal" else set()
        assert set(modes) == {*NODES, *LINKS, *FOLDERS, *console}, where
        for name, (major, minor) in NODES.items():
            assert modes[name] == (stat.S_IFCHR | 0o666, f"{major:x}:{minor:x}"), where
        assert [line[0] for line in lines if len(line) == 1] == [LINKS[n] for n in sorted(LINKS)]
    assert "console" not in cell.sh("ls /dev").out


@pytest.mark.parametrize("added", [[], ["MKNOD", "SYS_ADMIN", "SYS_RAWIO"]])
def test_s44_no_device_of_the_host_by_a_node_of_its_own(cell: Cell, added: list[str]) -> None:
    """Every device that this host has; what opening does to a watchdog is not for a test."""
    devices = [*ALSO]
    for kind in ("block", "char"):
        links = Path("/sys/dev", kind).iterdir()
        found = [link.name for link in links if "watchdog" not in os.readlink(link)]
        devices += [f"{kind[0]} {name.replace(':', ' ')}" for name in found]
    ref = cell.start(host={"CapAdd": added})
    script = f"cd /tmp; {PROBER} devices <<'END'\n" + "\n".join(devices) + "\nEND\n"
    done = cell.execute(ref, "sh", "-c", script)
    assert done.code == 0
    allowed = {f"c {major}:{minor} 0" for name, (major, minor) in NODES.items() if name != "tty"}
    assert allowed <= set(done.out.splitlines()) <= allowed | HARMLESS
    disk = "mknod d b $0 $1; head -c 512 d | wc -c; echo x > d"
    for part in list(Path("/sys/class/block").iterdir())[:3]:
        done = cell.execute(ref, "sh", "-c", disk, *(part / "dev").read_text().strip().split(":"))
        assert done.out == "0\n"
        assert done.err.count("Operation not permitted") == 2
        cell.execute(ref, "rm", "-f", "d")


# --- namespaces, cgroups, sockets ---------------------------------------------------------------


def test_s45_the_cgroup_is_seen_from_itself_and_read_only(cell: Cell) -> None:
    look = "cut -d: -f3 /proc/self/cgroup | sort -u; grep cgroup /proc/self/mountinfo"
    for where, text in everywhere(cell, "sh", "-c", look).items():
        root, *mounted = text.splitlines()
        assert root == "/", where
        for line in mounted:
            assert " ro," in line, where
            assert "/.." not in line, where
    write = (
        "find /sys/fs/cgroup -type f | while read f; do (true > $f) && echo $f; done;"
        "mkdir /sys/fs/cgroup/new /sys/fs/cgroup/memory/new && echo made; echo end"
    )
    assert cell.sh(write).out == "end\n"


def below(folder: Path) -> list[str]:
    """All that is in a folder and its folders; of what goes meanwhile, as trash does, a part."""
    return [
        f"{top}/{name}" for top, folders, files in os.walk(folder) for name in (*folders, *files)
    ]


def test_s50_no_abstract_sockets_and_no_way_to_a_shim(cell: Cell) -> None:
    """Also with the host's network and processes: its sockets have no name there."""
    cell.start()
    machine = os.readlink("/proc/self/ns/pid")
    pids = {process.pid for process in cell.daemon.processes()
            if os.readlink(f"/proc/{process.pid}/ns/pid") == machine}  # fmt: skip
    own = {link for pid in pids for link in links(pid) if link.startswith("socket:")}
    bound = []
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        words = line.split()
        if f"socket:[{words[6]}]" in own and len(words) > 7:
            bound.append(words[7])
    assert str(cell.daemon.socket) in bound
    assert len(bound) > 1, "the shim's, too"
    assert [name for name in bound if name.startswith("@")] == []

    host = {"NetworkMode": "host", "PidMode": "host"}
    folder = cell.daemon.data_root
    names = [*bound, *(path for path in below(folder) if path.endswith(".sock"))]
    for pid in pids:
        names += [f"/proc/{pid}/cwd/shim.sock", f"/proc/{pid}/root{cell.daemon.socket}"]
        names += [f"/proc/{pid}/root{path}" for path in below(folder) if path.endswith(".sock")]
    assert len(names) > 2 * len(pids)
    found = cell.run(PROBER, "connect", *(name for name in names if len(name) < 108), host=host)
    assert (found.code, found.out) == (0, "")
    enter = """
        for p in $0 $@; do
            test -d /proc/$p && echo $p
            ls /proc/$p/root/ /proc/$p/cwd/; readlink /proc/$p/exe; cat /proc/$p/environ
            cat /proc/$p/mem; for f in /proc/$p/fd/*; do readlink $f; done
        done
    """
    done = cell.run("sh", "-c", enter, *map(str, pids), host=host)
    found_there = {int(word) for word in done.out.split()}  # a number, or it is something inside
    assert cell.daemon.pid in found_there <= pids
    control = cell.run(PROBER, "connect", "/orlop.sock", host={"Binds": [
        f"{cell.daemon.socket}:/orlop.sock"]})  # fmt: skip
    assert control.out == "/orlop.sock\n"


def test_s51_nobody_else_gets_into_the_roots(cell: Cell) -> None:
    cell.start()
    folder = cell.daemon.folder
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (
        cell.daemon.data_root, cell.daemon.run_root, cell.daemon.socket)}  # fmt: skip
    assert [*modes.values()] == [0o700, 0o710, 0o660]
    roots = (cell.daemon.data_root, cell.daemon.run_root)
    paths = [path for root in roots for path in below(root)]
    assert len(paths) > 20
    script = "for p in $0 $@; do test -e $p && echo $p; done; echo end"
    look = ["setpriv", "--reuid=1234", "--regid=1234", "--clear-groups", "sh", "-c", script]
    done = cell.outside(*look, *paths, str(folder / "probe"))
    assert done == f"{folder}/probe\nend\n", "the control: it looks"
    assert cell.outside(*look[:4], str(folder / "prober"), "connect", str(cell.daemon.socket)) == ""


def test_s55_no_two_containers_share_a_namespace(cell: Cell) -> None:
    def namespaces(text: str) -> dict[str, str]:
        return dict(line.split(" ") for line in text.splitlines())

    host = {name: str(os.stat(f"/proc/self/ns/{name}").st_ino) for name in
            ("cgroup", "ipc", "mnt", "net", "pid", "uts")}  # fmt: skip
    seen = [host]
    for flags in ({}, {}, {"UsernsMode": "private:400000:65536"}):
        ref = cell.start("sh", "-c", f"{PROBER} namespaces; exec sleep 10000", host=flags)
        text = cell.execute(ref, PROBER, "namespaces").out
        cell.box.wait_for_log(ref, text)
        found = namespaces(text)
        for before in seen:
            assert [name for name in host if found[name] == before[name]] == []
        seen.append(found)
        mapped = found["user"] != str(os.stat("/proc/self/ns/user").st_ino)
        assert mapped is bool(flags)


# --- mounts -------------------------------------------------------------------------------------


def test_s53_a_read_only_root_and_tmpfs_without_devices_and_setuid(cell: Cell) -> None:
    host = {"ReadonlyRootfs": True, "Tmpfs": {"/tmp": "exec"}, "CapAdd": ["SYS_CHROOT"]}
    script = (
        "for d in / /etc /bin /root /proc/self/root /proc/1/root/etc /dev/../etc; do "
        "touch $d/x 2>/dev/null && echo $d; ln /bin/busybox $d/y 2>/dev/null && echo $d; done;"
        "mount -o remount,rw / 2>/dev/null && echo remounted; chmod 777 /etc 2>/dev/null && echo c;"
        f"cp {PROBER} /tmp/p; chmod 4755 /tmp/p; cp /tmp/p /dev/shm/p 2>/dev/null; echo end"
    )
    assert cell.sh(script, host=host).out == "end\n"
    ref = cell.start(host=host)
    assert cell.execute(ref, "sh", "-c", script).out == "end\n"
    assert cell.execute(ref, "/tmp/p", "euid", User="1234").out == "1234\n"
    made = "mknod /tmp/n c 1 3; head -c 0 /tmp/n; mknod /dev/shm/n c 1 3; head -c 0 /dev/shm/n"
    assert cell.execute(ref, "sh", "-c", made).err.count("Permission denied") == 2


def test_s54_no_mount_gets_out_of_a_container_or_into_it(cell: Cell, tmp_path: Path) -> None:
    """Also where the host shares what it mounts with all copies, as systemd has it."""
    mounts.mount("tmpfs", str(tmp_path), "tmpfs", 0, None)
    try:
        mounts.mount("", str(tmp_path), "", mounts.MS_SHARED, None)
        for name in ("inside", "outside"):
            (tmp_path / name).mkdir()
        admin = {"Binds": [f"{tmp_path}:/b"], "CapAdd": ["SYS_ADMIN"]}
        ref = cell.start(host=admin)
        mount = "mount -t tmpfs t /b/inside && touch /b/inside/x && grep -c ' /b' /proc/mounts"
        assert cell.execute(ref, "sh", "-c", mount).out == "2\n"
        assert list((tmp_path / "inside").iterdir()) == []
        mounts.mount("tmpfs", str(tmp_path / "outside"), "tmpfs", 0, None)
        (tmp_path / "outside/host").touch()
        assert cell.execute(ref, "ls", "/b/outside").out == ""
    finally:
        while str(tmp_path) in {mount.target for mount in procfs.mounts()}:
            mounts.umount(str(tmp_path), mounts.MNT_DETACH)
