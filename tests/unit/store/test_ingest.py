"""Blobs on their way in: verified, resumed, shared, given back."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
import trio.testing

from supervisor.errors import Conflict, InvalidArgument, OrlopError, Unavailable
from supervisor.oci.digest import Digest
from supervisor.store.database import Database
from supervisor.store.images import ImageStore
from supervisor.store.layout import DataRoot
from supervisor.store.lease import Lease

DATA = random.Random(1).randbytes(3_500_000)
DIGEST = Digest.of(DATA)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ImageStore]:
    root = DataRoot(tmp_path / "root")
    root.prepare()
    database = await Database.open(root.db)
    store = ImageStore(root, database)
    await store.load()
    yield store
    await database.close()
    root.release()


def files(store: ImageStore) -> list[str]:
    """What is below the folders of images."""
    folders = (store.root.blobs / "sha256", store.root.tmp, store.root.trash)
    return [name for folder in folders for name in os.listdir(folder)]


async def put(
    store: ImageStore,
    lease: Lease,
    data: bytes,
    piece: int = 100_000,
    announced: tuple[Digest, int] | None = None,
) -> None:
    digest, size = announced or (Digest.of(data), len(data))
    async with store.ingest_once(lease, digest, size) as writer:
        assert writer is not None
        for start in range(0, len(data), piece):
            await writer.write(data[start : start + piece])
        await writer.commit()


@pytest.mark.parametrize("piece", [997, 100_000, 1 << 20, 10_000_000])
async def test_a_blob_comes_in_and_goes_with_its_lease(store: ImageStore, piece: int) -> None:
    async with store.lease() as lease:
        await put(store, lease, DATA, piece)
        assert store.has_blob(DIGEST)
        assert store.root.blob(DIGEST).read_bytes() == DATA
        assert files(store) == [DIGEST.encoded]
    assert not store.has_blob(DIGEST)
    assert files(store) == []


async def test_an_empty_blob(store: ImageStore) -> None:
    async with store.lease() as lease:
        await put(store, lease, b"")
        assert store.root.blob(Digest.of(b"")).read_bytes() == b""


async def test_sha512(store: ImageStore) -> None:
    digest = Digest("sha512", hashlib.sha512(DATA).hexdigest())
    async with store.lease() as lease:
        async with store.ingest_once(lease, digest, len(DATA)) as writer:
            assert writer is not None
            await writer.write(DATA)
            assert await writer.commit() == digest
        assert store.root.blob(digest).read_bytes() == DATA


@pytest.mark.parametrize(
    "data, size, text",
    [
        (DATA[:-1], len(DATA), "3499999 bytes came"),
        (DATA[:-1] + b"\0", len(DATA), "has the digest"),
        (DATA + b"\0", len(DATA), "more than the 3500000 bytes"),
        (b"", len(DATA), "0 bytes came"),
    ],
)
async def test_what_is_not_what_was_announced_is_not_kept(
    store: ImageStore, data: bytes, size: int, text: str
) -> None:
    async with store.lease() as lease:
        with pytest.raises(InvalidArgument, match=text):
            await put(store, lease, data, announced=(DIGEST, size))
        assert not store.has_blob(DIGEST)
        await put(store, lease, DATA)  # and the store is none the worse
    assert files(store) == []


async def test_an_interrupted_blob_is_gone_on_with(store: ImageStore) -> None:
    async with store.lease() as lease:
        for end in (1, 70_000, 1_500_000, len(DATA)):
            async with store.ingest_once(lease, DIGEST, len(DATA)) as writer:
                assert writer is not None
                await writer.write(DATA[writer.offset : end])
                assert writer.offset == end
        async with store.ingest_once(lease, DIGEST, len(DATA)) as writer:
            assert writer is not None
            assert writer.offset == len(DATA)
            await writer.commit()
        assert store.root.blob(DIGEST).read_bytes() == DATA
        async with store.ingest_once(lease, DIGEST, len(DATA)) as writer:
            assert writer is None


async def test_a_discarded_blob_begins_anew(store: ImageStore) -> None:
    async with store.lease() as lease:
        async with store.ingest_once(lease, DIGEST, len(DATA)) as writer:
            assert writer is not None
            await writer.write(b"wrong" * 500_000)
            await writer.discard()
            assert writer.offset == 0
            await writer.write(DATA)
            await writer.commit()
        assert store.root.blob(DIGEST).read_bytes() == DATA


async def test_an_unfinished_blob_goes_with_the_lease(store: ImageStore) -> None:
    async with store.lease() as lease:
        async with store.ingest_once(lease, DIGEST, len(DATA)) as writer:
            assert writer is not None
            await writer.write(DATA[:2_000_000])
        assert len(files(store)) == 1
    assert files(store) == []
    async with store.lease() as lease, store.ingest_once(lease, DIGEST, len(DATA)) as writer:
        assert writer is not None
        assert writer.offset == 0


async def test_many_at_once_bring_it_once(store: ImageStore) -> None:
    written = []

    async def pull() -> None:
        async with store.lease() as lease:
            async with store.ingest_once(lease, DIGEST, len(DATA)) as writer:
                if writer is not None:
                    written.append(writer.offset)
                    await trio.testing.wait_all_tasks_blocked()
                    await writer.write(DATA)
                    await writer.commit()
            assert store.root.blob(DIGEST).read_bytes() == DATA
            everyone.append(None)
            while len(everyone) < 8:
                await trio.sleep(0.001)

    everyone: list[None] = []
    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(pull)
    assert written == [0]
    assert files(store) == []


async def test_the_next_one_takes_over_where_the_first_was_cancelled(store: ImageStore) -> None:
    offsets = []
    first_is_in, scope = trio.Event(), trio.CancelScope()

    async def first() -> None:
        with scope:
            async with (
                store.lease() as lease,
                store.ingest_once(lease, DIGEST, len(DATA)) as writer,
            ):
                assert writer is not None
                await writer.write(DATA[:2_000_000])
                first_is_in.set()
                await trio.sleep_forever()

    async def second() -> None:
        async with store.lease() as lease:
            async with store.ingest_once(lease, DIGEST, len(DATA)) as writer:
                assert writer is not None
                offsets.append(writer.offset)
                await writer.write(DATA[writer.offset :])
                await writer.commit()
            assert store.root.blob(DIGEST).read_bytes() == DATA

    async with trio.open_nursery() as nursery:
        nursery.start_soon(first)
        await first_is_in.wait()
        nursery.start_soon(second)
        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()
    assert offsets == [2_000_000]
    assert files(store) == []


async def test_a_wrong_announcement_does_not_stand_in_the_way(store: ImageStore) -> None:
    async with store.lease() as liar, store.lease() as honest:
        async with store.ingest_once(liar, DIGEST, 5) as writer:
            assert writer is not None
            await writer.write(b"12345")
            await put(store, honest, DATA)
            with pytest.raises(InvalidArgument, match="has the digest"):
                await writer.commit()
        with pytest.raises(InvalidArgument, match="has 3500000 bytes, not 5"):
            async with store.ingest_once(liar, DIGEST, 5):
                pass
    assert files(store) == []


async def test_one_writer_at_a_time(store: ImageStore) -> None:
    async with store.lease() as lease:
        async with store.ingest_once(lease, DIGEST, len(DATA)) as writer:
            assert writer is not None
            with pytest.raises(Conflict, match="being written already"):
                store.ingest(lease, DIGEST, len(DATA))
            await writer.write(DATA[:5])
        alone = store.ingest(lease, DIGEST, len(DATA))
        assert alone.offset == 5
        await alone.write(DATA[5:])
        await alone.commit()
        assert store.has_blob(DIGEST)


async def test_a_blob_stays_as_long_as_one_lease_has_it(store: ImageStore) -> None:
    async with store.lease() as first:
        async with store.lease() as second:
            await put(store, first, DATA)
            async with store.ingest_once(second, DIGEST, len(DATA)) as writer:
                assert writer is None
        assert store.has_blob(DIGEST)
        async with store.lease() as third:
            assert await store.content.hold_blob(third, DIGEST)
    assert files(store) == []


async def test_a_blob_without_a_name(store: ImageStore) -> None:
    async with store.lease() as lease:
        async with store.ingest_unnamed(lease) as writer:
            await writer.write(DATA)
            assert await writer.commit() == DIGEST
        assert files(store) == [DIGEST.encoded]
        async with store.ingest_unnamed(lease) as writer:
            await writer.write(b"given up" * 500_000)
        assert files(store) == [DIGEST.encoded]
    assert files(store) == []


async def test_a_full_disk_loses_nothing_and_tells(
    store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> int:
        raise OSError(28, "No space left on device")

    async with store.lease() as lease:
        async with store.ingest_once(lease, DIGEST, len(DATA)) as writer:
            assert writer is not None
            with monkeypatch.context() as patched:
                patched.setattr("os.pwrite", full)
                with pytest.raises(Unavailable, match="No space left"):
                    await writer.write(DATA[: 2 << 20])
            await writer.write(DATA[writer.offset :])
            await writer.commit()
        assert store.root.blob(DIGEST).read_bytes() == DATA


async def test_cancelled_anywhere_it_is_whole_or_not_there(store: ImageStore) -> None:
    for delay in (0.0, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016):
        async with store.lease() as lease:
            with trio.move_on_after(delay):
                await put(store, lease, DATA)
            if store.has_blob(DIGEST):
                assert store.root.blob(DIGEST).read_bytes() == DATA
        assert files(store) == []


@pytest.mark.parametrize("text", ["sha256:../..", "sha256:" + "g" * 64, "md5:" + "0" * 32, "x"])
async def test_no_name_leads_out_of_the_store(store: ImageStore, text: str) -> None:
    with pytest.raises(OrlopError):
        store.has_blob(Digest.parse(text))
