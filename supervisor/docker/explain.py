"""What makes a container look like a machine of its own, as JSON: GET /orlop/explain.

Of a running container everything is the kernel's word (`Live`, read from /proc and the
cgroup), of one at rest the runtime spec's: what it will be.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from supervisor.docker.explain_limits import limits_json
from supervisor.docker.explain_mounts import Purposes, Row, hidden_json, mounts_json, planned_rows
from supervisor.docker.explain_text import clean
from supervisor.spec.capabilities import DEFAULT, NAMES
from supervisor.spec.mount_points import MountPoint
from supervisor.spec.types import IdMapping, Spec

KINDS = {
    "pid": "process ids, from 1 on, and which processes it sees",
    "mount": "the mount table: the tree of files",
    "network": "network devices, addresses, ports and routes",
    "uts": "the host name",
    "ipc": "shared memory, semaphores and message queues",
    "cgroup": "where the tree of control groups begins",
    "user": "user ids: which of them are the host's",
    "time": "the clocks that count from the start of the machine",
}
SECCOMP = {0: "disabled", 1: "strict", 2: "filter"}
_SECCOMP_WORDS = {
    "disabled": "no filter: every system call that its capabilities allow reaches the kernel",
    "strict": "strict: only read, write, exit and sigreturn",
    "filter": "a filter decides which system calls reach the kernel",
}
_EVERY_ID = (1 << 32) - 1
_WORD_LENGTH = 80


class ProcessFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One process: its pid in each pid namespace, the host's first, and the rest of its status."""

    pids: tuple[int, ...]
    parent: int
    uid: int
    command: str


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """What the kernel says of a running container, at one moment.

    namespaces   kind → (its inode, the host's); a kind that the kernel lacks is not there
    masks        the capability sets of PID 1 ("CapBnd" → bits), `last_capability` the newest
    seccomp      the mode's number; `uid_map`, `gid_map` (inside, outside, count)
    cgroups      (controllers, path) as /proc/PID/cgroup has them, `limits` their files
    present      those of the paths to be hidden that there are in its tree
    """

    pid: int
    namespaces: Mapping[str, tuple[int, int]]
    hostname: str
    mounts: Sequence[Row]
    masks: Mapping[str, int]
    last_capability: int
    no_new_privileges: bool
    seccomp: int
    uids: tuple[int, ...]
    gids: tuple[int, ...]
    groups: tuple[int, ...]
    uid_map: Sequence[tuple[int, int, int]]
    gid_map: Sequence[tuple[int, int, int]]
    oom_score_adj: int
    cgroups: Sequence[tuple[str, str]]
    limits: Mapping[str, str]
    present: Collection[str] = ()
    processes: Sequence[ProcessFacts] = msgspec.field(default_factory=tuple)


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """The container: who it is, what was asked for, and the host it is on.

    `limits` are the cgroup files that its options lead to, `cgroups` where they will be;
    `host_namespaces` the inodes of the host's own; `joined` whose each of the others is that it
    does not have for itself.
    """

    id: str
    name: str
    status: str
    image: str
    spec: Spec
    points: Sequence[MountPoint]
    limits: Mapping[str, str]
    cgroups: Sequence[tuple[str, str]]
    host_name: str
    host_namespaces: Mapping[str, int]
    security_opts: Sequence[str]
    joined: Mapping[str, str] = msgspec.field(default_factory=dict)


def explain_json(subject: Subject, live: Live | None) -> dict[str, Any]:
    """The whole answer."""
    spec = subject.spec
    rows = list(live.mounts) if live else planned_rows(spec)
    whole = {
        "id": subject.id,
        "name": subject.name,
        "status": subject.status,
        "running": live is not None,
        "image": subject.image,
        "namespaces": _namespaces(subject, live),
        "processes": _processes(live) if live else [],
        "hostname": _hostname(subject, live),
        "ids": _ids(spec, live),
        "root": _root(spec, rows),
        "mounts": mounts_json(rows, Purposes(spec, subject.points)),
        "hidden": hidden_json(spec, rows if live else None, live.present if live else ()),
        "capabilities": _capabilities(spec, live),
        "no_new_privileges": _no_new_privileges(spec, live),
        "seccomp": _seccomp(spec, live),
        "cgroups": [
            {"controllers": controllers or "unified (v2)", "path": path}
            for controllers, path in (live.cgroups if live else subject.cgroups)
        ],
        "limits": limits_json(live.limits if live else subject.limits),
        "oom_score_adj": live.oom_score_adj if live else spec.process.oom_score_adj or 0,
        "security_opts": [_shortened(word) for word in subject.security_opts],
    }
    cleaned: dict[str, Any] = clean(whole)
    return cleaned


# --- namespaces and processes -----------------------------------------------------------------


def _namespaces(subject: Subject, live: Live | None) -> list[dict[str, Any]]:
    planned = {namespace.type for namespace in subject.spec.namespaces}
    found = []
    for kind, what in KINDS.items():
        host = subject.host_namespaces.get(kind)
        if host is None:
            continue
        inode: int | None = None
        if live is not None:
            if kind not in live.namespaces:
                continue
            inode, host = live.namespaces[kind]
            shared = inode == host
        else:
            shared = kind not in planned
        found.append(
            {
                "kind": kind,
                "inode": inode,
                "host_inode": host,
                "shared": shared,
                "joins": subject.joined.get(kind, "") if not shared else "",
                "what": what,
            }
        )
    return found


def _processes(live: Live) -> list[dict[str, Any]]:
    """Parents before their children, each with its depth in the tree."""
    children: dict[int, list[ProcessFacts]] = {}
    known = {process.pids[0] for process in live.processes}
    for process in sorted(live.processes, key=lambda p: p.pids[0]):
        above = process.parent if process.parent in known else 0
        children.setdefault(above, []).append(process)
    listed: list[dict[str, Any]] = []
    waiting = [(process, 0) for process in reversed(children.get(0, ()))]
    while waiting:
        process, depth = waiting.pop()
        listed.append(
            {
                "host_pid": process.pids[0],
                "pid": process.pids[-1],
                "parent": process.parent,
                "uid": process.uid,
                "command": process.command,
                "depth": depth,
            }
        )
        below = children.get(process.pids[0], ())
        waiting += [(child, depth + 1) for child in reversed(below)]
    return listed


def _hostname(subject: Subject, live: Live | None) -> dict[str, str]:
    inside = live.hostname if live else subject.spec.hostname or subject.host_name
    return {"inside": inside, "host": subject.host_name}


# --- ids --------------------------------------------------------------------------------------


def _ids(spec: Spec, live: Live | None) -> dict[str, Any]:
    if live is None:
        uid_map, gid_map = _planned_map(spec.uid_mappings), _planned_map(spec.gid_mappings)
    else:
        uid_map, gid_map = list(live.uid_map), list(live.gid_map)
    return {
        "user": spec.process.user,
        "uid": live.uids[1] if live else None,
        "gid": live.gids[1] if live else None,
        "groups": list(live.groups) if live else None,
        "uid_map": [list(extent) for extent in uid_map],
        "gid_map": [list(extent) for extent in gid_map],
        "words": _map_words(uid_map),
    }


def _planned_map(mappings: Sequence[IdMapping]) -> list[tuple[int, int, int]]:
    found = [(m.container_id, m.host_id, m.size) for m in mappings]
    return found or [(0, 0, _EVERY_ID)]


def _map_words(extents: Sequence[tuple[int, int, int]]) -> str:
    if [tuple(extent) for extent in extents] == [(0, 0, _EVERY_ID)]:
        return "root of the container is root of the host, held by what follows"
    ranges = ", ".join(
        f"{inside}-{inside + count - 1} are {outside}-{outside + count - 1} of the host"
        for inside, outside, count in extents
    )
    return f"{ranges}; any other does not exist inside"


# --- files ------------------------------------------------------------------------------------


def _root(spec: Spec, rows: Sequence[Row]) -> dict[str, Any]:
    root = spec.root
    # The last mount at "/" is the one that is seen.
    row = next((row for row in reversed(rows) if row.point == "/"), None)
    return {
        "kind": "overlay" if root.upper else "folder",
        "read_only": row.read_only if row is not None else spec.root_readonly,
        "writable": root.upper,
        "work": root.work,
        "lowers": list(root.lower),
        "volatile": root.volatile,
    }


# --- privileges -------------------------------------------------------------------------------

_SETS = {
    "effective": "CapEff",
    "permitted": "CapPrm",
    "bounding": "CapBnd",
    "inheritable": "CapInh",
    "ambient": "CapAmb",
}


def _capabilities(spec: Spec, live: Live | None) -> dict[str, Any]:
    planned = spec.process.capabilities
    sets: dict[str, list[str]] = {}
    for name, field_name in _SETS.items():
        if live is None:
            sets[name] = list(getattr(planned, name))
        else:
            sets[name] = _names(live.masks.get(field_name, 0))
    last = live.last_capability if live else len(NAMES) - 1
    every = [name for name, number in NAMES.items() if number <= last]
    bounding = set(sets["bounding"])
    return {
        **sets,
        "added": [name for name in every if name in bounding and name not in DEFAULT],
        "dropped": [name for name in DEFAULT if name not in bounding],
        "never": [name for name in every if name not in bounding],
        "words": _capability_words(len(bounding), len(every), sets["effective"]),
    }


def _names(mask: int) -> list[str]:
    known = [name for name, number in NAMES.items() if mask >> number & 1]
    unknown = range(len(NAMES), mask.bit_length())
    return known + [f"CAP_{number}" for number in unknown if mask >> number & 1]


def _capability_words(bounding: int, every: int, effective: Sequence[str]) -> str:
    can = f"{bounding} of the kernel's {every} can be had inside"
    now = f"{len(effective)} in effect" if effective else "none in effect"
    return f"{can}; {now} for its first process"


def _no_new_privileges(spec: Spec, live: Live | None) -> dict[str, Any]:
    on = live.no_new_privileges if live else spec.process.no_new_privileges
    words = (
        "set-user-id programs and file capabilities give nothing"
        if on
        else "set-user-id programs and file capabilities work, within the bounding set"
    )
    return {"on": on, "words": words}


def _shortened(word: str) -> str:
    """A profile of system calls has hundreds of lines."""
    return word if len(word) <= _WORD_LENGTH else f"{word[:_WORD_LENGTH]}…"


def _seccomp(spec: Spec, live: Live | None) -> dict[str, str]:
    planned = 0 if spec.process.seccomp is None else 2
    number = live.seccomp if live else planned
    mode = SECCOMP.get(number, str(number))
    return {"mode": mode, "words": _SECCOMP_WORDS.get(mode, "")}
