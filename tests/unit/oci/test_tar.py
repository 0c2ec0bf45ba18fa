"""Whole archives: ours read by tarfile, tarfile's by us, cut anywhere; and what is refused."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from supervisor.errors import InvalidArgument
from supervisor.oci.tar import (
    END,
    MAX_ID,
    Data,
    End,
    Entry,
    Limits,
    TarReader,
    Type,
    encode_header,
    padding,
)
from tests.unit.wire.cuts import cut, cuts

Member = tuple[Entry, bytes]

TARFILE_TYPES = {
    Type.FILE: tarfile.REGTYPE,
    Type.HARDLINK: tarfile.LNKTYPE,
    Type.SYMLINK: tarfile.SYMTYPE,
    Type.CHAR: tarfile.CHRTYPE,
    Type.BLOCK: tarfile.BLKTYPE,
    Type.FOLDER: tarfile.DIRTYPE,
    Type.FIFO: tarfile.FIFOTYPE,
}

# Bytes of a name as the kernel allows them, ASCII or not UTF-8 at all.
PARTS = st.one_of(
    st.text("abcXYZ. _-=", min_size=1, max_size=12).map(str.encode),
    st.text(min_size=1, max_size=12).map(lambda text: text.encode("utf-8", "replace")),
    st.binary(min_size=1, max_size=12),
    st.integers(90, 130).map(lambda size: b"n" * size),
).map(lambda part: part.replace(b"\0", b"0").replace(b"/", b"-"))
PATHS = st.lists(PARTS, min_size=1, max_size=6).map(
    lambda parts: b"/".join(parts).decode("utf-8", "surrogateescape")
)
IDS = st.one_of(st.integers(0, 70_000), st.integers(0, MAX_ID))
TIMES = st.one_of(
    st.integers(0, 1 << 31).map(lambda seconds: seconds * 10**9),
    st.integers(-(1 << 61), 1 << 62),
)
XATTRS = st.dictionaries(
    st.sampled_from(["user.a", "user.bé", "security.capability", "trusted.x"]),
    st.binary(max_size=40),
    max_size=2,
)


@st.composite
def members(draw: st.DrawFn) -> Member:
    type = draw(st.sampled_from(list(Type)))
    content = draw(st.binary(max_size=1500)) if type is Type.FILE else b""
    entry = Entry(
        path=draw(PATHS) + ("/" if type is Type.FOLDER else ""),
        type=type,
        mode=draw(st.integers(0, 0o7777)),
        uid=draw(IDS),
        gid=draw(IDS),
        size=len(content),
        mtime=draw(TIMES),
        link=draw(PATHS) if type in (Type.HARDLINK, Type.SYMLINK) else "",
        xattrs=draw(XATTRS),
    )
    if type in (Type.CHAR, Type.BLOCK):
        device = st.integers(0, 0o7777777)
        entry = entry._replace(devmajor=draw(device), devminor=draw(device))
    return entry, content


def write(archive: Sequence[Member]) -> bytes:
    parts = [encode_header(entry) + data + padding(len(data)) for entry, data in archive]
    return b"".join(parts) + END


def read(data: bytes, at: Sequence[int] = (), limits: Limits | None = None) -> list[Member]:
    reader = TarReader(limits or Limits())
    found: list[tuple[Entry, bytearray]] = []
    ended = False
    for piece in cut(data, list(at)):
        for event in reader.feed(piece):
            assert not ended
            match event:
                case Entry():
                    found.append((event, bytearray()))
                case Data(part):
                    assert part
                    found[-1][1].extend(part)
                case End():
                    ended = True
    reader.close()
    assert reader.entries == len(found)
    assert reader.total == sum(len(content) for _, content in found)
    return [(entry, bytes(content)) for entry, content in found]


@given(st.lists(members(), max_size=5), cuts)
def test_what_is_written_is_read(archive: list[Member], at: list[int]) -> None:
    assert read(write(archive), at) == archive


@given(st.lists(members(), min_size=1, max_size=5))
def test_tarfile_reads_what_we_write(archive: list[Member]) -> None:
    with tarfile.open(fileobj=io.BytesIO(write(archive)), errorlevel=2) as tar:
        found = tar.getmembers()
        assert len(found) == len(archive)
        for info, (entry, content) in zip(found, archive, strict=True):
            assert info.name == entry.path.rstrip("/")
            assert info.type == TARFILE_TYPES[entry.type]
            assert (info.mode, info.uid, info.gid) == (entry.mode, entry.uid, entry.gid)
            assert info.mtime == pytest.approx(entry.mtime / 10**9)
            assert (info.devmajor, info.devminor) == (entry.devmajor, entry.devminor)
            if entry.link:
                assert info.linkname == entry.link
            if entry.type is Type.FILE:
                file = tar.extractfile(info)
                assert file is not None
                assert file.read() == content


def by_tarfile(archive: Sequence[Member], format: int) -> bytes:
    output = io.BytesIO()
    with tarfile.open(
        fileobj=output, mode="w", format=format, encoding="utf-8", errors="surrogateescape"
    ) as tar:
        for entry, content in archive:
            info = tarfile.TarInfo(entry.path)
            info.type = TARFILE_TYPES[entry.type]
            info.mode, info.uid, info.gid = entry.mode, entry.uid, entry.gid
            info.size, info.linkname = entry.size, entry.link
            info.devmajor, info.devminor = entry.devmajor, entry.devminor
            info.mtime = entry.mtime // 10**9
            tar.addfile(info, io.BytesIO(content))
    return output.getvalue()


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(members(), max_size=4), st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]), cuts
)
def test_we_read_what_tarfile_writes(archive: list[Member], format: int, at: list[int]) -> None:
    # tarfile knows no attributes, and times in whole seconds here.
    expected = [
        (entry._replace(xattrs={}, mtime=entry.mtime // 10**9 * 10**9), content)
        for entry, content in archive
    ]
    assert read(by_tarfile(archive, format), at) == expected


@given(st.lists(members(), min_size=1, max_size=2), st.data())
def test_an_archive_cut_short_is_refused(archive: list[Member], data: st.DataObject) -> None:
    whole = write(archive)[: -len(END)]
    boundaries = {len(write(archive[:count])) - len(END) for count in range(len(archive) + 1)}
    size = data.draw(st.integers(0, len(whole)))
    if size in boundaries:
        assert len(read(whole[:size])) <= len(archive)
    else:
        with pytest.raises(InvalidArgument, match="truncated"):
            read(whole[:size])


@given(st.binary(max_size=2000), cuts)
def test_any_bytes_are_an_archive_or_refused(data: bytes, at: list[int]) -> None:
    with suppress(InvalidArgument):
        read(data, at)


@given(members(), st.data())
def test_one_wrong_byte_changes_no_header_unseen(member: Member, data: st.DataObject) -> None:
    archive = write([member])
    size = len(encode_header(member[0]))
    at = data.draw(st.integers(0, size - 1))
    flipped = (
        archive[:at] + bytes([archive[at] ^ data.draw(st.integers(1, 255))]) + archive[at + 1 :]
    )
    try:
        found = read(flipped)
    except InvalidArgument:
        return
    # Only the names and values of PAX records have no checksum.
    assert size > 512
    assert len(found) <= 1


# --- forms of headers -----------------------------------------------------------------------


def raw(**changes: object) -> bytes:
    """A header block of tarfile's."""
    info = tarfile.TarInfo("name")
    for key, value in changes.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.GNU_FORMAT)


def with_checksum(block: bytes) -> bytes:
    blanked = block[:148] + b" " * 8 + block[156:]
    return block[:148] + b"%06o\0 " % sum(blanked) + block[156:]


def test_a_v7_folder_is_one_by_its_slash() -> None:
    block = bytearray(raw(name="d/"))
    block[156:157] = b"\0"
    block[257:265] = bytes(8)
    [(entry, _)] = read(with_checksum(bytes(block)) + END)
    assert (entry.path, entry.type) == ("d/", Type.FOLDER)


@pytest.mark.parametrize("type", [tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE])
def test_what_has_no_content_has_size_0(type: bytes) -> None:
    archive = raw(type=type, size=1000) + raw(name="next") + END
    found = [(entry.path.rstrip("/"), entry.size) for entry, _ in read(archive)]
    assert found == [("name", 0), ("next", 0)]


def test_global_records_say_nothing() -> None:
    body = b"19 path=everywhere\n"
    archive = raw(type=tarfile.XGLTYPE, size=len(body)) + body + padding(len(body)) + raw() + END
    assert [entry.path for entry, _ in read(archive)] == ["name"]


def test_records_stand_above_the_header() -> None:
    body = b"".join((b"12 path=new\n", b"10 size=3\n", b"9 uid=77\n", b"8 gid=5\n", b"9 mtime=\n"))
    header = raw(type=tarfile.XHDTYPE, size=len(body))
    archive = header + body + padding(len(body)) + raw(size=9, mtime=8) + b"abc" + padding(3) + END
    [(entry, content)] = read(archive)
    assert (entry.path, entry.size, entry.uid, entry.gid) == ("new", 3, 77, 5)
    assert (entry.mtime, content) == (8 * 10**9, b"abc")


def test_what_follows_the_end_is_ignored() -> None:
    archive = write([(Entry("a"), b"")])
    assert len(read(archive + b"junk" * 1000 + write([(Entry("b"), b"")]))) == 1


def test_an_archive_may_lack_its_end_mark() -> None:
    archive = write([(Entry("a", size=3), b"abc")])[: -len(END)]
    assert len(read(archive)) == 1
    assert len(read(archive + bytes(512))) == 1
    assert read(b"") == []


def test_nothing_follows_a_block_of_zeros() -> None:
    with pytest.raises(InvalidArgument, match="zeros"):
        read(bytes(512) + write([(Entry("a"), b"")]))


# --- refused --------------------------------------------------------------------------------


def refused(data: bytes, match: str, limits: Limits | None = None) -> None:
    with pytest.raises(InvalidArgument, match=match):
        read(data, limits=limits)


@pytest.mark.parametrize("type", [b"0", b"1", b"2", b"5", b"x", b"g", b"L", b"K"])
def test_negative_sizes(type: bytes) -> None:
    refused(raw(type=type, size=-1), "negative size")
    refused(raw(type=type, size=-(1 << 60)), "negative size")


@pytest.mark.parametrize("field", ["uid", "gid"])
@pytest.mark.parametrize("id", [-1, MAX_ID + 1, 1 << 40])
def test_owners_that_mean_none(field: str, id: int) -> None:
    refused(raw(**{field: id}), "owner")


def test_sizes_no_file_can_have() -> None:
    refused(raw(size=1 << 63), "size")
    body = b"29 size=99999999999999999999\n"
    archive = raw(type=tarfile.XHDTYPE, size=len(body)) + body + padding(len(body)) + raw()
    refused(archive, "size")


def test_times_no_clock_has() -> None:
    refused(raw(mtime=1 << 63), "time")


def test_sparse_files() -> None:
    refused(raw(type=b"S"), "sparse")
    for record in (b"22 GNU.sparse.major=1\n", b"30 GNU.sparse.size=1099511627\n"):
        header = raw(type=tarfile.XHDTYPE, size=len(record))
        refused(header + record + padding(len(record)) + raw(), "sparse")


@pytest.mark.parametrize("type", [b"D", b"M", b"V", b"N", b"A", b"9", b"\xff"])
def test_types_that_make_nothing(type: bytes) -> None:
    refused(raw(type=type), "type")


def test_an_entry_without_a_name() -> None:
    refused(raw(name=""), "without a name")


def test_extensions_are_bounded_before_they_are_read() -> None:
    limits = Limits(extension=10_000)
    for type in (b"x", b"g", b"L", b"K"):
        refused(raw(type=type, size=1 << 30), "more than 1048576 bytes")
        refused(raw(type=type, size=9_999), "more than 10000 bytes", limits)
    # Also when they come in many small ones.
    body = b"6 a=b\n"
    small = raw(type=tarfile.XHDTYPE, size=len(body)) + body + padding(len(body))
    refused(small * 30 + raw() + END, "more than 10000 bytes", limits)
    assert len(read((small * 10 + raw()) * 10 + END, limits=limits)) == 10


def test_the_memory_for_extensions_is_bounded() -> None:
    reader = TarReader()
    reader.feed(raw(type=b"x", size=(1 << 20) - 512))
    for _ in range(255):
        assert reader.feed(bytes(4096)) == []
    assert len(reader._extension) < 1 << 20


def test_paths_are_bounded() -> None:
    deep = "d/" * 30 + "f"
    refused(write([(Entry("n" * 300), b"")]), "name is longer than 255")
    refused(write([(Entry("n" * 200 + "/" + "m" * 256), b"")]), "name is longer than 255")
    refused(write([(Entry("n" * 200 + "/" + "m" * 256 + "/x"), b"")]), "name is longer than 255")
    refused(write([(Entry("d/" * 3000), b"")]), "path is longer than 4095")
    refused(write([(Entry("l", Type.SYMLINK, link="x/" * 3000), b"")]), "path is longer than 4095")
    refused(write([(Entry("d/" * 600 + "f"), b"")]), "more than 512 folders")
    refused(write([(Entry(deep), b"")]), "more than 20 folders", Limits(depth=20))
    assert read(write([(Entry(deep), b"")]))[0][0].path == deep
    assert read(write([(Entry("n" * 255), b"")]))[0][0].path == "n" * 255


def test_entries_and_content_are_counted() -> None:
    archive = [(Entry(f"f{number}", size=10), b"0123456789") for number in range(20)]
    refused(write(archive), "more than 19 entries", Limits(entries=19))
    refused(write(archive), "more than 199 bytes", Limits(total=199))
    assert len(read(write(archive), limits=Limits(entries=20, total=200))) == 20
    # Before the content comes, not after.
    refused(encode_header(Entry("big", size=1 << 40)), "more than 200 bytes", Limits(total=200))


# --- writing --------------------------------------------------------------------------------


def test_a_plain_entry_is_one_block() -> None:
    assert len(encode_header(Entry("usr/bin/env", mode=0o755, mtime=1_700_000_000 * 10**9))) == 512
    assert len(encode_header(Entry("a/" * 100 + "b"))) == 512


def test_what_no_tar_can_say_is_refused() -> None:
    for entry in (
        Entry(""),
        Entry("a\0b"),
        Entry("l", Type.SYMLINK, link="a\0b"),
        Entry("a", uid=-1),
        Entry("a", gid=MAX_ID + 1),
        Entry("a", size=-1),
        Entry("a", Type.FOLDER, size=1),
        Entry("a", Type.CHAR, devmajor=1 << 30),
    ):
        with pytest.raises(InvalidArgument):
            encode_header(entry)


def test_attributes_are_written_in_order_of_their_names() -> None:
    one = encode_header(Entry("a", xattrs={"user.b": b"1", "user.a": b"2"}))
    assert one == encode_header(Entry("a", xattrs={"user.a": b"2", "user.b": b"1"}))


def test_a_name_that_is_not_utf8_says_so() -> None:
    assert b"hdrcharset=BINARY" in encode_header(Entry("\udcff"))
    assert b"hdrcharset" not in encode_header(Entry("é"))
