"""A container's whole root as a tar: the operation behind `docker export`.

    export  {view}, output     tells {} before the first byte

Only the root filesystem itself: where something else is mounted the tar has the empty folder
or file below the mount. `view` has no mounts, or says {"pid", "start", "bare": true}.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from supervisor.snapshot.operations import Tell
from supervisor.snapshot.tar_out import TarWriter
from supervisor.snapshot.tar_pieces import write_all
from supervisor.snapshot.view import open_tree


def run(arguments: dict[str, Any], fds: Mapping[str, int], tell: Tell) -> dict[str, Any]:
    """Operation "export": names are relative to the root, which itself is left out."""
    tree = open_tree(arguments["view"], fds)
    tell({})
    for piece in TarWriter(tree.ids).whole(tree.root, ""):
        write_all(fds["output"], piece)
    return {}
