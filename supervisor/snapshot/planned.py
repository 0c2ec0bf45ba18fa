"""The mounts of a container at rest: where they will be, and what can be known of them.

A destination may lead over links of the image, and each mount may be on one made before it:
so they are placed in order, each by the tree as it is with those before.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from supervisor.snapshot.stack import Parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A mount that init will make at `parts`; `fd` is its source's, -1 for none to look into.

    `about` is what the caller said of it; `missing` why there is no source to look into.
    """

    parts: Parts
    fd: int
    about: Mapping[str, Any]
    missing: str


def open_source(mount: Mapping[str, Any]) -> tuple[int, str]:
    """An O_PATH descriptor of a bind's source, links of the host followed as mount(2) does.

    (-1, reason) where there is none: a filesystem that is made at the start, or a source
    that is gone.
    """
    if mount["type"] != "bind":
        return -1, "made when the container starts"
    source = os.path.join(str(mount["source"]), str(mount.get("subpath") or ""))
    try:
        return os.open(source.rstrip("/") or "/", os.O_PATH | os.O_CLOEXEC), ""
    except OSError as error:
        return -1, f"{source}: {error.strerror}"
