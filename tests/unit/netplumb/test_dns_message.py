"""DNS messages, with dnslib as the other side."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_address

import pytest
from dnslib import (  # type: ignore[import-untyped, unused-ignore]
    AAAA,
    CLASS,
    EDNS0,
    NS,
    PTR,
    QTYPE,
    RCODE,
    RR,
    SOA,
    A,
    DNSHeader,
    DNSQuestion,
    DNSRecord,
)
from hypothesis import given
from hypothesis import strategies as st

from netplumb.errors import Malformed
from netplumb.plan.dns import message as dns
from netplumb.plan.dns.message import Code, Query, Record

LABEL = st.text("abcdefghijklmnopqrstuvwxyzABCDEFG0123456789-_", min_size=1, max_size=20)
NAMES = st.lists(LABEL, min_size=1, max_size=6).map(".".join)


def question(
    name: str = "web.example",
    kind: str = "A",
    *,
    size: int | None = None,
    dnssec: bool = False,
    version: int = 0,
) -> DNSRecord:
    """A question; with a size it has an OPT record."""
    record = DNSRecord.question(name, kind)
    if size is not None:
        record.add_ar(EDNS0(udp_len=size, flags="do" if dnssec else "", version=version))
    return record


def packed(record: DNSRecord) -> bytes:
    return bytes(record.pack())


def query(
    name: str = "web.example",
    kind: str = "A",
    *,
    size: int | None = None,
    dnssec: bool = False,
    version: int = 0,
) -> Query:
    record = question(name, kind, size=size, dnssec=dnssec, version=version)
    return dns.parse_query(packed(record))


@given(NAMES, st.sampled_from(["A", "AAAA", "PTR", "MX", "ANY"]))
def test_a_query(name: str, kind: str) -> None:
    record = question(name, kind)
    found = dns.parse_query(packed(record))
    assert (found.id, found.name) == (record.header.id, name.lower())
    assert QTYPE[found.kind] == kind
    assert (found.class_, found.opcode, found.edns) == (1, 0, None)
    assert found.limit == 512


def test_edns() -> None:
    found = query(size=1232, dnssec=True)
    assert found.edns == dns.Edns(1232, 0, dnssec_ok=True)
    assert found.limit == 1232
    assert query(size=60000).limit == 4096
    assert query(size=100).limit == 512
    keys = {query().key, query(size=1232).key, query(size=1, dnssec=True).key}
    assert len(keys) == 3, "their answers differ"
    assert query("WEB.example").key == query("web.EXAMPLE").key


def test_a_label_with_a_dot_is_no_name_of_ours() -> None:
    raw = packed(question("x.y")).replace(b"\x01x\x01y", b"\x03x.y")
    assert dns.parse_query(raw).name == ""


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        bytes(11),
        bytes(12),
        packed(question())[:-1],
        packed(question()).replace(b"\x03web", b"\xc0\x0cb"),
        packed(question()).replace(b"\x03web", b"\x50web"),
        bytes(2) + b"\x80" + packed(question())[3:],
        packed(question())[:4] + b"\0\2" + packed(question())[6:],
        packed(question())[:6] + b"\0\1" + packed(question())[8:],
        packed(question())[:10] + b"\0\5" + packed(question())[12:],
    ],
    ids=["empty", "short", "zeros", "cut", "pointer", "label", "answer", "two", "an", "ar"],
)
def test_no_query_at_all(raw: bytes) -> None:
    with pytest.raises(Malformed):
        dns.parse_query(raw)


def test_a_name_that_is_too_long() -> None:
    name = b"".join(b"\x3f" + b"a" * 63 for _ in range(4)) + b"\0"
    with pytest.raises(Malformed, match="255"):
        dns.parse_query(bytes(5) + b"\1" + bytes(6) + name + b"\0\1\0\1")


@given(st.binary(max_size=300))
def test_garbage_is_malformed_or_a_query(raw: bytes) -> None:
    with suppress(Malformed):
        found = dns.parse_query(raw)
        dns.answer(found, Code.NO_ERROR, limit=512)


@given(st.data())
def test_garbled_messages(data: st.DataObject) -> None:
    whole = bytearray(packed(reply_to(query(size=1232))))
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=5)):
        whole[place] = data.draw(st.integers(0, 255))
    with suppress(Malformed):
        dns.parse_query(bytes(whole))
    with suppress(Malformed):
        asked = query(size=1232)
        got = dns.parse_reply(bytes(whole), asked, int.from_bytes(whole[:2], "big"))
        dns.for_client(asked, got, 10, limit=1232)


def test_a_reply_whose_only_answer_is_an_option_is_not_kept() -> None:
    reply = question(size=1232)
    reply.header.qr = 1
    raw = bytearray(packed(reply))
    raw[6:8], raw[10:12] = raw[10:12], raw[6:8]  # the OPT record counts as an answer
    got = dns.parse_reply(bytes(raw), query(), int.from_bytes(raw[:2], "big"))
    assert (got.ttl, got.ttl_offsets) == (0, ())


# --- our answers --------------------------------------------------------------------------------


def test_an_answer_with_addresses() -> None:
    asked = query("Web.Example")
    made = dns.answer(
        asked,
        Code.NO_ERROR,
        [
            Record(dns.A, 5, ip_address("172.30.1.2").packed),
            Record(dns.AAAA, 5, ip_address("fd00::2").packed),
            Record(dns.PTR, 5, dns.encode_name("web.net1")),
        ],
        limit=512,
    )
    read = DNSRecord.parse(made)
    assert (read.header.id, read.header.qr, read.header.aa, read.header.ra) == (asked.id, 1, 1, 1)
    assert read.header.rcode == RCODE.NOERROR
    assert str(read.q.qname) == "Web.Example.", "the case comes back as it was"
    assert {str(record.rname) for record in read.rr} == {"Web.Example."}
    assert [str(record.rdata) for record in read.rr] == ["172.30.1.2", "fd00::2", "web.net1."]
    assert read.rr[0].ttl == 5
    assert read.ar == []


def test_a_no_with_edns() -> None:
    read = DNSRecord.parse(dns.answer(query(size=4096), Code.NAME_ERROR, limit=4096))
    assert read.header.rcode == RCODE.NXDOMAIN
    assert (len(read.ar), read.ar[0].edns_len) == (1, 1232)


def test_a_bad_version_is_told_in_the_opt_record() -> None:
    read = DNSRecord.parse(dns.answer(query(size=512, version=1), Code.BAD_VERSION, limit=512))
    assert read.header.rcode == 0
    assert read.ar[0].edns_rcode == 1


def test_what_does_not_fit_is_cut_off() -> None:
    records = [Record(dns.A, 5, bytes((10, 0, 0, n))) for n in range(100)]
    asked = query()
    assert len(dns.answer(asked, Code.NO_ERROR, records, limit=65535)) > 512
    read = DNSRecord.parse(dns.answer(asked, Code.NO_ERROR, records, limit=512))
    assert (read.header.tc, read.rr, str(read.q.qname)) == (1, [], "web.example.")


@pytest.mark.parametrize("name", ["", "a..b", "x" * 64, ".".join(["y" * 60] * 5)])
def test_names_that_dns_has_not(name: str) -> None:
    with pytest.raises(Malformed):
        dns.encode_name(name)


# --- others' answers ------------------------------------------------------------------------------


def reply_to(asked: Query, *records: RR, rcode: int = 0, identity: int = 77) -> DNSRecord:
    header = DNSHeader(id=identity, qr=1, ra=1, rd=1, rcode=rcode)
    made = DNSRecord(header, q=DNSQuestion(asked.name, asked.kind, CLASS.IN))
    for record in records or (RR("web.example", QTYPE.A, rdata=A("1.2.3.4"), ttl=100),):
        made.add_answer(record)
    return made


def test_a_reply_goes_to_the_client_with_its_own_id_and_case() -> None:
    asked = query("WEB.example")
    reply = dns.parse_reply(packed(reply_to(asked)), asked, 77)
    assert (reply.code, reply.truncated, reply.ttl) == (0, False, 100)
    read = DNSRecord.parse(dns.for_client(asked, reply, 40, limit=512))
    assert (read.header.id, str(read.q.qname)) == (asked.id, "WEB.example.")
    assert (read.rr[0].ttl, str(read.rr[0].rdata)) == (60, "1.2.3.4")


def test_the_query_is_sent_on_with_another_id() -> None:
    raw = packed(question(size=1232))
    sent = DNSRecord.parse(dns.forwarded(dns.parse_query(raw), raw, 4242))
    assert sent.header.id == 4242
    assert (str(sent.q.qname), sent.ar[0].edns_len) == ("web.example.", 1232)


def test_the_shortest_life_counts() -> None:
    asked = query()
    records = (
        RR("web.example", QTYPE.A, rdata=A("1.2.3.4"), ttl=100),
        RR("web.example", QTYPE.A, rdata=A("1.2.3.5"), ttl=7),
        RR("web.example", QTYPE.AAAA, rdata=AAAA("fd00::1"), ttl=50),
        RR("web.example", QTYPE.PTR, rdata=PTR("x.y"), ttl=60),
    )
    assert dns.parse_reply(packed(reply_to(asked, *records)), asked, 77).ttl == 7


@pytest.mark.parametrize("rcode, expected", [(RCODE.NXDOMAIN, 30), (RCODE.NOERROR, 30), (2, 0)])
def test_a_no_may_be_kept_as_long_as_the_zone_says(rcode: int, expected: int) -> None:
    asked = query()
    made = DNSRecord(DNSHeader(id=77, qr=1, rcode=rcode), q=DNSQuestion("web.example"))
    times = (1, 3600, 600, 86400, 30)
    made.add_auth(RR("example", QTYPE.SOA, rdata=SOA("ns.example", "root.example", times), ttl=900))
    assert dns.parse_reply(packed(made), asked, 77).ttl == expected


def test_a_no_without_soa_is_not_kept() -> None:
    asked = query()
    made = DNSRecord(DNSHeader(id=77, qr=1, rcode=3), q=DNSQuestion("web.example"))
    assert dns.parse_reply(packed(made), asked, 77).ttl == 0
    made.add_auth(RR("example", QTYPE.NS, rdata=NS("ns.example"), ttl=900))
    assert dns.parse_reply(packed(made), asked, 77).ttl == 0


def test_a_negative_life_is_none() -> None:
    asked = query()
    made = reply_to(asked, RR("web.example", QTYPE.A, rdata=A("1.2.3.4"), ttl=1 << 31))
    assert dns.parse_reply(packed(made), asked, 77).ttl == 0


def test_a_truncated_reply() -> None:
    asked = query()
    made = reply_to(asked)
    made.header.tc = 1
    reply = dns.parse_reply(packed(made), asked, 77)
    assert (reply.truncated, reply.ttl) == (True, 0)


def test_a_reply_beyond_the_clients_limit_is_cut_off() -> None:
    asked = query()
    records = [RR("web.example", QTYPE.A, rdata=A(f"10.0.0.{n}"), ttl=9) for n in range(100)]
    reply = dns.parse_reply(packed(reply_to(asked, *records)), asked, 77)
    read = DNSRecord.parse(dns.for_client(asked, reply, 0, limit=512))
    assert (read.header.tc, read.header.id, read.rr) == (1, asked.id, [])


@pytest.mark.parametrize("change", ["id", "question", "query"])
def test_forged_replies(change: str) -> None:
    asked = query()
    made = reply_to(asked, identity=78 if change == "id" else 77)
    if change == "question":
        made = reply_to(query("other.example"))
    if change == "query":
        made.header.qr = 0
    with pytest.raises(Malformed):
        dns.parse_reply(packed(made), asked, 77)
