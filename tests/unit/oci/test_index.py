"""Image indexes: which manifest is for whom, and indexes that nobody should follow."""

from __future__ import annotations

import json
from typing import Any

import pytest

from supervisor.errors import InvalidArgument, NotFound, OrlopError
from supervisor.oci import index, manifest
from supervisor.oci.digest import Digest
from supervisor.oci.index import Found, find_manifest
from supervisor.oci.manifest import Descriptor
from supervisor.oci.platform import Platform, parse

DIFF = "sha256:" + "1" * 64
HOST = parse("linux/amd64")


class Documents:
    """Documents by digest, as a registry or an archive has them."""

    def __init__(self) -> None:
        self.known: dict[Digest, bytes] = {}
        self.asked: list[Digest] = []

    def put(self, document: dict[str, Any] | bytes, media_type: str) -> dict[str, Any]:
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        digest = Digest.of(data)
        self.known[digest] = data
        return {"mediaType": media_type, "digest": str(digest), "size": len(data)}

    def image(self, name: str, media_type: str = manifest.OCI_MANIFEST) -> dict[str, Any]:
        described = {"mediaType": "x", "digest": str(Digest.of(name.encode())), "size": 1}
        document = {
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": described,
            "layers": [],
        }
        return self.put(document, media_type)

    def index(
        self, *entries: dict[str, Any], media_type: str = index.OCI_INDEX, **more: Any
    ) -> dict[str, Any]:
        document = {"schemaVersion": 2, "manifests": entries, **more}
        return self.put(document, media_type)

    def find(self, root: dict[str, Any], wanted: str = "linux/amd64", **options: Any) -> Found:
        described = Descriptor(
            media_type=root["mediaType"], digest=Digest.parse(root["digest"]), size=root["size"]
        )
        search = find_manifest(described, parse(wanted), **options)
        asked = next(search)
        while True:
            self.asked.append(asked.digest)
            try:
                asked = search.send(self.known[asked.digest])
            except StopIteration as over:
                found: Found = over.value
                return found


@pytest.fixture
def documents() -> Documents:
    return Documents()


def of(entry: dict[str, Any], platform: str) -> dict[str, Any]:
    os, architecture, *variant = platform.split("/")
    return {
        **entry,
        "platform": {
            "os": os,
            "architecture": architecture,
            **({"variant": variant[0]} if variant else {}),
        },
    }


@pytest.mark.parametrize("media_type", [manifest.OCI_MANIFEST, manifest.DOCKER_MANIFEST])
def test_a_manifest_is_itself(documents: Documents, media_type: str) -> None:
    root = documents.image("a", media_type)
    found = documents.find(root)
    assert str(found.descriptor.digest) == root["digest"]
    assert Digest.of(found.data) == found.descriptor.digest
    assert found.manifest.media_type == media_type


@pytest.mark.parametrize("media_type", [index.OCI_INDEX, index.DOCKER_LIST])
@pytest.mark.parametrize(
    "wanted, chosen",
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64"),
        ("linux/arm64", "linux/arm64/v8"),
        ("linux/arm64/v8", "linux/arm64/v8"),
        ("linux/arm/v7", "linux/arm/v7"),
        ("linux/arm/v8", "linux/arm/v7"),
        ("linux/arm/v6", "linux/arm/v6"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/386", "linux/386"),
        ("windows/amd64", "windows/amd64"),
    ],
)
def test_the_platform_chooses(
    documents: Documents, media_type: str, wanted: str, chosen: str
) -> None:
    platforms = (
        "windows/amd64",
        "linux/386",
        "linux/arm/v6",
        "linux/arm/v7",
        "linux/arm64/v8",
        "linux/amd64",
    )
    images = {name: documents.image(name) for name in platforms}
    root = documents.index(*(of(images[p], p) for p in platforms), media_type=media_type)
    found = documents.find(root, wanted)
    assert str(found.descriptor.digest) == images[chosen]["digest"]


def test_amd64_runs_386_if_it_must(documents: Documents) -> None:
    old = documents.image("old")
    root = documents.index(of(old, "linux/386"), of(documents.image("b"), "linux/arm64"))
    assert str(documents.find(root).descriptor.digest) == old["digest"]


def test_none_for_the_platform_tells_what_there_is(documents: Documents) -> None:
    root = documents.index(of(documents.image("a"), "linux/s390x"))
    with pytest.raises(NotFound, match=r"no matching manifest for linux/amd64 .*linux/s390x"):
        documents.find(root)
    with pytest.raises(NotFound, match="there are: none"):
        documents.find(documents.index())


def test_attestations_are_no_images(documents: Documents) -> None:
    about = {
        **of(documents.image("about"), "unknown/unknown"),
        "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
    }
    image = of(documents.image("a"), "linux/amd64")
    found = documents.find(documents.index(about, image))
    assert str(found.descriptor.digest) == image["digest"]


def test_an_entry_without_platform_comes_last(documents: Documents) -> None:
    silent, ours = documents.image("silent"), of(documents.image("ours"), "linux/amd64")
    assert str(documents.find(documents.index(silent, ours)).descriptor.digest) == ours["digest"]
    assert str(documents.find(documents.index(silent)).descriptor.digest) == silent["digest"]


def test_an_index_in_an_index(documents: Documents) -> None:
    image = of(documents.image("a"), "linux/amd64")
    inner = documents.index(of(documents.image("b"), "linux/arm64"), image)
    empty = documents.index(of(documents.image("c"), "linux/ppc64le"))
    found = documents.find(documents.index(empty, inner))
    assert str(found.descriptor.digest) == image["digest"]


def test_nesting_is_bounded(documents: Documents) -> None:
    root = documents.image("a")
    for depth in range(5):
        root = documents.index(root, more=depth)
    with pytest.raises(InvalidArgument, match="nested more than 3"):
        documents.find(root)


def test_the_number_of_documents_is_bounded(documents: Documents) -> None:
    inner = [documents.index(more=number) for number in range(100)]
    with pytest.raises(InvalidArgument, match="more than 64 documents"):
        documents.find(documents.index(*inner))
    assert len(documents.asked) <= index.MAX_DOCUMENTS


def test_what_is_not_there_is_passed_over(documents: Documents) -> None:
    gone, there = of(documents.image("gone"), "linux/amd64"), documents.image("there")
    del documents.known[Digest.parse(gone["digest"])]
    found = documents.find(
        documents.index(gone, there), there=lambda digest: digest in documents.known
    )
    assert str(found.descriptor.digest) == there["digest"]


def test_a_document_says_what_it_is_or_is_taken_at_its_word(documents: Documents) -> None:
    image = of(documents.image("a"), "linux/amd64")
    bare = documents.index(image, media_type="application/json")
    assert str(documents.find(bare).descriptor.digest) == image["digest"]


@pytest.mark.parametrize(
    "document, media_type",
    [
        ({"schemaVersion": 1, "fsLayers": []}, "application/json"),
        ({"schemaVersion": 1}, "application/vnd.docker.distribution.manifest.v1+prettyjws"),
        ({"schemaVersion": 2}, "application/vnd.docker.distribution.manifest.v1+json"),
    ],
)
def test_schema_1_is_refused_by_name(
    documents: Documents, document: dict[str, Any], media_type: str
) -> None:
    with pytest.raises(InvalidArgument, match="schema 1"):
        documents.find(documents.put(document, media_type))


ENTRY = {"mediaType": manifest.OCI_MANIFEST, "digest": DIFF, "size": 1}


@pytest.mark.parametrize(
    "change",
    [
        {"manifests": {}},
        {"manifests": [{**ENTRY, "digest": "sha256:../.."}]},
        {"manifests": [{**ENTRY, "size": -1}]},
        {"manifests": [{**ENTRY, "size": "1"}]},
        {"manifests": [{**ENTRY, "platform": []}]},
        {"manifests": [{**ENTRY, "platform": {"os": 1, "architecture": "amd64"}}]},
        {"manifests": [{**ENTRY, "annotations": {"a": 1}}]},
        {"manifests": [ENTRY] * 1001},
        {"layers": []},
        {"config": {}},
        {"schemaVersion": 3},
        {"mediaType": manifest.OCI_MANIFEST},
    ],
)
def test_what_is_no_index_is_refused(change: dict[str, Any]) -> None:
    document = {"schemaVersion": 2, "manifests": [], **change}
    with pytest.raises(InvalidArgument):
        index.parse(json.dumps(document).encode())


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"a":' * 100_000])
def test_what_is_no_document_is_refused(data: bytes) -> None:
    for read in (index.parse, manifest.parse):
        with pytest.raises(InvalidArgument):
            read(data)


def test_a_manifest_that_is_an_index_too_is_refused() -> None:
    document = {"schemaVersion": 2, "config": ENTRY, "layers": [], "manifests": [ENTRY]}
    with pytest.raises(InvalidArgument, match="both"):
        manifest.parse(json.dumps(document).encode())


# --- manifests that are images, and that are not ------------------------------------------


def described(**layer: Any) -> bytes:
    layers = [{"mediaType": manifest.OCI_LAYER_GZIP, "digest": DIFF, "size": 1, **layer}]
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": DIFF, "size": 1}
    return json.dumps(
        {"schemaVersion": 2, "config": config, "layers": layers, "annotations": {"a": "b"}}
    ).encode()


@pytest.mark.parametrize(
    "layer",
    [
        {"urls": ["http://example.com/x"]},
        {"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"},
        {"mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"},
    ],
)
def test_foreign_layers_are_refused(layer: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match="foreign"):
        manifest.parse(described(**layer))


def test_layers_have_known_types() -> None:
    manifest.require_image(manifest.parse(described()))
    manifest.require_image(manifest.parse(described(urls=[])))
    for media_type in ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", "", "text/plain"):
        parsed = manifest.parse(described(mediaType=media_type))
        with pytest.raises(InvalidArgument, match="unsupported media type"):
            manifest.require_image(parsed)


def test_a_chart_is_no_image() -> None:
    document = json.loads(described())
    document["config"]["mediaType"] = "application/vnd.cncf.helm.config.v1+json"
    with pytest.raises(InvalidArgument, match="no container image"):
        manifest.require_image(manifest.parse(json.dumps(document).encode()))


def test_layers_are_bounded() -> None:
    document = json.loads(described())
    document["layers"] *= 501
    with pytest.raises(InvalidArgument, match="501 layers"):
        manifest.parse(json.dumps(document).encode())


@pytest.mark.parametrize(
    "magic, media_type",
    [
        (b"\x1f\x8b\x08\x00", manifest.OCI_LAYER_GZIP),
        (b"\x28\xb5\x2f\xfd", manifest.OCI_LAYER_ZSTD),
        (b"BZh9", None),
        (b"\xfd7zX", None),
        (b"bin/", manifest.OCI_LAYER_TAR),
        (b"", manifest.OCI_LAYER_TAR),
    ],
)
def test_a_layers_type_by_its_first_bytes(magic: bytes, media_type: str | None) -> None:
    assert manifest.layer_type(magic) == media_type


def test_dockers_layers_in_ocis_terms() -> None:
    types = [
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.diff.tar.zstd",
        manifest.OCI_LAYER_ZSTD,
    ]
    layers = [Descriptor(media_type=t, digest=Digest.parse(DIFF), size=1) for t in types]
    assert [layer.media_type for layer in manifest.of_layers(b"{}", layers).layers] == [
        manifest.OCI_LAYER_TAR,
        manifest.OCI_LAYER_GZIP,
        manifest.OCI_LAYER_ZSTD,
        manifest.OCI_LAYER_ZSTD,
    ]


# --- platforms ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, platform",
    [
        ("linux/amd64", Platform(os="linux", architecture="amd64")),
        ("amd64", Platform(os="linux", architecture="amd64")),
        ("Linux/x86_64", Platform(os="linux", architecture="amd64")),
        ("linux/arm64/v8", Platform(os="linux", architecture="arm64")),
        ("linux/aarch64", Platform(os="linux", architecture="arm64")),
        ("linux/arm", Platform(os="linux", architecture="arm", variant="v7")),
        ("linux/armhf", Platform(os="linux", architecture="arm", variant="v7")),
        ("linux/arm/6", Platform(os="linux", architecture="arm", variant="v6")),
        ("linux/amd64/v2", Platform(os="linux", architecture="amd64", variant="v2")),
    ],
)
def test_platforms_have_one_spelling(text: str, platform: Platform) -> None:
    assert parse(text) == platform


@pytest.mark.parametrize("text", ["", "linux", "a/b/c/d", "linux/", "linux/../x", "li nux/a", "\0"])
def test_what_is_no_platform(text: str) -> None:
    with pytest.raises(OrlopError):
        parse(text)
