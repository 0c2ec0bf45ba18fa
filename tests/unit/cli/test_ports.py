"""Ports: what -p and --expose mean, what `ps` and `port` show. Expectations are docker's (28.2)."""

from __future__ import annotations

import re
from typing import Any

import pytest

from supervisor.cli.port_listing import displayed
from supervisor.cli.port_values import bindings, expose, publish
from tests.unit.cli.conftest import Orlop
from tests.unit.cli.fake_daemon import FakeDaemon

Captured = pytest.CaptureFixture[str]


def at(port: str, host_port: str, host_ip: str = "") -> tuple[str, dict[str, str]]:
    return port, {"HostIp": host_ip, "HostPort": host_port}


@pytest.mark.parametrize(
    "text, expected",
    [
        ("80", [at("80/tcp", "")]),
        (":80", [at("80/tcp", "")]),
        ("0:80", [at("80/tcp", "0")]),
        ("8080:80", [at("80/tcp", "8080")]),
        ("8080:80/", [at("80/tcp", "8080")]),
        ("8080:80/TCP", [at("80/tcp", "8080")]),
        ("8080:80/sctp", [at("80/sctp", "8080")]),
        ("65535:65535", [at("65535/tcp", "65535")]),
        ("127.0.0.1:53:53/udp", [at("53/udp", "53", "127.0.0.1")]),
        ("127.0.0.1::80", [at("80/tcp", "", "127.0.0.1")]),
        ("[::1]:8080:80", [at("80/tcp", "8080", "::1")]),
        ("::1:8080:80", [at("80/tcp", "8080", "::1")]),
        ("[::]::80", [at("80/tcp", "", "::")]),
        ("80-82", [at("80/tcp", ""), at("81/tcp", ""), at("82/tcp", "")]),
        (
            "8000-8002:80-82/udp",
            [at("80/udp", "8000"), at("81/udp", "8001"), at("82/udp", "8002")],
        ),
        ("8000-8002:80", [at("80/tcp", "8000-8002")]),
        ("8000-8000:80", [at("80/tcp", "8000")]),
    ],
)
def test_publish(text: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert publish(text) == expected


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "no container port in ''"),
        ("8080:", "no container port in '8080:'"),
        ("8080:/tcp", "no container port"),
        ("a:80", "invalid host port 'a'"),
        ("+80:80", "invalid host port '+80'"),
        ("-5:80", "invalid host port '-5'"),
        ("70000:80", "invalid host port '70000'"),
        ("82-80:80", "invalid host port '82-80'"),
        ("0-5:80", "invalid host port '0-5'"),
        ("1-2-3:80", "invalid host port '1-2-3'"),
        ("127.0.0.1:80", "invalid host port '127.0.0.1'"),
        ("8080: 80", "invalid container port ' 80'"),
        ("8080:0", "invalid container port '0'"),
        ("8080:65536", "invalid container port '65536'"),
        ("8080:٨٠", "invalid container port"),
        ("8080:" + "9" * 5000, "invalid container port"),
        ("8000-8001:80-82", "80-82 and 8000-8001 are not of the same length"),
        ("8000:80-82", "80-82 and 8000 are not of the same length"),
        ("8080:80/foo", "invalid protocol 'foo': tcp, udp or sctp is expected"),
        ("8080:80/tcp/udp", "invalid protocol 'tcp/udp'"),
        ("localhost:80:80", "invalid IP address 'localhost'"),
        ("1:2:3:4", "invalid IP address '1:2'"),
        ("[fe80::1%eth0]:80:80", "invalid IP address 'fe80::1%eth0'"),
        ("10.0.0.256:80:80", "invalid IP address '10.0.0.256'"),
    ],
)
def test_publish_refuses(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        publish(text)


def test_bindings_of_one_port_are_together() -> None:
    published = [*publish("80:80"), *publish("53:53/udp"), *publish("81:80")]
    assert bindings(published) == {
        "80/tcp": [{"HostIp": "", "HostPort": "80"}, {"HostIp": "", "HostPort": "81"}],
        "53/udp": [{"HostIp": "", "HostPort": "53"}],
    }


def test_expose() -> None:
    assert expose("80") == ["80/tcp"]
    assert expose("80-82/UDP") == ["80/udp", "81/udp", "82/udp"]


@pytest.mark.parametrize(
    "text, message",
    [
        ("8080:80", "--publish is for ports that the host shows"),
        ("x", "invalid port 'x'"),
        ("", "invalid port ''"),
        ("0", "invalid port '0'"),
        ("82-80", "invalid port '82-80'"),
        ("80/foo", "invalid protocol 'foo'"),
    ],
)
def test_expose_refuses(text: str, message: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        expose(text)
    assert message in str(caught.value)


def row(host: str, outside: int, inside: int, protocol: str = "tcp") -> dict[str, Any]:
    return {"IP": host, "PublicPort": outside, "PrivatePort": inside, "Type": protocol}


def bare(inside: int, protocol: str = "tcp") -> dict[str, Any]:
    return {"PrivatePort": inside, "Type": protocol}


ANY, ANY6, LOCAL = "0.0.0.0", "::", "127.0.0.1"  # noqa: S104 - shown, not bound


@pytest.mark.parametrize(
    "ports, shown",
    [
        ([], ""),
        ([row(ANY, 8080, 80), row(ANY6, 8080, 80)], "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"),
        ([row(ANY6, 8080, 80), row(ANY, 8080, 80)], "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"),
        (
            [row(host, 8000 + i, 80 + i) for host in (ANY, ANY6) for i in range(2)],
            "0.0.0.0:8000->80/tcp, [::]:8000->80/tcp, 0.0.0.0:8001->81/tcp, [::]:8001->81/tcp",
        ),
        ([row(ANY, 80 + i, 80 + i) for i in range(3)], "0.0.0.0:80-82->80-82/tcp"),
        (
            [row(ANY, 80 + i, 80 + i) for i in range(2)]
            + [row(ANY6, 80 + i, 80 + i) for i in (0, 1)],
            "0.0.0.0:80-81->80-81/tcp, [::]:80-81->80-81/tcp",
        ),
        ([bare(80), bare(81), bare(83), bare(82, "udp")], "80-81/tcp, 83/tcp, 82/udp"),
        (
            [row(ANY, 32768, 80), bare(80), bare(443), row(LOCAL, 5000, 443)],
            "80/tcp, 443/tcp, 0.0.0.0:32768->80/tcp, 127.0.0.1:5000->443/tcp",
        ),
        ([row("", 8080, 80)], "80/tcp"),
        (
            [row(LOCAL, 53, 53, "udp"), row(LOCAL, 53, 53), row(LOCAL, 54, 54, "udp")],
            "127.0.0.1:53->53/tcp, 127.0.0.1:53-54->53-54/udp",
        ),
        ([row(ANY, 9001, 80), row(ANY, 9000, 80)], "0.0.0.0:9000->80/tcp, 0.0.0.0:9001->80/tcp"),
        ([bare(80), bare(80)], "80/tcp, 80/tcp"),
        (
            [row(ANY, 80, 80), row(ANY, 81, 82), row(ANY, 82, 81)],
            "0.0.0.0:80->80/tcp, 0.0.0.0:82->81/tcp, 0.0.0.0:81->82/tcp",
        ),
        (
            [bare(100), bare(99), bare(9), row("10.0.0.1", 7, 8), row("9.0.0.1", 7, 8)],
            "9/tcp, 99-100/tcp, 10.0.0.1:7->8/tcp, 9.0.0.1:7->8/tcp",
        ),
    ],
)
def test_ports_of_a_list_are_grouped_as_docker_does(
    ports: list[dict[str, Any]], shown: str
) -> None:
    assert displayed(ports) == shown


def host(ip: str, port: int) -> dict[str, str]:
    return {"HostIp": ip, "HostPort": str(port)}


@pytest.fixture
def web(daemon: FakeDaemon) -> None:
    ports = {
        "80/tcp": [host("::", 8080), host(ANY, 8080)],
        "443/tcp": [host("127.0.0.1", 10000), host("127.0.0.1", 9999)],
        "53/udp": [host("::1", 53)],
        "90/tcp": None,
        "100/tcp": [],
    }
    daemon.on_json("GET", "/containers/web/json", {"NetworkSettings": {"Ports": ports}})


@pytest.mark.parametrize("words", [("web",), ("web", "")])
@pytest.mark.usefixtures("web")
def test_port_lists_all(orlop: Orlop, capfd: Captured, words: tuple[str, ...]) -> None:
    assert orlop("port", *words) == 0
    assert capfd.readouterr().out.splitlines() == [
        "53/udp -> [::1]:53",
        "80/tcp -> 0.0.0.0:8080",
        "80/tcp -> [::]:8080",
        "443/tcp -> 127.0.0.1:9999",
        "443/tcp -> 127.0.0.1:10000",
    ]


@pytest.mark.parametrize(
    "asked, shown",
    [
        ("80", "0.0.0.0:8080\n[::]:8080\n"),
        ("80/TCP", "0.0.0.0:8080\n[::]:8080\n"),
        ("53/udp", "[::1]:53\n"),
        ("443", "127.0.0.1:9999\n127.0.0.1:10000\n"),
    ],
)
@pytest.mark.usefixtures("web")
def test_port_tells_of_one(orlop: Orlop, capfd: Captured, asked: str, shown: str) -> None:
    assert orlop("port", "web", asked) == 0
    assert capfd.readouterr().out == shown


@pytest.mark.parametrize("asked", ["53", "90", "100", "80/foo", "81/tcp"])
@pytest.mark.usefixtures("web")
def test_port_that_is_not_published(orlop: Orlop, capfd: Captured, asked: str) -> None:
    assert orlop("port", "web", asked) == 1
    line = f"orlop: No public port '{asked}' published for web\n"
    assert capfd.readouterr() == ("", line)


@pytest.mark.parametrize("asked", ["x", "80-81", "/tcp", "0", "70000", "9" * 5000])
def test_port_that_is_none(daemon: FakeDaemon, orlop: Orlop, capfd: Captured, asked: str) -> None:
    assert orlop("port", "web", asked) == 1
    line = f"orlop: invalid port '{asked}': PORT[/PROTOCOL] is expected, as 80 or 53/udp\n"
    assert capfd.readouterr() == ("", line)
    assert daemon.requests == []


def test_port_of_a_container_without_any(daemon: FakeDaemon, orlop: Orlop, capfd: Captured) -> None:
    daemon.on_json("GET", "/containers/one/json", {"NetworkSettings": {"Ports": None}})
    daemon.on_error("GET", "/containers/none/json", 404, "No such container: none")
    assert orlop("port", "one") == 0
    assert orlop("port", "none") == 1
    line = "orlop: Error response from daemon: No such container: none\n"
    assert capfd.readouterr() == ("", line)
