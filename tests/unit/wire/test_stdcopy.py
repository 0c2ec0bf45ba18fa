"""The multiplexed stream, cut anywhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import ProtocolError
from supervisor.wire.stdcopy import MAX_PAYLOAD, STDERR, STDIN, STDOUT, Decoder, frame, header
from tests.unit.wire.cuts import cut, cuts

FRAMES = st.lists(st.tuples(st.sampled_from([STDIN, STDOUT, STDERR]), st.binary(max_size=300)))


def joined(pieces: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Neighbouring pieces of one stream as one, empty ones left out."""
    result: list[tuple[int, bytes]] = []
    for stream, data in pieces:
        if result and result[-1][0] == stream:
            result[-1] = (stream, result[-1][1] + data)
        elif data:
            result.append((stream, data))
    return result


def test_header_is_docker_s() -> None:
    assert header(STDERR, 258) == b"\x02\0\0\0\0\0\x01\x02"
    assert header(STDOUT, MAX_PAYLOAD) == b"\x01\0\0\0\xff\xff\xff\xff"
    assert frame(STDOUT, b"hi") == b"\x01\0\0\0\0\0\0\x02hi"


@given(FRAMES, cuts)
def test_what_was_framed_comes_out(frames: list[tuple[int, bytes]], at: list[int]) -> None:
    decoder = Decoder()
    data = b"".join(frame(stream, payload) for stream, payload in frames)
    pieces = [piece for chunk in cut(data, at) for piece in decoder.feed(chunk)]
    assert joined(pieces) == joined(frames)
    decoder.close()


def test_payload_comes_out_as_it_arrives() -> None:
    decoder = Decoder()
    assert decoder.feed(header(STDOUT, 1 << 31) + b"ab") == [(STDOUT, b"ab")]
    assert decoder.feed(b"c") == [(STDOUT, b"c")]


@pytest.mark.parametrize("head", [b"\x04\0\0\0\0\0\0\0", b"\x01\0\0\x01\0\0\0\0", b"HTTP/1.1"])
def test_other_formats_are_refused(head: bytes) -> None:
    with pytest.raises(ProtocolError):
        Decoder().feed(head)


@pytest.mark.parametrize("data", [b"\x01", header(STDOUT, 2), frame(STDOUT, b"ab")[:-1]])
def test_torn_end_is_told(data: bytes) -> None:
    decoder = Decoder()
    decoder.feed(data)
    with pytest.raises(ProtocolError):
        decoder.close()
