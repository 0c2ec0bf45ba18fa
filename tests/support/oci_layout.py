"""Images made on the spot, as OCI layouts: layers of a few files, manifests, an index.

Bytes are the same for the same content, so digests may be compared. What is odd about an image
(a wrong size, a foreign layer, somebody else's media type) is changed in `manifest` before
`Layout.add`.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"

Files = Mapping[str, bytes]


def digest(data: bytes) -> str:
    """`sha256:…` of `data`."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that no compression makes smaller, the same for each seed."""
    return random.Random(seed).randbytes(size)


def layer_tar(files: Files) -> bytes:
    """An uncompressed layer; programs are what lies in bin/."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mode = 0o755 if name.startswith("bin/") else 0o644
            entry.mtime = 1_700_000_000
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@dataclass(frozen=True)
class Blob:
    """A blob and how a manifest names it."""

    data: bytes
    media_type: str

    @property
    def digest(self) -> str:
        return digest(self.data)

    @property
    def descriptor(self) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.data)}


@dataclass(frozen=True)
class TestImage:
    """One platform's image; `manifest` are the bytes of its manifest."""

    __test__ = False

    manifest: bytes
    config: Blob
    layers: tuple[Blob, ...]
    platform: Mapping[str, str]

    @property
    def digest(self) -> str:
        """Of its manifest."""
        return digest(self.manifest)

    @property
    def id(self) -> str:
        """The image's id: the digest of its config."""
        return self.config.digest

    @property
    def descriptor(self) -> dict[str, Any]:
        """As an index names it."""
        media_type = json.loads(self.manifest).get("mediaType", OCI_MANIFEST)
        return {
            "mediaType": media_type,
            "digest": self.digest,
            "size": len(self.manifest),
            "platform": dict(self.platform),
        }


def image(
    *layers: Files,
    platform: str = "linux/amd64",
    compress: bool = True,
    config: Mapping[str, Any] | None = None,
) -> TestImage:
    """An image of these layers, lowest first."""
    tars = [layer_tar(files) for files in layers]
    names = dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False))
    document = {
        **names,
        "created": "2024-01-02T03:04:05Z",
        "config": dict(config or {}),
        "rootfs": {"type": "layers", "diff_ids": [digest(tar) for tar in tars]},
        "history": [{"created_by": f"layer {number}"} for number in range(len(tars))],
    }
    blobs = tuple(
        Blob(gzip.compress(tar, 6, mtime=0), f"{OCI_LAYER}+gzip")
        if compress
        else Blob(tar, OCI_LAYER)
        for tar in tars
    )
    described = Blob(json.dumps(document).encode(), OCI_CONFIG)
    return TestImage(
        manifest=manifest(described, blobs), config=described, layers=blobs, platform=names
    )


def manifest(config: Blob, layers: Sequence[Blob]) -> bytes:
    """The bytes of a manifest."""
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": config.descriptor,
            "layers": [layer.descriptor for layer in layers],
        }
    ).encode()


def index(images: Sequence[TestImage]) -> bytes:
    """The bytes of an index over images of several platforms."""
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [one.descriptor for one in images],
        }
    ).encode()


class Layout:
    """A folder in the form of OCI image-layout; what is added has a name in its index."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._named: list[dict[str, Any]] = []
        (path / "blobs/sha256").mkdir(parents=True)
        (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def add(self, name: str, *images: TestImage) -> str:
        """An image, or an index over several, under `name`; the digest of what has the name."""
        for one in images:
            for data in (one.manifest, one.config.data, *(layer.data for layer in one.layers)):
                self._put(data)
        if len(images) == 1:
            data, media_type = images[0].manifest, images[0].descriptor["mediaType"]
        else:
            data, media_type = index(images), OCI_INDEX
            self._put(data)
        self._named.append(
            {
                **Blob(data, str(media_type)).descriptor,
                "annotations": {"org.opencontainers.image.ref.name": name},
            }
        )
        table = {"schemaVersion": 2, "manifests": self._named}
        (self.path / "index.json").write_text(json.dumps(table))
        return digest(data)

    def _put(self, data: bytes) -> None:
        (self.path / "blobs/sha256" / digest(data).removeprefix("sha256:")).write_bytes(data)
