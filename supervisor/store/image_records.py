"""Image records at start-up: from the database's rows, or from their copies. Blocking.

images/HEX.json holds the same document as the row of image sha256:HEX. It is written
before the row and deleted after it, so copies without a row mean a crash in between; and
all of them, if the database is new, mean that the rows were lost.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace

from supervisor.store.files import discard, write_atomic
from supervisor.store.image import Image, decode, encode
from supervisor.store.layout import DataRoot

log = logging.getLogger("orlop.images")

_ALGORITHM = "sha256:"


class Loaded(msgspec.Struct, kw_only=True):
    """`rebuilt` are among `images` and need their row written; `lost` could not be read."""

    images: list[Image] = msgspec.field(default_factory=list)
    rebuilt: list[Image] = msgspec.field(default_factory=list)
    lost: list[str] = msgspec.field(default_factory=list)


def load(
    root: DataRoot, rows: Iterable[tuple[str, bytes]], damaged: Iterable[str], fresh: bool
) -> Loaded:
    """Images from `rows`; those `damaged`, and all if the database is `fresh`, from copies."""
    loaded = Loaded()
    ask_copies = list(damaged)
    for id, doc in rows:
        try:
            loaded.images.append(decode(id, doc))
        except ValueError as error:
            log.warning("%s", error)
            ask_copies.append(id)
    if fresh:
        known = {image.id for image in loaded.images}
        copies = [f"{_ALGORITHM}{path.stem}" for path in sorted(root.images.glob("*.json"))]
        ask_copies += [id for id in copies if id not in known]
    for id in dict.fromkeys(ask_copies):
        try:
            loaded.rebuilt.append(decode(id, _copy(root, id).read_bytes()))
            log.warning("image %s: its record is rebuilt from its copy", id)
        except (OSError, ValueError) as error:
            log.warning("image %s is lost until it is made or pulled again: %s", id, error)
            loaded.lost.append(id)
    for image in loaded.images:
        _mend_copy(root, image)
    loaded.rebuilt = _settle_tags(loaded.rebuilt, loaded.images)
    loaded.images += loaded.rebuilt
    return loaded


def _mend_copy(root: DataRoot, image: Image) -> None:
    """Write the copy anew if it is missing, damaged or from before a crash."""
    path, document = _copy(root, image.id), encode(image)
    try:
        if path.read_bytes() == document:
            return
    except OSError as error:
        log.info("image %s: %s", image.id, error)
    try:
        write_atomic(path, document)
    except OSError as error:
        log.warning("image %s: its record has no copy: %s", image.id, error)


def _settle_tags(rebuilt: list[Image], images: list[Image]) -> list[Image]:
    """Each tag for one image: a crash may have left it in two copies; the latest has it."""
    taken = {tag for image in images for tag in image.tags}
    settled = []
    for image in sorted(rebuilt, key=lambda image: image.last_tagged, reverse=True):
        tags = tuple(tag for tag in image.tags if tag not in taken)
        taken.update(tags)
        settled.append(replace(image, tags=tags))
    return settled


def write_copies(root: DataRoot, images: Sequence[Image]) -> None:
    """Write the copies of records that are about to become rows."""
    for image in images:
        write_atomic(_copy(root, image.id), encode(image))


def restore_copies(root: DataRoot, before: Mapping[str, Image | None]) -> None:
    """Undo `write_copies`, as far as the disk lets; the next start mends what is left."""
    for id, image in before.items():
        try:
            if image is None:
                drop_copy(root, id)
            else:
                write_atomic(_copy(root, id), encode(image))
        except OSError as error:
            log.warning("image %s: the copy of its record is out of date: %s", id, error)


def drop_copy(root: DataRoot, id: str) -> None:
    """Delete the copy of a record whose row is gone."""
    _copy(root, id).unlink(missing_ok=True)


def drop_strangers(root: DataRoot, known: Container[str]) -> None:
    """Delete copies of images that are not `known`, and half-written copies."""
    for path in sorted(root.images.iterdir()):
        if path.suffix != ".json" or f"{_ALGORITHM}{path.stem}" not in known:
            discard(path, root.trash)


def _copy(root: DataRoot, id: str) -> Path:
    return root.images / f"{id.removeprefix(_ALGORITHM)}.json"
