"""Binds, Mounts, Volumes and VolumesFrom as mount points: docker's forms, order and words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.docker.mounts import (
    inherit,
    is_local,
    mount_points,
    parse_bind,
    tmpfs_mounts,
    volumes_from,
)
from supervisor.errors import InvalidArgument
from supervisor.spec.mount_points import MountPoint, bind_mount
from tests.unit.docker.bodies import decoded


def points(host: dict[str, Any] | None = None, **fields: Any) -> tuple[MountPoint, ...]:
    return mount_points(decoded(host, **fields))


@pytest.mark.parametrize(
    "text, expected",
    [
        (
            "/srv:/data",
            MountPoint(
                type="bind",
                destination="/data",
                source="/srv",
                propagation="rprivate",
                make_source=True,
            ),
        ),
        (
            "/srv:/data/:ro,Z,rslave,cached",
            MountPoint(
                type="bind",
                destination="/data",
                source="/srv",
                mode="ro,Z,rslave,cached",
                read_only=True,
                propagation="rslave",
                make_source=True,
            ),
        ),
        (
            "v1:/data",
            MountPoint(type="volume", destination="/data", name="v1", mode="z", copy_up=True),
        ),
        (
            "v1:/data:rw,nocopy",
            MountPoint(type="volume", destination="/data", name="v1", mode="rw,nocopy"),
        ),
        (
            "v1:/data:ro",
            MountPoint(
                type="volume",
                destination="/data",
                name="v1",
                mode="ro",
                read_only=True,
                copy_up=True,
            ),
        ),
        (
            "/data",
            MountPoint(type="volume", destination="/data", anonymous=True, mode="z", copy_up=True),
        ),
    ],
)
def test_binds(text: str, expected: MountPoint) -> None:
    assert parse_bind(text) == expected


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "invalid volume specification: ''"),
        (":/b", "invalid volume specification: ':/b'"),
        ("/a:ro", "invalid volume specification: '/a:ro'"),
        ("a:", "invalid volume specification: 'a:'"),
        ("a:/b:ro:z", "invalid volume specification: 'a:/b:ro:z'"),
        ("/a:/b:readonly", "invalid mode: readonly"),
        ("/a:/b:ro,rw", "invalid mode: ro,rw"),
        ("/a:/b:ro,", "invalid mode: ro,"),
        (
            "/a:b",
            (
                "invalid volume specification: '/a:b': invalid mount config for type \"bind\": "
                "invalid mount path: 'b' mount path must be absolute"
            ),
        ),
        ("/a:/", "invalid specification: destination can't be '/'"),
        ("v1:/proc", "would hide the container's own /proc"),
        ("v1:/x/../sys", "would hide the container's own /sys"),
        ("/a:/b:nocopy", "field VolumeOptions must not be specified"),
        ("v1:/b:rshared", "field BindOptions must not be specified"),
        ("v:/b", "create v: volume name is too short"),
        (".a:/b", '".a" includes invalid characters for a local volume name'),
        ("a/../../b:/b", "If you intended to pass a host directory, use absolute path"),
        ("ä1:/b", "includes invalid characters"),
        ("/a\0:/b", "NUL"),
        ("v" * 256 + ":/b", "has 256 characters"),
    ],
)
def test_refused_binds(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_bind(text)
    assert message in caught.value.message


@given(st.text(alphabet=":/vro,.a", max_size=12))
def test_no_bind_ends_otherwise(text: str) -> None:
    try:
        point = parse_bind(text)
    except InvalidArgument:
        return
    assert point.destination.startswith("/")
    assert point.destination != "/"


MOUNT = {"Type": "volume", "Source": "v1", "Target": "/v"}


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({}, {"name": "v1", "mode": "z", "copy_up": True}),
        ({"Source": ""}, {"anonymous": True, "mode": "z", "copy_up": True}),
        (
            {"ReadOnly": True, "VolumeOptions": {"NoCopy": True, "Subpath": "a/b"}},
            {"name": "v1", "mode": "z", "read_only": True, "subpath": "a/b"},
        ),
        (
            {"VolumeOptions": {"Labels": {"k": "v"}, "DriverConfig": {"Options": {"o": "x"}}}},
            {
                "name": "v1",
                "mode": "z",
                "copy_up": True,
                "labels": {"k": "v"},
                "driver_options": {"o": "x"},
            },
        ),
        (
            {"Type": "bind", "Source": "/s", "BindOptions": {"CreateMountpoint": True}},
            {"source": "/s", "propagation": "rprivate", "make_source": True},
        ),
        (
            {
                "Type": "bind",
                "Source": "/s",
                "ReadOnly": True,
                "BindOptions": {"ReadOnlyNonRecursive": True},
            },
            {
                "source": "/s",
                "propagation": "rprivate",
                "read_only": True,
                "submounts_writable": True,
            },
        ),
        (
            {"Type": "tmpfs", "Source": "", "TmpfsOptions": {"SizeBytes": 1, "Mode": 0o700}},
            {"words": "size=1,mode=700"},
        ),
    ],
)
def test_mounts(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    kind = changes.get("Type", "volume")
    assert points({"Mounts": [{**MOUNT, **changes}]}) == (
        MountPoint(type=kind, destination="/v", **expected),
    )


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"Type": "npipe"}, 'invalid mount config for type "npipe": mount type unknown'),
        ({"Target": ""}, "field Target must not be empty"),
        ({"Source": "v"}, "volume name is too short"),
        ({"Source": "", "ReadOnly": True}, "must not set ReadOnly mode when using anonymous"),
        ({"BindOptions": {}}, "field BindOptions must not be specified"),
        ({"VolumeOptions": {"DriverConfig": {"Name": "nfs"}}}, "volume driver 'nfs' not found"),
        ({"VolumeOptions": {"Subpath": "../x"}}, "subpath must be a relative path"),
        ({"VolumeOptions": {"Subpath": "/x"}}, "subpath must be a relative path"),
        ({"Source": "", "VolumeOptions": {"Subpath": "x"}}, "must not set Subpath when using"),
        ({"Type": "bind", "Source": ""}, "field Source must not be empty"),
        (
            {"Type": "bind", "Source": "/s", "BindOptions": {"ReadOnlyNonRecursive": True}},
            "need ReadOnly",
        ),
    ],
)
def test_refused_mounts(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        points({"Mounts": [{**MOUNT, **changes}]})
    assert message in caught.value.message


@pytest.mark.parametrize(
    "host",
    [
        {"Binds": ["/a:/x", "v1:/x/"]},
        {"Binds": ["/a:/x"], "Mounts": [{**MOUNT, "Target": "/x"}]},
        {"Binds": ["/a:/x"], "Tmpfs": {"/y/../x": ""}},
        {"Mounts": [MOUNT], "Tmpfs": {"/v": ""}},
    ],
)
def test_duplicates(host: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=r"Duplicate mount point: /[xv]$"):
        points(host)


def test_volumes_of_the_image_go_where_nothing_else_is() -> None:
    found = points(
        {"Binds": ["/a:/bound"], "Tmpfs": {"/memory": ""}},
        Volumes={"/bound/": {}, "/memory": {}, "/new": {}},
    )
    assert [(p.destination, p.type, p.anonymous) for p in found] == [
        ("/bound", "bind", False),
        ("/new", "volume", True),
    ]
    assert found[1].mode == ""


def test_what_is_asked_for_wins_over_what_is_inherited() -> None:
    others = [
        MountPoint(type="volume", destination="/a", name="one", copy_up=True),
        MountPoint(type="bind", destination="/b", source="/x", read_only=True),
        MountPoint(type="volume", destination="/c", name="three"),
    ]
    body = decoded({"Binds": ["v2:/a"], "Tmpfs": {"/c": ""}}, Volumes={"/b": {}})
    found = {p.destination: p for p in mount_points(body, inherit(others, ""))}
    assert found["/a"].name == "v2"
    assert found["/b"].source == "/x"
    assert found.keys() == {"/a", "/b"}


def test_volumes_from() -> None:
    host = decoded({"VolumesFrom": ["c1", "c2:ro", "c3:rw,z"]}).host_config
    assert volumes_from(host) == (("c1", ""), ("c2", "ro"), ("c3", ""))
    point = MountPoint(type="volume", destination="/a", name="v1", copy_up=True)
    assert inherit([point], "ro") == (
        MountPoint(type="volume", destination="/a", name="v1", read_only=True),
    )
    kept = MountPoint(type="volume", destination="/a", name="v1", read_only=True)
    assert inherit([kept], "") == (kept,)


@pytest.mark.parametrize(
    "text, message",
    [
        (":ro", "no container"),
        ("c1:nocopy", "invalid mode: nocopy"),
        ("c1:rslave", "invalid mode: rslave"),
        ("c1:x", "invalid mode: x"),
    ],
)
def test_refused_volumes_from(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        volumes_from(decoded({"VolumesFrom": [text]}).host_config)


def test_tmpfs_comes_from_both_flags() -> None:
    host = {
        "Tmpfs": {"/a/": "size=1"},
        "Mounts": [{"Type": "tmpfs", "Target": "/b", "ReadOnly": True}],
    }
    body = decoded(host)
    assert tmpfs_mounts(body.host_config, mount_points(body)) == {"/a": "size=1", "/b": "ro"}


@pytest.mark.parametrize(
    "changes, words",
    [
        ({}, ("rbind", "rprivate")),
        ({"read_only": True}, ("rbind", "rprivate", "ro")),
        ({"read_only": True, "submounts_writable": True}, ("rbind", "rprivate", "ro", "flat")),
        ({"recursive": False, "propagation": "shared"}, ("bind", "shared")),
    ],
)
def test_words_of_a_bind(changes: dict[str, Any], words: tuple[str, ...]) -> None:
    point = MountPoint(
        type="bind", destination="/b", source="/a", **{"propagation": "rprivate", **changes}
    )
    assert bind_mount(point).options == words


@pytest.mark.parametrize(
    "path, local",
    [
        ("a", True),
        ("a/b", True),
        ("./a", True),
        ("a/../b", True),
        ("a/../..", False),
        ("..", False),
        ("/a", False),
        ("", False),
        ("a\0", False),
    ],
)
def test_is_local(path: str, local: bool) -> None:
    assert is_local(path) is local
