"""Volume names, the create body, filters, and the JSON of a volume."""

from __future__ import annotations

import json
from typing import Any

import pytest

from supervisor.docker.volumes import (
    ANONYMOUS_LABEL,
    check_list_filters,
    check_prune_filters,
    check_volume_name,
    decode_volume,
    prune_matches,
    pruned_json,
    volume_json,
    volume_matches,
)
from supervisor.errors import InvalidArgument
from supervisor.store.volumes import Volume

VOLUME = Volume(
    name="data1",
    folder="/r/volumes/data1",
    created_ns=1_795_231_826_500_000_000,
    labels={"k": "v", "only": ""},
    options={"type": "tmpfs"},
)
PLAIN = Volume(name="plain", folder="/r/volumes/plain", created_ns=0)
ANONYMOUS = Volume(name="a" * 64, folder="/r/volumes/a", created_ns=0, labels={ANONYMOUS_LABEL: ""})


@pytest.mark.parametrize("name", ["ab", "A1", "a.b", "a_-.", "0x", "a" * 255])
def test_names(name: str) -> None:
    check_volume_name(name)


@pytest.mark.parametrize(
    "name", ["a", "", ".a", "-a", "_a", "a/b", "a b", "a\n", "a:b", "../x", "ä1", "a\0", "a" * 256]
)
def test_refused_names(name: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^create "):
        check_volume_name(name)


def test_create_body() -> None:
    sent = {"Name": "vt", "Driver": "local", "DriverOpts": {"o": "x"}, "Labels": None}
    body = decode_volume(json.dumps(sent).encode())
    assert (body.name, body.driver_opts, body.labels) == ("vt", {"o": "x"}, {})
    assert decode_volume(b"{}").name == ""


@pytest.mark.parametrize(
    "sent, message",
    [
        ({"Name": "a/b"}, "includes invalid characters"),
        ({"Name": "ab", "Driver": "nfs"}, "volume driver 'nfs' not found"),
        ({"Name": "ab", "Labels": {"a": 1}}, "Labels"),
        ({"ClusterVolumeSpec": {"Group": "x"}}, "cluster volumes are not supported"),
    ],
)
def test_refused_bodies(sent: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        decode_volume(json.dumps(sent).encode())


def test_json_is_dockers() -> None:
    assert volume_json(VOLUME) == {
        "CreatedAt": "2026-11-21T03:30:26Z",
        "Driver": "local",
        "Labels": {"k": "v", "only": ""},
        "Mountpoint": "/r/volumes/data1/_data",
        "Name": "data1",
        "Options": {"type": "tmpfs"},
        "Scope": "local",
    }
    plain = volume_json(PLAIN)
    assert (plain["Labels"], plain["Options"]) == (None, None)
    assert pruned_json(["a1"], 5) == {"VolumesDeleted": ["a1"], "SpaceReclaimed": 5}


@pytest.mark.parametrize(
    "filters, used, shown",
    [
        ({}, True, True),
        ({"dangling": ("true",)}, False, True),
        ({"dangling": ("true",)}, True, False),
        ({"dangling": ("0",)}, True, True),
        ({"name": ("ata",)}, True, True),
        ({"name": ("x", "data1")}, True, True),
        ({"name": ("x",)}, True, False),
        ({"driver": ("local", "x")}, True, True),
        ({"driver": ("nfs",)}, True, False),
        ({"label": ("k",)}, True, True),
        ({"label": ("k=v", "only=")}, True, True),
        ({"label": ("k=v", "none")}, True, False),
        ({"label": ("k=w",)}, True, False),
    ],
)
def test_filters(filters: dict[str, tuple[str, ...]], used: bool, shown: bool) -> None:
    check_list_filters(filters)
    assert volume_matches(VOLUME, filters, used=used) is shown


@pytest.mark.parametrize(
    "volume, filters, everything, goes",
    [
        (ANONYMOUS, {}, False, True),
        (PLAIN, {}, False, False),
        (PLAIN, {}, True, True),
        (VOLUME, {"label": ("k=v",)}, True, True),
        (VOLUME, {"label!": ("k",)}, True, False),
        (PLAIN, {"label!": ("k",)}, True, True),
        (ANONYMOUS, {"label": ("k",)}, False, False),
    ],
)
def test_pruning(
    volume: Volume, filters: dict[str, tuple[str, ...]], everything: bool, goes: bool
) -> None:
    check_prune_filters(filters)
    assert prune_matches(volume, filters, everything=everything) is goes


def test_unknown_filters() -> None:
    with pytest.raises(InvalidArgument, match="invalid filter 'nope'"):
        check_list_filters({"nope": ("x",)})
    with pytest.raises(InvalidArgument, match="invalid filter 'dangling'"):
        check_prune_filters({"dangling": ("x",)})
    with pytest.raises(InvalidArgument, match="give true or false"):
        volume_matches(PLAIN, {"dangling": ("x",)}, used=False)
