"""What is shown: inspect, list, events, images, host."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from supervisor.docker.create import merge_image
from supervisor.docker.events import check_event_filters, event_json, event_matches
from supervisor.docker.exec import ExecBody
from supervisor.docker.images import image_json
from supervisor.docker.inspect import container_answer, container_json, exec_json
from supervisor.docker.listing import command_text, select, status_text, summary_json, summary_row
from supervisor.docker.mounts import mount_points
from supervisor.docker.views import ContainerView, Event, ExecView
from supervisor.errors import InvalidArgument
from supervisor.lifecycle.history import PastRun
from supervisor.lifecycle.restart import RestartPolicy
from supervisor.oci.config import ImageConfig
from supervisor.spec.mount_points import MountPoint
from supervisor.store.image import Image
from tests.unit.docker.bodies import decoded

SECOND = 1_000_000_000
CREATED = 1795231736_229694867
INSPECT_KEYS = {
    "Id", "Created", "Path", "Args", "State", "Image", "ResolvConfPath", "HostnamePath",
    "HostsPath", "LogPath", "Name", "RestartCount", "Driver", "Platform", "MountLabel",
    "ProcessLabel", "AppArmorProfile", "ExecIDs", "HostConfig", "GraphDriver", "Mounts",
    "Config", "NetworkSettings", "OrlopHistory", "OrlopStart",
}  # fmt: skip


def view(host: dict[str, Any] | None = None, **fields: Any) -> ContainerView:
    body = merge_image(decoded(host), ImageConfig(env=("PATH=/bin",)))
    values: dict[str, Any] = {
        "id": "8d5a33c376e9" + "0" * 52,
        "name": "web",
        "created_ns": CREATED,
        "image_id": "sha256:" + "d" * 64,
        "body": body,
        "hostname": "8d5a33c376e9",
        "mounts": mount_points(body),
    }
    return ContainerView(**(values | fields))


@pytest.mark.parametrize("more", [{}, {"SizeRw": 1, "SizeRootFs": 2}])
def test_the_answer_to_inspect_is_the_same_encoded(more: dict[str, Any]) -> None:
    one, read = view(), msgspec.json.decode
    whole = msgspec.json.encode(container_json(one) | more)
    for _ in range(2):
        assert bytes(container_answer(one, more)) == whole
    assert read(container_answer(view(name="other"), more))["Name"] == "/other"


def test_inspect_has_the_ids_that_a_container_was_given() -> None:
    shown = container_json(view(user_ids=(100000, 65536)))["OrlopIDMappings"]
    assert shown == {"UidMap": ["0:100000:65536"], "GidMap": ["0:100000:65536"]}
    assert "OrlopIDMappings" not in container_json(view())


def test_inspect_has_the_runs_that_are_over() -> None:
    past = PastRun(2, "error", 3, started_ns=CREATED, policy=RestartPolicy("on-failure", 4))
    (shown,) = container_json(view(history=(past,)))["OrlopHistory"]
    assert (shown["Run"], shown["Reason"], shown["ExitCode"]) == (2, "error", 3)
    assert shown["StartedAt"] == "2026-11-21T03:28:56.229694867Z"
    assert shown["FinishedAt"] == "0001-01-01T00:00:00Z"
    assert shown["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 4}


def test_inspect_has_the_stages_of_the_latest_start() -> None:
    stages = {"rootfs": 2_000_000, "exec": 3_000_000}
    assert container_json(view(stages=stages))["OrlopStart"] == stages
    assert container_json(view())["OrlopStart"] == {}


def test_inspect_has_dockers_fields() -> None:
    shown = container_json(
        view(
            {"Binds": ["/srv:/data:ro"], "Memory": 7340032},
            status="running",
            pid=1706,
            started_ns=CREATED + SECOND,
            upper_dir="/b/upper",
            work_dir="/b/work",
            lower_dirs=("/l/2", "/l/1"),
            exec_ids=("e1",),
        )
    )
    assert set(shown) == INSPECT_KEYS
    assert shown["Created"] == "2026-11-21T03:28:56.229694867Z"
    assert (shown["Name"], shown["Path"], shown["Args"]) == ("/web", "echo", ("hi",))
    assert shown["State"] == {
        "Status": "running",
        "Running": True,
        "Paused": False,
        "Restarting": False,
        "OOMKilled": False,
        "Dead": False,
        "Pid": 1706,
        "ExitCode": 0,
        "Error": "",
        "StartedAt": "2026-11-21T03:28:57.229694867Z",
        "FinishedAt": "0001-01-01T00:00:00Z",
    }
    assert shown["Config"]["Hostname"] == "8d5a33c376e9"
    assert shown["Config"]["Entrypoint"] is None
    assert shown["GraphDriver"]["Data"]["LowerDir"] == "/l/2:/l/1"
    assert shown["ExecIDs"] == ("e1",)
    assert shown["Mounts"] == [
        {
            "Type": "bind",
            "Source": "/srv",
            "Destination": "/data",
            "Mode": "ro",
            "RW": False,
            "Propagation": "rprivate",
        }
    ]
    host = shown["HostConfig"]
    assert (host["Memory"], host["ShmSize"], host["NetworkMode"]) == (7340032, 67108864, "none")
    assert (host["IpcMode"], host["PidsLimit"], host["MemorySwappiness"]) == ("private", None, None)
    assert (host["RestartPolicy"]["Name"], host["LogConfig"]["Type"]) == ("no", "json-file")
    assert not {"OrlopRootfs", "KernelMemory", "Mounts"} & set(host)
    assert set(shown["NetworkSettings"]["Networks"]) == {"none"}


def test_inspect_shows_what_is_optional_where_it_is_set() -> None:
    body = decoded(StopSignal="INT", StopTimeout=3, ExposedPorts={"80/tcp": {}})
    config = container_json(view(body=body))["Config"]
    assert (config["StopSignal"], config["StopTimeout"]) == ("INT", 3)
    assert config["ExposedPorts"] == {"80/tcp": {}}
    assert not {"StopSignal", "StopTimeout", "ExposedPorts"} & set(container_json(view())["Config"])
    host = container_json(view({"OrlopRootfs": "/r", "Tmpfs": {"/t": ""}}))["HostConfig"]
    assert (host["OrlopRootfs"], host["Tmpfs"]) == ("/r", {"/t": ""})


def test_inspect_shows_volumes_and_the_files_of_etc() -> None:
    volume = MountPoint(
        type="volume", destination="/data", name="data1", source="/v/data1/_data", mode="z"
    )
    memory = MountPoint(type="tmpfs", destination="/t", words="size=1")
    body = decoded(Volumes={"/data": {}})
    shown = container_json(view(body=body, mounts=(volume, memory), etc_folder="/b"))
    assert shown["Mounts"] == [
        {
            "Type": "volume",
            "Name": "data1",
            "Source": "/v/data1/_data",
            "Destination": "/data",
            "Driver": "local",
            "Mode": "z",
            "RW": True,
            "Propagation": "",
        },
        {
            "Type": "tmpfs",
            "Source": "",
            "Destination": "/t",
            "Mode": "",
            "RW": True,
            "Propagation": "",
        },
    ]
    assert shown["Config"]["Volumes"] == {"/data": {}}
    paths = [shown[name] for name in ("HostsPath", "HostnamePath", "ResolvConfPath")]
    assert paths == ["/b/hosts", "/b/hostname", "/b/resolv.conf"]
    assert [m["Destination"] for m in summary_json(view(mounts=(volume,)), 0)["Mounts"]] == [
        "/data"
    ]


def test_exec_inspect() -> None:
    body = ExecBody(cmd=("sh", "-c"), attach_stdout=True)
    shown = exec_json(ExecView(id="e", container_id="c", body=body, running=True, pid=9))
    assert (shown["Running"], shown["ExitCode"], shown["Pid"]) == (True, None, 9)
    assert shown["ProcessConfig"]["entrypoint"] == "sh"
    assert "user" not in shown["ProcessConfig"]


@pytest.mark.parametrize(
    "fields,expected",
    [
        ({"status": "created"}, "Created"),
        ({"status": "running", "started_ns": CREATED}, "Up 3 minutes"),
        ({"status": "paused", "started_ns": CREATED}, "Up 3 minutes (Paused)"),
        ({"status": "exited", "started_ns": 1, "finished_ns": CREATED, "exit_code": 137},
         "Exited (137) 3 minutes ago"),
        ({"status": "restarting", "started_ns": 1, "finished_ns": CREATED, "exit_code": 1},
         "Restarting (1) 3 minutes ago"),
        ({"status": "removing"}, "Removal In Progress"),
        ({"status": "dead"}, "Dead"),
        # The clock was set back.
        ({"status": "running", "started_ns": CREATED + 10**15}, "Up Less than a second"),
    ],
)  # fmt: skip
def test_status_words(fields: dict[str, Any], expected: str) -> None:
    assert status_text(view(**fields), CREATED + 180 * SECOND) == expected


def test_list_row() -> None:
    row = summary_json(view(status="exited", finished_ns=CREATED), CREATED)
    assert row["Names"] == ("/web",)
    assert row["Created"] == 1795231736
    assert row["Command"] == "echo hi"
    assert row["HostConfig"] == {"NetworkMode": "none"}
    assert (row["State"], row["Image"]) == ("exited", "alpine")


def test_an_encoded_list_row_is_the_row_at_any_time() -> None:
    shown = view(status="running", started_ns=CREATED)
    for now in (CREATED + SECOND, CREATED + 90 * SECOND, CREATED + 200 * SECOND):
        assert msgspec.json.decode(summary_row(shown, now)) == msgspec.json.decode(
            msgspec.json.encode(summary_json(shown, now))
        )


def test_commands_are_quoted_where_they_have_spaces() -> None:
    words = ("sh", "-c", "i=0; while :; do :; done")
    assert command_text(words) == "sh -c 'i=0; while :; do :; done'"
    assert command_text(("a b",)) == "a b"
    assert command_text(()) == ""


def test_select() -> None:
    running = view(status="running", name="a")
    exited = view(status="exited", name="b", id="b" * 64, exit_code=3, started_ns=1)
    both = [running, exited]
    assert select(both, {}, everything=False, limit=0) == [running]
    assert select(both, {}, everything=True, limit=0) == both
    assert select(both, {}, everything=False, limit=2) == both
    assert select(both, {}, everything=True, limit=1) == [running]
    assert select(both, {"status": ("exited",)}, everything=False, limit=0) == [exited]
    assert select(both, {"exited": ("3",)}, everything=True, limit=0) == [exited]
    assert select(both, {"ancestor": ("alpine",)}, everything=False, limit=0) == [running]
    with pytest.raises(InvalidArgument, match="invalid filter 'x'"):
        select(both, {"x": ("y",)}, everything=True, limit=0)


# --- events ---------------------------------------------------------------------------------

DIE = Event(
    type="container",
    action="die",
    id="8d5a33c376e9",
    time_ns=CREATED,
    attributes={"image": "alpine:3", "name": "web", "exitCode": "1", "team": "blue"},
)
PULL = Event(type="image", action="tag", id="alpine:3", time_ns=1, attributes={"name": "alpine:3"})


def test_event_json() -> None:
    assert event_json(DIE) == {
        "status": "die",
        "id": "8d5a33c376e9",
        "from": "alpine:3",
        "Type": "container",
        "Action": "die",
        "Actor": {"ID": "8d5a33c376e9", "Attributes": DIE.attributes},
        "scope": "local",
        "time": 1795231736,
        "timeNano": CREATED,
    }
    assert "from" not in event_json(PULL)
    network = event_json(Event(type="network", action="create", id="n", time_ns=1))
    assert "status" not in network


@pytest.mark.parametrize(
    "filters,expected",
    [
        ({}, True),
        ({"type": ("container",)}, True),
        ({"type": ("volume", "image")}, False),
        ({"event": ("start", "die")}, True),
        ({"event": ("start",)}, False),
        ({"container": ("web",)}, True),
        ({"container": ("/web",)}, True),
        ({"container": ("8d5a",)}, True),
        ({"container": ("db", "8d5a33c376e9")}, True),
        ({"container": ("we",)}, True),
        ({"container": ("eb",)}, False),
        ({"event": ("di",)}, False),
        ({"daemon": ("web",)}, False),
        ({"volume": ("web",), "type": ("container",)}, False),
        ({"container": ("",)}, False),
        ({"image": ("alpine",)}, True),
        ({"image": ("alpine:3",)}, True),
        ({"image": ("alpine:4",)}, False),
        ({"label": ("team",)}, True),
        ({"label": ("team=blue",)}, True),
        ({"label": ("team=blue", "x")}, False),
        ({"label": ("exitCode",)}, False),
        ({"scope": ("local",)}, True),
        ({"scope": ("swarm",)}, False),
        ({"node": ("x",)}, False),
        ({"type": ("container",), "event": ("start",)}, False),
        ({"type": ()}, True),
    ],
)
def test_event_filters(filters: dict[str, tuple[str, ...]], expected: bool) -> None:
    check_event_filters(filters)
    assert event_matches(DIE, filters) is expected


def test_event_filters_of_images_and_execs() -> None:
    assert event_matches(PULL, {"image": ("alpine",)})
    assert not event_matches(PULL, {"container": ("alpine",)})
    created = replace(DIE, action="exec_create: sh -c true")
    assert event_matches(created, {"event": ("exec_create",)})
    with pytest.raises(InvalidArgument, match="invalid filter 'colour'"):
        check_event_filters({"colour": ("red",)})


# --- images ---------------------------------------------------------------------------------

IMAGE = Image(
    id="sha256:" + "d" * 64,
    tags=("alpine:3", "host:5000/team/tool:v1"),
    created="2024-01-01T00:00:00Z",
    size=7,
    layers=("sha256:" + "3" * 64,),
    architecture="amd64",
    config=ImageConfig(cmd=("/bin/sh",), labels={"a": "b"}, exposed_ports=("80/tcp",)),
)


def test_image_json() -> None:
    shown = image_json(IMAGE)
    assert shown["RepoTags"] == IMAGE.tags
    assert shown["RootFS"]["Layers"] == list(IMAGE.layers)
    assert shown["Config"]["Cmd"] == ("/bin/sh",)
    assert shown["Config"]["Entrypoint"] is None
    assert shown["Config"]["ExposedPorts"] == {"80/tcp": {}}


def test_what_was_not_asked_for_is_null_or_what_the_container_got() -> None:
    """As dockerd 28.5 answered of a container that Docker's client made."""
    shown = container_json(view())["HostConfig"]
    null = {name for name, value in shown.items() if value is None}
    assert null == {
        *("Binds", "CapAdd", "CapDrop", "DeviceCgroupRules", "DeviceRequests", "ExtraHosts"),
        *("GroupAdd", "Links", "MemorySwappiness", "PidsLimit", "SecurityOpt", "VolumesFrom"),
    }
    assert shown["OomKillDisable"] is False
    assert "/proc/kcore" in shown["MaskedPaths"]
    assert "/proc/sys" in shown["ReadonlyPaths"]


@pytest.mark.parametrize(
    "host, masked",
    [
        ({"MaskedPaths": [], "ReadonlyPaths": []}, ()),
        ({"MaskedPaths": ["/x"], "ReadonlyPaths": ["/x"]}, ("/x",)),
        ({"Privileged": True}, None),
        ({"SecurityOpt": ["systempaths=unconfined"]}, None),
    ],
)
def test_paths_that_are_covered(host: dict[str, Any], masked: tuple[str, ...] | None) -> None:
    shown = container_json(view(host))["HostConfig"]
    assert (shown["MaskedPaths"], shown["ReadonlyPaths"]) == (masked, masked)
