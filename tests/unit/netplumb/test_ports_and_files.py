"""Host ports, resolv.conf, /proc/net."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netplumb.apply.holders import holder_of
from netplumb.errors import Invalid
from netplumb.plan import procnet, resolv
from netplumb.plan.ports import PortRange, candidates, parse_ephemeral, parse_range
from netplumb.plan.resolv import Resolv
from tests.unit.netplumb.values import ANYWHERE


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", None),
        ("0", None),
        ("80", PortRange(80, 80)),
        ("8000-8010", PortRange(8000, 8010)),
        ("65535", PortRange(65535, 65535)),
    ],
)
def test_ports_of_a_request(text: str, expected: PortRange | None) -> None:
    assert parse_range(text) == expected


@pytest.mark.parametrize(
    "text", ["x", "80-", "-80", "90-80", "0-5", "65536", "8\u0660", "80 ", "1-2-3"]
)
def test_no_ports_at_all(text: str) -> None:
    with pytest.raises(Invalid, match="invalid port"):
        parse_range(text)


def test_ports_are_tried_from_the_last_one_on() -> None:
    three = PortRange(10, 12)
    assert (str(three), str(PortRange(5, 5)), len(three)) == ("10-12", "5", 3)
    assert [list(candidates(three, after)) for after in (0, 10, 11, 12, 99)] == [
        [10, 11, 12],
        [11, 12, 10],
        [12, 10, 11],
        [10, 11, 12],
        [10, 11, 12],
    ]


def test_the_ephemeral_range() -> None:
    assert parse_ephemeral("40000\t50000\n") == PortRange(40000, 50000)
    for text in ("", "x", "5 4", "1 2 3", "0 70000"):
        assert parse_ephemeral(text) == PortRange(32768, 60999)


# --- resolv.conf --------------------------------------------------------------------------------


def test_a_resolv_conf() -> None:
    text = """\
# nameserver 9.9.9.9
; a comment
domain old.example
nameserver 10.0.0.53
nameserver fe80::1%eth0
nameserver nonsense
nameserver
search a.example b.example
options ndots:2 timeout:1
options edns0
nameserver 10.0.0.54
nameserver 10.0.0.55
"""
    found = resolv.parse(text)
    assert found == Resolv(
        ("10.0.0.53", "fe80::1%eth0", "10.0.0.54"),
        ("a.example", "b.example"),
        ("ndots:2", "timeout:1", "edns0"),
    )
    made = resolv.render("127.0.0.11", found.search, found.options)
    assert made == (
        "nameserver 127.0.0.11\nsearch a.example b.example\noptions ndots:2 timeout:1 edns0\n"
    )
    assert resolv.parse(made).servers == ("127.0.0.11",)
    assert resolv.render("127.0.0.11") == "nameserver 127.0.0.11\n"


@given(st.text())
def test_any_text_is_a_resolv_conf(text: str) -> None:
    assert len(resolv.parse(text).servers) <= resolv.MOST_SERVERS


# --- /proc/net ----------------------------------------------------------------------------------

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0
   1: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4343 1 0
   2: 0100007F:0051 0100007F:ABCD 01 00000000:00000000 00:00000000 00000000     0        0 4444 1 0
nonsense
"""
TCP6 = """\
  sl  local_address                         remote_address                        st
   0: 00000000000000000000000000000000:1F91 00000000000000000000000000000000:0000 0A \
00000000:00000000 00:00000000 00000000     0        0 5555 1 0
"""


def test_a_table_of_sockets() -> None:
    found = list(procnet.parse(TCP, listening=True))
    assert found == [
        procnet.Socket(ip_address("127.0.0.1"), 8080, 4242),
        procnet.Socket(ip_address(ANYWHERE), 80, 4343),
    ]
    assert len(list(procnet.parse(TCP, listening=False))) == 3
    (six,) = procnet.parse(TCP6, listening=True)
    assert (str(six.address), six.port, six.inode) == ("::", 8081, 5555)


@pytest.mark.parametrize(
    "address, port, inode",
    [
        ("127.0.0.1", 8080, 4242),
        ("127.0.0.2", 8080, None),
        (ANYWHERE, 8080, 4242),
        ("10.0.0.1", 80, 4343),
        ("::", 80, None),
        ("10.0.0.1", 81, None),
    ],
)
def test_which_socket_is_in_the_way(address: str, port: int, inode: int | None) -> None:
    sockets = procnet.parse(TCP, listening=True)
    found = procnet.in_the_way(sockets, ip_address(address), port)
    assert (found.inode if found else None) == inode


def test_a_socket_of_ipv6_may_be_in_the_way_of_ipv4() -> None:
    sockets = procnet.parse(TCP6, listening=True)
    assert procnet.in_the_way(sockets, ip_address("10.0.0.1"), 8081) is not None


@given(st.text(max_size=200))
def test_any_text_is_a_table(text: str) -> None:
    list(procnet.parse(text, listening=False))


def test_this_process_is_found() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        found = holder_of("tcp", ip_address("127.0.0.1"), port)
    assert found.startswith("process ")
    assert holder_of("sctp", ip_address("127.0.0.1"), 1) == ""
