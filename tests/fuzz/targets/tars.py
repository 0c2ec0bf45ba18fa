"""Tar archives: layers, `docker cp`, `docker load`."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from supervisor.errors import InvalidArgument
from supervisor.oci import archive_layout, layer
from supervisor.oci.archive_layout import Archive, File
from supervisor.oci.archive_names import digest_of_name, link_target, normal_name
from supervisor.oci.digest import Digest
from supervisor.oci.tar import Data, End, Entry, Event, Limits, TarReader, Type, header, pax
from supervisor.oci.tar.header import BLOCK
from supervisor.oci.tar.writer import END, encode_header, padding
from supervisor.snapshot.tar_in import clean
from tests.fuzz.target import Target, pieces, whole
from tests.support import image_tars, tar_corpus

_LIMITS = Limits(entries=64, extension=1 << 14, depth=64)

Member = tuple[Entry, bytes]


def tar(data: bytes) -> None:
    """Read in pieces as whole; what was read can be written and read, by us and by tarfile."""
    if data[:1] >= b"\x80":  # else hardly any change comes past the checksum
        data = data[:1] + _summed(data[1:])
    cut = _read(pieces(data))
    assert cut == _read([data[1:]])
    members, problem = cut
    for entry, _ in members:
        _check_places(entry)
    if not problem:
        _check_written(members)


def _read(parts: list[bytes]) -> tuple[list[Member], str]:
    """What an archive has, and the error that ended it ("" for none)."""
    reader = TarReader(_LIMITS)
    events: list[Event] = []
    members: list[Member] = []
    problem = ""
    try:
        for part in parts:
            events += reader.feed(part)
        reader.close()
    except InvalidArgument as error:
        problem = error.message
    for event in events:
        match event:
            case Entry():
                members.append((event, b""))
            case Data(content):
                entry, before = members[-1]
                members[-1] = (entry, before + bytes(content))
            case End():
                pass
    if problem:  # how much came out before depends on where it was cut
        return [], problem
    for entry, content in members:
        assert len(content) == entry.size
    return members, problem


def _summed(data: bytes) -> bytes:
    """The archive with true checksums in all headers that can be found."""
    mended = bytearray(data)
    at = 0
    while at + BLOCK <= len(mended):
        block = mended[at : at + BLOCK]
        if any(block):
            block[148:156] = b" " * 8
            mended[at + 148 : at + 156] = b"%06o\0 " % sum(block)
        try:
            size = header.number(bytes(block[124:136]))
        except InvalidArgument:
            break
        at += BLOCK + (min(max(size, 0), len(data)) + BLOCK - 1) // BLOCK * BLOCK
    return bytes(mended)


def _check_places(entry: Entry) -> None:
    try:
        step = layer.decide(entry)
    except InvalidArgument:
        pass
    else:
        for path in (step.parent, step.link):
            assert not path.startswith("/")
            assert not {"..", ".", ""} & set(path.split("/") if path else ())
        assert "/" not in step.name
        assert step.name not in (".", "..")
    try:
        path = clean(entry.path)
    except InvalidArgument:
        return
    assert not path.startswith("/")
    assert ".." not in path.split("/")


def _check_written(members: list[Member]) -> None:
    written = io.BytesIO()
    kept = []
    for entry, content in members:
        try:
            head = encode_header(entry)
        except InvalidArgument:
            continue  # tars of others have numbers that no ustar header holds
        written.write(head + content + padding(entry.size))
        kept.append((entry, content))
    written.write(END)
    again, problem = _read([written.getvalue()])
    assert not problem, problem
    assert [_normal(member) for member in again] == [_normal(member) for member in kept]
    if not kept or not all(entry.path.isascii() for entry, _ in kept):
        return
    written.seek(0)
    with tarfile.open(fileobj=written, mode="r:") as other:
        theirs = [(info.name, info.size, info.type, info.mode) for info in other]
    ours = [
        (entry.path.rstrip("/"), entry.size, str(entry.type).encode(), entry.mode)
        for entry, _ in kept
    ]
    assert [(name.rstrip("/"), *rest) for name, *rest in theirs] == ours


def _normal(member: Member) -> Member:
    """A folder has a slash at its end when it is written; devices alone have numbers."""
    entry, content = member
    if entry.type is Type.FOLDER:
        entry = entry._replace(path=entry.path if entry.path.endswith("/") else entry.path + "/")
    if entry.type not in (Type.CHAR, Type.BLOCK):
        entry = entry._replace(devmajor=0, devminor=0)
    return entry._replace(xattrs=dict(entry.xattrs)), content


def records(data: bytes) -> None:
    """PAX records that are read are the same when they are written."""
    try:
        found = pax.parse(data)
    except InvalidArgument:
        return
    assert pax.parse(pax.encode(found)) == found
    for value in found.values():
        for read in (pax.parse_time, lambda text: pax.number(text, "size")):
            try:
                number = read(value)
            except InvalidArgument:
                continue
            assert abs(number) < 10**30


def archive(data: bytes) -> None:
    """Names and links of an image archive lead nowhere outside; its documents are read."""
    files: dict[str, File] = {}
    links: dict[str, str] = {}
    documents: dict[Digest, bytes] = {}
    members, _ = _read([_summed(data)])
    try:
        for entry, content in members:
            name = normal_name(entry.path)
            match entry.type:
                case Type.SYMLINK:
                    links[name] = link_target(name, entry.link)
                case Type.HARDLINK:
                    links[name] = normal_name(entry.link)
                case Type.FILE:
                    digest = digest_of_name(name) or Digest.of(content)
                    files[name] = File(digest=digest, size=entry.size)
                    documents[digest] = content
                case _:
                    pass
        _read_archive(Archive(files=files, links=links), documents)
    except InvalidArgument:
        return
    for name in (*files, *links, *links.values()):
        assert not name.startswith("/")
        assert ".." not in name.split("/")


def _read_archive(found: Archive, documents: dict[Digest, bytes]) -> None:
    index = found.find("index.json")
    if index is not None:
        for entry in archive_layout.parse_index(documents[index.digest]):
            archive_layout.name_of(entry)
            found.blob(entry.descriptor.digest)
    layout = found.find("oci-layout")
    if layout is not None:
        archive_layout.check_layout(documents[layout.digest])
    docker = found.find("manifest.json")
    if docker is not None:
        for image in archive_layout.parse_docker(documents[docker.digest], found):
            assert image.config.digest in documents


_MADE = image_tars.Made(layers=(image_tars.layer(image_tars.file("a", b"x")),))
_HOSTILE = tuple(case.data for case in tar_corpus.corpus(Path("/canary")) if len(case.data) <= 8192)

TARGETS = (
    Target(
        name="tar",
        run=tar,
        seeds=(*whole(*_HOSTILE), *(b"\xda" + data for data in _HOSTILE)),
        words=(b"ustar\x0000", b"ustar  \0", b"././@LongLink", b"20 path=", b"SCHILY.xattr."),
        longest=16384,
        cost=4,
    ),
    Target(
        name="pax",
        run=records,
        seeds=(
            b"11 path=ab\n30 mtime=1700000000.123456789\n",
            b"19 size=1234567890\n12 uid=1000\n",
            b"31 SCHILY.xattr.user.a=\0\xff\0abcd\n",
        ),
        words=(b"path=", b"mtime=", b"size=", b" ", b"\n", b"11 ", b"="),
        longest=512,
    ),
    Target(
        name="archive",
        run=archive,
        seeds=(
            image_tars.docker_archive([(_MADE, ("a:1",))]),
            image_tars.docker_archive([(_MADE, ("a:1",))], links=True),
            image_tars.oci_archive([(_MADE, ("a:1",))]),
        ),
        words=(b"index.json", b"manifest.json", b"oci-layout", b"blobs/sha256/", b'"Layers"'),
        longest=32768,
        cost=8,
    ),
)
