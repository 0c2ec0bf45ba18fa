"""Hostile tars, and what must become of each.

They are built byte by byte here, by neither the project's writer nor tarfile: half of them no
writer would make. A case that tries to get out aims at a *canary*, a folder outside of the
one that is unpacked into; whatever happens, nothing in that may change (`Canary`).
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import stat
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

END = bytes(1024)
SECRET = b"the host's own\n"
EVIL = b"evil\n"
GIB = 1 << 30
UP = "../" * 24  # more than any path to here is deep


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A tar, or what should be one.

    `refused` is a pattern of the error's message; where it is "", the tar is unpacked, and
    then `made` says what is at some paths (`describe`). `damaged` ones are found out at once.
    `escapes`: it gets out of an extractor that only joins paths.
    """

    name: str
    data: bytes
    refused: str = ""
    made: Mapping[str, str] = field(default_factory=dict)
    damaged: bool = False
    escapes: bool = False


class Canary:
    """A folder with files, which nobody may change; `path` is absolute."""

    def __init__(self, folder: Path) -> None:
        self.path = folder
        (folder / "folder").mkdir(parents=True)
        (folder / "secret").write_bytes(SECRET)
        (folder / "folder" / "inner").write_bytes(SECRET)
        (folder / "link").symlink_to("secret")
        self._before = self.picture()

    def picture(self) -> dict[str, object]:
        """All there is to see, times of change and numbers of links too."""
        seen: dict[str, object] = {}
        for path in [self.path, *sorted(self.path.rglob("*"))]:
            status = path.lstat()
            content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
            names = os.listxattr(path, follow_symlinks=False)
            seen[str(path)] = (
                status.st_mode, status.st_uid, status.st_gid, status.st_nlink,
                status.st_mtime_ns, status.st_ctime_ns, content, names,
            )  # fmt: skip
        return seen

    def unchanged(self) -> bool:
        """Whether it is as it was."""
        return self.picture() == self._before


def describe(path: Path) -> str:
    """What is at a path: "file 0644 CONTENT", "link TARGET", "folder 0755", "char 1:3", …"""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return "nothing"
    mode, device = stat.S_IMODE(status.st_mode), status.st_rdev
    if stat.S_ISREG(status.st_mode):
        return f"file {mode:04o} {path.read_bytes().decode()}".rstrip()
    if stat.S_ISLNK(status.st_mode):
        return f"link {path.readlink()}"
    if stat.S_ISDIR(status.st_mode):
        opaque = "trusted.overlay.opaque" in os.listxattr(path)
        return f"{'opaque ' if opaque else ''}folder {mode:04o}"
    if stat.S_ISFIFO(status.st_mode):
        return f"fifo {mode:04o}"
    kind = "char" if stat.S_ISCHR(status.st_mode) else "block"
    if kind == "char" and not device:
        return "whiteout"
    return f"{kind} {mode:04o} {os.major(device)}:{os.minor(device)}"


# --- building -------------------------------------------------------------------------------


def octal(value: int, width: int) -> bytes:
    """A number for a header: octal, or base-256 where it does not fit."""
    if 0 <= value < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, value)
    return (value & ((1 << 8 * width) - 1) | 0x80 << 8 * (width - 1)).to_bytes(width, "big")


def head(
    name: str | bytes,
    type: bytes = b"0",
    *,
    size: int = 0,
    link: str | bytes = b"",
    mode: int = 0o644,
    owner: tuple[int, int] = (0, 0),
    mtime: int = 1_700_000_000,
    device: tuple[int, int] = (0, 0),
) -> bytes:
    """One header block."""
    block = struct.pack(
        "100s8s8s8s12s12s8sc100s8s64x8s8s155s12x",
        os.fsencode(name), octal(mode, 8), octal(owner[0], 8), octal(owner[1], 8),
        octal(size, 12), octal(mtime, 12), b" " * 8, type, os.fsencode(link), b"ustar\x0000",
        octal(device[0], 8), octal(device[1], 8), b"",
    )  # fmt: skip
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def padded(data: bytes) -> bytes:
    """Content with what fills its last block."""
    return data + bytes(-len(data) % 512)


def file(name: str | bytes, content: bytes = EVIL, **fields: object) -> bytes:
    """A whole file."""
    return head(name, size=len(content), **fields) + padded(content)  # type: ignore[arg-type]


def folder(name: str | bytes, mode: int = 0o755, **fields: object) -> bytes:
    """A folder."""
    return head(name, b"5", mode=mode, **fields)  # type: ignore[arg-type]


def symlink(name: str, target: str) -> bytes:
    """A symlink; a target that is too long for a header goes before it."""
    before = pax(linkpath=target) if len(target) > 100 else b""
    return before + head(name, b"2", link=target[:100], mode=0o777)


def hardlink(name: str, target: str) -> bytes:
    """A hard link."""
    before = pax(linkpath=target) if len(target) > 100 else b""
    return before + head(name, b"1", link=target[:100])


def pax(**records: str | bytes) -> bytes:
    """A PAX header; keys with "__" for dots."""
    body = b""
    for key, value in records.items():
        record = b" %b=%b\n" % (key.replace("__", ".").encode(), os.fsencode(value))
        size = len(record) + 1
        while len(b"%d" % size) + len(record) != size:
            size += 1
        body += b"%d" % size + record
    return head("pax", b"x", size=len(body)) + padded(body)


def zeros_gzip(size: int, first: bytes) -> bytes:
    """gzip of `first` and then `size` bytes of zeros, a multiple of 64 MiB: a thousandth."""
    block = 64 << 20
    assert size % block == 0
    return gzip.compress(first) + gzip.compress(bytes(block), 9) * (size // block)


def zeros_zstd(size: int, first: bytes, window_log: int) -> bytes:
    """zstd of the same in blocks of 4 bytes for 128 KiB (RFC 8878, 3.1.1.2), one frame."""
    block = 128 << 10
    assert size % block == 0
    count = size // block
    blocks = [struct.pack("<I", len(first) << 3)[:3] + first]
    blocks += [struct.pack("<I", block << 3 | 1 << 1)[:3] + b"\0"] * (count - 1)
    blocks += [struct.pack("<I", block << 3 | 1 << 1 | 1)[:3] + b"\0"]
    return b"\x28\xb5\x2f\xfd\x00" + bytes([(window_log - 10) << 3]) + b"".join(blocks)


def greedy_xz(data: bytes) -> bytes:
    """xz of `data` that asks for a dictionary of 4 GiB."""
    packed = bytearray(lzma.compress(data, check=lzma.CHECK_NONE))
    size = (packed[12] + 1) * 4
    at = packed.index(b"\x21\x01", 12) + 2
    packed[at] = 40
    packed[12 + size - 4 : 12 + size] = struct.pack("<I", zlib.crc32(packed[12 : 12 + size - 4]))
    return bytes(packed)


# --- the cases ------------------------------------------------------------------------------


def corpus(canary: Path) -> list[Case]:
    """All cases that unpack or fail in no time; the large ones are in `bombs`."""
    return [
        *_paths(str(canary)),
        *_links(str(canary)),
        *_replaced(str(canary)),
        *_whiteouts(str(canary)),
        *_nodes(),
        *_damaged(),
        *_compressed(),
    ]


def _case(name: str, *parts: bytes, **expected: object) -> Case:
    return Case(name=name, data=b"".join(parts) + END, **expected)  # type: ignore[arg-type]


def _damage(name: str, data: bytes, refused: str) -> Case:
    return Case(name=name, data=data, refused=refused, damaged=True)


def _paths(canary: str) -> Iterator[Case]:
    evil = "file 0644 evil"
    out = "leads out of the layer"
    yield _case("absolute path", file(f"{canary}/new"), made={f".{canary}/new": evil}, escapes=True)
    yield _case("dots", pax(path=f"{UP}{canary}/secret"), file("x"), refused=out, escapes=True)
    yield _case("dots behind a name", file(f"a/../{UP}etc/x"), refused=out)
    yield _case("dots behind a slash", file("/../x"), refused=out)
    yield _case(
        "dots to a folder", pax(path=f"{UP}{canary}"), folder("x", 0o777), refused=out, escapes=True
    )
    yield _case("dots that stay inside", file("a/../b"), made={"b": evil, "a": "nothing"})
    yield _case("no name", head(""), refused="without a name")
    yield _case("NUL in a name", file(b"good\0/../../bad"), made={"good": evil})
    yield _case("NUL in a PAX name", pax(path=b"a\0b"), file("x"), refused="NUL")
    yield _case("not UTF-8", file(b"caf\xe9\xff"), made={"caf\udce9\udcff": evil})
    yield _case("control characters", file(b"a\n\x1b[31mb"), made={"a\n\x1b[31mb": evil})
    yield _case("backslashes", file("..\\..\\x"), made={"..\\..\\x": evil})
    yield _case("long name", pax(path="n" * 256), file("x"), refused="longer than 255")
    yield _case("long path", pax(path="d/" * 2100 + "f"), file("x"), refused="longer than 4095")
    yield _case("deep path", pax(path="d/" * 700 + "f"), file("x"), refused="folders deep")
    yield _case("a file as the root", file("./"), refused="root can only be a folder")
    yield _case("a link as the root", symlink(".", canary), refused="root can only be a folder")
    yield _case("the root", folder("./", 0o711), file("f"), made={"": "folder 0711", "f": evil})
    yield _case("a file with a slash", file("f/"), made={"f": evil})


def _links(canary: str) -> Iterator[Case]:
    evil = "file 0644 evil"
    inside = {f".{canary}/secret": evil}
    write = file("esc/secret")
    none = "no file of this layer"
    yield _case("write through a link", symlink("esc", canary), write, made=inside, escapes=True)
    yield _case(
        "write through a relative link",
        symlink("esc", f"{UP}{canary[1:]}"), write, made=inside, escapes=True,
    )  # fmt: skip
    yield _case(
        "write through two links",
        symlink("a", canary), symlink("esc", "a"), write, made=inside, escapes=True,
    )  # fmt: skip
    yield _case(
        "new folder through a link",
        symlink("esc", canary), folder("esc/new"), file("esc/new/f"),
        made={f".{canary}/new/f": evil, "esc": f"link {canary}"}, escapes=True,
    )  # fmt: skip
    yield _case(
        "folder in place of a link",
        symlink("esc", canary), folder("esc", 0o777), write,
        made={"esc": "folder 0777", "esc/secret": evil}, escapes=True,
    )  # fmt: skip
    yield _case(
        "file in place of a link",
        symlink("f", f"{canary}/secret"), file("f"), made={"f": evil}, escapes=True,
    )  # fmt: skip
    yield _case(
        "attributes through a link",
        pax(SCHILY__xattr__trusted__x=b"1"), symlink("f", f"{canary}/secret"),
        made={"f": f"link {canary}/secret"},
    )  # fmt: skip
    yield _case("through proc", symlink("p", "/proc/self/root"), file(f"p{canary}/new"))
    yield _case("through a cwd in proc", symlink("p", "/proc/self/cwd/.."), file("p/p/new"))
    yield _case("loop", symlink("a", "b"), symlink("b", "a"), file("a/x"), refused="symbolic links")
    yield _case("link to itself", symlink("a", "a"), file("a/x"), refused="symbolic links")
    yield _case(
        "link to its folder", folder("d"), symlink("d/l", "."), file("d/l/l/f"), made={"d/f": evil}
    )
    yield _case("link without target", head("l", b"2"), refused="No such file")
    yield _case("long link", pax(linkpath="x/" * 2100), head("l", b"2"), refused="longer than 4095")
    yield _case(
        "hard link outside", hardlink("h", f"{canary}/secret"), file("h"), refused=none,
        escapes=True,
    )  # fmt: skip
    yield _case(
        "hard link with dots", hardlink("h", f"{UP}{canary[1:]}/secret"), refused="leads out",
        escapes=True,
    )  # fmt: skip
    yield _case(
        "hard link through a link",
        symlink("esc", canary), hardlink("h", "esc/secret"), file("h"), refused=none, escapes=True,
    )  # fmt: skip
    yield _case(
        "hard link to a link",
        symlink("l", f"{canary}/secret"), hardlink("h", "l"), file("h"),
        made={"h": evil, "l": f"link {canary}/secret"}, escapes=True,
    )  # fmt: skip
    yield _case("hard link to a lower layer", hardlink("h", "bin/sh"), refused=none)
    yield _case("hard link to a folder", folder("d"), hardlink("h", "d"), refused=none)
    yield _case("hard link to itself", file("f"), hardlink("f", "f"), refused="link to itself")
    yield _case("hard link to the root", hardlink("h", "."), refused="root")
    yield _case("hard link to a whiteout", file(".wh.f"), hardlink("h", "f"), refused=none)
    yield _case(
        "hard link, then another file",
        file("f", b"one\n"), hardlink("h", "f"), file("f", b"two\n"),
        made={"f": "file 0644 two", "h": "file 0644 one"},
    )  # fmt: skip
    yield _case(
        "hard link in place of a folder",
        file("f"), folder("d"), file("d/x"), hardlink("d", "f"), made={"d": evil, "f": evil},
    )  # fmt: skip


def _replaced(canary: str) -> Iterator[Case]:
    evil = "file 0644 evil"
    tree = folder("d") + file("d/f") + folder("d/e") + file("d/e/f")
    yield _case(
        "link in place of a folder",
        tree, symlink("d", canary), file("d/secret"),
        made={"d": f"link {canary}", f".{canary}/secret": evil}, escapes=True,
    )  # fmt: skip
    yield _case(
        "link in place of a folder that we are in",
        tree, symlink("d/e", canary), file("d/e/secret"),
        made={"d/e": f"link {canary}", f".{canary}/secret": evil}, escapes=True,
    )  # fmt: skip
    yield _case("file in place of a folder", tree, file("d"), made={"d": evil})
    yield _case("folder in place of a file", file("d"), tree, made={"d/e/f": evil})
    yield _case("a file is no folder", file("d"), file("d/f"), refused="not a folder")
    yield _case(
        "folder twice",
        folder("d", 0o700), file("d/f"), folder("d", 0o711), made={"d": "folder 0711", "d/f": evil},
    )  # fmt: skip
    yield _case("file twice", file("f", b"a"), file("f", b"b"), made={"f": "file 0644 b"})
    yield _case("folders out of order", file("a/b/f"), folder("a/b", 0o700), file("a/g"),
                made={"a/b": "folder 0700", "a": "folder 0755", "a/g": evil})  # fmt: skip


def _whiteouts(canary: str) -> Iterator[Case]:
    nothing = "whiteout of nothing"
    evil = "file 0644 evil"
    yield _case("whiteout", file("d/.wh.f", b""), made={"d/f": "whiteout", "d/.wh.f": "nothing"})
    yield _case("whiteout with content", file(".wh.f"), file("g"),
                made={"f": "whiteout", "g": evil})  # fmt: skip
    yield _case("whiteout that is a folder", folder(".wh.f"), made={"f": "whiteout"})
    yield _case("whiteout that is a link", symlink(".wh.f", canary), made={"f": "whiteout"})
    for name in (".wh.", "d/.wh.", "d/.wh..", "d/.wh..."):
        yield _case(f"whiteout {name}", file(name, b""), refused=nothing)
    yield _case("inside of a whiteout", file(".wh.d/f"), refused="inside of a whiteout")
    yield _case(
        "whiteout behind a link",
        symlink("l", canary), file("l/.wh.secret", b""), made={f".{canary}/secret": "whiteout"},
        escapes=True,
    )  # fmt: skip
    yield _case(
        "whiteout of a link", symlink("l", canary), file(".wh.l", b""), made={"l": f"link {canary}"}
    )
    yield _case("whiteout of a file", file("f"), file(".wh.f", b""), made={"f": evil})
    yield _case("whiteout, then file", file(".wh.f", b""), file("f"), made={"f": evil})
    yield _case(
        "whiteout, then folder",
        file(".wh.d", b""), folder("d"), file("d/f"),
        made={"d": "opaque folder 0755", "d/f": evil},
    )  # fmt: skip
    yield _case(
        "whiteout, then a file in it",
        file(".wh.d", b""), file("d/f"), made={"d": "opaque folder 0755", "d/f": evil},
    )  # fmt: skip
    yield _case(
        "folder, then whiteout",
        folder("d", 0o700), file("d/f"), file(".wh.d", b""),
        made={"d": "opaque folder 0700", "d/f": evil},
    )  # fmt: skip
    yield _case("opaque", folder("d"), file("d/.wh..wh..opq", b""), file("d/f"),
                made={"d": "opaque folder 0755", "d/f": evil})  # fmt: skip
    yield _case("opaque and implied", file("d/.wh..wh..opq", b""),
                made={"d": "opaque folder 0755"})  # fmt: skip
    yield _case("opaque root", file(".wh..wh..opq", b""), file("f"),
                made={"": "opaque folder 0755", "f": evil})  # fmt: skip
    yield _case(
        "opaque behind a link",
        symlink("l", canary), file("l/.wh..wh..opq", b""),
        made={f".{canary}": "opaque folder 0755"}, escapes=True,
    )  # fmt: skip
    yield _case("names of aufs", file(".wh..wh.aufs"), folder(".wh..wh.plnk"), file("f"),
                file(".wh..wh.plnk/1.2"), made={".wh..wh.plnk": "nothing", "f": evil})  # fmt: skip
    yield _case("a whiteout as overlayfs has it", head("f", b"3"), refused="whiteout of overlayfs")
    yield _case(
        "notes of overlayfs",
        pax(SCHILY__xattr__trusted__overlay__opaque=b"y",
            SCHILY__xattr__trusted__overlay__redirect=b"/etc",
            SCHILY__xattr__user__overlay__opaque=b"y"),
        folder("d"), made={"d": "folder 0755"},
    )  # fmt: skip


def _nodes() -> Iterator[Case]:
    yield _case("disk", head("sda", b"4", device=(8, 0), mode=0o660),
                made={"sda": "block 0660 8:0"})  # fmt: skip
    yield _case("null", head("null", b"3", device=(1, 3), mode=0o666),
                made={"null": "char 0666 1:3"})  # fmt: skip
    yield _case("no such device", head("d", b"3", device=(1 << 20, 1)), refused="Invalid argument")
    yield _case("device with all bits", head("d", b"4", device=(-1, -1)), refused="device")
    yield _case("fifo", head("f", b"6", mode=0o600), made={"f": "fifo 0600"})
    yield _case("set-group-id fifo", head("f", b"6", mode=0o2755, owner=(1, 1)),
                made={"f": "fifo 2755"})  # fmt: skip
    yield _case("set-user-id", file("su", b"x", mode=0o4755), made={"su": "file 4755 x"})
    yield _case(
        "set-user-id of somebody",
        file("su", b"x", mode=0o6755, owner=(1000, 1000)), made={"su": "file 6755 x"},
    )  # fmt: skip
    yield _case(
        "set-group-id folder",
        folder("d", 0o2777, owner=(0, 50)), file("d/f"), folder("d/e"),
        made={"d": "folder 2777", "d/f": "file 0644 evil", "d/e": "folder 0755"},
    )  # fmt: skip
    yield _case("owner that means none", file("f", owner=(0xFFFFFFFF, 0)), refused="owner")
    yield _case("negative owner", file("f", owner=(0, -1)), refused="owner")


def _damaged() -> Iterator[Case]:
    size = "negative size"
    yield _damage("negative size", head("f", size=-512) + END, size)
    yield _damage("negative size of a PAX header", head("f", b"x", size=-1) + END, size)
    yield _damage("negative size of a long name", head("f", b"L", size=-(1 << 40)) + END, size)
    yield _damage("largest size", head("f", size=(1 << 63) - 1) + bytes(1024), "grow to more")
    yield _damage("8 EiB", head("f", size=1 << 63) + bytes(1024), "size")
    yield _damage("8 EiB by PAX", pax(size=str(1 << 63)) + head("f") + END, "size")
    yield _damage("8 EiB sparse", head("f", b"S", size=1 << 20) + END, "sparse")
    yield _damage(
        "8 EiB sparse by PAX",
        pax(GNU__sparse__major="1", GNU__sparse__minor="0", GNU__sparse__realsize=str(1 << 63))
        + head("f", size=512) + bytes(512) + END,
        "sparse",
    )  # fmt: skip
    yield _damage(
        "PAX header of 1 GiB", head("p", b"x", size=GIB) + bytes(4096), "more than 1048576"
    )
    yield _damage(
        "long name of 1 GiB", head("p", b"L", size=GIB) + bytes(4096), "more than 1048576"
    )
    yield _damage(
        "PAX headers without end", pax(comment=b"x" * 100_000) * 20 + file("f"), "more than 1048576"
    )
    whole = file("a") + file("b", b"x" * 5000)
    changed = bytearray(whole)
    changed[0] ^= 1
    yield _damage("wrong checksum", bytes(changed), "checksum")
    yield _damage("wrong checksum later", whole + bytes(changed), "checksum")
    yield _damage("truncated content", whole[:2000], "truncated")
    yield _damage("truncated header", whole[:1300], "truncated")
    yield _damage("truncated padding", whole[:-1], "truncated")
    yield _damage("PAX header and nothing else", pax(path="x"), "truncated")
    yield _damage("no tar", b"<!DOCTYPE html>\n" * 100, "invalid tar header")
    yield _damage("numbers as Python has them", _not_octal(b"0000_644"), "is not a number")
    yield _damage("signs", _not_octal(b"+0000644"), "is not a number")


def _not_octal(mode: bytes) -> bytes:
    block = head("f")
    block = block[:100] + mode + block[108:148] + b" " * 8 + block[156:]
    return block[:148] + b"%06o\0 " % sum(block) + block[156:] + END


def _compressed() -> Iterator[Case]:
    tar = file("f", os.urandom(100_000))
    packed = gzip.compress(tar + END)
    damaged = bytearray(packed)
    damaged[-8] ^= 1
    yield _damage("gzip with a wrong CRC", bytes(damaged), "damaged")
    yield _damage("gzip cut short", packed[:50_000], "truncated")
    yield _damage("gzip without its trailer", packed[:-8], "truncated")
    yield _damage("gzip and then something", packed + b"something", "damaged")
    yield _damage("gzip of nothing it knows", b"\x1f\x8b\x07" + bytes(100), "damaged")
    damaged = bytearray(bz2.compress(tar))
    damaged[1000] ^= 1
    yield _damage("bzip2 with a wrong bit", bytes(damaged), "damaged")
    yield _damage("xz that wants 4 GiB", greedy_xz(tar), "damaged: Memory usage limit")
    zstd = zeros_zstd(1 << 20, head("f", size=1 << 20), 30)
    yield _damage("zstd that wants 1 GiB", zstd, "damaged.*memory")
    yield _damage("zstd with a wrong header", b"\x28\xb5\x2f\xfd\xff" + bytes(100), "damaged")
    yield _damage(
        "zstd cut short", zeros_zstd(1 << 20, head("f", size=1 << 20), 20)[:-9], "truncated"
    )


def bombs() -> list[Case]:
    """Little that would become much, and says so in its first header."""
    size = 10 * GIB
    declared = head("zeros", size=size)
    return [
        Case(name="gzip of 10 GiB", data=zeros_gzip(size, declared), refused="grow to more"),
        Case(name="zstd of 10 GiB", data=zeros_zstd(size, declared, 25), refused="grow to more"),
    ]


def hungry(size: int) -> list[Case]:
    """Each as greedy for memory as it may be; `size` bytes of content where there is any."""
    declared = head("zeros", size=size)
    zeros = declared + bytes(size)
    large = b"".join(pax(comment=b"x" * 1_000_000) + head(f"f{n}") for n in range(size >> 21))
    attributes = {f"SCHILY__xattr__user__x{n}": b"" for n in range(20_000)}
    return [
        Case(name="zeros", data=zeros_gzip(size, declared)),
        Case(name="zstd with the largest window", data=zeros_zstd(size, declared, 25)),
        Case(name="bzip2", data=bz2.compress(zeros, 9)),
        Case(name="PAX headers of 1 MB", data=gzip.compress(large, 1)),
        Case(name="20,000 attributes", data=pax(**attributes) + head("f"), refused="no space left"),
    ]
