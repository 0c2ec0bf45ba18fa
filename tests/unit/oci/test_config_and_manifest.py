"""Image configs and manifests: what docker and others write, and what nobody should."""

from __future__ import annotations

import json
from typing import Any

import pytest

from supervisor.errors import InvalidArgument
from supervisor.oci import config, manifest
from supervisor.oci.config import ConfigFile, ImageConfig
from supervisor.oci.digest import Digest
from supervisor.oci.platform import architecture

DIFF = "sha256:" + "1" * 64
DOCKERS: dict[str, Any] = {
    "architecture": "amd64",
    "os": "linux",
    "created": "2024-01-01T00:00:00.123456789Z",
    "config": {
        "Env": ["PATH=/bin", "A=b=c"],
        "Cmd": ["/bin/sh"],
        "Entrypoint": None,
        "Labels": None,
        "OnBuild": None,
        "User": "1000:staff",
        "Volumes": {"/b": {}, "/a": {}},
        "ExposedPorts": {"80/tcp": {}},
        "WorkingDir": "/srv",
        "StopSignal": "SIGQUIT",
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1000000000},
        "ArgsEscaped": True,
    },
    "rootfs": {"type": "layers", "diff_ids": [DIFF]},
    "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "x", "empty_layer": True}],
}


def variant(**changes: object) -> bytes:
    return json.dumps({**DOCKERS, **changes}).encode()


def test_a_config_as_docker_writes_it() -> None:
    file = config.parse(variant())
    assert file.diff_ids == (Digest.parse(DIFF),)
    assert file.created == "2024-01-01T00:00:00.123456789Z"
    assert file.config == ImageConfig(
        env=("PATH=/bin", "A=b=c"),
        cmd=("/bin/sh",),
        user="1000:staff",
        volumes=("/a", "/b"),
        exposed_ports=("80/tcp",),
        cwd="/srv",
        stop_signal="SIGQUIT",
        healthcheck={"Test": ["CMD", "true"], "Interval": 1000000000},
    )


def test_what_is_left_out_is_empty() -> None:
    file = config.parse(variant(config=None, created=None, history=None))
    assert file.config == ImageConfig()
    assert file.created == config.ZERO_TIME


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"\xff",
        b'"' + b"x" * 100,
        b"[" * 100_000,
        b'{"a":' * 100_000,
        variant(config={"Cmd": "sh"}),
        variant(config={"Env": [1]}),
        variant(config=[]),
        variant(config={"Labels": {"a": 1}}),
        variant(rootfs={"type": "layers", "diff_ids": ["sha256:../.."]}),
        variant(rootfs={"type": "other", "diff_ids": []}),
        variant(rootfs=None),
        variant(os=1),
        b'{"pad":"' + b"x" * config.MAX_SIZE + b'"}',
    ],
)
def test_what_is_no_config_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidArgument):
        config.parse(data)


def test_a_config_that_we_write_reads_back() -> None:
    file = ConfigFile(
        architecture="arm64",
        os="linux",
        created="2024-01-01T00:00:00Z",
        diff_ids=(Digest.parse(DIFF),),
        config=ImageConfig(
            entrypoint=("a",), cmd=("b",), env=("C=d",), labels={"e": "f"}, volumes=("/g",)
        ),
    )
    data = config.encode(file, created_by="a test")
    assert config.parse(data) == file
    assert config.encode(file, created_by="a test") == data
    plain = json.loads(data)
    assert plain["rootfs"] == {"type": "layers", "diff_ids": [DIFF]}
    assert plain["history"] == [{"created": "2024-01-01T00:00:00Z", "created_by": "a test"}]
    assert plain["config"]["Volumes"] == {"/g": {}}


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("1970-01-01T00:00:10Z", 10),
        ("2024-01-01T00:00:00.123456789Z", 1704067200),
        ("2024-01-01T02:00:00+02:00", 1704067200),
        (config.ZERO_TIME, 0),
        ("yesterday", 0),
        ("2024-01-01", 0),
        ("", 0),
    ],
)
def test_created_as_seconds(text: str, seconds: int) -> None:
    assert config.unix_seconds(text) == seconds


def test_time_goes_out_as_it_comes_in() -> None:
    assert config.format_time(1704067200) == "2024-01-01T00:00:00Z"
    assert config.unix_seconds(config.format_time(1795231810)) == 1795231810


def test_a_manifest_that_we_write_reads_back() -> None:
    written = manifest.of_layer(b"{}", Digest.parse(DIFF), 1024)
    data = manifest.encode(written)
    assert manifest.parse(data) == written
    plain = json.loads(data)
    assert plain["schemaVersion"] == 2
    assert plain["config"] == {
        "mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": str(Digest.of(b"{}")),
        "size": 2,
    }
    assert plain["layers"][0]["digest"] == DIFF


DESCRIPTOR = {"mediaType": "x", "digest": DIFF, "size": 1}
MANIFEST = {
    "schemaVersion": 2,
    "mediaType": manifest.DOCKER_MANIFEST,
    "config": DESCRIPTOR,
    "layers": [DESCRIPTOR],
}


def test_dockers_manifest_is_read_too() -> None:
    read = manifest.parse(json.dumps(MANIFEST).encode())
    assert read.media_type == manifest.DOCKER_MANIFEST
    assert read.layers[0].size == 1


@pytest.mark.parametrize(
    "change",
    [
        {"schemaVersion": 1},
        {"mediaType": "application/vnd.oci.image.index.v1+json"},
        {"config": None},
        {"layers": [{**DESCRIPTOR, "digest": "sha256:../.."}]},
        {"layers": [{**DESCRIPTOR, "size": -1}]},
        {"layers": [{**DESCRIPTOR, "size": "1"}]},
        {"layers": {}},
    ],
)
def test_what_is_no_manifest_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument):
        manifest.parse(json.dumps({**MANIFEST, **change}).encode())


def test_architectures_have_gos_names() -> None:
    assert architecture("x86_64") == "amd64"
    assert architecture("aarch64") == "arm64"
    assert architecture("sparc64") == "sparc64"
