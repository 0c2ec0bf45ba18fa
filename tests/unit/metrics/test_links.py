"""The netlink dump of interface counters: every byte of it may be wrong."""

from __future__ import annotations

import errno
import struct
from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.errors import Malformed
from metrics.parse import links
from metrics.parse.figures import Link

SEQUENCE = 7
NEWSTATS, DONE, ERROR = 92, 3, 2
COUNTS = st.integers(0, 2**64 - 1)
LINKS = st.builds(Link, *[COUNTS] * 8)


def message(kind: int, body: bytes, *, flags: int = 2, sequence: int = SEQUENCE) -> bytes:
    head = struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 99)
    return head + body + bytes(-len(body) % 4)


def counters(index: int, link: Sequence[int], *, others: bytes = b"") -> bytes:
    # The kernel has 24 counters or more; the first eight are ours.
    values = struct.pack("=24Q", *link, *range(16))
    attribute = struct.pack("=HH", 4 + len(values), 1) + values
    return message(NEWSTATS, struct.pack("=BBHII", 0, 0, 0, index, 1) + others + attribute)


def done(error: int = 0) -> bytes:
    return message(DONE, struct.pack("=i", -error))


def decode(*datagrams: bytes) -> links.Decoder:
    decoder = links.Decoder(SEQUENCE)
    complete = [decoder.feed(datagram) for datagram in datagrams]
    assert complete == [False] * (len(datagrams) - 1) + [True]
    return decoder


@given(st.dictionaries(st.integers(1, 2**31), LINKS, max_size=6), st.integers(0, 6))
def test_all_links_whatever_datagram_they_come_in(found: dict[int, Link], first: int) -> None:
    messages = [counters(index, link) for index, link in found.items()]
    datagrams = [b"".join(messages[:first]), b"".join([*messages[first:], done()])]
    decoder = decode(*datagrams)
    assert decoder.links == found
    assert not decoder.interrupted


def test_a_request_is_what_the_kernel_expects() -> None:
    assert links.request(5) == struct.pack("=IHHIIBBHII", 28, 94, 0x301, 5, 0, 0, 0, 0, 0, 1)


def test_a_request_for_one_is_no_dump() -> None:
    assert links.request(5, 9) == struct.pack("=IHHIIBBHII", 28, 94, 0x1, 5, 0, 0, 0, 0, 9, 1)


def test_an_answer_of_one_needs_no_end() -> None:
    link = Link(*range(8))
    decoder = links.Decoder(SEQUENCE)
    assert decoder.feed(message(NEWSTATS, counters(3, link)[16:], flags=0))
    assert decoder.links == {3: link}


def test_other_attributes_and_other_dumps_are_passed_over() -> None:
    link = Link(*range(8))
    other = struct.pack("=HHQ", 12, 2, 1)
    stale = message(NEWSTATS, counters(9, link)[16:], sequence=SEQUENCE - 1)
    decoder = decode(stale + counters(3, link, others=other) + done())
    assert decoder.links == {3: link}


def test_an_interrupted_dump_says_so() -> None:
    assert decode(message(NEWSTATS, counters(1, range(8))[16:], flags=0x12) + done()).interrupted


@pytest.mark.parametrize("kind", [DONE, ERROR])
def test_a_refusal(kind: int) -> None:
    with pytest.raises(links.Refused) as caught:
        links.Decoder(SEQUENCE).feed(message(kind, struct.pack("=i", -errno.EOPNOTSUPP)))
    assert caught.value.errno == errno.EOPNOTSUPP


def test_a_dump_without_end_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "MAX_LINKS", 3)
    decoder = links.Decoder(SEQUENCE)
    decoder.feed(b"".join(counters(index, range(8)) for index in range(3)))
    with pytest.raises(Malformed, match="more than 3"):
        decoder.feed(counters(4, range(8)))


def test_what_one_end_of_a_veth_sends_the_other_receives() -> None:
    link = Link(1, 2, 3, 4, 5, 6, 7, 8)
    peer = link.peer()
    assert peer == Link(2, 1, 4, 3, 6, 5, 8, 7)
    assert (peer.rx_bytes, peer.tx_dropped) == (link.tx_bytes, link.rx_dropped)


@given(st.data())
def test_damaged_datagrams(data: st.DataObject) -> None:
    real = bytearray(counters(1, range(8)) + counters(2, range(8)) + done())
    for _ in range(data.draw(st.integers(1, 4))):
        real[data.draw(st.integers(0, len(real) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(real[: data.draw(st.integers(0, len(real)))])
    with suppress(Malformed, links.Refused):
        links.Decoder(SEQUENCE).feed(cut)


@given(st.binary(max_size=300))
def test_noise(data: bytes) -> None:
    with suppress(Malformed, links.Refused):
        links.Decoder(SEQUENCE).feed(data)


# --- what an interface is -----------------------------------------------------------------------


def link(*attributes: tuple[int, bytes]) -> bytes:
    body = struct.pack("=BBHiII", 0, 0, 1, 5, 0, 0)
    for kind, value in attributes:
        body += struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)
    return message(16, body, flags=0)


def test_the_bridge_that_an_interface_is_in() -> None:
    name, bridge = (3, b"ol1\0"), (10, struct.pack("=I", 7))
    assert links.master(link(name, bridge)) == 7
    assert links.master(link(name)) == 0
    assert links.master(link()) == 0


def test_a_link_that_is_gone() -> None:
    with pytest.raises(links.Refused) as raised:
        links.master(message(ERROR, struct.pack("=i", -errno.ENODEV) + bytes(16)))
    assert raised.value.errno == errno.ENODEV


@given(st.binary(max_size=80), st.booleans())
def test_any_bytes_for_an_interface(data: bytes, headed: bool) -> None:
    with suppress(Malformed, links.Refused):
        links.master(message(16, data) if headed else data)


def test_a_request_for_what_an_interface_is() -> None:
    head = struct.pack("=IHHII", 40, 18, 1, 3, 0)
    assert links.link_request(3, 5) == head + struct.pack("=BBHiIIHHI", 0, 0, 0, 5, 0, 0, 8, 29, 8)
