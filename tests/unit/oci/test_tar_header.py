"""Header blocks and PAX records: strict numbers, checksums, names that just fit."""

from __future__ import annotations

import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import InvalidArgument
from supervisor.oci.tar import header, pax

PLAIN = header.Header(
    type=b"0", name=b"file", link=b"", mode=0o644, uid=1, gid=2, size=3, mtime=4,
    devmajor=0, devminor=0,
)  # fmt: skip


@pytest.mark.parametrize(
    "field, value",
    [
        (b"0000644\0", 0o644),
        (b"644     ", 0o644),
        (b"   644 \0", 0o644),
        (b"00000000", 0),
        (b"77777777", 0o77777777),
        (b"\0" * 8, 0),
        (b"        ", 0),
        (b"\x80" + bytes(6) + b"\x01", 1),
        (b"\x80" + b"\xff" * 7, (1 << 56) - 1),
        (b"\xff" * 8, -1),
        (b"\xff" + b"\0" * 7, -(1 << 56)),
    ],
)
def test_numbers(field: bytes, value: int) -> None:
    assert header.number(field) == value
    assert tarfile.nti(field) == value  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "field",
    [
        b"0000_644", b"+0000644", b"-0000644", b"0o00644\0", b"0x00644\0", b"0000648\0",
        b"0000 644", b"1.5\0\0\0\0\0", b"644\0junk", b"7\xef\xbc\x97777", b"\x7f0000644",
    ],
)  # fmt: skip
def test_what_is_no_number_is_refused(field: bytes) -> None:
    with pytest.raises(InvalidArgument, match="is not a number"):
        header.number(field)


@given(st.binary(min_size=12, max_size=12))
def test_any_field_is_a_number_or_refused(field: bytes) -> None:
    try:
        value = header.number(field)
    except InvalidArgument:
        return
    assert value < 1 << 96
    if not field[0] & 0x80:
        assert 0 <= value < 8**12


@given(st.binary(min_size=512, max_size=512))
def test_the_checksum_is_the_sum_of_all_bytes(block: bytes) -> None:
    blanked = block[:148] + b" " * 8 + block[156:]
    true = b"%06o\0 " % sum(blanked)
    assert header._sum(block[:148] + true + block[156:], true) == sum(blanked)


def test_a_changed_byte_is_found() -> None:
    block = header.encode(PLAIN)
    assert header.decode(block) == PLAIN
    for at in (0, 99, 100, 124, 155, 156, 257, 345, 511):
        changed = block[:at] + bytes([block[at] ^ 1]) + block[at + 1 :]
        with pytest.raises(InvalidArgument):
            header.decode(changed)


def test_old_tars_added_signed_bytes() -> None:
    block = header.encode(PLAIN._replace(name=b"\xe9t\xe9"))
    blanked = block[:148] + b" " * 8 + block[156:]
    signed = sum(byte - 256 if byte > 127 else byte for byte in blanked)
    old = block[:148] + b"%06o\0 " % signed + block[156:]
    assert old != block
    assert header.decode(old).name == b"\xe9t\xe9"


@pytest.mark.parametrize(
    "name",
    [
        b"a" * 100,
        b"a" * 155 + b"/" + b"b" * 100,
        b"a/" * 60 + b"b",
        b"d" * 150 + b"/" + b"e" * 50 + b"/",
        b"d" * 99 + b"/",
    ],
)
def test_a_name_that_fits_is_split_and_joined(name: bytes) -> None:
    block = header.encode(PLAIN._replace(name=name))
    assert header.decode(block).name == name
    assert tarfile.TarInfo.frombuf(block, "utf-8", "strict").name == name.decode()


@pytest.mark.parametrize("name", [b"a" * 101, b"/" + b"a" * 101, b"a" * 156 + b"/b", b"a" * 300])
def test_a_name_that_does_not_fit_is_not_split(name: bytes) -> None:
    assert header.split(name) is None


RECORDS = st.dictionaries(
    st.binary(min_size=1, max_size=30).filter(lambda key: not set(key) & set(b"=\0\n")),
    st.binary(max_size=1100).filter(lambda value: b"\0" not in value),
    max_size=6,
)


@given(RECORDS)
def test_records_come_back(records: dict[bytes, bytes]) -> None:
    assert pax.parse(pax.encode(records)) == records


def test_a_record_counts_its_own_digits() -> None:
    for size in range(110):
        data = pax.encode({b"k": b"v" * size})
        assert int(data.partition(b" ")[0]) == len(data)


def test_only_attributes_may_have_a_nul() -> None:
    assert pax.parse(pax.encode({b"SCHILY.xattr.user.x": b"\0\n\xff"})) == {
        b"SCHILY.xattr.user.x": b"\0\n\xff"
    }
    for records in ({b"path": b"a\0b"}, {b"pa\0th": b"a"}):
        with pytest.raises(InvalidArgument, match="NUL"):
            pax.parse(pax.encode(records))


@pytest.mark.parametrize(
    "data",
    [
        b"6 a=b", b"7 a=b\n", b"5 a=b\n", b"0 a=b\n", b"-6 a=b\n", b"+6 a=b\n", b"6_ a=b\n",
        b"6 a b\n", b"5 =b\n", b" 6 a=b\n", b"6a=b\n", b"99999999999999999999999999 a=b\n", b"\0",
        b"6 a=b\nx", b"2 \n", b"3 \n\n", b"1 ", b"6 a=bc",
    ],
)  # fmt: skip
def test_malformed_records_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidArgument, match="PAX"):
        pax.parse(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_records_or_refused(data: bytes) -> None:
    try:
        records = pax.parse(data)
    except InvalidArgument:
        return
    assert sum(map(len, records)) + sum(map(len, records.values())) <= len(data)


@pytest.mark.parametrize(
    "text, time",
    [
        (b"0", 0), (b"1", 10**9), (b"1.5", 1_500_000_000), (b"1.000000001", 1_000_000_001),
        (b"1.0000000019", 1_000_000_001), (b"-1.25", -1_250_000_000), (b"7.", 7 * 10**9),
    ],
)  # fmt: skip
def test_times(text: bytes, time: int) -> None:
    assert pax.parse_time(text) == time


@given(st.integers(-(1 << 70), 1 << 70).filter(lambda time: abs(time) < 10**20 * 10**9))
def test_a_time_comes_back(time: int) -> None:
    assert pax.parse_time(pax.format_time(time)) == time


@pytest.mark.parametrize(
    "text", [b"", b".5", b"1_0", b"+1", b"1e9", b"--1", b"1.-5", b"1.5.5", b"nan", b"9" * 21]
)
def test_what_is_no_time_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidArgument):
        pax.parse_time(text)


@pytest.mark.parametrize("text", [b"", b"-1", b"+1", b"1_0", b"1.0", b"0x1", b"9" * 21])
def test_what_is_no_pax_number_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidArgument, match="PAX size"):
        pax.number(text, "size")
