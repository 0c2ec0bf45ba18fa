"""A container explained: at rest by its spec, running by what the kernel says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from supervisor.docker.explain import Live, ProcessFacts, Subject, explain_json
from supervisor.docker.explain_mounts import Purposes, Row, hidden_json, mounts_json
from supervisor.spec.build import HostFacts, build_spec
from supervisor.spec.capabilities import DEFAULT, mask
from supervisor.spec.mount_points import MountPoint, bind_mount
from supervisor.spec.options import ContainerOptions
from supervisor.spec.types import CgroupPaths, Log, Mount, Overlay, Spec

POINTS = (
    MountPoint(type="bind", destination="/data", source="/srv", propagation="rprivate"),
    MountPoint(type="volume", destination="/v", name="vol"),
    MountPoint(type="volume", destination="/a", name="f" * 64, anonymous=True, subpath="x"),
    MountPoint(type="tmpfs", destination="/t"),
)
HOST = {"pid": 1, "mount": 2, "network": 3, "uts": 4, "ipc": 5, "cgroup": 6, "user": 7, "time": 8}


def spec(**options: Any) -> Spec:
    asked = ContainerOptions(
        args=("sh",),
        binds=(bind_mount(POINTS[0]), Mount(destination="/v", type="bind", source="/vols/v")),
        tmpfs={"/t": ""},
        **options,
    )
    return build_spec(
        asked,
        id="c" * 64,
        run=1,
        root=Overlay(lower=("/l2", "/l1"), upper="/u", work="/w"),
        cgroup=CgroupPaths(unified="/sys/fs/cgroup/orlop/c", v1={"memory": "/m/c", "cpu": "/c/c"}),
        log=Log(),
        host=HostFacts(hostname="host"),
        provided=(Mount(destination="/etc/hosts", type="bind", source="/b/hosts"),),
    )


def subject(of: Spec, limits: dict[str, str] | None = None) -> Subject:
    return Subject(
        id="c" * 64,
        name="web",
        status="created",
        image="box",
        spec=of,
        points=POINTS,
        limits=limits or {},
        cgroups=(("memory", "/orlop/c"), ("", "/orlop/c")),
        host_name="host",
        host_namespaces=HOST,
        security_opts=(),
    )


def live(**changes: Any) -> Live:
    base = Live(
        pid=100,
        namespaces={**{kind: (n + 100, n) for kind, n in HOST.items()}, "network": (3, 3)},
        hostname="inside",
        mounts=(
            Row(point="/", fstype="overlay"),
            Row(point="/proc/kcore", fstype="tmpfs", root="/null"),
            Row(point="/sys/firmware", fstype="tmpfs", read_only=True),
            Row(point="/proc/sys", fstype="proc", root="/sys", read_only=True),
            Row(point="/made", fstype="tmpfs"),
        ),
        masks={"CapBnd": mask(DEFAULT) | mask(["CAP_SYS_ADMIN"]) | 1 << 60, "CapEff": 0},
        last_capability=40,
        no_new_privileges=True,
        seccomp=2,
        uids=(1000, 1000, 1000, 1000),
        gids=(1000, 1000, 1000, 1000),
        groups=(1000, 5),
        uid_map=((0, 100000, 65536),),
        gid_map=((0, 100000, 65536),),
        oom_score_adj=7,
        cgroups=(("memory", "/orlop/c"), ("", "/orlop/c")),
        limits={"pids.max": "5"},
        present={"/proc/keys", "/proc/kcore"},
        processes=(
            ProcessFacts(pids=(102, 3), parent=101, uid=0, command="grandchild"),
            ProcessFacts(pids=(100, 1), parent=99, uid=0, command="init"),
            ProcessFacts(pids=(101, 2), parent=100, uid=0, command="child"),
            ProcessFacts(pids=(104, 9), parent=99, uid=0, command="exec"),
            ProcessFacts(pids=(103, 4), parent=100, uid=0, command="child two"),
        ),
    )
    return msgspec.structs.replace(base, **changes)


def test_at_rest_the_spec_is_told() -> None:
    found = explain_json(subject(spec(hostname="own"), {"pids.max": "9"}), None)
    assert (found["running"], found["processes"]) == (False, [])
    kinds = {item["kind"]: item for item in found["namespaces"]}
    assert (kinds["pid"]["shared"], kinds["pid"]["inode"]) == (False, None)
    assert (kinds["user"]["shared"], kinds["time"]["shared"]) == (True, True)
    assert found["hostname"] == {"inside": "own", "host": "host"}
    assert found["capabilities"]["bounding"] == list(DEFAULT)
    assert found["capabilities"]["added"] == found["capabilities"]["dropped"] == []
    assert "CAP_SYS_ADMIN" in found["capabilities"]["never"]
    assert found["root"] == {
        "kind": "overlay",
        "read_only": False,
        "writable": "/u",
        "work": "/w",
        "lowers": ["/l2", "/l1"],
        "volatile": False,
    }
    assert {item["state"] for item in found["hidden"]["masked"]} == {"planned"}
    assert [row["limit"] for row in found["limits"] if row["what"] == "processes"] == [9]
    assert found["cgroups"] == [
        {"controllers": "memory", "path": "/orlop/c"},
        {"controllers": "unified (v2)", "path": "/orlop/c"},
    ]
    assert found["ids"]["words"].startswith("root of the container is root of the host")


def test_shared_and_mapped_namespaces_at_rest() -> None:
    shared = explain_json(subject(spec(pid="host", network="host", uts="host")), None)
    kinds = {item["kind"]: item["shared"] for item in shared["namespaces"]}
    assert [kinds[kind] for kind in ("pid", "network", "uts", "ipc")] == [True, True, True, False]
    assert shared["hostname"]["inside"] == "host"
    asked = spec(ipc="container:abc")
    joined = explain_json(
        msgspec.structs.replace(subject(asked), joined={"ipc": "container abc"}), None
    )
    assert [i["joins"] for i in joined["namespaces"] if i["kind"] == "ipc"] == ["container abc"]
    assert [i["joins"] for i in joined["namespaces"] if i["kind"] == "pid"] == [""]
    mapped = explain_json(subject(spec(userns="private:100000:65536")), None)
    assert mapped["ids"]["uid_map"] == [[0, 100000, 65536]]
    assert "0-65535 are 100000-165535 of the host" in mapped["ids"]["words"]


def test_running_the_kernel_has_the_word() -> None:
    found = explain_json(subject(spec(hostname="planned", no_new_privileges=False)), live())
    kinds = {item["kind"]: item for item in found["namespaces"]}
    assert (kinds["pid"]["inode"], kinds["pid"]["host_inode"]) == (101, 1)
    assert (kinds["network"]["shared"], kinds["pid"]["shared"]) == (True, False)
    assert found["hostname"] == {"inside": "inside", "host": "host"}
    assert found["no_new_privileges"]["on"] is True
    assert found["seccomp"]["mode"] == "filter"
    assert found["capabilities"]["added"] == ["CAP_SYS_ADMIN"]
    assert "CAP_60" in found["capabilities"]["bounding"]
    assert found["capabilities"]["words"].endswith("; none in effect for its first process")
    assert (found["ids"]["uid"], found["ids"]["groups"]) == (1000, [1000, 5])
    assert found["oom_score_adj"] == 7
    assert [row["limit"] for row in found["limits"] if row["what"] == "processes"] == [5]
    masked = {item["path"]: item["state"] for item in found["hidden"]["masked"]}
    assert (masked["/proc/kcore"], masked["/sys/firmware"]) == ("done", "done")
    assert (masked["/proc/keys"], masked["/proc/acpi"]) == ("open", "absent")


def test_the_tree_of_processes() -> None:
    found = explain_json(subject(spec()), live())["processes"]
    assert [(p["command"], p["depth"], p["pid"], p["host_pid"]) for p in found] == [
        ("init", 0, 1, 100),
        ("child", 1, 2, 101),
        ("grandchild", 2, 3, 102),
        ("child two", 1, 4, 103),
        ("exec", 0, 9, 104),
    ]


def test_a_kind_of_namespace_that_the_kernel_lacks_is_left_out() -> None:
    less = {kind: pair for kind, pair in live().namespaces.items() if kind != "time"}
    found = explain_json(subject(spec()), live(namespaces=less))
    assert "time" not in {item["kind"] for item in found["namespaces"]}


def test_what_mounts_are_for() -> None:
    purposes = Purposes(spec(), POINTS)
    rows = [
        Row(point="/", fstype="overlay"),
        Row(point="/proc", fstype="proc"),
        Row(point="/data", fstype="ext4", root="/srv"),
        Row(point="/v", fstype="ext4"),
        Row(point="/a", fstype="ext4"),
        Row(point="/t", fstype="tmpfs"),
        Row(point="/etc/hosts", fstype="ext4"),
        Row(point="/proc/kcore", fstype="tmpfs", root="/null"),
        Row(point="/proc/keys", fstype="tmpfs", source="nodes", root="/0"),
        Row(point="/proc/sys", fstype="proc", read_only=True),
        Row(point="/sys/fs/cgroup/memory", fstype="cgroup", options=("nosuid", "noexec")),
        Row(point="/dev/null", fstype="devtmpfs", root="/null"),
        Row(point="/made", fstype="tmpfs"),
        Row(point="/sys/firmware", fstype="sysfs"),
    ]
    found = {row["point"]: (row["kind"], row["why"]) for row in mounts_json(rows, purposes)}
    assert [kind for kind, _ in found.values()] == [
        *("root", "kernel", "bind", "volume", "volume", "tmpfs", "provided"),
        *("masked", "masked", "read-only", "kernel", "device", "other", "other"),
    ]
    assert found["/"][1] == ("2 read-only layers and a writable one on top")
    assert found["/data"][1] == "/srv of the host"
    assert found["/v"][1] == "the volume vol"
    assert found["/a"][1] == f"the anonymous volume {'f' * 64}, its folder x"
    assert found["/etc/hosts"][1].startswith("written by Orlop for this container")
    assert found["/sys/fs/cgroup/memory"][1].endswith("for memory")
    folder = replace(spec(), root=Overlay(lower=("/tree",)))
    (root,) = mounts_json([Row(point="/", fstype="ext4")], Purposes(folder, ()))
    assert root["why"] == "the folder /tree of the host itself"


def test_hidden_paths_are_looked_up_in_the_table() -> None:
    planned = spec()
    rows = [
        Row(point="/proc/keys", fstype="tmpfs", root="/null"),
        Row(point="/proc/bus", fstype="proc"),
    ]
    found = hidden_json(planned, rows, {"/proc/bus", "/proc/acpi"})
    assert {"path": "/proc/keys", "state": "done"} in found["masked"]
    assert {"path": "/proc/acpi", "state": "open"} in found["masked"]
    assert {"path": "/proc/asound", "state": "absent"} in found["masked"]
    assert {"path": "/proc/bus", "state": "open"} in found["read_only"]
