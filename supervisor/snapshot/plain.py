"""Operation "decompress": a layer's tar out of a compression that images do not have."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from supervisor.errors import InvalidArgument
from supervisor.snapshot.decompress import Source, decompressed, kind
from supervisor.snapshot.operations import Tell
from supervisor.snapshot.tar_pieces import write_all
from supervisor.snapshot.unpack import BOMB_RATIO, BOMB_SIZE


def run(arguments: dict[str, Any], fds: Mapping[str, int], tell: Tell) -> dict[str, Any]:
    """Write to the fd `output` what is on the fd `input`, decompressed; its digest and size.

    The output is durable on return. Raises InvalidArgument for damaged input.
    """
    source = Source(fds["input"])
    digest = hashlib.sha256()
    size = 0
    for part in unless_bomb(source, decompressed(source, kind(source.peek()))):
        digest.update(part)
        size += len(part)
        write_all(fds["output"], part)
    os.fsync(fds["output"])
    return {"digest": f"sha256:{digest.hexdigest()}", "size": size}


def unless_bomb(source: Source, parts: Iterable[bytes]) -> Iterator[bytes]:
    """`parts` of what comes from `source`, as long as they could be somebody's files.

    Raises InvalidArgument for what grows beyond reason (`BOMB_SIZE`, `BOMB_RATIO`).
    """
    size = 0
    for part in parts:
        size += len(part)
        if size > BOMB_SIZE and size > BOMB_RATIO * source.taken:
            raise InvalidArgument(
                f"the archive would grow to more than {BOMB_RATIO} times its compressed size"
            )
        yield part
