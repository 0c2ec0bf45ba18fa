"""The texts of /etc/hosts and /etc/resolv.conf, and what may go into them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import InvalidArgument
from supervisor.spec.etc_files import (
    Resolver,
    check_resolver,
    hosts_text,
    is_loopback,
    parse_extra_host,
    parse_resolver,
    resolver_text,
    with_extra_hosts,
)

HOST = Resolver(
    nameservers=("127.0.0.53", "::1", "10.0.0.1"),
    search=("example.org", "lan"),
    options=("edns0",),
    others=("sortlist 10.0.0.0",),
)


def test_hosts() -> None:
    text = hosts_text(["web.lan", "web"], ["10.0.0.2", "fd00::2"], [("db", "10.0.0.3")])
    lines = text.splitlines()
    assert lines[0] == "127.0.0.1\tlocalhost"
    assert lines[1] == "::1\tlocalhost ip6-localhost ip6-loopback"
    assert lines[-3:] == ["10.0.0.3\tdb", "10.0.0.2\tweb.lan web", "fd00::2\tweb.lan web"]
    assert text.endswith("\n")


def test_hosts_of_the_host() -> None:
    assert with_extra_hosts("127.0.0.1 me", [("a", "1.2.3.4")]) == "127.0.0.1 me\n1.2.3.4\ta\n"
    assert with_extra_hosts("x\n", []) == "x\n"
    assert with_extra_hosts("", []) == ""


@pytest.mark.parametrize(
    "text, expected",
    [
        ("db:10.0.0.3", ("db", "10.0.0.3")),
        ("db=10.0.0.3", ("db", "10.0.0.3")),
        ("db:fd00::1", ("db", "fd00::1")),
        ("db:[fd00::1]", ("db", "fd00::1")),
        ("host.docker.internal:host-gateway", ("host.docker.internal", "172.17.0.1")),
    ],
)
def test_extra_hosts(text: str, expected: tuple[str, str]) -> None:
    assert parse_extra_host(text, "172.17.0.1") == expected


@pytest.mark.parametrize("text", ["", "db", ":1.2.3.4", "a b:1.2.3.4", "a\nb:1.2.3.4", "#:1.2.3.4"])
def test_extra_hosts_without_a_name(text: str) -> None:
    with pytest.raises(InvalidArgument, match="bad format for add-host"):
        parse_extra_host(text)


@pytest.mark.parametrize("text", ["db:", "db:x", "db:1.2.3.4.5", "db:1.2.3.4\n5.6.7.8 evil"])
def test_extra_hosts_without_an_address(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid IP address in add-host"):
        parse_extra_host(text)


def test_host_gateway_needs_a_way_to_the_host() -> None:
    with pytest.raises(InvalidArgument, match="unable to derive the IP value for host-gateway"):
        parse_extra_host("a:host-gateway")


def test_resolver_is_the_hosts_without_what_is_out_of_reach() -> None:
    assert resolver_text(HOST) == (
        "nameserver 10.0.0.1\nsearch example.org lan\noptions edns0\nsortlist 10.0.0.0\n"
    )
    shared = resolver_text(HOST, keep_loopback=True)
    assert shared.startswith("nameserver 127.0.0.53\nnameserver ::1\nnameserver 10.0.0.1\n")


def test_resolver_takes_what_is_asked_for() -> None:
    text = resolver_text(HOST, dns=["127.0.0.1"], search=["a.b"], options=["ndots:1", "rotate"])
    assert text.splitlines()[:3] == ["nameserver 127.0.0.1", "search a.b", "options ndots:1 rotate"]
    assert "search" not in resolver_text(HOST, search=["."])


def test_parse_resolver() -> None:
    text = """
    # a comment
    ; another
    nameserver 10.0.0.1  # trailing
    domain lan
    search a b
    options ndots:1
    options rotate
    sortlist 1.2.3.4
    nameserver
    """
    assert parse_resolver(text) == Resolver(
        nameservers=("10.0.0.1",),
        search=("a", "b"),
        options=("ndots:1", "rotate"),
        others=("sortlist 1.2.3.4",),
    )


@given(st.text())
def test_any_resolver_is_read_and_written(text: str) -> None:
    written = resolver_text(parse_resolver(text), keep_loopback=True)
    assert resolver_text(parse_resolver(written), keep_loopback=True) == written


@pytest.mark.parametrize(
    "address, expected",
    [
        ("127.0.0.53", True),
        ("::1", True),
        ("10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("x", False),
    ],
)
def test_is_loopback(address: str, expected: bool) -> None:
    assert is_loopback(address) is expected


@pytest.mark.parametrize(
    "dns, search, options, message",
    [
        (["x"], [], [], "IP address is not correctly formatted"),
        ([], [""], [], "--dns-search"),
        ([], ["a b"], [], "--dns-search"),
        ([], [], ["a\nnameserver 1.2.3.4"], "--dns-option"),
    ],
)
def test_words_that_would_be_others(
    dns: list[str], search: list[str], options: list[str], message: str
) -> None:
    check_resolver(["1.1.1.1", "::1"], ["."], ["ndots:1"])
    with pytest.raises(InvalidArgument, match=message):
        check_resolver(dns, search, options)
