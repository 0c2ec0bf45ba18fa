"""Packets: the kernel's netlink messages, DNS questions of containers, answers of resolvers."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from contextlib import suppress

from dnslib import (  # type: ignore[import-untyped]
    QTYPE,
    RR,
    A,
    DNSError,
    DNSRecord,
)

from netplumb.errors import Malformed
from netplumb.plan import links, netlink, observed
from netplumb.plan.dns import message as dns
from netplumb.plan.dns import zones
from netplumb.plan.dns.message import Code, Query
from tests.fuzz.target import Target
from tests.unit.netplumb.values import endpoint, network


def messages(data: bytes) -> None:
    """A datagram of netlink: messages that are decoded, or Malformed."""
    found: list[netlink.Message] = []
    with suppress(Malformed):
        found.extend(netlink.split(data))
    assert sum(16 + len(message.body) for message in found) <= len(data)
    for message in found:
        for read in _READERS:
            try:
                read(message)
            except Malformed:
                continue


def _answer(message: netlink.Message) -> None:
    assert netlink.answer(message).errno >= 0


_READERS: tuple[Callable[[netlink.Message], object], ...] = (
    _answer,
    observed.read_link,
    observed.read_link_name,
    observed.read_address,
    observed.guarded,
    lambda message: observed.read_routes([message]),
    lambda message: observed.read_links([message]),
)

_NETWORK = network("net1")
_ZONE = zones.Zone(_NETWORK, [endpoint("web", names=("web", "alias"))])


def questions(data: bytes) -> None:
    """A question: as dnslib reads it, and its answer is one for dnslib."""
    try:
        query = dns.parse_query(data)
    except Malformed:
        return
    theirs = _parsed(data)
    if theirs is not None and len(theirs.questions) == 1:
        assert theirs.header.id == query.id
        assert (theirs.q.qtype, theirs.q.qclass) == (query.kind, query.class_)
        labels = b".".join(theirs.q.qname.label).lower()
        assert not query.name or query.name.encode("latin-1") == labels
    outcome = zones.resolve(query, [_ZONE])
    code, records = (outcome.code, outcome.records) if outcome else (Code.NAME_ERROR, ())
    for limit in (dns.LARGEST_PLAIN, query.limit, dns.LARGEST):
        answered = dns.answer(query, code, records, limit=limit)
        assert len(answered) <= max(limit, 12 + len(query.question) + 11)
        _check_answer(answered, query, theirs is not None)
    assert dns.forwarded(query, data, 7)[2:] == data[2:]


def _check_answer(answered: bytes, query: Query, readable: bool) -> None:
    if not readable:
        return
    theirs = DNSRecord.parse(answered)
    assert theirs.header.id == query.id
    assert theirs.header.qr == 1
    assert theirs.q.qtype == query.kind


def _parsed(data: bytes) -> DNSRecord | None:
    try:
        return DNSRecord.parse(data)
    except (DNSError, ValueError, IndexError, struct.error):
        return None


def _question(name: str, kind: str) -> DNSRecord:
    record = DNSRecord.question(name, kind)
    record.header.id = 7  # not a random one: the same inputs every time
    return record


_QUESTION = _question("Web.example", "A")
_ASKED = dns.parse_query(bytes(_QUESTION.pack()))


def replies(data: bytes) -> None:
    """Another server's answer: kept no longer than it says, handed on with the client's id."""
    identity = int.from_bytes(data[:2], "big")
    try:
        reply = dns.parse_reply(data, _ASKED, identity)
    except Malformed:
        return
    assert 0 <= reply.ttl < 1 << 31
    for age in (0, 10, 1 << 31):
        for limit in (dns.LARGEST_PLAIN, dns.LARGEST):
            shown = dns.for_client(_ASKED, reply, age, limit=limit)
            assert len(shown) <= limit
            assert shown[:2] == _ASKED.id.to_bytes(2, "big")
            again = dns.parse_reply(shown, _ASKED, _ASKED.id)
            assert again.code == reply.code


def _reply(*records: RR) -> bytes:
    answer = _QUESTION.reply()
    for record in records:
        answer.add_answer(record)
    return bytes(answer.pack())


def _link() -> bytes:
    info = netlink.nested(links.IFLA_LINKINFO, netlink.text(links.IFLA_INFO_KIND, "bridge"))
    return netlink.message(
        links.RTM_NEWLINK,
        0,
        struct.pack("=BxHiII", 0, 1, 5, 1, 0),
        netlink.text(links.IFLA_IFNAME, "br-x"),
        netlink.u32(links.IFLA_MTU, 1500),
        netlink.attribute(links.IFLA_ADDRESS, b"\2\0\0\0\0\1"),
        info,
    )


_SENT = netlink.message(
    links.RTM_NEWADDR,
    0,
    struct.pack("=BBBBi", socket.AF_INET, 24, 0, 0, 5),
    netlink.attribute(links.IFA_LOCAL, bytes((10, 0, 0, 1))),
)
_ROUTE = netlink.message(
    links.RTM_NEWROUTE,
    0,
    struct.pack("=BBBBBBBBI", socket.AF_INET, 24, 0, 0, 254, 2, 0, 1, 0),
    netlink.attribute(1, bytes((10, 0, 0, 0))),
    netlink.u32(4, 5),
)
_REFUSED = netlink.message(
    netlink.NLMSG_ERROR,
    netlink.NLM_F_CAPPED | netlink.NLM_F_ACK_TLVS,
    struct.pack("=i", -22),
    bytes(16),
    netlink.text(netlink.NLMSGERR_ATTR_MSG, "no"),
)
_EDNS = bytes(_QUESTION.pack())[:10] + b"\0\1" + bytes(_QUESTION.pack())[12:]

TARGETS = (
    Target(
        name="netlink",
        run=messages,
        seeds=(_link(), _SENT, _ROUTE, _REFUSED, _link() + _SENT + _ROUTE),
        words=(b"\x08\0\1\0", b"\x04\0\x12\x80", b"\x10\0\0\0", b"\x14\0", b"\x03\0", b"\x02\0"),
        longest=2048,
    ),
    Target(
        name="dns",
        run=questions,
        seeds=(
            bytes(_QUESTION.pack()),
            bytes(_question("web.net1", "AAAA").pack()),
            bytes(_question("2.1.30.172.in-addr.arpa", "PTR").pack()),
            _EDNS + b"\0\0\x29\x10\0\0\0\x80\0\0\0",
        ),
        words=(b"\xc0\x0c", b"\3web\0", b"\x3f", b"\x40", b"\0\1\0\1", b"\0\x29", b"\4arpa\0"),
        longest=600,
        cost=3,
    ),
    Target(
        name="dns-reply",
        run=replies,
        seeds=(
            _reply(RR("Web.example", QTYPE.A, rdata=A("10.0.0.1"), ttl=60)),
            _reply(*RR.fromZone("Web.example 5 A 1.2.3.4\nWeb.example 7 AAAA ::1")),
            _reply(*RR.fromZone("Web.example 5 SOA a. b. 1 2 3 4 5")),
            bytes(_QUESTION.reply().pack()),
        ),
        words=(b"\xc0\x0c", b"\0\6", b"\0\x29", b"\x80\0\0\0", b"\x81\x83", b"\x83\x80"),
        longest=2048,
    ),
)
