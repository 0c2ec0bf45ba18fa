"""One blob from a registry into the store: gone on with where it broke off, verified at its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import aclosing

from supervisor.errors import InvalidArgument
from supervisor.oci.http_fields import range_start
from supervisor.oci.manifest import Descriptor
from supervisor.registry.backoff import Backoff
from supervisor.registry.failures import Interrupted, Refused
from supervisor.registry.repository import Repository
from supervisor.store.images import Writer

Tell = Callable[[int], None]
"""Told how many bytes of the blob are there; the blob's size when it is to be verified."""


async def download(
    places: Sequence[Repository], blob: Descriptor, writer: Writer, tell: Tell
) -> None:
    """The blob from the first of `places` that has it, verified and durable in the store.

    Raises Interrupted, Refused; InvalidArgument for content that is not what it should be.
    """
    pieced = writer.offset > 0
    pieced |= await _fetch(places, blob, writer, tell)
    try:
        await writer.commit()
        return
    except InvalidArgument as error:
        if not pieced:
            raise _wrong(blob, error) from None
    # Which of its parts was wrong cannot be known: once more, and in one piece.
    await _fetch(places, blob, writer, tell)
    try:
        await writer.commit()
    except InvalidArgument as error:
        raise _wrong(blob, error) from None


async def _fetch(
    places: Sequence[Repository], blob: Descriptor, writer: Writer, tell: Tell
) -> bool:
    """Bring the writer to the blob's size; whether that took more than one answer."""
    answers = 0
    for number, place in enumerate(places, 1):
        backoff = place.session.backoff()
        while True:
            before = writer.offset
            answers += 1
            try:
                await _part(place, blob, writer, tell, backoff)
                if writer.offset == blob.size:
                    return answers > 1
                problem: Interrupted | Refused = Interrupted(
                    f"{place.session}: blob {blob.digest} ended after {writer.offset} of "
                    f"{blob.size} bytes",
                    connected=True,
                )
            except Interrupted as error:
                problem = error
            except Refused as error:
                problem = error
                break
            backoff.gained(writer.offset - before)
            if not await backoff.pause():
                break
        if number == len(places):
            raise problem
    raise AssertionError("there is at least one place")


async def _part(
    place: Repository, blob: Descriptor, writer: Writer, tell: Tell, backoff: Backoff
) -> None:
    """What one answer has of the part that is missing."""
    offset = writer.offset
    if offset == blob.size:
        return
    reply = await place.open_blob(blob.digest, offset, backoff)
    try:
        if reply.status == 416:
            await writer.discard()
            return
        skip = 0 if reply.status == 206 else offset
        if reply.status == 206 and range_start(reply.headers.get("content-range", "")) != offset:
            raise InvalidArgument(f"{place.session}: it sent another range than was asked for")
        async with aclosing(reply.pieces()) as pieces:
            async for piece in pieces:
                if skip >= len(piece):
                    skip -= len(piece)
                    continue
                await writer.write(piece[skip:])
                skip = 0
                tell(writer.offset)
    finally:
        await reply.close()


def _wrong(blob: Descriptor, error: InvalidArgument) -> InvalidArgument:
    return InvalidArgument(
        f"filesystem layer verification failed for digest {blob.digest}: {error.message}"
    )
