"""Where the daemon listens: forms of --host, and what is not served without TLS."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.daemon.addresses import (
    InheritedSockets,
    TcpAddress,
    Tls,
    UnixAddress,
    parse_host,
    parse_hosts,
    tls_of,
)
from supervisor.daemon.config import Config, merge, read_file
from supervisor.errors import InvalidArgument

TLS = Tls(ca="ca", cert="cert", key="key")


@pytest.mark.parametrize(
    "text, address",
    [
        ("unix:///run/x.sock", UnixAddress("/run/x.sock")),
        ("fd://", InheritedSockets()),
        ("tcp://127.0.0.1:5000", TcpAddress("127.0.0.1", 5000)),
        ("tcp://localhost:5000/", TcpAddress("127.0.0.1", 5000)),
        ("tcp://10.0.0.1", TcpAddress("10.0.0.1", 2376)),
        ("tcp://:5000", TcpAddress("", 5000)),
        ("tcp://[::1]:5000", TcpAddress("::1", 5000)),
        ("tcp://[::1]", TcpAddress("::1", 2376)),
    ],
)
def test_forms(text: str, address: object) -> None:
    assert parse_host(text, 2376) == address


@pytest.mark.parametrize(
    "text",
    [
        *("", "/run/x.sock", "unix://x", "unix:///", "unix:/x", "ssh://h", "npipe:////./pipe/x"),
        *("tcp://name:1", "tcp://127.0.0.1:0", "tcp://127.0.0.1:70000", "tcp://127.0.0.1:x"),
        *("tcp://[::1", "tcp://::1:5", "tcp://[::1]5", "tcp://127.0.0.1:5/path", "fd://3"),
        *("tcp://127.0.0.1:²",),
    ],
)
def test_no_addresses(text: str) -> None:
    with pytest.raises(InvalidArgument, match="host "):
        parse_host(text, 2376)


@pytest.mark.parametrize("text", ["tcp://127.0.0.1:1", "tcp://[::1]:1", "tcp://127.9.9.9:1"])
def test_loopback_without_tls_is_a_choice(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"be root: .*--tcp-without-tls"):
        parse_hosts([text], None, without_tls=False)
    assert parse_hosts([text], None, without_tls=True)


@pytest.mark.parametrize("text", ["tcp://0.0.0.0:1", "tcp://:1", "tcp://[::]:1", "tcp://10.0.0.1"])
def test_elsewhere_only_with_tls(text: str) -> None:
    with pytest.raises(InvalidArgument, match="give --tlsverify") as caught:
        parse_hosts([text], None, without_tls=False)
    assert "--tcp-without-tls" not in caught.value.message
    with pytest.raises(InvalidArgument, match="for loopback addresses only"):
        parse_hosts([text], None, without_tls=True)
    assert parse_hosts([text], TLS, without_tls=False)


def test_several_and_twice() -> None:
    hosts = ["unix:///a", "unix:///b", "tcp://127.0.0.1:1"]
    assert len(parse_hosts(hosts, TLS, without_tls=False)) == 3
    with pytest.raises(InvalidArgument, match="given twice"):
        parse_hosts(["tcp://localhost:1", "tcp://127.0.0.1:1"], TLS, without_tls=False)
    with pytest.raises(InvalidArgument, match="exclude each other"):
        parse_hosts(hosts, TLS, without_tls=True)


def test_tls_that_checks_clients() -> None:
    assert tls_of(tls=False, verify=False, ca="", cert="", key="") is None
    assert tls_of(tls=True, verify=True, ca="ca", cert="cert", key="key") == TLS
    with pytest.raises(InvalidArgument, match="lets everybody in"):
        tls_of(tls=True, verify=False, ca="", cert="c", key="k")
    with pytest.raises(InvalidArgument, match="needs --tlscacert, --tlskey, too"):
        tls_of(tls=False, verify=True, ca="", cert="c", key="")
    with pytest.raises(InvalidArgument, match="but not --tlsverify"):
        tls_of(tls=False, verify=False, ca="ca", cert="", key="")


def test_the_file(tmp_path: Path) -> None:
    file = tmp_path / "orlop.toml"
    file.write_text(
        'host = ["unix:///a", "tcp://10.0.0.1:2376"]\ngroup = "5"\ntlsverify = true\n'
        'tlscacert = "ca"\ntlscert = "cert"\ntlskey = "key"\n'
    )
    config = merge(Config(), read_file(file))
    assert config.addresses == (UnixAddress("/a"), TcpAddress("10.0.0.1", 2376))
    assert (config.server_tls, config.group) == (TLS, "5")
    file.write_text('host = "unix:///b"\n')
    assert merge(Config(), read_file(file)).addresses == (UnixAddress("/b"),)
    file.write_text("tlsverify = 1\n")
    with pytest.raises(InvalidArgument, match="tlsverify: expected a bool"):
        merge(Config(), read_file(file))


def test_read_only_addresses(tmp_path: Path) -> None:
    file = tmp_path / "orlop.toml"
    file.write_text('read-only-host = "unix:///ro"\nread_only_group = "7"\n')
    config = merge(Config(), read_file(file))
    assert config.read_only_addresses == (UnixAddress("/ro"),)
    assert config.read_only_group == "7"
    more = merge(config, {"read_only_host": ["unix:///a", "unix:///b"]})
    assert more.read_only_addresses == (UnixAddress("/a"), UnixAddress("/b"))
    assert Config().read_only_addresses == ()


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"read_only_host": ["tcp://127.0.0.1:1"]}, "only a unix socket can be"),
        ({"read_only_host": ["fd://"]}, "only a unix socket can be"),
        ({"read_only_host": ["/x"]}, "give unix:///absolute/path"),
        ({"read_only_host": ["unix:///a", "unix:///a"]}, "is given twice"),
        ({"host": ["unix:///a"], "read_only_host": ["unix:///a"]}, "is given as --host, too"),
        ({"read_only_group": "x"}, "but no --read-only-host"),
        ({"read_only_host": [3]}, "read_only_host: expected a list of words"),
    ],
)
def test_no_read_only_addresses(settings: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        merge(Config(), settings)
    assert said in caught.value.message
