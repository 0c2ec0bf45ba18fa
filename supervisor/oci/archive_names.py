"""Names in an archive of images: looked up in what the archive has, never made paths of.

Standard library only: what reads a hostile archive loads no more than this.
"""

from __future__ import annotations

import posixpath

from supervisor.errors import InvalidArgument
from supervisor.oci.digest import Digest

OCI_LAYOUT = "oci-layout"
INDEX = "index.json"
DOCKER_MANIFEST = "manifest.json"
REPOSITORIES = "repositories"


def blob_name(digest: Digest) -> str:
    """The name of a blob in an OCI layout."""
    return f"blobs/{digest.algorithm}/{digest.encoded}"


def digest_of_name(name: str) -> Digest | None:
    """The digest of a blob's name; None for another name, InvalidArgument for a false one."""
    folder, _, encoded = name.rpartition("/")
    top, _, algorithm = folder.partition("/")
    if top != "blobs" or not algorithm:
        return None
    return Digest.parse(f"{algorithm}:{encoded}")


def normal_name(name: str) -> str:
    """A name of the archive in its one spelling; InvalidArgument for one outside of it."""
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise InvalidArgument(f"invalid image archive: the name {name!r:.200} leads out of it")
    return "/".join(part for part in parts if part not in ("", "."))


def link_target(name: str, target: str) -> str:
    """The normal name that a symbolic link at `name` leads to; InvalidArgument outside."""
    joined = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
    if target.startswith("/") or joined.startswith("..") or "\0" in target:
        raise InvalidArgument(
            f"invalid image archive: the link {name!r:.200} leads out of it, to {target!r:.200}"
        )
    return joined
