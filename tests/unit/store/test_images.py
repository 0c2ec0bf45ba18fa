"""The image store: making, naming, finding, removing, starting again after a crash."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from supervisor.errors import Conflict, Internal, InvalidArgument, NotFound, OrlopError, Unavailable
from supervisor.oci import manifest
from supervisor.oci.digest import Digest
from supervisor.store import blobs, image_records
from supervisor.store.database import Database, Delete
from supervisor.store.image import Image, encode
from supervisor.store.images import KIND, ImageStore, ImageUse
from supervisor.store.layout import DataRoot

REPOSITORY = Path(__file__).parents[3]
ENV, TRUE = "/usr/bin/env", "/bin/true"


class Opened:
    """A store with its database, to be closed and opened again."""

    def __init__(self, path: Path) -> None:
        self.root = DataRoot(path)
        self.root.prepare()

    async def open(self) -> ImageStore:
        self.database, _ = await Database.open_or_quarantine(self.root.db)
        self.store = ImageStore(self.root, self.database)
        await self.store.load()
        return self.store

    async def again(self) -> ImageStore:
        await self.database.settle()
        await self.database.close()
        return await self.open()

    def disk(self) -> set[str]:
        """What is below the folders of images, relative to the root."""
        folders = ("blobs/sha256", "images", "layers", "tmp", "trash")
        return {f"{f}/{name}" for f in folders for name in os.listdir(self.root.path / f)}


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Opened]:
    opened = Opened(tmp_path / "root")
    await opened.open()
    yield opened
    await opened.database.close()
    opened.root.release()


@pytest.fixture
def store(opened: Opened) -> ImageStore:
    return opened.store


def files_of(image: Image) -> set[str]:
    return {
        *(f"blobs/sha256/{Digest.parse(blob).encoded}" for blob in image.blobs),
        *(f"layers/{chain_id.encoded}" for chain_id in image.chain),
        f"images/{image.id.removeprefix('sha256:')}.json",
    }


def use(image: Image, running: bool = False, store: ImageStore | None = None) -> ImageUse:
    lowers = tuple(str(path) for path in store.lowers(image)) if store else ()
    return ImageUse(container="c" * 64, image_id=image.id, running=running, lowers=lowers)


# --- making -------------------------------------------------------------------------------


async def test_a_scratch_image_is_a_complete_oci_image(opened: Opened, store: ImageStore) -> None:
    image = await store.scratch("tools", [ENV, TRUE])
    assert image.tags == ("tools:latest",)
    assert opened.disk() == files_of(image)
    for blob in image.blobs:
        digest = Digest.parse(blob)
        assert Digest.of(opened.root.blob(digest).read_bytes()) == digest
    described = manifest.parse(opened.root.blob(Digest.parse(image.manifest)).read_bytes())
    assert str(described.config.digest) == image.id
    (layer,) = described.layers
    assert image.layers == (str(layer.digest),)
    for descriptor in (described.config, layer):
        assert opened.root.blob(descriptor.digest).stat().st_size == descriptor.size
    plain: dict[str, Any] = json.loads(opened.root.blob(described.config.digest).read_bytes())
    assert plain["rootfs"]["diff_ids"] == list(image.layers)
    assert plain["created"] == image.created
    assert image.config.cmd == (ENV,)
    assert image.config.env[0].startswith("PATH=")
    (lower,) = store.lowers(image)
    assert (lower / "etc" / "passwd").is_file()
    size = sum(p.stat().st_size for p in lower.rglob("*") if p.is_file() and not p.is_symlink())
    assert image.size == size
    assert image.created_at > 1_000_000_000


async def test_the_same_programs_give_the_same_image(opened: Opened, store: ImageStore) -> None:
    first = await store.scratch("a", [ENV])
    second = await store.scratch("b:2", [ENV])
    assert second.id == first.id
    assert second.tags == ("a:latest", "b:2")
    assert store.get("a") == store.get("b:2") == second
    assert store.list() == [second]
    assert opened.disk() == files_of(first)


async def test_a_name_moves_and_leaves_the_old_image_dangling(store: ImageStore) -> None:
    old = await store.scratch("a", [ENV])
    new = await store.scratch("a", [TRUE])
    assert store.get("a") == new
    assert store.get(old.id).tags == ()
    assert {image.id for image in store.list()} == {old.id, new.id}
    back = await store.scratch("a", [ENV])
    assert (back.id, back.tags) == (old.id, ("a:latest",))
    assert store.get(new.id).tags == ()


async def test_many_at_once_do_not_get_into_each_others_way(
    opened: Opened, store: ImageStore
) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(store.scratch, f"env:{number}", [ENV])
            nursery.start_soon(store.scratch, f"true:{number}", [TRUE])
    assert sorted(len(image.tags) for image in store.list()) == [4, 4]
    assert opened.disk() == {name for image in store.list() for name in files_of(image)}


@pytest.mark.parametrize(
    "ref, binaries, error",
    [
        ("BAD", [ENV], InvalidArgument),
        ("a@sha256:" + "a" * 64, [ENV], InvalidArgument),
        ("a", ["env"], InvalidArgument),
        ("a", ["/missing"], InvalidArgument),
        ("a", ["/etc/passwd"], InvalidArgument),
        ("a", ["/usr/bin"], InvalidArgument),
        ("a", ["/bin/env\0"], InvalidArgument),
        ("a", [ENV] * 300, InvalidArgument),
    ],
)
async def test_what_cannot_be_made_leaves_nothing(
    opened: Opened, store: ImageStore, ref: str, binaries: list[str], error: type[OrlopError]
) -> None:
    with pytest.raises(error):
        await store.scratch(ref, binaries)
    assert opened.disk() == set()
    assert store.list() == []


async def test_without_busybox_the_error_names_the_package(
    store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda _name, path: None)
    with pytest.raises(NotFound, match="apt-get install busybox-static"):
        await store.scratch("a", [])


@pytest.mark.parametrize("step", ["adopt_layer", "adopt_blob", "put_blob", "copy", "row"])
async def test_a_full_disk_gives_everything_back(
    opened: Opened, store: ImageStore, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    async def no_row(_operations: object) -> None:
        raise Unavailable("the database cannot be used")

    kept = await store.scratch("kept", [TRUE])
    with monkeypatch.context() as patched:
        if step == "row":
            patched.setattr(opened.database, "apply", no_row)
        elif step == "copy":
            patched.setattr(image_records, "write_atomic", full)
        else:
            patched.setattr(blobs, step, full)
        with pytest.raises(Unavailable):
            await store.scratch("a", [ENV])
    with pytest.raises(NotFound):
        store.get("a")
    assert opened.disk() == files_of(kept)
    image = await store.scratch("a", [ENV])
    assert opened.disk() == files_of(kept) | files_of(image)


async def test_cancelling_leaves_all_or_nothing(opened: Opened, store: ImageStore) -> None:
    for delay in (0.0, 0.001, 0.005, 0.01, 0.02, 0.03, 0.05):
        with trio.move_on_after(delay):
            await store.scratch("a", [ENV])
        expected = {name for image in store.list() for name in files_of(image)}
        # What was replaced in the last step may still be in the trash.
        assert {n for n in opened.disk() if not n.startswith("trash/")} == expected
        for image in store.list():
            await store.remove(image.id)


# --- finding ------------------------------------------------------------------------------


async def test_an_image_is_found_by_name_id_and_prefix(store: ImageStore) -> None:
    image = await store.scratch("127.0.0.1:5000/x/tools:v1", [ENV])
    hexadecimal = image.id.removeprefix("sha256:")
    for ref in (
        "127.0.0.1:5000/x/tools:v1",
        image.id,
        hexadecimal,
        hexadecimal[:12],
        f"sha256:{hexadecimal[:7]}",
    ):
        assert store.get(ref) == image
    await store.scratch("busybox", [ENV])
    for ref in ("busybox", "docker.io/library/busybox:latest", "library/busybox"):
        assert store.get(ref).id == image.id
    assert store.find(image.id) == store.get("busybox")
    assert store.find("busybox") is None


@pytest.mark.parametrize(
    "ref, message",
    [
        ("x", "No such image: x:latest"),
        ("docker.io/library/x:1", "No such image: x:1"),
        ("f" * 64, f"No such image: sha256:{'f' * 64}"),
        (f"sha256:{'f' * 64}", f"No such image: sha256:{'f' * 64}"),
        (f"x@sha256:{'f' * 64}", f"No such image: x@sha256:{'f' * 64}"),
    ],
)
async def test_what_is_not_there_is_named_as_docker_does(
    store: ImageStore, ref: str, message: str
) -> None:
    await store.scratch("other", [ENV])
    with pytest.raises(NotFound) as caught:
        store.get(ref)
    assert caught.value.message == message
    with pytest.raises(NotFound):
        await store.remove(ref)


async def test_an_ambiguous_prefix_finds_nothing_and_a_name_goes_first(store: ImageStore) -> None:
    one = await store.scratch("one", [ENV])
    two = await store.scratch("two", [TRUE])
    hexes = [image.id.removeprefix("sha256:") for image in (one, two)]
    common = next(n for n in range(64) if hexes[0][n] != hexes[1][n])
    if common:
        with pytest.raises(NotFound):
            store.get(hexes[0][:common])
    assert store.get(hexes[0][: common + 1]) == one
    await store.scratch(hexes[0][:12], [TRUE])
    assert store.get(hexes[0][:12]).id == two.id


# --- names --------------------------------------------------------------------------------


async def test_tags_are_given_and_taken(opened: Opened, store: ImageStore) -> None:
    image = await store.scratch("a", [ENV])
    other = await store.scratch("b", [TRUE])
    await store.tag("a", "127.0.0.1:5000/mine/a:v1")
    assert store.get("127.0.0.1:5000/mine/a:v1").id == image.id
    await store.tag(other.id, "a")
    assert store.get("a").tags == ("a:latest", "b:latest")
    assert store.get(image.id).tags == ("127.0.0.1:5000/mine/a:v1",)
    for tag in ("BAD", f"a@{image.id}", "f" * 64):
        with pytest.raises(InvalidArgument):
            await store.tag("a", tag)
    with pytest.raises(NotFound):
        await store.tag("nope", "x")
    store = await opened.again()
    assert store.get("a").id == other.id


async def test_registries_know_an_image_by_digest(opened: Opened, store: ImageStore) -> None:
    image = await store.scratch("a", [ENV])
    other = await store.scratch("b", [TRUE])
    name = f"127.0.0.1:5000/a@sha256:{'e' * 64}"
    await store.note_digest(image.id, name)
    await store.note_digest("sha256:" + "0" * 64, name)
    assert store.get(name).repo_digests == (name,)
    assert store.get(f"127.0.0.1:5000/a:whatever@sha256:{'e' * 64}").id == image.id
    await store.note_digest(other.id, name)
    assert store.get(name).id == other.id
    assert store.get("a").repo_digests == ()
    store = await opened.again()
    assert store.get(name).id == other.id
    assert await store.remove(name) == [{"Untagged": name}]
    assert store.get("b").repo_digests == ()


async def test_an_image_again_under_another_manifest(opened: Opened, store: ImageStore) -> None:
    image = await store.scratch("a", [ENV])
    old = opened.root.blob(Digest.parse(image.manifest)).read_bytes()
    annotated = old[:-1] + b',"annotations":{"a":"b"}}'
    repo_digest = f"a@{Digest.of(annotated)}"

    async def add(manifest: bytes, repo_digest: str | None) -> Image:
        async with store.lease() as lease:
            await store.keep(lease, store.get(image.id))
            return await store.add(lease, manifest, image.config_json, repo_digest=repo_digest)

    # One that nobody vouches for does not take the place of the one there is.
    assert (await add(annotated, None)).manifest == image.manifest
    assert opened.disk() == files_of(image)
    vouched = await add(annotated, repo_digest)
    assert vouched.manifest == str(Digest.of(annotated))
    assert (vouched.id, vouched.tags) == (image.id, image.tags)
    assert opened.disk() == files_of(vouched)
    # A second one that a registry vouches for is kept beside it.
    both = await add(old, f"b@{image.manifest}")
    assert set(both.blobs) > set(vouched.blobs)
    assert opened.disk() == files_of(both)


async def test_what_is_added_must_be_there(opened: Opened, store: ImageStore) -> None:
    image = await store.scratch("a", [ENV])
    data = opened.root.blob(Digest.parse(image.manifest)).read_bytes()
    other = image.config_json.replace(b'"linux"', b'"linux","author":"other"')
    async with store.lease() as lease:
        with pytest.raises(InvalidArgument, match="of another config"):
            await store.add(lease, data, other)
    await store.remove("a")
    async with store.lease() as lease:
        with pytest.raises(InvalidArgument, match="is not there"):
            await store.add(lease, data, image.config_json)
    assert opened.disk() == set()


async def test_a_record_of_before_layers_had_sizes(opened: Opened, store: ImageStore) -> None:
    image = await store.scratch("a", [ENV])
    old = json.loads(encode(image))
    old["version"] = 1
    for name in ("layer_sizes", "repo_digests", "parent"):
        old.pop(name, None)
    await opened.database.put(KIND, image.id, json.dumps(old).encode())
    store = await opened.again()
    assert store.get("a") == image
    assert store.get("a").layer_sizes == (image.size,)


# --- removing -----------------------------------------------------------------------------


async def test_removing_by_name(opened: Opened, store: ImageStore) -> None:
    image = await store.scratch("a", [ENV])
    await store.scratch("b", [ENV])
    assert await store.remove("b") == [{"Untagged": "b:latest"}]
    assert store.get("a").tags == ("a:latest",)
    assert opened.disk() == files_of(image)
    assert await store.remove("a") == [
        {"Untagged": "a:latest"},
        {"Deleted": image.id},
        {"Deleted": image.layers[0]},
    ]
    assert opened.disk() == set()
    assert store.list() == []
    assert await opened.database.all(KIND) == []


async def test_removing_by_id(opened: Opened, store: ImageStore) -> None:
    image = await store.scratch("a", [ENV])
    await store.scratch("b", [ENV])
    with pytest.raises(Conflict, match="referenced in multiple repositories"):
        await store.remove(image.id)
    assert await store.remove(image.id[7:19], force=True) == [
        {"Untagged": "a:latest"},
        {"Untagged": "b:latest"},
        {"Deleted": image.id},
        {"Deleted": image.layers[0]},
    ]
    assert opened.disk() == set()


async def test_a_shared_layer_goes_with_the_last_image(opened: Opened, store: ImageStore) -> None:
    one = await store.scratch("one", [ENV])
    # The same layer below another config, as two images of one base have it.
    config = one.config_json.replace(b'"linux"', b'"linux","author":"other"')
    blobs.put_blob(opened.root, config)
    other = Image(
        id=str(Digest.of(config)),
        tags=("other:latest",),
        layers=one.layers,
        blobs=(str(Digest.of(config)), one.layers[0]),
        config_json=config,
    )
    await store._save([other])
    deleted = await store.remove("one")
    assert {"Deleted": one.layers[0]} not in deleted
    assert store.lowers(other)[0].is_dir()
    assert opened.disk() == files_of(other)
    assert {"Deleted": one.layers[0]} in await store.remove("other")
    assert opened.disk() == set()


async def test_used_images_stay(opened: Opened, store: ImageStore) -> None:
    image = await store.scratch("a", [ENV])
    for running in (True, False):
        uses = [use(image, running)]
        for ref in ("a", image.id):
            with pytest.raises(Conflict, match="cccccccccccc"):
                await store.remove(ref, in_use=lambda uses=uses: uses)  # type: ignore[misc]
    with pytest.raises(Conflict):
        await store.remove(image.id, in_use=lambda: [use(image, running=True)], force=True)
    assert opened.disk() == files_of(image)
    other = ImageUse(container="d" * 64, image_id="sha256:" + "0" * 64, running=True)
    await store.remove("a", in_use=lambda: [other])
    assert store.list() == []


async def test_a_forced_removal_keeps_the_layers_until_the_last_container(
    opened: Opened, store: ImageStore
) -> None:
    image = await store.scratch("a", [ENV])
    uses = [use(image)]
    removed = await store.remove("a", in_use=lambda: uses, force=True)
    assert removed == [{"Untagged": "a:latest"}, {"Deleted": image.id}]
    for ref in ("a", image.id, image.id[7:19]):
        with pytest.raises(NotFound):
            store.get(ref)
    assert store.list() == []
    hidden = store.find(image.id)
    assert hidden is not None
    assert store.lowers(hidden)[0].is_dir()
    await store.release(lambda: uses)
    store = await opened.again()
    await store.sweep(lambda: uses)
    assert opened.disk() == files_of(image)
    await store.release(tuple)
    assert opened.disk() == set()
    assert store.find(image.id) is None


async def test_what_a_container_stands_on_stays_whoever_else_goes(
    opened: Opened, store: ImageStore
) -> None:
    """Also when the record of the container's own image was lost."""
    image = await store.scratch("a", [ENV])
    lower = store.lowers(image)[0]
    stranger = ImageUse(
        container="c", image_id="sha256:" + "0" * 64, running=False, lowers=(str(lower),)
    )
    await store.sweep(lambda: [stranger])
    removed = await store.remove("a")
    assert {"Deleted": image.layers[0]} not in removed
    assert lower.is_dir()
    assert opened.disk() == {f"layers/{lower.name}"}
    await store.sweep(tuple)
    assert opened.disk() == set()


async def test_a_removed_image_can_be_made_again(opened: Opened, store: ImageStore) -> None:
    image = await store.scratch("a", [ENV])
    uses = [use(image)]
    await store.remove("a", in_use=lambda: uses, force=True)
    again = await store.scratch("b", [ENV])
    assert (again.id, again.tags, again.removed) == (image.id, ("b:latest",), False)
    await store.release(tuple)
    assert store.get("b") == again
    assert opened.disk() == files_of(image)


async def test_an_image_that_is_held_is_not_deleted(store: ImageStore) -> None:
    image = await store.scratch("a", [ENV])
    with store.hold(image), store.hold(image):
        with pytest.raises(Conflict, match="being created"):
            await store.remove("a")
        with store.hold(image):
            pass
        with pytest.raises(Conflict, match="being created"):
            await store.remove(image.id, force=True)
        assert await store.remove("a", force=True) == [{"Untagged": "a:latest"}]
    assert await store.remove(image.id) == [{"Deleted": image.id}, {"Deleted": image.layers[0]}]


async def test_uses_are_asked_for_at_the_moment_of_the_decision(store: ImageStore) -> None:
    image = await store.scratch("a", [ENV])
    uses: list[ImageUse] = []
    async with trio.open_nursery() as nursery, store._changing:
        refused = trio.Event()

        async def remove() -> None:
            with pytest.raises(Conflict):
                await store.remove("a", in_use=lambda: uses)
            refused.set()

        nursery.start_soon(remove)
        await trio.testing.wait_all_tasks_blocked()
        uses.append(use(image))
    assert refused.is_set()


async def test_a_removal_that_the_database_refuses_changes_nothing(
    opened: Opened, store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = await store.scratch("a", [ENV])

    async def refuse(_operations: object) -> None:
        raise Unavailable("the database cannot be used")

    with monkeypatch.context() as patched:
        patched.setattr(opened.database, "apply", refuse)
        for ref in ("a", image.id):
            with pytest.raises(Unavailable):
                await store.remove(ref)
    assert store.get("a") == image
    assert opened.disk() == files_of(image)


# --- starting again -----------------------------------------------------------------------


async def test_everything_is_there_after_a_restart(opened: Opened, store: ImageStore) -> None:
    await store.scratch("a", [ENV])
    await store.scratch("b", [TRUE])
    await store.scratch("b", [ENV])
    before = store.list()
    store = await opened.again()
    await store.sweep(tuple)
    assert store.list() == before
    assert store.get("b").tags == ("a:latest", "b:latest")
    assert opened.disk() == {name for image in before for name in files_of(image)}


async def test_what_a_crash_left_is_swept_away(opened: Opened, store: ImageStore) -> None:
    image = await store.scratch("a", [ENV])
    gone = await store.scratch("b", [TRUE])
    await opened.database.apply([Delete(KIND, gone.id)])
    root = opened.root
    (root.tmp / "half").mkdir()
    (root.trash / "old").mkdir()
    (root.images / ".x.json.1234.tmp").touch()
    (root.blobs / "sha256" / ("0" * 64)).touch()
    used = root.layers / ("1" * 64)
    used.mkdir()
    container = ImageUse(container="c", image_id="", running=True, lowers=(str(used),))
    store = await opened.again()
    await store.sweep(lambda: [container])
    assert opened.disk() == files_of(image) | {f"layers/{used.name}"}
    await store.sweep(tuple)
    assert opened.disk() == files_of(image)


@pytest.mark.parametrize("how", ["garbage", "emptied", "deleted"])
async def test_a_lost_database_is_rebuilt_from_the_copies(
    opened: Opened, store: ImageStore, how: str
) -> None:
    await store.scratch("a", [ENV])
    await store.scratch("b", [TRUE])
    before = store.list()
    disk = opened.disk()
    await opened.database.settle()
    await opened.database.close()
    path = opened.root.db
    if how == "deleted":
        path.unlink()
    else:
        path.write_bytes(b"" if how == "emptied" else b"garbage" * 1000)
    store = await opened.open()
    assert opened.database.fresh
    assert store.list() == before
    await store.sweep(tuple)
    assert opened.disk() == disk
    store = await opened.again()
    assert store.list() == before


async def test_of_two_copies_with_one_tag_the_later_has_it(
    opened: Opened, store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: 1000.0)
    old = await store.scratch("a", [ENV])
    copy = opened.root.images / f"{old.id[7:]}.json"
    before = copy.read_bytes()
    monkeypatch.setattr("time.time", lambda: 2000.0)
    new = await store.scratch("a", [TRUE])
    copy.write_bytes(before)  # as if the power had gone between the two copies
    await opened.database.close()
    opened.root.db.unlink()
    store = await opened.open()
    assert store.get("a").id == new.id
    assert store.get(old.id).tags == ()


def damaged_documents(document: bytes) -> Iterable[bytes]:
    yield b""
    yield b"\0" * len(document)
    yield document[: len(document) // 2]
    yield document.replace(b"linux", b"linuX")
    yield b"{}"
    yield b"[]"


async def test_each_damaged_record_is_mended_from_its_copy(
    opened: Opened, store: ImageStore
) -> None:
    image = await store.scratch("a", [ENV])
    for document in damaged_documents(encode(image)):
        await opened.database.put(KIND, image.id, document)
        store = await opened.again()
        assert store.list() == [image]
        assert await opened.database.all(KIND) == [(image.id, encode(image))]


async def test_each_damaged_copy_is_mended_from_its_record(
    opened: Opened, store: ImageStore
) -> None:
    image = await store.scratch("a", [ENV])
    copy = opened.root.images / f"{image.id[7:]}.json"
    for document in damaged_documents(encode(image)):
        copy.write_bytes(document)
        store = await opened.again()
        assert store.list() == [image]
        assert copy.read_bytes() == encode(image)
    copy.unlink()
    await opened.again()
    assert copy.read_bytes() == encode(image)


async def test_an_image_lost_altogether_costs_nothing_else(
    opened: Opened, store: ImageStore
) -> None:
    lost = await store.scratch("lost", [ENV])
    kept = await store.scratch("kept", [TRUE])
    disk = opened.disk()
    await opened.database.put(KIND, lost.id, b"{")
    (opened.root.images / f"{lost.id[7:]}.json").write_bytes(b"{")
    store = await opened.again()
    assert store.list() == [kept]
    # Its layers may still be in use by what cannot be read now: they stay.
    await store.sweep(tuple)
    assert opened.disk() == disk
    assert (await store.scratch("lost", [ENV])).id == lost.id
    store = await opened.again()
    assert len(store.list()) == 2


async def test_a_strange_file_does_not_stop_the_start(opened: Opened, store: ImageStore) -> None:
    image = await store.scratch("a", [ENV])
    (opened.root.images / "folder.json").mkdir()
    (opened.root.layers / "file").touch()
    store = await opened.again()
    await store.sweep(tuple)
    assert opened.disk() == files_of(image)


async def test_another_disk_error_is_ours(
    store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: object) -> None:
        raise OSError(5, "Input/output error", "/x")

    monkeypatch.setattr(blobs, "adopt_layer", broken)
    with pytest.raises(Internal, match="Input/output error"):
        await store.scratch("a", [ENV])


CHURN = """
import sys, trio
from supervisor.store.database import Database
from supervisor.store.images import ImageStore
from supervisor.store.layout import DataRoot

async def churn(store, name, binary):
    while True:
        image = await store.scratch(name, [binary])
        print("made", name, image.id, flush=True)
        print("removing", name, flush=True)
        await store.remove(image.id, force=True)
        print("removed", name, flush=True)

async def main():
    root = DataRoot(sys.argv[1])
    root.prepare()
    database = await Database.open(root.db)
    store = ImageStore(root, database)
    await store.load()
    await store.sweep(tuple)
    await database.settle()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(churn, store, "env", "/usr/bin/env")
        nursery.start_soon(churn, store, "true", "/bin/true")

trio.run(main)
"""


async def test_kills_in_the_middle_leave_nothing_half_visible(tmp_path: Path) -> None:
    path = tmp_path / "root"
    for lines in (1, 2, 3, 5, 8, 13):
        with subprocess.Popen(
            [sys.executable, "-c", CHURN, str(path)], cwd=REPOSITORY, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            seen = [process.stdout.readline() for _ in range(lines)]
            process.send_signal(signal.SIGKILL)
            seen += process.stdout.readlines()
        state: dict[str, list[str]] = {}
        # A line cut short by the kill was not said: what it announces had not begun.
        for line in (whole for whole in seen if whole.endswith(b"\n")):
            words = line.decode().split()
            state[words[1]] = words
        opened = Opened(path)
        store = await opened.open()
        await store.sweep(tuple)
        images = store.list()
        assert opened.disk() == {name for image in images for name in files_of(image)}
        for image in images:
            for blob in image.blobs:
                content = opened.root.blob(Digest.parse(blob)).read_bytes()
                assert str(Digest.of(content)) == blob
        tags = {tag for image in images for tag in image.tags}
        for name, words in state.items():
            if words[0] == "made":
                assert f"{name}:latest" in tags
        await opened.database.close()
        opened.root.release()
