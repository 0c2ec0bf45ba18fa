"""The image store with real layers: load, save, import; sharing, cancelling, kills, a full disk."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import random
import signal
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
import zstandard

from supervisor.errors import InvalidArgument, NotFound, OrlopError, Unavailable
from supervisor.oci import manifest as oci_manifest
from supervisor.oci.chain import chain_ids
from supervisor.oci.config import ImageConfig, parse
from supervisor.oci.digest import Digest
from supervisor.oci.platform import parse as platform
from supervisor.snapshot.decompress import Source
from supervisor.snapshot.plain import unless_bomb
from supervisor.store import archive_load, archive_save, image_make
from supervisor.store.image_make import Making, Upper
from supervisor.store.images import ImageStore
from supervisor.store.work import work
from tests.support import image_tars as made
from tests.support import places
from tests.support.image_store import OpenStore, load, pieces, save
from tests.support.image_tars import Made
from tests.support.pace import limit

REPOSITORY = Path(__file__).parents[2]
MEMORY = Path("/dev/shm")
SMALL = Made([made.layer(made.folder("etc"), made.file("etc/a", b"1")), made.layer(made.file("b"))])


def module_of(function: Any) -> str:
    """A name that is the same in every run."""
    return str(function.__module__)


@pytest.fixture
async def opened() -> AsyncIterator[OpenStore]:
    """A store in memory: what is tested is order, not the disk."""
    with tempfile.TemporaryDirectory(prefix=f"{places.random_name()}.", dir=MEMORY) as folder:
        opened = OpenStore(Path(folder) / "root")
        await opened.open()
        yield opened
        await opened.close()


@pytest.fixture
def store(opened: OpenStore) -> ImageStore:
    return opened.store


def content(store: ImageStore, ref: str) -> dict[str, bytes]:
    """Path → content of the files in an image's layers, each as it is unpacked."""
    found = {}
    for number, lower in enumerate(reversed(store.lowers(store.get(ref)))):
        for path in lower.rglob("*"):
            if path.is_file() and not path.is_symlink():
                found[f"{number}/{path.relative_to(lower)}"] = path.read_bytes()
    return found


# --- loading ------------------------------------------------------------------------------


@pytest.mark.parametrize("links", [False, True])
async def test_a_docker_archive(opened: OpenStore, store: ImageStore, links: bool) -> None:
    again = Made([*SMALL.layers, SMALL.layers[0]], config={"Cmd": ["other"]})
    archive = made.docker_archive([(SMALL, ["a:1", "a:2"]), (again, [])], links=links)
    loaded = await load(store, archive)
    assert [(one.image.id, one.tag) for one in loaded] == [
        (SMALL.id, "a:1"),
        (SMALL.id, "a:2"),
        (again.id, None),
    ]
    image = store.get("a:1")
    assert image.tags == ("a:1", "a:2")
    assert image.layers == tuple(SMALL.diff_ids)
    assert image.config_json == SMALL.config_json
    assert image.layer_sizes == (1, 0)
    assert content(store, "a:1") == {"0/etc/a": b"1", "1/b": b""}
    # The chain id of a layer above the first is not its diff id; equal layers at different
    # places are different folders, equal blobs one file.
    assert len(os.listdir(opened.root.layers)) == 3
    assert opened.disk() == opened.expected()
    reopened = [image.config_json for image in store.list()]
    await opened.database.close()
    assert [image.config_json for image in (await opened.open()).list()] == reopened
    assert opened.disk() == opened.expected()


@pytest.mark.parametrize("compression", ["", "+gzip", "+zstd"])
async def test_an_oci_archive(opened: OpenStore, store: ImageStore, compression: str) -> None:
    archive = made.oci_archive([(SMALL, ["docker.io/library/a:1"])], compression)
    [loaded] = await load(store, archive)
    manifest, _ = made.oci_manifest(SMALL, compression)
    assert (loaded.image.id, loaded.tag) == (SMALL.id, "a:1")
    assert loaded.image.manifest == str(Digest.of(manifest))
    for blob in loaded.image.blobs:
        assert str(Digest.of(opened.root.blob(Digest.parse(blob)).read_bytes())) == blob
    assert opened.disk() == opened.expected()


@pytest.mark.parametrize(
    "compress", [gzip.compress, bz2.compress, lzma.compress, zstandard.compress], ids=module_of
)
async def test_a_compressed_archive(opened: OpenStore, store: ImageStore, compress: Any) -> None:
    await load(store, compress(made.docker_archive([(SMALL, ["a:1"])])))
    assert store.get("a:1").id == SMALL.id
    assert opened.disk() == opened.expected()


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress], ids=module_of)
async def test_compressed_layers_of_docker(
    opened: OpenStore, store: ImageStore, compress: Any
) -> None:
    config = SMALL.config_json
    archive = made.tar(
        [
            made.file("c.json", config),
            *(made.file(f"{n}.tar", compress(data)) for n, data in enumerate(SMALL.layers)),
            made.file(
                "manifest.json",
                json.dumps(
                    [{"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["0.tar", "1.tar"]}]
                ).encode(),
            ),
        ]
    )
    await load(store, archive)
    assert content(store, "a:1") == {"0/etc/a": b"1", "1/b": b""}
    assert opened.disk() == opened.expected()


async def test_a_tag_moves_and_that_is_told(store: ImageStore) -> None:
    other = Made(SMALL.layers, config={"Cmd": ["other"]})
    await load(store, made.docker_archive([(SMALL, ["a:1"])]))
    [loaded] = await load(store, made.docker_archive([(other, ["a:1"])]))
    assert loaded.replaced == SMALL.id
    assert store.get("a:1").id == other.id
    assert store.get(SMALL.id).tags == ()
    [again] = await load(store, made.docker_archive([(other, ["a:1"])]))
    assert again.replaced is None


async def test_of_several_platforms_ours_is_loaded(opened: OpenStore, store: ImageStore) -> None:
    blobs, entries = [], []
    for name in ("amd64", "arm64", "s390x"):
        os_and_arch = {"os": "linux", "architecture": name}
        one = Made(SMALL.layers, platform=os_and_arch)
        data, inside = made.oci_manifest(one)
        blobs += [data, *inside]
        entries.append(made.descriptor(data, made.OCI_MANIFEST, platform=os_and_arch))
    index = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()
    named = {"annotations": {"io.containerd.image.name": "docker.io/library/multi:1"}}
    nested = made.layout_tar([made.descriptor(index, made.OCI_INDEX, **named)], [index, *blobs])
    flat = made.layout_tar([{**entry, **named} for entry in entries], blobs)
    for archive in (nested, flat):
        for wanted in ("linux/s390x", "linux/arm64"):
            [loaded] = await load(store, archive, platform(wanted))
            assert loaded.image.architecture == wanted.partition("/")[2]
            assert store.get("multi:1").id == loaded.image.id
        with pytest.raises(NotFound):
            await load(store, archive, platform("linux/riscv64"))
    # What docker saves of one platform has the index of all of them and the blobs of one.
    partial = made.layout_tar(
        [made.descriptor(index, made.OCI_INDEX, **named)], [index, *blobs[:4]]
    )
    [loaded] = await load(store, partial, platform("linux/amd64"))
    assert loaded.image.architecture == "amd64"
    assert opened.disk() == opened.expected()


async def test_what_lies_beside_in_an_archive_goes(opened: OpenStore, store: ImageStore) -> None:
    manifest, inside = made.oci_manifest(SMALL)
    archive = made.layout_tar(
        [made.descriptor(manifest, made.OCI_MANIFEST)],
        [manifest, *inside, b"something else"],
        made.file("README", b"hello"),
    )
    [loaded] = await load(store, archive)
    assert loaded.tag is None
    assert opened.disk() == opened.expected()


# --- saving -------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["", "+gzip", "+zstd"])
async def test_what_is_saved_comes_back_with_every_digest(
    opened: OpenStore, store: ImageStore, compression: str
) -> None:
    await load(store, made.oci_archive([(SMALL, ["docker.io/library/a:1"])], compression))
    await store.tag("a:1", "127.0.0.1:5000/b:2")
    before = store.get("a:1")
    archive = await save(store, "a:1", "127.0.0.1:5000/b:2")
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        names = tar.getnames()
        for name in names:
            if name.startswith("blobs/sha256/"):
                file = tar.extractfile(name)
                assert file is not None
                assert Digest.of(file.read()).encoded == name.rpartition("/")[2]
    assert {"oci-layout", "index.json", "manifest.json", "repositories"} < set(names)
    await store.remove(before.id, force=True)
    assert opened.disk() == set()
    await load(store, archive)
    after = store.get("a:1")
    assert (after.id, after.manifest, after.blobs) == (before.id, before.manifest, before.blobs)
    assert after.tags == before.tags
    assert await save(store, "a:1", "127.0.0.1:5000/b:2") == archive


async def test_names_for_saving(store: ImageStore) -> None:
    await load(store, made.docker_archive([(SMALL, ["a:1", "a:2", "b:1"])]))

    async def tags(*refs: str) -> list[list[str] | None]:
        with tarfile.open(fileobj=io.BytesIO(await save(store, *refs))) as tar:
            file = tar.extractfile("manifest.json")
            assert file is not None
            return [image["RepoTags"] for image in json.load(file)]

    assert await tags("a:1") == [["a:1"]]
    assert await tags("a") == [["a:1", "a:2"]]
    assert await tags(SMALL.id) == [None]
    assert await tags("a", "b:1", SMALL.id[7:19]) == [["a:1", "a:2", "b:1"]]
    with pytest.raises(NotFound, match="No such image: a:3"):
        await save(store, "a:3")
    with pytest.raises(NotFound, match="No such image: c:latest"):
        await save(store, "a", "c")


async def test_an_image_removed_while_it_is_saved_stays_whole(
    opened: OpenStore, store: ImageStore
) -> None:
    await load(store, made.docker_archive([(SMALL, ["a:1"])]))
    whole = await save(store, "a:1")
    async with archive_save.saving(store, ["a:1"]) as (_, parts):
        head = await anext(parts)
        await store.remove("a:1")
        assert head + b"".join([part async for part in parts]) == whole
    assert opened.disk() == set()


# --- hostile archives ---------------------------------------------------------------------

GOOD, INSIDE = made.oci_manifest(SMALL)
ENTRY = made.descriptor(GOOD, made.OCI_MANIFEST)
DOCKER = json.dumps([{"Config": "c.json", "Layers": ["a.tar"]}]).encode()


def changed_manifest(**change: Any) -> bytes:
    """An OCI archive of an image whose manifest says something else."""
    manifest = json.dumps({**json.loads(GOOD), **change}).encode()
    return made.layout_tar([made.descriptor(manifest, made.OCI_MANIFEST)], [manifest, *INSIDE])


def docker_of(*members: made.Member) -> bytes:
    return made.tar([*members, made.file("manifest.json", DOCKER)])


def swapped_layers() -> bytes:
    config = json.loads(SMALL.config_json)
    config["rootfs"]["diff_ids"].reverse()
    return made.tar(
        [
            made.file("c.json", json.dumps(config).encode()),
            *(made.file(f"{n}.tar", data) for n, data in enumerate(SMALL.layers)),
            made.file(
                "manifest.json",
                json.dumps([{"Config": "c.json", "Layers": ["0.tar", "1.tar"]}]).encode(),
            ),
        ]
    )


HOSTILE: Mapping[str, bytes] = {
    "nothing": b"",
    "no tar": b"x" * 5000,
    "cut off": made.docker_archive([(SMALL, ["a:1"])])[:2000],
    "an empty tar": made.tar([]),
    "no image": made.tar([made.file("README")]),
    "an absolute name": docker_of(made.file("/etc/passwd")),
    "a name upwards": docker_of(made.file("../../etc/passwd")),
    "a name upwards and back": docker_of(made.file("a/../../b")),
    "a layer upwards": made.tar(
        [
            made.file("c.json", SMALL.config_json),
            made.file("manifest.json", b'[{"Config":"c.json","Layers":["../../etc/passwd"]}]'),
        ]
    ),
    "a link upwards": docker_of(made.symlink("a.tar", "../../../etc/passwd")),
    "an absolute link": docker_of(made.symlink("a.tar", "/etc/passwd")),
    "a hard link upwards": docker_of(made.hardlink("a.tar", "../etc/passwd")),
    "links in a circle": docker_of(
        made.file("c.json", SMALL.config_json),
        made.symlink("a.tar", "b.tar"),
        made.symlink("b.tar", "a.tar"),
    ),
    "a link for a config": docker_of(made.symlink("c.json", "gone")),
    "a device": docker_of(made.member("a.tar", tarfile.CHRTYPE, 0o600, devmajor=1, devminor=3)),
    "a pipe": docker_of(made.member("a.tar", tarfile.FIFOTYPE, 0o600)),
    "a folder for a layer": docker_of(made.file("c.json", SMALL.config_json), made.folder("a.tar")),
    "too few layers": docker_of(made.file("c.json", SMALL.config_json), made.file("a.tar", b"")),
    "layers in another order": swapped_layers(),
    "a config that is none": docker_of(made.file("c.json", b"{}"), made.file("a.tar")),
    "a manifest that is none": made.tar([made.file("manifest.json", b"[1]")]),
    "a deep manifest": made.tar([made.file("manifest.json", b"[" * 100_000)]),
    "a huge manifest": made.tar([made.file("manifest.json", b" " * (5 << 20))]),
    "a blob of another digest": made.layout_tar(
        [ENTRY], [], *(made.file(f"blobs/sha256/{made.sha256(b'x')[7:]}", b) for b in INSIDE)
    ),
    "a blob with a false name": made.layout_tar([ENTRY], [GOOD], made.file("blobs/sha256/../x")),
    "a blob with no digest": made.layout_tar([ENTRY], [GOOD], made.file("blobs/sha256/x")),
    "no manifest": made.layout_tar([ENTRY], INSIDE),
    "no config": made.layout_tar([ENTRY], [GOOD, *INSIDE[1:]]),
    "no layer": made.layout_tar([ENTRY], [GOOD, *INSIDE[:2]]),
    "a wrong size": made.layout_tar([{**ENTRY, "size": 5}], [GOOD, *INSIDE]),
    "a digest upwards": made.layout_tar([{**ENTRY, "digest": "sha256:../../x"}], [GOOD]),
    "a layout of another version": made.tar(
        [made.file("oci-layout", b'{"imageLayoutVersion":"9"}'), made.file("index.json", b"{}")]
    ),
    "schema 1": changed_manifest(schemaVersion=1),
    "a foreign layer": changed_manifest(
        layers=[
            made.descriptor(INSIDE[1], made.OCI_LAYER + "+gzip", urls=["http://127.0.0.1/x"]),
            made.descriptor(INSIDE[2], made.OCI_LAYER + "+gzip"),
        ]
    ),
    "layers of text": changed_manifest(
        layers=[made.descriptor(data, "text/plain") for data in INSIDE[1:]]
    ),
    "layer sizes that are wrong": changed_manifest(
        layers=[
            {**made.descriptor(data, made.OCI_LAYER + "+gzip"), "size": 3} for data in INSIDE[1:]
        ]
    ),
    "layers that are no tars": made.docker_archive([(Made([b"garbage" * 1000]), ["a:1"])]),
    "a layer upwards inside": made.docker_archive(
        [(Made([made.layer(made.file("../../escaped", b"x"))]), ["a:1"])]
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
async def test_hostile_archives_are_refused(
    opened: OpenStore, store: ImageStore, what: str
) -> None:
    before = sorted(os.listdir(opened.root.path))
    with pytest.raises(OrlopError) as caught:
        await load(store, HOSTILE[what])
    assert caught.value.status in (400, 404), caught.value
    assert caught.value.message
    assert store.list() == []
    assert opened.disk() == set()
    assert sorted(os.listdir(opened.root.path)) == before
    await load(store, made.docker_archive([(SMALL, ["a:1"])]))
    assert opened.disk() == opened.expected()


async def test_images_before_the_broken_one_are_there(opened: OpenStore, store: ImageStore) -> None:
    broken = Made([b"garbage" * 1000])
    with pytest.raises(InvalidArgument):
        await load(store, made.docker_archive([(SMALL, ["a:1"]), (broken, ["b:1"])]))
    assert [image.tags for image in store.list()] == [("a:1",)]
    assert opened.disk() == opened.expected()


async def test_a_client_that_leaves_costs_nothing(opened: OpenStore, store: ImageStore) -> None:
    async def half() -> AsyncIterator[bytes]:
        yield made.docker_archive([(SMALL, ["a:1"])])[:3000]
        raise InvalidArgument("the request body ended early")

    with pytest.raises(InvalidArgument, match="ended early"):
        await archive_load.load(store, half(), platform("linux/amd64"), print)
    assert opened.disk() == set()


# --- once for all -------------------------------------------------------------------------


async def test_many_loads_unpack_each_layer_once(
    opened: OpenStore, store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpacked: list[str] = []

    async def counted(operation: str, arguments: Mapping[str, Any], **options: Any) -> Any:
        if operation == "unpack":
            unpacked.append(arguments["diff_id"])
        return await work(operation, arguments, **options)

    monkeypatch.setattr("supervisor.store.layers.work", counted)
    archives = [made.docker_archive([(SMALL, [f"a:{n}"])]) for n in range(3)]
    archives += [made.oci_archive([(SMALL, [f"docker.io/library/b:{n}"])]) for n in range(3)]
    async with trio.open_nursery() as nursery:
        for archive in archives:
            nursery.start_soon(load, store, archive)
    assert sorted(unpacked) == sorted(SMALL.diff_ids)
    assert len(store.get("a:0").tags) == 6
    assert opened.disk() == opened.expected()


async def test_if_the_first_is_cancelled_the_next_unpacks(
    opened: OpenStore, store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = trio.Event()

    async def stuck(operation: str, arguments: Mapping[str, Any], **options: Any) -> Any:
        if operation == "unpack" and not begun.is_set():
            begun.set()
            await trio.sleep_forever()
        return await work(operation, arguments, **options)

    monkeypatch.setattr("supervisor.store.layers.work", stuck)
    archive = made.docker_archive([(SMALL, ["a:1"])])
    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def first() -> None:
            with scope:
                await load(store, archive)

        nursery.start_soon(first)
        await begun.wait()
        nursery.start_soon(load, store, archive)
        await trio.sleep(0.2)
        scope.cancel()
    assert store.get("a:1").id == SMALL.id
    assert opened.disk() == opened.expected()


async def test_cancelled_anywhere_nothing_is_left(opened: OpenStore, store: ImageStore) -> None:
    archive = made.docker_archive([(made.many_layers(3), ["a:1"])])
    for delay in (0.0, 0.005, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3):
        with trio.move_on_after(delay):
            await load(store, archive)
        assert opened.disk() == opened.expected()
        for image in store.list():
            await store.remove(image.id)


async def test_layers_go_with_their_last_user(opened: OpenStore, store: ImageStore) -> None:
    taller = Made([*SMALL.layers, made.layer(made.file("c", b"333"))])
    await load(store, made.docker_archive([(SMALL, ["a:1"]), (taller, ["b:1"])]))
    assert len(os.listdir(opened.root.layers)) == 3
    removed = await store.remove("b:1")
    assert sum("Deleted" in record for record in removed) == 2  # the image and its own layer
    assert content(store, "a:1") == {"0/etc/a": b"1", "1/b": b""}
    assert opened.disk() == opened.expected()
    removed = await store.remove("a:1")
    chain = chain_ids(map(Digest.parse, SMALL.diff_ids))
    assert [record["Deleted"] for record in removed[2:]] == [str(c) for c in reversed(chain)]
    assert opened.disk() == set()


async def test_pruning(opened: OpenStore, store: ImageStore) -> None:
    other = Made(SMALL.layers[:1], config={"Cmd": ["other"]})
    await load(store, made.docker_archive([(SMALL, ["a:1"]), (other, [])]))
    records, reclaimed = await store.prune(lambda image: not image.tags)
    assert (records, reclaimed) == ([{"Deleted": other.id}], 0)  # its layer is shared
    records, reclaimed = await store.prune(lambda _: True)
    assert (records[0], records[1], reclaimed) == ({"Untagged": "a:1"}, {"Deleted": SMALL.id}, 1)
    assert opened.disk() == set()


# --- made here ----------------------------------------------------------------------------

ROOT_TAR = made.layer(
    made.folder("etc"),
    made.file("etc/one", b"1", 0o4755),
    made.hardlink("etc/two", "etc/one"),
    made.symlink("link", "etc/one"),
    made.file("xattr", b"x", xattrs={"user.colour": "blue"}),
)


@pytest.mark.parametrize(
    "compress",
    [bytes, gzip.compress, bz2.compress, lzma.compress, zstandard.compress],
    ids=module_of,
)
async def test_an_image_of_a_tar(opened: OpenStore, store: ImageStore, compress: Any) -> None:
    making = Making(config=ImageConfig(cmd=("x",)), tag="imp:1", comment="why")
    image = await image_make.from_tar(store, pieces(compress(ROOT_TAR)), making)
    assert image.tags == ("imp:1",)
    assert image.layers == (made.sha256(ROOT_TAR),)
    assert (image.config.cmd, image.comment) == (("x",), "why")
    [lower] = store.lowers(image)
    assert stat.S_IMODE((lower / "etc/one").stat().st_mode) == 0o4755
    assert (lower / "etc/two").stat().st_ino == (lower / "etc/one").stat().st_ino
    assert (lower / "link").readlink() == Path("etc/one")
    assert os.getxattr(lower / "xattr", "user.colour") == b"blue"
    assert opened.disk() == opened.expected()
    described = oci_manifest.parse(opened.root.blob(Digest.parse(image.manifest)).read_bytes())
    oci_manifest.require_image(described)


@pytest.mark.parametrize("data", [b"", b"x" * 2000, ROOT_TAR[:1800]])
async def test_no_image_of_what_is_no_tar(
    opened: OpenStore, store: ImageStore, data: bytes
) -> None:
    with pytest.raises(InvalidArgument):
        await image_make.from_tar(store, pieces(data), Making(config=ImageConfig(), tag="a"))
    assert opened.disk() == set()


async def test_a_name_that_is_none_is_refused_before_the_work(store: ImageStore) -> None:
    for tag in ("BAD", f"a@{SMALL.id}", "f" * 64, "a:b:c"):
        with pytest.raises(InvalidArgument):
            Making(config=ImageConfig(), tag=tag)


async def test_an_image_of_a_folder(opened: OpenStore, store: ImageStore, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "bin").mkdir(parents=True)
    (tree / "bin/run").write_bytes(b"#!/bin/sh\n")
    (tree / "bin/run").chmod(0o755)
    making = Making(config=ImageConfig(), tag="tree:1", created_by="test")
    image = await image_make.from_folder(store, str(tree), making)
    assert content(store, "tree:1") == {"0/bin/run": b"#!/bin/sh\n"}
    assert opened.disk() == opened.expected()
    for folder in (str(tree / "bin/run"), str(tree / "gone"), str(opened.root.path), "/"):
        with pytest.raises(InvalidArgument):
            await image_make.from_folder(store, folder, making)
    assert parse(image.config_json).diff_ids == tuple(map(Digest.parse, image.layers))
    assert opened.disk() == opened.expected()


async def test_an_image_on_top_of_another(
    opened: OpenStore, store: ImageStore, tmp_path: Path
) -> None:
    await load(store, made.docker_archive([(SMALL, ["a:1"])]))
    parent = store.get("a:1")
    upper = tmp_path / "upper"
    (upper / "etc").mkdir(parents=True)
    (upper / "etc/new").write_bytes(b"new")
    os.mknod(upper / "etc/a", stat.S_IFCHR, 0)  # how overlayfs says that it is deleted
    (upper / "hosts").touch()
    above = Upper(
        folder=str(upper), lowers=list(map(str, store.lowers(parent))), without=["/hosts"]
    )
    making = Making(config=ImageConfig(cmd=("y",)), tag="b:1", author="me", comment="c")
    image = await image_make.from_upper(store, parent, above, making)
    assert image.parent == parent.id
    assert image.layers[:2] == parent.layers
    with tarfile.open(opened.root.blob(Digest.parse(image.layers[2]))) as tar:
        assert set(tar.getnames()) == {"etc", "etc/new", "etc/.wh.a"}
    status = (store.lowers(image)[0] / "etc/a").lstat()
    assert stat.S_ISCHR(status.st_mode)
    assert status.st_rdev == 0
    assert opened.disk() == opened.expected()
    await store.remove("a:1")  # the layers that the child has stay
    assert content(store, "b:1").keys() == {"0/etc/a", "1/b", "2/etc/new"}
    assert opened.disk() == opened.expected()


async def test_an_image_with_nothing_new_has_no_new_layer(
    store: ImageStore, tmp_path: Path
) -> None:
    await load(store, made.docker_archive([(SMALL, ["a:1"])]))
    parent = store.get("a:1")
    upper = tmp_path / "upper"
    upper.mkdir()
    above = Upper(folder=str(upper), lowers=list(map(str, store.lowers(parent))))
    making = Making(config=ImageConfig(cmd=("y",)), tag="b:1")
    image = await image_make.from_upper(store, parent, above, making)
    assert image.layers == parent.layers
    assert image.id != parent.id


# --- kills and a full disk ----------------------------------------------------------------

CHURN = """
import sys, trio
from pathlib import Path
from tests.support import image_tars as made
from tests.support import places
from tests.support.image_store import OpenStore, load

async def churn(store, name, archive):
    while True:
        print("loading", name, flush=True)
        await load(store, archive)
        print("loaded", name, flush=True)
        await store.remove(f"{name}:1")

async def main():
    opened = OpenStore(Path(sys.argv[1]))
    store = await opened.open()
    image = made.many_layers(4)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(churn, store, "a", made.docker_archive([(image, ["a:1"])]))
        nursery.start_soon(
            churn, store, "b", made.oci_archive([(image, ["docker.io/library/b:1"])], "+zstd")
        )

trio.run(main)
"""


async def test_killed_anywhere_nothing_is_half_visible() -> None:
    randomly = random.Random(int(time.time()))
    with tempfile.TemporaryDirectory(prefix=f"{places.random_name()}.", dir=MEMORY) as folder:
        path = Path(folder) / "root"
        for _ in range(8):
            with subprocess.Popen(
                [sys.executable, "-c", CHURN, str(path)], cwd=REPOSITORY, stdout=subprocess.PIPE
            ) as process:
                assert process.stdout is not None
                process.stdout.readline()
                await trio.sleep(randomly.uniform(0, limit(0.6)))
                process.send_signal(signal.SIGKILL)
                process.communicate()
            await _check_after_kill(path)


async def _check_after_kill(path: Path) -> None:
    opened = OpenStore(path)
    with trio.fail_after(limit(10)):
        while True:  # workers die with their supervisor, but not in the same instant
            store = await opened.open()
            if opened.disk() == opened.expected():
                break
            await opened.database.close()
            await trio.sleep(0.05)
    for image in store.list():
        for blob in image.blobs:
            data = opened.root.blob(Digest.parse(blob)).read_bytes()
            assert str(Digest.of(data)) == blob
        assert (store.lowers(image)[0] / "latest").read_bytes() == b"3\n"
    await opened.close()


FULL = """
import sys, trio
from pathlib import Path
from supervisor.errors import Unavailable
from supervisor.kernel import mounts
from tests.support import image_tars as made
from tests.support import places
from tests.support.image_store import OpenStore, load, save

async def main(path):
    opened = OpenStore(path / "root")
    store = await opened.open()
    await load(store, made.docker_archive([(made.many_layers(2), ["kept:1"])]))
    before = opened.disk()
    filler = made.layer(made.file("big", bytes(range(256)) * 40_000))
    for size in range(1, 4):
        big = made.Made([made.busybox_layer(), *[filler] * size])
        try:
            await load(store, made.docker_archive([(big, ["big:1"])]))
        except Unavailable as error:
            print(error)
        else:
            print("it fits")
            await store.remove("big:1")
        assert opened.disk() == before, opened.disk() ^ before
    await load(store, made.docker_archive([(made.many_layers(3), ["after:1"])]))
    assert await save(store, "after:1")
    await opened.close()

path = Path(sys.argv[1])
mounts.mount("none", "/", "", mounts.MS_REC | mounts.MS_PRIVATE, "")
mounts.mount("tmpfs", str(path), "tmpfs", 0, "size=24m")
trio.run(main, path)
"""


def test_a_full_disk_is_told_and_given_back(tmp_path: Path) -> None:
    result = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", FULL, str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=limit(60),
    )
    assert result.returncode == 0, result.stderr
    told = result.stdout.splitlines()
    assert any("no space left" in line.lower() for line in told), told


async def test_a_damaged_blob_is_told_when_it_is_saved(
    opened: OpenStore, store: ImageStore
) -> None:
    await load(store, made.docker_archive([(SMALL, ["a:1"])]))
    opened.root.blob(Digest.parse(store.get("a:1").layers[0])).write_bytes(b"short")
    with pytest.raises(OrlopError, match="is damaged"):
        await save(store, "a:1")
    opened.root.blob(Digest.parse(store.get("a:1").layers[0])).unlink()
    with pytest.raises(OrlopError, match="is not there"):
        await save(store, "a:1")


async def test_a_read_only_disk_is_unavailable(store: ImageStore) -> None:
    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system", "/data")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("supervisor.store.blobs.adopt_blob", refuse)
        with pytest.raises(Unavailable, match="Read-only"):
            await load(store, made.docker_archive([(SMALL, ["a:1"])]))
    assert store.list() == []


def test_what_grows_beyond_reason_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "small"
    path.write_bytes(b"x")
    with path.open("rb") as file:
        source = Source(file.fileno())
        part = bytes(64 << 20)
        with pytest.raises(InvalidArgument, match="times its compressed size"):
            for _ in unless_bomb(source, [part] * 200):
                pass
        assert sum(len(one) for one in unless_bomb(source, [part] * 20)) == 20 * len(part)
