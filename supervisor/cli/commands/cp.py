"""`orlop cp`: files and folders between a container and this host."""

from __future__ import annotations

import argparse
import errno
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from supervisor.cli.client import Client, container_path
from supervisor.cli.context import Context
from supervisor.cli.copy_plan import (
    Place,
    Plan,
    follow,
    local_destination,
    local_source,
    plan,
    renamed,
    split,
    split_argument,
    wants_folder,
)
from supervisor.cli.failures import DaemonError, Failure
from supervisor.cli.flags import Parser
from supervisor.errors import KernelError, ProtocolError
from supervisor.spec.units import format_size
from supervisor.wire.path_stat import HEADER, PathStat, decode

if TYPE_CHECKING:
    from supervisor.oci.tar import Entry

_STREAM = "-"
_NOT_FOUND = 404
_ENTRIES, _DEPTH = 50_000_000, 4096  # what the disk can bear decides, as with any program
_CHUNK = 256 * 1024


def cp(words: Sequence[str], context: Context) -> int:
    """Copy out of or into a container."""
    parser = Parser(
        "cp",
        "CONTAINER:SRC_PATH DEST_PATH|-  or  SRC_PATH|- CONTAINER:DEST_PATH",
        "Copy files and folders between a container and this host",
        count=(2, 2),
        notes='"-" reads a tar from stdin, or writes one to stdout.',
    )
    parser.switch(
        "-a",
        "--archive",
        help="Keep owners and set-id bits; into a container: give all to its configured user",
    )
    parser.switch("-L", "--follow-link", help="Copy what a link in SRC_PATH leads to")
    parser.switch("-q", "--quiet", help="Do not tell what was copied")
    options = parser.parse(words)
    (source_container, source), (container, destination) = map(split_argument, options.operands)
    if source_container and container:
        raise Failure("copying between containers is not supported")
    if not source_container and not container:
        raise Failure("must specify at least one container source")
    if source_container:
        size = _out(context.client(), source_container, source, destination, options)
        where = destination
    else:
        size = _into(context.client(), source, container, destination, options)
        where = f"{container}:{destination}"
    if not options.quiet and where != _STREAM and sys.stderr.isatty():
        print(f"Successfully copied {format_size(size)} to {where}", file=sys.stderr)
    return 0


@contextmanager
def _naming(path: str) -> Iterator[None]:
    """What the kernel says of a path of this host, with the path as it was given."""
    try:
        yield
    except OSError as error:
        raise Failure(f"{path}: {(error.strerror or str(error)).lower()}") from None


# --- out of a container ---------------------------------------------------------------------


def _out(
    client: Client, container: str, source: str, destination: str, options: argparse.Namespace
) -> int:
    """Copy to this host; the tar's size in bytes."""
    with _naming(destination):
        where = Place("") if destination == _STREAM else local_destination(destination)
    name = ""
    if options.follow_link:
        found = _stat(client, container, source)
        if found is not None and stat.S_ISLNK(found.mode):
            source, name = follow(source, found.link_target)
    with client.begin("GET", container_path(container, "archive"), {"path": source}) as call:
        header = call.response().headers.get(HEADER.lower())
        if header is None:
            raise ProtocolError(f"no {HEADER}")
        counted = _Counted(call.pieces())
        if destination == _STREAM:
            sys.stdout.flush()
            for piece in counted:
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
        else:
            place = Place(source, True, stat.S_ISDIR(decode(header).mode), name)
            _extract(counted, split("/" + source.lstrip("/"))[1], plan(place, where), options)
        return counted.size


def _extract(pieces: Iterable[bytes], top: str, wanted: Plan, options: argparse.Namespace) -> None:
    """Make the tar's tree `top` on this host, under its new name.

    The tar is a container's: nothing in it leads out of the folder, makes a device, or (but
    with --archive) a program that runs as somebody else.
    """
    from supervisor.kernel.paths import DIRECTORY
    from supervisor.oci.tar import Entry, Limits, TarReader
    from supervisor.snapshot.tar_in import Extraction, Rules
    from supervisor.snapshot.tar_places import Beneath

    rules = Rules(
        owner=lambda entry: (entry.uid, entry.gid) if options.archive else None,
        devices=False,
        set_ids=options.archive,
    )
    reader = TarReader(Limits(entries=_ENTRIES, depth=_DEPTH))
    folder = os.open(wanted.folder, DIRECTORY)
    extraction = Extraction(Beneath(folder, wanted.folder), rules)
    try:
        for piece in pieces:
            for event in reader.feed(piece):
                if isinstance(event, Entry):
                    event = _rebased(event, top, wanted.name)
                extraction.take(event)
        reader.close()
        extraction.finish()
    except KernelError as error:
        if error.errno in (errno.EXDEV, errno.ELOOP):
            raise Failure(f"{error.path}: a link there leads out of {wanted.folder}") from None
        raise
    finally:
        extraction.abandon()
        os.close(folder)
    if extraction.left_out:
        print(f"orlop: {extraction.left_out} device nodes were not copied", file=sys.stderr)


def _rebased(entry: Entry, top: str, name: str) -> Entry:
    from supervisor.oci.tar import Type

    entry = entry._replace(path=renamed(entry.path, top, name))
    if entry.type is Type.HARDLINK:
        entry = entry._replace(link=renamed(entry.link, top, name))
    return entry


# --- into a container -----------------------------------------------------------------------


def _into(
    client: Client, source: str, container: str, destination: str, options: argparse.Namespace
) -> int:
    """Copy from this host; the tar's size in bytes."""
    where = _container_place(client, container, destination)
    if source == _STREAM:
        if not where.is_folder:
            raise Failure(f'destination "{container}:{destination}" must be a directory')
        folder, pieces = where.path, _stdin()
    else:
        with _naming(source):
            place = local_source(source, follow_link=options.follow_link)
        wanted = plan(place, where)
        folder, pieces = wanted.folder, _packed(place.path, wanted.name)
    counted = _Counted(pieces)
    query = {"path": folder, "noOverwriteDirNonDir": "true"}
    if options.archive:
        query["copyUIDGID"] = "true"
    client.upload("PUT", container_path(container, "archive"), query, counted).result()
    return counted.size


def _container_place(client: Client, container: str, path: str) -> Place:
    """What is at `path` in the container, the link there followed if it is one."""
    found = _stat(client, container, path)
    if found is not None and stat.S_ISLNK(found.mode):
        path = found.link_target
        found = _stat(client, container, path)
    if found is None:
        return Place(path, False)
    is_folder = stat.S_ISDIR(found.mode)
    if not is_folder and not stat.S_ISREG(found.mode):
        raise Failure(f'destination "{container}:{path}" must be a directory or a regular file')
    return Place(path, True, is_folder)


def _stat(client: Client, container: str, path: str) -> PathStat | None:
    """The path's status; None where there is nothing."""
    try:
        headers = client.head(container_path(container, "archive"), {"path": path})
    except DaemonError as error:
        if error.code == _NOT_FOUND:
            return None
        raise
    return decode(headers.get(HEADER.lower(), ""))


def _packed(path: str, name: str) -> Iterator[bytes]:
    """A tar of a file or folder of this host."""
    from supervisor.snapshot.tar_out import TarWriter

    flags = os.O_PATH | (os.O_DIRECTORY if wants_folder(path) else os.O_NOFOLLOW) | os.O_CLOEXEC
    fd = os.open(path, flags)
    try:
        yield from TarWriter().whole(fd, name)
    finally:
        os.close(fd)


def _stdin() -> Iterator[bytes]:
    while data := os.read(sys.stdin.fileno(), _CHUNK):
        yield data


class _Counted:
    """Passes pieces on and counts their bytes."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.size += len(piece)
            yield piece
