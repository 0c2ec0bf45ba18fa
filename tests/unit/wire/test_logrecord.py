"""The log's records: byte for byte, cut anywhere, readable after a crash."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.wire.logrecord import Decoder, Encoder, Record, timestamp
from tests.unit.wire.cuts import cut, cuts

NOW = 1_795_235_520_123_456_789
STAMP = b"2026-11-21T04:32:00.123456789Z"

# Short lines and long ones, whatever bytes.
TEXT = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from([b"\n", b"\r\n", *(b"x" * size for size in (15, 16, 17, 31, 32, 33))]),
    ),
    max_size=20,
).map(b"".join)


def encode(data: bytes, at: list[int], max_line: int = 16) -> bytes:
    encoder = Encoder("stdout", max_line)
    return b"".join(encoder.feed(chunk, NOW) for chunk in cut(data, at)) + encoder.close(NOW)


def test_lines_are_cri_records() -> None:
    encoder = Encoder("stderr")
    assert encoder.feed(b"one\ntw", NOW) == STAMP + b" stderr F one\n"
    assert encoder.feed(b"o\n\n", NOW) == STAMP + b" stderr F two\n" + STAMP + b" stderr F \n"
    assert encoder.feed(b"three", NOW) == b""
    assert encoder.close(NOW) == STAMP + b" stderr P three\n"
    assert encoder.close(NOW) == b""


def test_long_lines_are_parts() -> None:
    line = b"0123456789abcdef" * 2 + b"x"
    parts = [STAMP + b" stdout P 0123456789abcdef\n"] * 2
    assert encode(line + b"\n", []) == b"".join([*parts, STAMP + b" stdout F x\n"])
    assert encode(line, []) == b"".join([*parts, STAMP + b" stdout P x\n"])
    assert encode(b"y" * 16 + b"\n", []) == STAMP + b" stdout F " + b"y" * 16 + b"\n"


@pytest.mark.parametrize(
    "size, parts",
    [(15, [15]), (16, [16]), (17, [16, 1]), (32, [16, 16]), (33, [16, 16, 1])],
)
def test_a_line_is_cut_only_where_it_must_be(size: int, parts: list[int]) -> None:
    records = Decoder().feed(encode(b"y" * size + b"\n", []))
    assert [len(record.data.rstrip(b"\n")) for record in records] == parts
    assert [record.data.endswith(b"\n") for record in records] == [False] * (len(parts) - 1) + [
        True
    ]


@given(TEXT, cuts, cuts)
def test_round_trip_is_byte_exact_wherever_cut(data: bytes, one: list[int], two: list[int]) -> None:
    encoded = encode(data, one)
    assert encoded == encode(data, [])
    decoder = Decoder()
    records = [record for chunk in cut(encoded, two) for record in decoder.feed(chunk)]
    assert b"".join(record.data for record in records) == data
    assert decoder.skipped == 0
    for record in records:
        assert (record.wall_ns, record.stream) == (NOW, "stdout")
        assert len(record.data) <= 17


@given(st.binary(max_size=200), cuts)
def test_the_encoder_keeps_no_more_than_a_line(data: bytes, at: list[int]) -> None:
    """What is not yet written is never longer than `max_line`."""
    encoder = Encoder("stdout", 16)
    written = 0
    fed = 0
    for chunk in cut(data, at):
        fed += len(chunk)
        written += sum(len(r.data) for r in Decoder().feed(encoder.feed(chunk, NOW)))
        assert 0 <= fed - written <= 16


@given(st.integers(0, 4_102_444_800 * 10**9))
def test_times_survive(wall_ns: int) -> None:
    line = timestamp(wall_ns) + b" stdout F x\n"
    assert re.fullmatch(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", line[:30])
    assert Decoder().feed(line) == [Record(wall_ns, "stdout", b"x\n")]


GARBAGE = [
    b"",
    b"\0" * 100,
    STAMP,
    STAMP + b" stdout",
    STAMP + b" stdout X data",
    STAMP + b" stdin_ F data",
    b"2026-13-21T04:22:00.123456789Z stdout F x",
    b"2026-11-21T24:22:00.123456789Z stdout F x",
    b"2026-11-21 04:22:00.123456789Z stdout F x",
    b"2026-11-21T04:22:00,123456789Z stdout F x",
    b"2026-11-21T04:22:00.12345678+Z stdout F x",
    b"2026-11-21T04:22:00.123456789X stdout F x",
    b"2O26-11-21T04:22:00.123456789Z stdout F x",
]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_is_skipped_and_counted(garbage: bytes) -> None:
    good = STAMP + b" stderr P data\n"
    decoder = Decoder()
    assert decoder.feed(good + garbage + b"\n" + good) == [Record(NOW, "stderr", b"data")] * 2
    assert decoder.skipped == 1


@given(st.lists(st.binary(max_size=120), max_size=8), cuts)
def test_any_bytes_decode_the_same_wherever_cut(lines: list[bytes], at: list[int]) -> None:
    good = STAMP + b" stdout F data"
    data = b"\n".join([*lines, good, good * 2, b"\0" * 100, b""])
    whole, pieces = Decoder(max_record=64), Decoder(max_record=64)
    expected = whole.feed(data)
    assert [record for chunk in cut(data, at) for record in pieces.feed(chunk)] == expected
    assert pieces.skipped == whole.skipped >= 2
    assert Record(NOW, "stdout", b"data\n") in expected


def test_torn_last_line_waits_for_the_rest() -> None:
    decoder = Decoder()
    line = STAMP + b" stdout F hello\n"
    assert decoder.feed(line[:33]) == []
    assert decoder.feed(line[33:-1]) == []
    assert decoder.feed(b"\n") == [Record(NOW, "stdout", b"hello\n")]
    assert decoder.skipped == 0


def test_endless_garbage_is_not_kept() -> None:
    decoder = Decoder(max_record=1000)
    for _ in range(100):
        assert decoder.feed(b"\0" * 500) == []
        assert len(decoder._rest) <= 1000
    assert decoder.feed(b"\n" + STAMP + b" stdout F x\n") == [Record(NOW, "stdout", b"x\n")]
    assert decoder.skipped == 1


def test_only_stdout_and_stderr_are_logged() -> None:
    with pytest.raises(ValueError, match="stdin"):
        Encoder("stdin")
