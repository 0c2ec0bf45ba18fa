"""The content store: files by digest, and unpacked layers by chain id. Blocking.

A name in either folder always stands for the whole content: everything is complete and
on disk before it is renamed there, and leaves by one rename into the trash.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from pathlib import Path

from supervisor import failpoints
from supervisor.oci.digest import Digest
from supervisor.store.files import discard, sync_folder, write_synced
from supervisor.store.layout import DataRoot


def put_blob(root: DataRoot, data: bytes) -> Digest:
    """Store bytes by their digest, durably."""
    digest = Digest.of(data)
    temporary = root.tmp / secrets.token_hex(16)
    try:
        write_synced(temporary, data)
        adopt_blob(root, temporary, digest)
    finally:
        temporary.unlink(missing_ok=True)
    return digest


def adopt_blob(root: DataRoot, temporary: Path, digest: Digest) -> None:
    """Take over a synced file of the tmp folder, whose content has this digest."""
    path = root.blob(digest)
    failpoints.hit("image.blob")
    temporary.replace(path)
    sync_folder(path.parent)


def adopt_layer(root: DataRoot, temporary: Path, chain_id: Digest) -> None:
    """Take over a synced folder of the tmp folder; the same layer may be there already."""
    path = root.layer(chain_id)
    if path.is_dir():
        discard(temporary, root.trash)
        return
    failpoints.hit("image.layer")
    temporary.rename(path)
    sync_folder(root.layers)


def discard_all(
    root: DataRoot, layers: Iterable[Digest] = (), blobs: Iterable[Digest] = ()
) -> None:
    """Rename layers and blobs into the trash; what is not there is fine."""
    failpoints.hit("image.collect")
    for chain_id in layers:
        discard(root.layer(chain_id), root.trash)
    for digest in blobs:
        discard(root.blob(digest), root.trash)


def orphans(root: DataRoot, layers: Iterable[Path], blobs: Iterable[Digest]) -> list[Path]:
    """Layer folders, blobs that are none of the given, and everything in tmp."""
    known = {*layers, *(root.blob(digest) for digest in blobs)}
    there = [root.layers.iterdir(), root.blobs.glob("*/*"), root.tmp.iterdir()]
    return sorted(path for paths in there for path in paths if path not in known)
