"""An entry as the blocks that precede its content: ustar, with a PAX header where it must."""

from __future__ import annotations

from supervisor.errors import InvalidArgument
from supervisor.oci.tar import header, pax
from supervisor.oci.tar.entry import Entry, Type
from supervisor.oci.tar.limits import MAX_ID, MAX_OFFSET

END = bytes(2 * header.BLOCK)
_PAX_NAME = b"PaxHeaders.0/"


def padding(size: int) -> bytes:
    """The zeros between content of `size` bytes and the next header."""
    return bytes(-size % header.BLOCK)


def encode_header(entry: Entry) -> bytes:
    """All that precedes the entry's content. Deterministic.

    Raises InvalidArgument for what no tar can say: NUL in a name, negative numbers.
    """
    block = _block(entry)
    records = _records(entry, block)
    if not records:
        return header.encode(block)
    body = pax.encode(records)
    # A name for readers that know no PAX, as Go's archive/tar and GNU tar give it.
    name = _PAX_NAME + block.name.rstrip(b"/").rpartition(b"/")[2]
    before = header.Header(
        b"x", name[:100], b"", 0o644, 0, 0, len(body), 0, devmajor=0, devminor=0
    )  # fmt: skip
    return b"".join((header.encode(before), body, padding(len(body)), header.encode(block)))


def _block(entry: Entry) -> header.Header:
    path, link = (_encode(text) for text in (entry.path, entry.link))
    if entry.type is Type.FOLDER and not path.endswith(b"/"):
        path += b"/"
    numbers = (entry.mode, entry.uid, entry.gid, entry.size, entry.devmajor, entry.devminor)
    if not path or min(numbers) < 0 or max(entry.uid, entry.gid) > MAX_ID:
        raise InvalidArgument(f"{entry.path!r} cannot be put into a tar: {numbers}")
    if entry.size > MAX_OFFSET or (entry.size and entry.type is not Type.FILE):
        raise InvalidArgument(f"{entry.path!r} cannot have {entry.size} bytes of content")
    if not (header.fits(entry.devmajor, 8) and header.fits(entry.devminor, 8)):
        raise InvalidArgument(f"{entry.path!r}: the device's number does not fit a tar header")
    return header.Header(
        type=entry.type.encode(),
        name=path,
        link=link,
        mode=entry.mode & 0o7777,
        uid=entry.uid,
        gid=entry.gid,
        size=entry.size,
        mtime=entry.mtime // 10**9,
        devmajor=entry.devmajor,
        devminor=entry.devminor,
    )


def _records(entry: Entry, block: header.Header) -> dict[bytes, bytes]:
    """What the ustar block cannot say."""
    records: dict[bytes, bytes] = {}
    if header.split(block.name) is None or not block.name.isascii():
        records[b"path"] = block.name
    if len(block.link) > 100 or not block.link.isascii():
        records[b"linkpath"] = block.link
    if not _is_utf8(b"".join(records.values())):
        records = {b"hdrcharset": b"BINARY", **records}
    for key, value, width in (
        (b"size", block.size, 12),
        (b"uid", block.uid, 8),
        (b"gid", block.gid, 8),
    ):
        if not header.fits(value, width):
            records[key] = b"%d" % value
    if entry.mtime % 10**9 or not header.fits(block.mtime, 12):
        records[b"mtime"] = pax.format_time(entry.mtime)
    for name in sorted(entry.xattrs):
        records[pax.XATTR + _encode(name)] = entry.xattrs[name]
    return records


def _encode(text: str) -> bytes:
    data = text.encode("utf-8", "surrogateescape")
    if b"\0" in data:
        raise InvalidArgument(f"{text!r} cannot be put into a tar: it has a NUL")
    return data


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
