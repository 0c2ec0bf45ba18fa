"""Framing of netlink messages, and answers, also as garbage."""

from __future__ import annotations

import contextlib
import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netplumb.errors import Malformed
from netplumb.plan import netlink as nl


def test_messages_are_numbered_when_they_are_sent() -> None:
    one, two = nl.message(16, nl.NLM_F_ACK, b"abcd"), nl.message(17, 0, b"")
    found = list(nl.split(nl.stamped([one, two], 7)))
    assert [(m.kind, m.flags, m.sequence, m.body) for m in found] == [
        (16, nl.NLM_F_ACK | nl.NLM_F_REQUEST, 7, b"abcd"),
        (17, nl.NLM_F_REQUEST, 8, b""),
    ]
    assert next(iter(nl.split(one))).sequence == 0, "the kept message stays as it is"


@given(st.lists(st.tuples(st.integers(1, 0x3FFF), st.binary(max_size=40)), max_size=8))
def test_attributes_round_trip(pairs: list[tuple[int, bytes]]) -> None:
    data = b"".join(nl.attribute(kind, value) for kind, value in pairs)
    assert len(data) % 4 == 0
    assert list(nl.attribute_list(data)) == pairs


def test_flags_of_an_attribute_are_no_part_of_its_kind() -> None:
    assert nl.attributes(nl.nested(18, nl.u32(1, 5))) == {18: nl.u32(1, 5)}


def test_numbers_in_both_orders() -> None:
    assert nl.attributes(nl.be32(1, -100)) == {1: struct.pack(">i", -100)}
    assert nl.attributes(nl.be64(1, 1)) == {1: bytes(7) + b"\1"}
    assert nl.read_u32(struct.pack("=I", 70000)) == 70000
    assert nl.read_u32(None) == 0
    with pytest.raises(Malformed):
        nl.read_u32(b"abc")


def test_an_attribute_is_shorter_than_64_kib() -> None:
    nl.attribute(1, bytes(nl.LONGEST_ATTRIBUTE))
    with pytest.raises(struct.error):
        nl.attribute(1, bytes(nl.LONGEST_ATTRIBUTE + 1))


def answer_bytes(number: int, text: str, *, capped: bool) -> bytes:
    request = struct.pack("=IHHII", 24, 16, 5, 9, 0)
    copied = request if capped else request + bytes(8)
    tail = nl.text(nl.NLMSGERR_ATTR_MSG, text) if text else b""
    flags = (nl.NLM_F_CAPPED if capped else 0) | (nl.NLM_F_ACK_TLVS if text else 0)
    body = struct.pack("=i", -number) + copied + tail
    return struct.pack("=IHHII", 16 + len(body), nl.NLMSG_ERROR, flags, 9, 0) + body


@pytest.mark.parametrize("capped", [True, False])
def test_an_answer_has_the_kernels_explanation(*, capped: bool) -> None:
    data = answer_bytes(errno.EEXIST, "Invalid handle", capped=capped)
    (message,) = nl.split(data)
    assert nl.answer(message) == nl.Answer(9, errno.EEXIST, "Invalid handle")


def test_an_acknowledgement() -> None:
    (message,) = nl.split(answer_bytes(0, "", capped=True))
    assert nl.answer(message) == nl.Answer(9, 0)


@given(st.binary(max_size=200))
def test_garbage_is_malformed_or_something(data: bytes) -> None:
    try:
        for message in nl.split(data):
            nl.answer(message)
            nl.attributes(message.body)
    except Malformed:
        pass


@given(st.binary(max_size=120), st.integers(0, 0xFFFF))
def test_a_garbled_error(body: bytes, flags: int) -> None:
    message = nl.Message(nl.NLMSG_ERROR, flags, 1, 0, body)
    with contextlib.suppress(Malformed):
        assert nl.answer(message).errno >= 0
