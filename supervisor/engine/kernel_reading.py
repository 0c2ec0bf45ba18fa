"""What the kernel says of a container's processes: /proc/PID and the cgroup's files.

Blocking: to be called in a thread. A process may end at any time: then Conflict for PID 1,
and silence about any other.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from supervisor.docker.explain import Live, ProcessFacts
from supervisor.docker.explain_limits import READ
from supervisor.docker.explain_mounts import Row
from supervisor.errors import Conflict, KernelError
from supervisor.kernel import capabilities
from supervisor.kernel.cgroups import Group
from supervisor.kernel.mounts import MountInfo, mountinfo
from supervisor.kernel.namespaces import CLONE_NEWUTS, PROC_NAMES, setns
from supervisor.kernel.paths import DIRECTORY, open_in_root

NAMESPACES = {**PROC_NAMES, "time": "time"}
MAX_PROCESSES = 1000


def read_live(pid: int, container_id: str, group: Group, hidden: Collection[str]) -> Live:
    """The container whose PID 1 is `pid` on the host; Conflict when it has ended.

    `hidden` are the paths that it should not reach.
    """
    try:
        status = read_status(pid)
        namespaces = {
            kind: (inode, host_namespaces()[kind])
            for kind, inode in _inodes(f"/proc/{pid}/ns").items()
        }
        mounts = [row(entry) for entry in mountinfo(pid)]
        live = Live(
            pid=pid,
            namespaces=namespaces,
            hostname=_hostname(f"/proc/{pid}/ns/uts"),
            mounts=mounts,
            present=_present(pid, hidden, mounts),
            masks={name: int(bits, 16) for name, bits in status.items() if name.startswith("Cap")},
            last_capability=capabilities.last_capability(),
            no_new_privileges=status.get("NoNewPrivs") == "1",
            seccomp=int(status.get("Seccomp", "0")),
            uids=_numbers(status["Uid"]),
            gids=_numbers(status["Gid"]),
            groups=_numbers(status["Groups"]),
            uid_map=_extents(f"/proc/{pid}/uid_map"),
            gid_map=_extents(f"/proc/{pid}/gid_map"),
            oom_score_adj=int(Path(f"/proc/{pid}/oom_score_adj").read_text()),
            cgroups=_cgroups(pid),
            limits=read_limits(group),
            processes=read_processes(group.procs()),
        )
    except (OSError, KeyError):
        raise Conflict(f"container {container_id[:12]} has just ended") from None
    if not any(container_id in path for _, path in live.cgroups):
        # Its number has gone to another process meanwhile.
        raise Conflict(f"container {container_id[:12]} has just ended")
    return live


def host_namespaces() -> dict[str, int]:
    """The inodes of the namespaces that this daemon is in; a kind the kernel lacks is left out."""
    return _inodes("/proc/self/ns")


def row(entry: MountInfo) -> Row:
    """A line of the mount table as what is explained of it."""
    return Row(
        point=entry.mount_point,
        fstype=entry.fstype,
        source=entry.source,
        root=entry.root,
        options=entry.options,
        read_only="ro" in entry.options or "ro" in entry.super_options,
    )


def read_status(pid: int) -> dict[str, str]:
    """/proc/PID/status by field (proc_pid_status(5))."""
    lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    pairs = (line.partition(":") for line in lines)
    return {name: value.strip() for name, _, value in pairs}


def read_processes(pids: Iterable[int]) -> tuple[ProcessFacts, ...]:
    """Those of the pids that live, the first MAX_PROCESSES of them."""
    found = []
    for pid in sorted(pids)[:MAX_PROCESSES]:
        try:
            status = read_status(pid)
            words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0")
            command = words.replace(b"\0", b" ").decode(errors="replace")
            found.append(
                ProcessFacts(
                    pids=_numbers(status["NSpid"]),
                    parent=int(status["PPid"]),
                    uid=_numbers(status["Uid"])[1],
                    command=command or f"[{status['Name']}]",
                )
            )
        except (OSError, KeyError):
            continue
    return tuple(found)


def read_limits(group: Group) -> Mapping[str, str]:
    """The group's files that tell of limits and use; those that are not there are left out."""
    found: dict[str, str] = {}
    for name in READ:
        controller = name.partition(".")[0]
        try:
            found[name] = group.read(controller, name)
        except KernelError:
            continue
    return found


def _inodes(folder: str) -> dict[str, int]:
    found = {}
    for kind, name in NAMESPACES.items():
        try:
            found[kind] = Path(folder, name).stat().st_ino
        except FileNotFoundError:  # a kernel without this kind; a process that is gone raises
            if not Path(folder).exists():
                raise
    return found


def _present(pid: int, paths: Collection[str], mounts: Sequence[Row]) -> frozenset[str]:
    """Those of the paths that there are in the tree of a process.

    Only what proc and sysfs have is looked for: another filesystem may be the container's
    own, and let us wait for ever.
    """
    points = {row.point: row.fstype for row in mounts}
    root = os.open(f"/proc/{pid}/root", DIRECTORY)
    try:
        return frozenset(
            path
            for path in paths
            if _filesystem(path, points) in ("proc", "sysfs") and _exists(root, path)
        )
    finally:
        os.close(root)


def _filesystem(path: str, points: Mapping[str, str]) -> str:
    while path not in points and path != "/":
        path = path.rpartition("/")[0] or "/"
    return points.get(path, "")


def _exists(root: int, path: str) -> bool:
    try:
        os.close(open_in_root(root, path, os.O_PATH))
    except KernelError:
        return False
    return True


def _hostname(path: str) -> str:
    """The host name of a uts namespace; only a thread inside it is told.

    The thread ends with the call, so that none of the others is ever in a foreign namespace.
    """
    names: list[str] = []
    namespace = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def enter() -> None:
        setns(namespace, CLONE_NEWUTS)
        names.append(os.uname().nodename)

    try:
        thread = threading.Thread(target=_quietly, args=(enter,), name="uts")
        thread.start()
        thread.join()
    finally:
        os.close(namespace)
    return names[0] if names else ""


def _quietly(action: Callable[[], None]) -> None:
    try:
        action()
    except OSError:  # no privilege: the name stays unknown
        return


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split()))


def _extents(path: str) -> list[tuple[int, int, int]]:
    found = []
    for line in Path(path).read_text().splitlines():
        inside, outside, count = map(int, line.split())
        found.append((inside, outside, count))
    return found


def _cgroups(pid: int) -> list[tuple[str, str]]:
    """(controllers, path) of each hierarchy, "" for v2 (cgroups(7))."""
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return [(line.split(":", 2)[1], line.split(":", 2)[2]) for line in lines]
