"""`orlop network …`: what it asks the daemon, and docker's output."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from tests.unit.cli.conftest import Orlop
from tests.unit.cli.fake_daemon import FakeDaemon

Captured = pytest.CaptureFixture[str]

ID = "cd6d75c5c49c027e4c5a3d66201deb248bafa18a15e096a665912554acf06ae1"
VIEW: dict[str, Any] = {
    "Name": "n1",
    "Id": ID,
    "Created": "2026-11-21T03:30:19.009826695Z",
    "Scope": "local",
    "Driver": "bridge",
    "EnableIPv4": True,
    "EnableIPv6": False,
    "IPAM": {"Driver": "default", "Options": {}, "Config": [{"Subnet": "10.77.0.0/24"}]},
    "Internal": True,
    "Attachable": False,
    "Ingress": False,
    "ConfigFrom": {"Network": ""},
    "ConfigOnly": False,
    "Containers": {"c" * 64: {"Name": "web", "IPv4Address": "10.77.0.2/24"}},
    "Options": {},
    "Labels": {"b": "2", "a": "1"},
}
JSON_LINE = (
    '{"CreatedAt":"2026-11-21 03:30:19.009826695 +0000 UTC","Driver":"bridge","ID":"cd6d75c5c49c",'
    '"IPv4":"true","IPv6":"false","Internal":"true","Labels":"a=1,b=2","Name":"n1",'
    '"Scope":"local"}'
)
EMPTY = {
    "Driver": "bridge",
    "Scope": "",
    "IPAM": {"Driver": "default", "Options": {}, "Config": []},
    "Internal": False,
    "Attachable": False,
    "Ingress": False,
    "ConfigOnly": False,
    "ConfigFrom": None,
    "Options": {},
    "Labels": {},
    "Name": "n1",
}


@pytest.mark.parametrize(
    "words, asked",
    [
        ([], {}),
        (["--ipv6=false", "-d", "bridge", "-o", "k", "--label", "l"],
         {"EnableIPv6": False, "Options": {"k": ""}, "Labels": {"l": ""}}),
        (["--internal", "--ipv6", "--attachable", "--label", "x=y", "--opt", "k=v=w"],
         {"Internal": True, "EnableIPv6": True, "Attachable": True, "Labels": {"x": "y"},
          "Options": {"k": "v=w"}}),
        (["--subnet", "10.0.0.0/24,10.1.0.0/24", "--subnet", "fd00::/64", "--gateway", "fd00::1",
          "--ip-range", "10.1.0.128/25", "--aux-address", "a=10.0.0.5"],
         {"IPAM": {"Driver": "default", "Options": {}, "Config": [
             {"Subnet": "10.0.0.0/24", "AuxiliaryAddresses": {"a": "10.0.0.5"}},
             {"Subnet": "10.1.0.0/24", "IPRange": "10.1.0.128/25"},
             {"Subnet": "fd00::/64", "Gateway": "fd00::1"}]}}),
    ],
)  # fmt: skip
def test_create(
    daemon: FakeDaemon, orlop: Orlop, capfd: Captured, words: list[str], asked: dict[str, Any]
) -> None:
    daemon.on_json("POST", "/networks/create", {"Id": ID, "Warning": "mind it"}, 201)
    assert orlop("network", "create", *words, "n1") == 0
    assert capfd.readouterr() == (f"{ID}\n", "WARNING: mind it\n")
    assert daemon.only("POST", "/networks/create").body == {**EMPTY, **asked}


@pytest.mark.parametrize(
    "words, status, message",
    [
        ([], 1, "'orlop network create' requires 1 argument"),
        (["a", "b"], 1, "requires 1 argument"),
        (["--subnet", "bad", "n1"], 125, 'invalid argument "bad" for "--subnet" flag: '),
        (["--gateway", "bad", "n1"], 125, "'bad' is no such address: an IP address is expected"),
        (["--gateway", "10.0.0.1", "n1"], 1, "every ip-range or gateway must have"),
        (["--subnet", "10.0.0.0/24", "--gateway", "10.1.0.1", "n1"], 1, "no matching subnet for"),
        (["--ipv6=maybe", "n1"], 125, "true or false is expected"),
        (["-o", "=v", "n1"], 125, "KEY=VALUE is expected"),
    ],
)
def test_create_refuses(
    daemon: FakeDaemon,
    orlop: Orlop,
    capfd: Captured,
    words: list[str],
    status: int,
    message: str,
) -> None:
    assert orlop("network", "create", *words) == status
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err
    assert daemon.requests == []


@pytest.fixture
def three(daemon: FakeDaemon) -> None:
    plain = {**VIEW, "Labels": None, "Internal": False}
    daemon.on_json(
        "GET",
        "/networks",
        [{**plain, "Name": "aa10", "Id": "a" * 64}, VIEW, {**plain, "Name": "aa9"}],
    )


@pytest.mark.usefixtures("three")
def test_list(daemon: FakeDaemon, orlop: Orlop, capfd: Captured) -> None:
    assert orlop("network", "ls") == 0
    assert capfd.readouterr().out == (
        "NETWORK ID     NAME      DRIVER    SCOPE\n"
        "cd6d75c5c49c   aa9       bridge    local\n"
        "aaaaaaaaaaaa   aa10      bridge    local\n"
        "cd6d75c5c49c   n1        bridge    local\n"
    )
    assert orlop("network", "list", "-q", "-f", "driver=bridge", "--filter", "label=a=1") == 0
    assert capfd.readouterr().out == "cd6d75c5c49c\naaaaaaaaaaaa\ncd6d75c5c49c\n"
    asked = json.loads(daemon.requests[-1].query["filters"])
    assert asked == {"driver": {"bridge": True}, "label": {"a=1": True}}
    assert orlop("network", "ls", "--no-trunc") == 0
    assert capfd.readouterr().out.splitlines()[-1] == f"{ID}   n1        bridge    local"
    assert orlop("network", "ls", "-q", "--no-trunc") == 0
    assert capfd.readouterr().out.splitlines()[-1] == ID


@pytest.mark.parametrize(
    "shape, line",
    [
        ("{{.ID}} {{.Name}} {{.Driver}}/{{.Scope}}", "cd6d75c5c49c n1 bridge/local"),
        ("{{.IPv4}} {{.IPv6}} {{.Internal}}", "true false true"),
        ("{{.CreatedAt}}", "2026-11-21 03:30:19.009826695 +0000 UTC"),
        ('{{.Labels}} {{.Label "a"}}', "a=1,b=2 1"),
        ("table {{.Name}}\t{{.IPv6}}", "n1        false"),
        ("json", JSON_LINE),
    ],
)
@pytest.mark.usefixtures("three")
def test_list_formats(orlop: Orlop, capfd: Captured, shape: str, line: str) -> None:
    assert orlop("network", "ls", "--format", shape) == 0
    assert capfd.readouterr().out.splitlines()[-1] == line


def test_inspect(daemon: FakeDaemon, orlop: Orlop, capfd: Captured) -> None:
    daemon.on_json("GET", "/networks/n1", VIEW)
    daemon.on_error("GET", "/networks/none", 404, "network none not found")
    assert orlop("network", "inspect", "n1") == 0
    assert capfd.readouterr().out == json.dumps([VIEW], indent=4) + "\n"
    shape = "{{range $id, $c := .Containers}}{{$c.Name}}{{end}} {{(index .IPAM.Config 0).Subnet}}"
    shape += " {{.Containers.other}}"
    assert orlop("network", "inspect", "-f", shape, "n1", "none") == 1
    assert capfd.readouterr() == (
        "web 10.77.0.0/24 <no value>\n",
        "orlop: Error response from daemon: network none not found\n",
    )


def test_inspect_of_any_kind_finds_networks(
    daemon: FakeDaemon, orlop: Orlop, capfd: Captured
) -> None:
    daemon.on_error("GET", "/containers/n1/json", 404, "No such container: n1")
    daemon.on_error("GET", "/images/n1/json", 404, "No such image: n1:latest")
    daemon.on_json("GET", "/networks/n1", VIEW)
    assert orlop("inspect", "-f", "{{.Name}} {{.Labels.x}}", "n1") == 0
    assert orlop("inspect", "--type", "network", "-f", "{{.Id}}", "n1") == 0
    assert capfd.readouterr().out == f"n1 <no value>\n{ID}\n"
    assert daemon.paths() == [
        "GET /containers/n1/json",
        "GET /images/n1/json",
        "GET /networks/n1",
        "GET /networks/n1",
    ]


@pytest.mark.parametrize(
    "words, status, out, err",
    [
        (["rm", "n1"], 0, "n1\n", ""),
        (["remove", "none", "n1"], 1, "n1\n", "network none not found"),
        (["rm", "-f", "none", "n1"], 0, "n1\n", ""),
        (["rm", "-f", "used", "n1"], 1, "n1\n", "network used has active endpoints"),
        (["rm", " "], 1, "", "invalid network name or ID: value is empty"),
    ],
)
def test_remove(
    daemon: FakeDaemon,
    orlop: Orlop,
    capfd: Captured,
    words: list[str],
    status: int,
    out: str,
    err: str,
) -> None:
    daemon.on_json("DELETE", "/networks/n1", None, 204)
    daemon.on_error("DELETE", "/networks/none", 404, "network none not found")
    daemon.on_error("DELETE", "/networks/used", 403, "network used has active endpoints")
    assert orlop("network", *words) == status
    shown = capfd.readouterr()
    assert shown.out == out
    assert (err in shown.err) if err else shown.err == ""


def test_prune_asks(
    daemon: FakeDaemon, orlop: Orlop, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.on_json("POST", "/networks/prune", {"NetworksDeleted": ["n1", "n2"]})
    monkeypatch.setattr("sys.stdin", io.StringIO("no\n"))
    assert orlop("network", "prune") == 0
    assert capfd.readouterr().out == (
        "WARNING! This will remove all custom networks not used by at least one container.\n"
        "Are you sure you want to continue? [y/N] "
    )
    assert daemon.requests == []
    assert orlop("network", "prune", "-f", "--filter", "until=1h", "--filter", "label!=x") == 0
    assert capfd.readouterr().out == "Deleted Networks:\nn1\nn2\n\n"
    asked = json.loads(daemon.only("POST", "/networks/prune").query["filters"])
    assert asked == {"until": {"1h": True}, "label!": {"x": True}}


@pytest.mark.parametrize("deleted", [None, []])
def test_prune_of_nothing(
    daemon: FakeDaemon, orlop: Orlop, capfd: Captured, deleted: list[str] | None
) -> None:
    daemon.on_json("POST", "/networks/prune", {"NetworksDeleted": deleted})
    assert orlop("network", "prune", "--force") == 0
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    "words, settings",
    [
        ([], {}),
        (
            [
                *("--ip", "10.77.0.200", "--ip6", "fd00::5", "--alias", "al", "--alias", "b"),
                *("--driver-opt", "k=v", "--gw-priority", "4"),
                *("--mac-address", "02:42:0a:4d:00:c9"),
            ],
            {
                "IPAMConfig": {"IPv4Address": "10.77.0.200", "IPv6Address": "fd00::5"},
                "Aliases": ["al", "b"],
                "DriverOpts": {"k": "v"},
                "GwPriority": 4,
                "MacAddress": "02:42:0a:4d:00:c9",
            },
        ),
    ],
)
def test_connect(
    daemon: FakeDaemon, orlop: Orlop, capfd: Captured, words: list[str], settings: dict[str, Any]
) -> None:
    daemon.on_json("POST", "/networks/n1/connect")
    assert orlop("network", "connect", *words, "n1", "web") == 0
    assert capfd.readouterr() == ("", "")
    asked = daemon.only("POST", "/networks/n1/connect").body
    assert asked == {"Container": "web", "EndpointConfig": settings}


@pytest.mark.parametrize("words, force", [([], False), (["-f"], True), (["--force"], True)])
def test_disconnect(daemon: FakeDaemon, orlop: Orlop, words: list[str], *, force: bool) -> None:
    daemon.on_json("POST", "/networks/n1/disconnect")
    assert orlop("network", "disconnect", *words, "n1", "web") == 0
    asked = daemon.only("POST", "/networks/n1/disconnect").body
    assert asked == {"Container": "web", "Force": force}


@pytest.mark.parametrize(
    "words, asked",
    [
        (["--loss", "1.5%"], ("", 1.5, 0, 0)),
        (["--delay", "100ms", "--jitter", "2500us", "--network", "n1"], ("n1", 0, 100, 2.5)),
        (["--loss=0", "--delay=0"], ("", 0, 0, 0)),
        (["--clear"], ("", 0, 0, 0)),
        (["--clear", "--net", "n1"], ("n1", 0, 0, 0)),
    ],
)
def test_impair(
    daemon: FakeDaemon, orlop: Orlop, words: list[str], asked: tuple[str, float, float, float]
) -> None:
    daemon.on_json("POST", "/containers/web/impair", None, 204)
    assert orlop("network", "impair", "web", *words) == 0
    fields = ("Network", "LossPercent", "DelayMs", "JitterMs")
    body = daemon.only("POST", "/containers/web/impair").body
    assert body == dict(zip(fields, asked, strict=True))


@pytest.mark.parametrize(
    "words, status, message",
    [
        (["connect", "n1"], 1, "'orlop network connect' requires 2 arguments"),
        (["connect", "--ip", "bad", "n1", "web"], 125, 'for "--ip" flag: '),
        (["connect", "--driver-opt", "k", "n1", "web"], 125, "KEY=VALUE is expected"),
        (["connect", "--gw-priority", "x", "n1", "web"], 125, "a whole number is expected"),
        (["connect", "--link", "db", "n1", "web"], 125, "links are not supported"),
        (["connect", "", "web"], 1, "invalid network name or ID: value is empty"),
        (["disconnect", "n1"], 1, "'orlop network disconnect' requires 2 arguments"),
        (["impair", "web"], 125, "give --loss, --delay or both, or --clear"),
        (["impair", "web", "--clear", "--loss", "1"], 125, "--clear goes without"),
        (["impair", "web", "--jitter", "1ms"], 125, "--jitter varies --delay: give both"),
        (["impair", "web", "--delay", "100"], 125, 'for "--delay" flag: invalid duration'),
        (["impair", "web", "--loss", "200"], 125, 'for "--loss" flag: a percentage from'),
        (["impair", "--loss", "1"], 1, "'orlop network impair' requires 1 argument"),
        (["nope"], 1, "unknown command: orlop network nope"),
    ],
)
def test_refused(
    daemon: FakeDaemon,
    orlop: Orlop,
    capfd: Captured,
    words: list[str],
    status: int,
    message: str,
) -> None:
    assert orlop("network", *words) == status
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err
    assert daemon.requests == []


@pytest.mark.parametrize(
    "name", ["connect", "create", "disconnect", "impair", "inspect", "ls", "prune", "rm"]
)
def test_commands_have_help(orlop: Orlop, capfd: Captured, name: str) -> None:
    assert orlop("network") == 0
    assert f"\n  {name} " in capfd.readouterr().out
    assert orlop("network", name, "--help") == 0
    out = capfd.readouterr().out
    assert out.startswith(f"Usage:  orlop network {name} [OPTIONS]")
    assert max(map(len, out.splitlines())) <= 100
