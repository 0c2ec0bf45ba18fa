"""Archives of images as values: names, links, manifests; configs derived from others."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import InvalidArgument
from supervisor.oci import archive_layout as layout
from supervisor.oci import config, index
from supervisor.oci.archive_layout import Archive, File, SavedImage
from supervisor.oci.archive_names import blob_name, digest_of_name, link_target, normal_name
from supervisor.oci.config import HistoryEntry, ImageConfig
from supervisor.oci.derive import Step, derive
from supervisor.oci.digest import Digest
from supervisor.oci.index import IndexEntry
from supervisor.oci.manifest import OCI_LAYER_GZIP, OCI_MANIFEST, Descriptor
from supervisor.oci.platform import Platform

DIGEST = Digest.of(b"x")
FILE = File(digest=DIGEST, size=1)
HOST = Platform(os="linux", architecture="amd64")


# --- names --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, normal",
    [("a/layer.tar", "a/layer.tar"), ("./a//b/", "a/b"), (".", ""), ("a/./b", "a/b")],
)
def test_names_have_one_spelling(name: str, normal: str) -> None:
    assert normal_name(name) == normal


@pytest.mark.parametrize("name", ["../a", "a/../b", "/a", "a/..", "a\0b", ".."])
def test_names_that_lead_out_are_refused(name: str) -> None:
    with pytest.raises(InvalidArgument, match="leads out of it"):
        normal_name(name)
    with pytest.raises(InvalidArgument):
        Archive(files={}).find(name)


@given(st.text(alphabet="ab./\0", max_size=12), st.text(alphabet="ab./\0", max_size=12))
def test_no_link_leads_out(name: str, target: str) -> None:
    try:
        found = link_target(normal_name(name), target)
    except InvalidArgument:
        return
    assert ".." not in found.split("/")
    assert not found.startswith("/")


def test_links_between_layers() -> None:
    archive = Archive(
        files={"a/layer.tar": FILE},
        links={"b/layer.tar": link_target("b/layer.tar", "../a/layer.tar")},
    )
    assert archive.find("./b/layer.tar") == FILE
    assert archive.find("c/layer.tar") is None
    with pytest.raises(InvalidArgument, match="is not in it"):
        archive.get("c/layer.tar")
    with pytest.raises(InvalidArgument, match="too many links"):
        Archive(files={}, links={"a": "b", "b": "a"}).find("a")


def test_blobs_have_checked_names() -> None:
    assert digest_of_name(blob_name(DIGEST)) == DIGEST
    assert digest_of_name("manifest.json") is None
    assert digest_of_name("blobs/x") is None
    for name in (
        "blobs/sha256/abc",
        f"blobs/md5/{DIGEST.encoded}",
        f"blobs/sha256/x/{DIGEST.encoded}",
    ):
        with pytest.raises(InvalidArgument):
            digest_of_name(name)


# --- docker's manifest.json ---------------------------------------------------------------


def test_a_docker_archive() -> None:
    archive = Archive(files={"c.json": FILE, "l/layer.tar": FILE})
    data = json.dumps(
        [
            {
                "Config": "c.json",
                "RepoTags": ["a:1", "docker.io/library/b:2"],
                "Layers": ["l/layer.tar"],
            }
        ]
    ).encode()
    [image] = layout.parse_docker(data, archive)
    assert (image.config, image.layers, image.tags) == (FILE, (FILE,), ("a:1", "b:2"))
    [bare] = layout.parse_docker(b'[{"Config":"c.json","RepoTags":null,"Layers":null}]', archive)
    assert (bare.layers, bare.tags) == ((), ())


@pytest.mark.parametrize(
    "document",
    [
        {},
        None,
        [[]],
        [{"Config": 1}],
        [{"Config": "../c.json"}],
        [{"Config": "gone.json"}],
        [{"Config": "c.json", "Layers": ["gone/layer.tar"]}],
        [{"Config": "c.json", "Layers": ["../../etc/passwd"]}],
        [{"Config": "c.json", "Layers": "l"}],
        [{"Config": "c.json", "RepoTags": ["BAD:1"]}],
        [{"Config": "c.json", "RepoTags": ["untagged"]}],
        [{"Config": "c.json", "RepoTags": [f"a@{DIGEST}"]}],
        [{"Config": "c.json", "RepoTags": [1]}],
        [{"Config": "c.json"}] * 1001,
    ],
)
def test_what_is_no_docker_archive(document: Any) -> None:
    archive = Archive(files={"c.json": FILE})
    with pytest.raises(InvalidArgument):
        layout.parse_docker(json.dumps(document).encode(), archive)


# --- OCI's index.json ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "annotations, name",
    [
        ({layout.IMAGE_NAME: "docker.io/library/a:1", layout.REF_NAME: "1"}, "a:1"),
        ({layout.IMAGE_NAME: "127.0.0.1:5000/x/y:z"}, "127.0.0.1:5000/x/y:z"),
        ({layout.REF_NAME: "a:1"}, "a:1"),
        ({layout.REF_NAME: "latest"}, None),
        ({layout.REF_NAME: "some NAME: of another program"}, None),
        ({layout.IMAGE_NAME: f"a@{DIGEST}"}, None),
        ({}, None),
    ],
)
def test_names_of_entries(annotations: dict[str, str], name: str | None) -> None:
    described = Descriptor(media_type=OCI_MANIFEST, digest=DIGEST, size=1)
    assert layout.name_of(IndexEntry(descriptor=described, annotations=annotations)) == name


def test_an_index_that_we_write_reads_back() -> None:
    itself = Descriptor(media_type=OCI_MANIFEST, digest=DIGEST, size=3)
    layer = Descriptor(media_type=OCI_LAYER_GZIP, digest=Digest.of(b"l"), size=5)
    images = [
        SavedImage(manifest=itself, config=itself, layers=(layer,), tags=("a:1", "host:5000/b:2")),
        SavedImage(manifest=itself, config=itself, layers=(), tags=()),
    ]
    entries = layout.parse_index(layout.index_json(images))
    assert [layout.name_of(entry) for entry in entries] == ["a:1", "host:5000/b:2", None]
    assert {entry.descriptor for entry in entries} == {itself}
    archive = Archive(files={blob_name(DIGEST): FILE, blob_name(layer.digest): FILE})
    first, second = layout.parse_docker(layout.docker_json(images), archive)
    assert (first.tags, len(first.layers)) == (("a:1", "host:5000/b:2"), 1)
    assert second.tags == ()
    assert json.loads(layout.repositories_json(images)) == {
        "a": {"1": layer.digest.encoded},
        "host:5000/b": {"2": layer.digest.encoded},
    }


def test_layouts_of_other_versions_are_refused() -> None:
    layout.check_layout(layout.LAYOUT_JSON)
    for data in (b'{"imageLayoutVersion":"2.0.0"}', b"{}", b'{"imageLayoutVersion":1}'):
        with pytest.raises(InvalidArgument):
            layout.check_layout(data)
    entry = {"mediaType": OCI_MANIFEST, "digest": str(DIGEST), "size": 1}
    with pytest.raises(InvalidArgument):
        layout.parse_index(
            json.dumps(
                {"schemaVersion": 2, "manifests": [entry] * (index.MAX_ENTRIES + 1)}
            ).encode()
        )


# --- configs and their history ------------------------------------------------------------

PARENT: dict[str, Any] = {
    "architecture": "arm64",
    "os": "linux",
    "os.version": "9",
    "author": "parent",
    "container": "abc",
    "container_config": {"Cmd": ["x"]},
    "config": {"Cmd": ["old"], "Env": ["A=b"]},
    "rootfs": {"type": "layers", "diff_ids": [str(DIGEST)]},
    "history": [
        {"created_by": "below"},
        {"created_by": "CMD", "empty_layer": True, "comment": "c"},
    ],
}


def test_a_derived_config() -> None:
    step = Step(
        diff_id=Digest.of(b"new"), created="2026-01-01T00:00:00Z", created_by="sh", comment="why"
    )
    changed = ImageConfig(cmd=("new",), env=("A=b", "C=d"), on_build=("RUN x",), user="u")
    data = derive(json.dumps(PARENT).encode(), changed, step, HOST)
    file = config.parse(data)
    assert file.config == changed
    assert (file.architecture, file.author, file.comment) == ("arm64", "parent", "why")
    assert file.diff_ids == (DIGEST, Digest.of(b"new"))
    plain = json.loads(data)
    assert plain["os.version"] == "9"
    assert "container" not in plain
    assert "container_config" not in plain
    assert config.parse_history(data) == (
        HistoryEntry(created_by="below"),
        HistoryEntry(created_by="CMD", comment="c", empty_layer=True),
        HistoryEntry(created=step.created, created_by="sh", comment="why"),
    )


def test_a_step_without_a_layer() -> None:
    step = Step(diff_id=None, created="2026-01-01T00:00:00Z", author="me")
    data = derive(json.dumps(PARENT).encode(), ImageConfig(), step, HOST)
    assert config.parse(data).diff_ids == (DIGEST,)
    assert config.parse_history(data)[-1].empty_layer
    assert config.parse(data).author == "me"


def test_a_config_from_nothing() -> None:
    step = Step(diff_id=DIGEST, created="2026-01-01T00:00:00Z")
    arm = Platform(os="linux", architecture="arm", variant="v7")
    file = config.parse(derive(None, ImageConfig(user="u"), step, arm))
    assert (file.architecture, file.variant, file.os) == ("arm", "v7", "linux")
    assert (file.config.user, file.diff_ids) == ("u", (DIGEST,))


@pytest.mark.parametrize(
    "change",
    [
        {"history": {}},
        {"history": [{"empty_layer": "yes"}]},
        {"history": [{"created": 1}]},
        {"history": [[]]},
        {"config": {"Healthcheck": []}},
        {"config": {"Healthcheck": {"Interval": 1 << 64}}},
        {"config": {"OnBuild": [1]}},
        {"config": {"Volumes": {"/a": 1}}},
        {"config": {"ExposedPorts": []}},
    ],
)
def test_type_confusion_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        config.parse(json.dumps({**PARENT, **change}).encode())


def test_a_history_of_other_length_is_tolerated() -> None:
    data = json.dumps({**PARENT, "history": [{}] * 9}).encode()
    assert len(config.parse(data).diff_ids) == 1
    assert len(config.parse_history(data)) == 9
    assert config.parse_history(json.dumps({**PARENT, "history": None}).encode()) == ()
