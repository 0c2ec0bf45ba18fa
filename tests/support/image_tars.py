"""Archives of images made on the spot: docker's and OCI's, well-formed and hostile.

    base = Made([busybox_layer(), layer(file("etc/x", b"1")), layer(whiteout("etc/x"))])
    path.write_bytes(docker_archive([(base, ["a:1"])]))

Bytes are the same for the same content.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zstandard

OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
APPLETS = (
    *("cat", "chmod", "echo", "find", "id", "ln", "ls", "mkdir", "mv", "rm", "sh", "sleep"),
    *("stat", "test", "touch", "true", "wc"),
)
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, "amd64")

Member = tuple[tarfile.TarInfo, bytes]


def sha256(data: bytes) -> str:
    """`sha256:…` of `data`."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


# --- members of a layer -------------------------------------------------------------------


def member(name: str, type: bytes, mode: int, content: bytes = b"", **attributes: Any) -> Member:
    """One member of a tar; `xattrs` go into PAX records as docker writes them."""
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.size = type, mode, len(content)
    info.mtime = 1_700_000_000
    for key, value in attributes.pop("xattrs", {}).items():
        info.pax_headers = {**info.pax_headers, f"SCHILY.xattr.{key}": value}
    for key, value in attributes.items():
        setattr(info, key, value)
    return info, content


def file(name: str, content: bytes = b"", mode: int = 0o644, **attributes: Any) -> Member:
    """A regular file."""
    return member(name, tarfile.REGTYPE, mode, content, **attributes)


def folder(name: str, mode: int = 0o755, **attributes: Any) -> Member:
    """A folder."""
    return member(name, tarfile.DIRTYPE, mode, **attributes)


def symlink(name: str, target: str) -> Member:
    """A symbolic link."""
    return member(name, tarfile.SYMTYPE, 0o777, linkname=target)


def hardlink(name: str, target: str) -> Member:
    """Another name of a file before it."""
    return member(name, tarfile.LNKTYPE, 0o644, linkname=target)


def whiteout(name: str) -> Member:
    """The deletion of what a lower layer has."""
    head, _, tail = name.rpartition("/")
    return file(f"{head}/.wh.{tail}" if head else f".wh.{tail}")


def opaque(name: str) -> Member:
    """A folder's hiding of all that lower layers have in it."""
    return file(f"{name}/.wh..wh..opq")


def layer(*members: Member) -> bytes:
    """An uncompressed layer."""
    return tar(members)


def tar(members: Iterable[Member]) -> bytes:
    """A tar of the members as they are, however odd."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content) if content else None)
    return buffer.getvalue()


def busybox_layer(*more: Member) -> bytes:
    """This host's static busybox with a few applets, and folders that programs expect."""
    path = shutil.which("busybox")
    assert path is not None, "apt-get install busybox-static"
    program = Path(path).read_bytes()
    folders = [folder("bin"), folder("etc"), folder("proc"), folder("sys"), folder("dev")]
    tmp = folder("tmp", 0o1777)
    links = [symlink(f"bin/{applet}", "busybox") for applet in APPLETS]
    return layer(*folders, tmp, file("bin/busybox", program, 0o755), *links, *more)


# --- images -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Made:
    """An image: its layers as uncompressed tars, lowest first."""

    layers: Sequence[bytes]
    config: Mapping[str, Any] = field(default_factory=lambda: {"Cmd": ["/bin/sh"]})
    created: str = "2024-01-02T03:04:05Z"
    platform: Mapping[str, str] = field(
        default_factory=lambda: {"os": "linux", "architecture": ARCHITECTURE}
    )
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def diff_ids(self) -> list[str]:
        return [sha256(data) for data in self.layers]

    @property
    def config_json(self) -> bytes:
        document = {
            **self.platform,
            "created": self.created,
            "config": dict(self.config),
            "rootfs": {"type": "layers", "diff_ids": self.diff_ids},
            "history": [
                {"created": self.created, "created_by": f"layer {number}"}
                for number in range(len(self.layers))
            ],
        }
        return json.dumps({**document, **self.extra}).encode()

    @property
    def id(self) -> str:
        """The digest of its config."""
        return sha256(self.config_json)


def many_layers(count: int) -> Made:
    """`count` layers: busybox, then each adds /count/N and moves /latest on."""
    more = [
        layer(file(f"count/{number}", b"%d\n" % number), file("latest", b"%d\n" % number))
        for number in range(1, count)
    ]
    return Made([busybox_layer(folder("count")), *more])


# --- archives -----------------------------------------------------------------------------

Named = tuple[Made, Sequence[str]]


def docker_archive(images: Sequence[Named], *, links: bool = False) -> bytes:
    """As `docker save` of before 25 wrote it; equal layers as links to the first, if `links`."""
    members: dict[str, Member] = {}
    first: dict[str, str] = {}
    manifest = []
    for made, tags in images:
        paths = []
        for number, data in enumerate(made.layers):
            name = hashlib.sha256(f"{made.id}{number}".encode()).hexdigest()
            path = f"{name}/layer.tar"
            paths.append(path)
            members[name] = folder(name)
            members[f"{name}/VERSION"] = file(f"{name}/VERSION", b"1.0")
            members[f"{name}/json"] = file(f"{name}/json", b"{}")
            known = first.setdefault(sha256(data), path)
            if links and known != path:
                members[path] = symlink(path, f"../{known}")
            else:
                members[path] = file(path, data)
        config = f"{made.id.removeprefix('sha256:')}.json"
        members[config] = file(config, made.config_json)
        manifest.append({"Config": config, "RepoTags": list(tags) or None, "Layers": paths})
    members["manifest.json"] = file("manifest.json", json.dumps(manifest).encode())
    return tar(members.values())


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    "+gzip": lambda data: gzip.compress(data, 1, mtime=0),
    "+zstd": lambda data: zstandard.compress(data, 1),
}


def descriptor(data: bytes, media_type: str, **more: Any) -> dict[str, Any]:
    """As a manifest or an index names a blob."""
    return {"mediaType": media_type, "digest": sha256(data), "size": len(data), **more}


def oci_manifest(made: Made, compression: str = "+gzip") -> tuple[bytes, list[bytes]]:
    """The manifest's bytes, and the blobs it names."""
    layers = [COMPRESSIONS[compression](data) for data in made.layers]
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(made.config_json, OCI_CONFIG),
        "layers": [descriptor(data, OCI_LAYER + compression) for data in layers],
    }
    return json.dumps(manifest).encode(), [made.config_json, *layers]


def oci_archive(images: Sequence[Named], compression: str = "+gzip") -> bytes:
    """An OCI layout as a tar; tags as annotations, as docker writes them."""
    blobs: list[bytes] = []
    entries = []
    for made, tags in images:
        manifest, inside = oci_manifest(made, compression)
        blobs += [manifest, *inside]
        for tag in tags or ("",):
            named = {"annotations": {"io.containerd.image.name": tag}} if tag else {}
            entries.append(descriptor(manifest, OCI_MANIFEST, **named))
    return layout_tar(entries, blobs)


def layout_tar(
    entries: Sequence[Mapping[str, Any]], blobs: Iterable[bytes], *more: Member
) -> bytes:
    """An OCI layout with these entries in its index."""
    index = {"schemaVersion": 2, "manifests": list(entries)}
    unique = {sha256(data).removeprefix("sha256:"): data for data in blobs}
    return tar(
        [
            folder("blobs"),
            folder("blobs/sha256"),
            *(file(f"blobs/sha256/{name}", data) for name, data in unique.items()),
            file("oci-layout", b'{"imageLayoutVersion": "1.0.0"}'),
            file("index.json", json.dumps(index).encode()),
            *more,
        ]
    )
