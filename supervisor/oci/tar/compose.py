"""An entry of a header block and of what came before it, checked."""

from __future__ import annotations

from collections.abc import Mapping

from supervisor.errors import InvalidArgument
from supervisor.oci.tar import pax
from supervisor.oci.tar.entry import NO_XATTRS, Entry, Type
from supervisor.oci.tar.header import Header
from supervisor.oci.tar.limits import MAX_ID, MAX_OFFSET, Limits

LONG_NAME, LONG_LINK = b"L", b"K"  # GNU tar's types for names that do not fit
_TYPES = {flag.encode(): flag for flag in Type} | {b"\0": Type.FILE, b"7": Type.FILE}
_MAX_DEVICE = (1 << 32) - 1
_MAX_TIME = (1 << 62) * 10**9  # what still is a time_t in seconds
# Any of these says that content has holes (GNU tar, "Storing Sparse Files").
_SPARSE = (b"GNU.sparse.major", b"GNU.sparse.map", b"GNU.sparse.numblocks", b"GNU.sparse.size")


def compose(
    header: Header, long: Mapping[bytes, bytes], records: dict[bytes, bytes], limits: Limits
) -> Entry:
    """The entry of `header`: GNU's long names and PAX records stand above what it says.

    Raises InvalidArgument for what no file can have.
    """
    name = long.get(LONG_NAME, header.name)
    link = long.get(LONG_LINK, header.link)
    type = _TYPES.get(header.type)
    if type is None:
        if header.type == b"S":
            raise _sparse(name)
        raise InvalidArgument(
            f"invalid tar header: {_text(name)!r:.100} has the unknown type {header.type!r}"
        )
    if header.type == b"\0" and name.endswith(b"/"):  # v7 has no type for folders
        type = Type.FOLDER
    if records:
        name = records.get(b"path") or name
        link = records.get(b"linkpath") or link
        if any(key in records for key in _SPARSE):
            raise _sparse(name)
        header = _with_records(header, records)
    if type is not Type.FILE and header.size:
        # Some tars write the size of the file that a link leads to, without its content.
        header = header._replace(size=0)
    _check_numbers(header)
    _check_names(name, link, limits)
    return Entry(
        _text(name),
        type,
        header.mode,
        header.uid,
        header.gid,
        header.size,
        _mtime(header, records),
        _text(link) if link else "",
        header.devmajor,
        header.devminor,
        _xattrs(records) if records else NO_XATTRS,
    )


def _check_names(name: bytes, link: bytes, limits: Limits) -> None:
    """Refuse what no file can be called."""
    size = max(len(name), len(link))
    if not name:
        raise InvalidArgument("invalid tar header: an entry without a name")
    if size > limits.path:
        raise _too_long(name, f"the path is longer than {limits.path} bytes")
    if size > limits.name and max(map(len, name.split(b"/"))) > limits.name:
        raise _too_long(name, f"a name is longer than {limits.name} bytes")
    if name.count(b"/") > limits.depth:
        raise _too_long(name, f"more than {limits.depth} folders deep")


def _with_records(header: Header, records: dict[bytes, bytes]) -> Header:
    """The header with the numbers that PAX records have in place of its own."""
    return header._replace(
        uid=_number(records, "uid", header.uid),
        gid=_number(records, "gid", header.gid),
        size=_number(records, "size", header.size),
    )


def _number(records: dict[bytes, bytes], key: str, otherwise: int) -> int:
    value = records.get(key.encode())
    return pax.number(value, key) if value else otherwise


def _mtime(header: Header, records: dict[bytes, bytes]) -> int:
    time = records.get(b"mtime")
    mtime = pax.parse_time(time) if time else header.mtime * 10**9
    if abs(mtime) > _MAX_TIME:
        raise InvalidArgument(f"invalid tar header: the time {mtime // 10**9}")
    return mtime


def _xattrs(records: dict[bytes, bytes]) -> Mapping[str, bytes]:
    return {
        _text(key.removeprefix(pax.XATTR)): value
        for key, value in records.items()
        if key.startswith(pax.XATTR)
    }


def _check_numbers(header: Header) -> None:
    if header.uid > MAX_ID or header.gid > MAX_ID or header.uid < 0 or header.gid < 0:
        raise InvalidArgument(f"invalid tar header: the owner {header.uid}:{header.gid}")
    if header.size > MAX_OFFSET:
        raise InvalidArgument(f"invalid tar header: the size {header.size}")
    if not (0 <= header.devmajor <= _MAX_DEVICE and 0 <= header.devminor <= _MAX_DEVICE):
        raise InvalidArgument(f"invalid tar header: the device {header.devmajor}:{header.devminor}")


def _sparse(name: bytes) -> InvalidArgument:
    return InvalidArgument(
        f"{_text(name)!r:.100} is a sparse file, which is not supported: pack it without --sparse"
    )


def _too_long(name: bytes, why: str) -> InvalidArgument:
    return InvalidArgument(f"invalid tar header: {_text(name)!r:.100}: {why}")


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
