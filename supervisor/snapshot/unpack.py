"""The operation "unpack": a layer's tar, compressed or not, as a new folder for overlayfs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from supervisor.errors import InvalidArgument
from supervisor.kernel.sync import syncfs
from supervisor.oci.tar import MAX_ENTRIES, MAX_OFFSET, Limits, TarReader
from supervisor.snapshot.entering import FOLDER
from supervisor.snapshot.extract import LayerWriter
from supervisor.snapshot.folders import DEFAULT_ACL, default_acl
from supervisor.snapshot.operations import Tell
from supervisor.snapshot.remove import remove
from supervisor.snapshot.stream import LayerStream

# gzip shrinks zeros to a thousandth, real files to a fifth. Beyond both bounds it is a bomb;
# a layer with one large empty file in it stays below the first.
BOMB_SIZE = 8 << 30
BOMB_RATIO = 500
_TELL_EVERY = 0.1  # seconds


def run(arguments: dict[str, Any], fds: Mapping[str, int], tell: Tell) -> dict[str, Any]:
    """Unpack the layer on the descriptor `input` into `folder`, which is made.

    Arguments: `folder`; `diff_id`, what the uncompressed tar must have, or ""; `compression`
    ("auto"); `max_size`, bytes of all files together (what the disk has room for) and
    `max_entries` (a million).
    Result: `diff_id`; `size`, bytes in files; `tar_size`, bytes of the uncompressed tar;
    `entries`. Progress: `current`, compressed bytes read.

    The process is confined to the folder from then on. On return all is durable; after an
    error the folder is gone.
    """
    stream = LayerStream(fds["input"], arguments.get("compression", "auto"))
    limits = Limits(
        total=arguments.get("max_size") or MAX_OFFSET,
        entries=arguments.get("max_entries") or MAX_ENTRIES,
    )
    with _new_folder(arguments["folder"]) as root_fd:
        os.chroot(".")
        reader = TarReader(limits)
        try:
            _extract(stream, reader, LayerWriter(root_fd), _known_size(fds["input"]), tell)
        except BaseException:
            stream.stop()
            raise
        diff_id = stream.digest()
        wanted = arguments.get("diff_id", "")
        if wanted and diff_id != wanted:
            raise InvalidArgument(f"the layer has the diff id {diff_id}, not {wanted}")
        syncfs(root_fd)
    return {
        "diff_id": diff_id,
        "size": reader.total,
        "tar_size": stream.size,
        "entries": reader.entries,
    }


def _extract(
    stream: LayerStream, reader: TarReader, writer: LayerWriter, known_size: int, tell: Tell
) -> None:
    told = time.monotonic()
    for part in stream:
        events = reader.feed(part)
        if known_size:  # then what the headers declare can be held against it at once
            _check_growth(max(stream.size, reader.total), known_size)
        else:
            _check_growth(stream.size, stream.taken)
        writer.handle(events)
        if time.monotonic() - told > _TELL_EVERY:
            told = time.monotonic()
            tell({"current": stream.taken})
    reader.close()
    writer.close()
    tell({"current": stream.taken})


def _check_growth(size: int, compressed: int) -> None:
    if size > BOMB_SIZE and size > BOMB_RATIO * compressed:
        raise InvalidArgument(
            f"the layer would grow to more than {BOMB_RATIO} times its compressed size"
        )


@contextmanager
def _new_folder(path: str) -> Iterator[int]:
    """A new folder as the current one, its descriptor; removed after an error."""
    parent, _, name = path.rpartition("/")
    # Kept for the removal: from inside of the folder there is no way back to it.
    parent_fd = os.open(parent, FOLDER)
    try:
        os.mkdir(name, 0o755, dir_fd=parent_fd)
        try:
            fd = os.open(name, FOLDER, dir_fd=parent_fd)
            if default_acl(fd) is not None:
                os.removexattr(fd, DEFAULT_ACL)
            os.fchdir(fd)
            yield fd
        except BaseException:
            remove(parent_fd, name)
            raise
    finally:
        os.close(parent_fd)


def _known_size(fd: int) -> int:
    """The size of the compressed layer where it is a file; 0 for a pipe."""
    return os.fstat(fd).st_size
