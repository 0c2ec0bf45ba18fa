"""`orlop ps`: columns, cuts, shapes, queries."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.unit.cli.conftest import Orlop
from tests.unit.cli.fake_daemon import FakeDaemon

WEB: dict[str, Any] = {
    "Id": "8d5a33c376e96fb0ffa4079b9f2b51962d51f047ee93db34064123eaa3e95446",
    "Names": ["/web"],
    "Image": "alpine",
    "ImageID": "sha256:d999",
    "Command": "sh -c 'i=0; while :; do echo tick $i; i=$((i+1)); sleep 0.5; done'",
    "Created": 0,
    "Ports": [
        {"IP": "127.0.0.1", "PrivatePort": 80, "PublicPort": 18080, "Type": "tcp"},
        {"IP": "::", "PrivatePort": 81, "PublicPort": 18081, "Type": "udp"},
        {"PrivatePort": 82, "Type": "tcp"},
    ],
    "Labels": {"b": "2", "a": "1"},
    "State": "running",
    "Status": "Up Less than a second",
    "NetworkSettings": {"Networks": {"host": {}}},
    "Mounts": [{"Type": "bind", "Source": "/a", "Destination": "/b"}],
}
ONE = {
    **WEB,
    "Id": "1" * 64,
    "Names": ["/one"],
    "Ports": None,
    "Labels": None,
    "Command": 'a"\x1b[2J',
}


@pytest.fixture(autouse=True)
def containers(daemon: FakeDaemon) -> None:
    now = int(time.time())
    found = [{**WEB, "Created": now - 58}, {**ONE, "Created": now - 3 * 86400}]
    daemon.on_json("GET", "/containers/json", found)


def test_table(orlop: Orlop, capfd: pytest.CaptureFixture[str]) -> None:
    assert orlop("ps") == 0
    lines = capfd.readouterr().out.splitlines()
    ports = "82/tcp, 127.0.0.1:18080->80/tcp, [::]:18081->81/udp"
    assert lines[0] == (
        "CONTAINER ID   IMAGE     COMMAND                  CREATED          STATUS"
        f"                  {'PORTS':<{len(ports)}}   NAMES"
    )
    assert lines[1].startswith('8d5a33c376e9   alpine    "sh -c \'i=0; while :…"   5')
    assert lines[1].endswith(f" seconds ago   Up Less than a second   {ports}   web")
    assert lines[2].startswith('111111111111   alpine    "a\\"\\x1b[2J"')
    assert lines[2].endswith("one")


def test_no_trunc_and_quiet(orlop: Orlop, capfd: pytest.CaptureFixture[str]) -> None:
    assert orlop("ps", "--no-trunc") == 0
    out = capfd.readouterr().out
    assert WEB["Id"] in out
    assert "sleep 0.5; done'\"" in out
    assert orlop("ps", "-q") == 0
    assert capfd.readouterr().out == "8d5a33c376e9\n111111111111\n"
    assert orlop("ps", "-q", "--no-trunc") == 0
    assert capfd.readouterr().out == f"{WEB['Id']}\n{ONE['Id']}\n"


def test_json_is_one_object_a_line(orlop: Orlop, capfd: pytest.CaptureFixture[str]) -> None:
    assert orlop("ps", "--format", "json") == 0
    first, second = map(json.loads, capfd.readouterr().out.splitlines())
    assert (first["Names"], first["State"], first["Labels"]) == ("web", "running", "a=1,b=2")
    assert (first["Mounts"], first["Networks"], second["Ports"]) == ("/a", "host", "")


def test_templates(orlop: Orlop, capfd: pytest.CaptureFixture[str]) -> None:
    assert orlop("ps", "--format", r"{{.Names}}\t{{ .State }}") == 0
    assert capfd.readouterr().out == "web\trunning\none\trunning\n"
    assert orlop("ps", "--format", r"table {{.Names}}\t{{.ID}}") == 0
    assert capfd.readouterr().out == (
        "NAMES     CONTAINER ID\nweb       8d5a33c376e9\none       111111111111\n"
    )
    assert orlop("ps", "--format", "{{.Nope}}") == 1
    assert "there is no field 'Nope'; there are Command, CreatedAt," in capfd.readouterr().err


@pytest.mark.parametrize(
    "words, query",
    [
        ([], {}),
        (["-a"], {"all": "1"}),
        (["-n", "2"], {"limit": "2"}),
        (["-l"], {"limit": "1"}),
        (["-s"], {"size": "1"}),
        (["--size", "-q"], {}),  # nobody would see it
        (["--format", "{{.Names}} {{.Size}}"], {"size": "1"}),
        (
            ["--filter", "status=running", "-f", "label=x=y", "-f", "status=paused"],
            {"filters": '{"label":{"x=y":true},"status":{"paused":true,"running":true}}'},
        ),
    ],
)
def test_queries(daemon: FakeDaemon, orlop: Orlop, words: list[str], query: dict[str, str]) -> None:
    assert orlop("ps", *words) == 0
    assert daemon.only("GET", "/containers/json").query == query


def test_size_is_what_was_written_and_all_that_is_seen(
    daemon: FakeDaemon, orlop: Orlop, capfd: pytest.CaptureFixture[str]
) -> None:
    sizes = [{"SizeRw": 8_214, "SizeRootFs": 7_412_345}, {"SizeRw": 0, "SizeRootFs": 1_200_000}]
    found = [one | size for one, size in zip((WEB, ONE), sizes, strict=True)]
    daemon.on_json("GET", "/containers/json", found)
    assert orlop("ps", "--size") == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].endswith("   NAMES     SIZE")
    assert lines[1].endswith("   web       8.21kB (virtual 7.41MB)")
    assert lines[2].endswith("   one       0B (virtual 1.2MB)")
    assert orlop("ps", "--size", "--format", "json") == 0
    assert '"Size":"0B (virtual 1.2MB)"' in capfd.readouterr().out
    daemon.on_json("GET", "/containers/json", [ONE])
    assert orlop("ps", "--format", "json") == 0
    assert '"Size":"0B"' in capfd.readouterr().out  # as docker, where nobody asked for it


def test_a_filter_without_value_is_misuse(orlop: Orlop, capfd: pytest.CaptureFixture[str]) -> None:
    assert orlop("ps", "--filter", "running") == 125
    assert "NAME=VALUE is expected" in capfd.readouterr().err


def test_no_containers_is_a_heading(
    daemon: FakeDaemon, orlop: Orlop, capfd: pytest.CaptureFixture[str]
) -> None:
    daemon.on_json("GET", "/containers/json", [])
    assert orlop("ps") == 0
    heading = "CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES\n"
    assert capfd.readouterr().out == heading
