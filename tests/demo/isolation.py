"""What a container cannot see: one chapter for each kind of isolation."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from supervisor.kernel import mounts as kernel_mounts
from tests.demo.stage import Stage

NAMESPACES = ("pid", "mnt", "net", "uts", "ipc", "cgroup")
IPC_CREAT_0600 = 0o1600
IPC_RMID = 0
IDMAPPED_OVERLAY = (6, 13)
FIRST_ID = 200_000
DEFAULT_CAPABILITIES = 14


def namespaces(stage: Stage) -> None:
    """The inode numbers of the namespaces, inside and outside."""
    stage.chapter(
        "Namespaces",
        "A namespace is the kernel's own view of one kind of resource. Each has a number; where "
        "the container's differs from the host's, the two see different things.",
    )
    names = " ".join(NAMESPACES)
    lines = stage.run(f"for n in {names}; do readlink /proc/self/ns/$n; done").splitlines()
    for name, inside in zip(NAMESPACES, lines, strict=False):
        outside = os.readlink(f"/proc/self/ns/{name}")
        stage.check(f"{name:6} container {inside}, host {outside}", inside != outside)
    stage.check("all six were read", len(lines) == len(NAMESPACES))


def processes_and_host_name(stage: Stage) -> None:
    """pid and uts namespaces at work."""
    stage.chapter(
        "Processes and the host's name",
        "The container's program is process 1 of its own world and sees no other process. It has "
        "a host name of its own.",
    )
    listed = stage.orlop("run", "--rm", "busybox", "ps").stdout.splitlines()[1:]
    stage.check("ps shows itself as PID 1, alone", len(listed) == 1 and listed[0].split()[0] == "1")
    before = os.uname().nodename
    name = stage.run("--hostname", "cargo", "hostname").strip()
    stage.check(
        f"in the container: cargo; the host still: {before}",
        name == "cargo" and os.uname().nodename == before,
    )


def network_and_messages(stage: Stage) -> None:
    """Network and ipc namespaces at work."""
    stage.chapter(
        "Network and messages",
        "With --network none a container has a loopback interface and nothing else; and no "
        "container sees the message queues of the host. (A queue is made here for the test.)",
    )
    listed = stage.run("--network", "none", "ip -o addr")
    addresses = [line.split()[3] for line in listed.splitlines()]
    stage.check(
        "every address is loopback's",
        bool(addresses) and all(a.startswith(("127.", "::1/")) for a in addresses),
    )
    libc = ctypes.CDLL(None)
    queue = libc.msgget(0, IPC_CREAT_0600)
    try:
        outside = Path("/proc/sysvipc/msg").read_text().splitlines()[1:]
        inside = stage.run("cat /proc/sysvipc/msg").splitlines()[1:]
    finally:
        libc.msgctl(queue, IPC_RMID, None)
    stage.check(
        f"message queues: host {len(outside)}, container {len(inside)}",
        len(outside) >= 1 and not inside,
    )


def mounts(stage: Stage) -> None:
    """The mount table inside, and the host's, which a container does not change."""
    stage.chapter(
        "The mount table",
        "The container's mounts are made in its own mount namespace. The host's table does not "
        "change while it runs, so a crash cannot leave a mount behind.",
    )
    host_before = kernel_mounts.mountinfo()
    table = [line.split() for line in stage.run("mount").splitlines()]
    stage.check("the root is an overlay", any(w[2] == "/" and w[4] == "overlay" for w in table))
    inside = {words[2] for words in table}
    expected = {"/", "/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys"}
    stage.check("proc, sys and dev are its own mounts", expected <= inside)
    stage.check(
        "nothing of the data root shows as a mount point",
        not any(str(stage.daemon.data_root) in path for path in inside),
    )
    name = stage.start("sleep 60")
    own, ours = (
        {m.mount_point for m in kernel_mounts.mountinfo(str(stage.pid(name)))},
        kernel_mounts.mountinfo(),
    )
    stage.check(
        f"while one runs with {len(own)} mount points, the host's {len(ours)} mounts are as before",
        [m.mount_id for m in ours] == [m.mount_id for m in host_before],
    )
    stage.remove(name)


def privileges(stage: Stage) -> None:
    """Capabilities, devices, masked paths."""
    stage.chapter(
        "Privileges",
        "Root in a container has Docker's 14 capabilities of the kernel's 41, none after "
        "--cap-drop ALL. In the host's user namespace it may make a device node, but a BPF program "
        "on its cgroup keeps it from opening one that was not given to it. Telling paths of /proc "
        "are covered.",
    )
    default, dropped = (
        int(stage.run(*options, "grep CapBnd /proc/self/status").split()[1], 16)
        for options in ((), ("--cap-drop", "ALL"))
    )
    stage.check(
        f"capabilities: {default.bit_count()}; with --cap-drop ALL: {dropped.bit_count()}",
        default.bit_count() == DEFAULT_CAPABILITIES and dropped == 0,
    )
    text = stage.run("mount -t tmpfs none /tmp 2>&1; echo status $?")
    stage.check("it may not mount", "denied" in text and "status 0" not in text)
    script = "mknod /mem c 1 1 && echo made; head -c 1 /mem 2>&1; echo status $?"
    text = stage.run("--userns", "host", script)
    stage.check(
        "the node for the machine's memory was made, and could not be opened",
        "made" in text and "Operation not permitted" in text,
    )
    text = stage.run("wc -c < /proc/keys; echo 1 > /proc/sys/vm/drop_caches")
    stage.check("/proc/keys is empty, /proc/sys is read-only", text.split() == ["0"])


def uid_of(stage: Stage, name: str) -> str:
    """The host's user that its first process is."""
    return Path(f"/proc/{stage.pid(name)}/status").read_text().split("Uid:")[1].split()[0]


def user_namespace(stage: Stage) -> None:
    """Root inside, nobody outside."""
    version = tuple(int(n) for n in os.uname().release.split("-")[0].split(".")[:2])
    stage.chapter(
        "A user namespace",
        "By default a container's root is a user to the host that nobody else is; with "
        f"--userns private:{FIRST_ID}:65536 it is {FIRST_ID}. The layers are shared with other "
        "containers all the same, by idmapped mounts (Linux 6.13).",
    )
    started = stage.orlop("run", "-d", "busybox", "sleep", "60")
    name = started.stdout.strip()
    mode = stage.inspect(name)["HostConfig"]["UsernsMode"]
    owner = uid_of(stage, name)
    shown = "auto" if version >= IDMAPPED_OVERLAY else "host"
    stage.check(
        f"by default it is {mode}: root is user {owner} outside",
        mode == shown and (owner != "0") == (shown == "auto"),
    )
    stage.remove(name)
    options = ("--userns", f"private:{FIRST_ID}:65536")
    started = stage.orlop("run", "-d", *options, "busybox", "sleep", "60")
    if started.returncode != 0 and version < IDMAPPED_OVERLAY:
        stage.note("not on this kernel; refused with the message above")
        stage.orlop("rm", "-f", started.stdout.strip() or "none", shown=False)
        return
    name = started.stdout.strip()
    inside = stage.orlop("exec", name, "id", "-u").stdout.strip()
    owner = uid_of(stage, name)
    stage.check(
        f"user {inside} inside is user {owner} outside", (inside, owner) == ("0", str(FIRST_ID))
    )
    written = stage.orlop("exec", name, "sh", "-c", "echo x > /file && stat -c %u /file").stdout
    upper = stage.daemon.data_root / "containers" / name / "upper" / "file"
    stage.check(
        "a file of its root belongs to 0 inside, also on disk (idmapped)",
        written.strip() == "0" and upper.stat().st_uid == 0,
    )
    stage.remove(name)
