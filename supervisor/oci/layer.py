"""What one entry of a layer's tar means for the folder that the layer becomes.

OCI image-spec, layer.md: a name with the prefix ".wh." says that the rest of the name is
deleted; ".wh..wh..opq" that its folder hides what lower layers have there. The further
".wh..wh." names were the aufs driver's own and mean nothing to anybody else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum, auto
from typing import NamedTuple

from supervisor.errors import InvalidArgument
from supervisor.oci.tar import Entry, Type

WHITEOUT = ".wh."
RESERVED = ".wh..wh."
OPAQUE = ".wh..wh..opq"
# Overlayfs' own notes on files (Documentation/filesystems/overlayfs.rst): in a layer from
# outside they would make it show what the layer does not have.
_OVERLAY_XATTRS = ("trusted.overlay.", "user.overlay.")
# A path that is not simply names between single slashes.
_ODD = re.compile(r"(?:^|/)\.{0,2}(?:/|$)")


class Action(Enum):
    """What to do for an entry."""

    WRITE = auto()  # make what the entry describes
    WHITEOUT = auto()  # hide the name from lower layers
    OPAQUE = auto()  # hide all that lower layers have in the folder `parent`
    SKIP = auto()


class Step(NamedTuple):
    """An entry's action and place: the folder's clean path ("" for the root), and the name.

    The root itself has the name "". `link` is the clean path that a hard link leads to.
    """

    action: Action
    parent: str
    name: str
    link: str = ""


def decide(entry: Entry) -> Step:
    """The step for an entry; raises InvalidArgument for one that no layer may have."""
    path = clean(entry.path)
    parent, _, name = path.rpartition("/")
    if WHITEOUT in path:
        special = _special(path, parent, name)
        if special is not None:
            return special
    if not path and entry.type is not Type.FOLDER:
        raise _invalid(entry, "the root can only be a folder")
    if entry.type is Type.HARDLINK:
        link = clean(entry.link)
        if not link:
            raise _invalid(entry, "a hard link to the root")
        return Step(Action.WRITE, parent, name, link)
    if entry.type is Type.CHAR and not (entry.devmajor or entry.devminor):
        raise _invalid(entry, "a character device 0:0 would be a whiteout of overlayfs")
    return Step(Action.WRITE, parent, name)


def clean(path: str) -> str:
    """A path inside the layer without slashes at its ends, "." and ".."; "" is the root.

    A leading slash means nothing. ".." takes back the name before it, as docker has it;
    raises InvalidArgument where it leads out of the layer.
    """
    stripped = path.removeprefix("./").strip("/")
    if not _ODD.search(stripped):
        return stripped
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if not parts:
                raise InvalidArgument(f"invalid layer: {path!r:.200} leads out of the layer")
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def kept_xattrs(xattrs: Mapping[str, bytes]) -> list[tuple[str, bytes]]:
    """The extended attributes to set, in order: all but overlayfs' own."""
    return [(name, xattrs[name]) for name in sorted(xattrs) if not is_overlay_xattr(name)]


def is_overlay_xattr(name: str) -> bool:
    """Whether an attribute is a note of overlayfs."""
    return name.startswith(_OVERLAY_XATTRS)


def _special(path: str, parent: str, name: str) -> Step | None:
    """The step for a path in which a name may begin with ".wh."; None if none does."""
    folders = parent.split("/")
    if any(part.startswith(RESERVED) for part in folders):
        return Step(Action.SKIP, parent, "")
    if any(part.startswith(WHITEOUT) for part in folders):
        raise InvalidArgument(f"invalid layer: {path!r:.200} is inside of a whiteout")
    if name.startswith(RESERVED):
        return Step(Action.OPAQUE if name == OPAQUE else Action.SKIP, parent, "")
    if not name.startswith(WHITEOUT):
        return None
    hidden = name.removeprefix(WHITEOUT)
    if hidden in ("", ".", ".."):
        raise InvalidArgument(f"invalid layer: {path!r:.200} is a whiteout of nothing")
    return Step(Action.WHITEOUT, parent, hidden)


def _invalid(entry: Entry, why: str) -> InvalidArgument:
    return InvalidArgument(f"invalid layer: {entry.path!r:.200}: {why}")
