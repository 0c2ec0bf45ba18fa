"""Following a path in a container's tree, link by link, and keeping what was found on the way.

As path_resolution(7), inside the root: a link's text is resolved from its own folder, or
from the container's root where it begins with a slash; ".." of the root is the root.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from supervisor.errors import InvalidArgument
from supervisor.snapshot.stack import Parts
from supervisor.snapshot.trees import Node, Tree

MAX_LINKS = 40  # as the kernel (MAXSYMLINKS)
MAX_PATH = 4096

MISSING = "missing"
NOT_A_FOLDER = "not a directory"
TOO_MANY_LINKS = "too many links"
MAGIC = "magic link"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A link that was followed: where it is, what it says, which layer or mount it is from."""

    parts: Parts
    target: str
    layer: int | None
    mount: Mapping[str, Any] | None


@dataclass(slots=True, kw_only=True)
class Resolved:
    """`parts` is the path without links. `problem` "" or why there is nothing: then the first
    `stopped` names of `parts` lead to where it ended, and the rest is as asked for.
    """

    parts: Parts
    node: Node
    steps: list[Step] = field(default_factory=list)
    problem: str = ""
    stopped: int = 0


def resolve(tree: Tree, path: str, *, follow: bool = True) -> Resolved:
    """Follow `path`, which begins at the container's root; not `follow`: not its last link."""
    if len(path.encode("utf-8", "surrogateescape")) >= MAX_PATH:
        raise InvalidArgument(f"{path[:80]}…: file name too long")
    if "\0" in path:
        raise InvalidArgument(f"invalid path {path!r:.80}: it has a NUL character")
    steps: list[Step] = []
    todo = _split(path)
    done: Parts = ()
    while todo:
        part = todo.pop()
        if part == ".":
            continue
        if part == "..":
            done = done[:-1]
            continue
        here = (*done, part)
        node = tree.look(here)
        if node.status is None:
            return _stop(here, todo, node, steps, MISSING)
        if node.is_link and (todo or follow):
            if len(steps) == MAX_LINKS:
                return _stop(here, todo, node, steps, TOO_MANY_LINKS)
            steps.append(Step(parts=here, target=node.target, layer=node.layer, mount=node.mount))
            if node.target.startswith("/"):
                done = ()
            todo += _split(node.target)
            continue
        if todo and not node.is_folder:
            return _stop(here, todo, node, steps, MAGIC if node.magic else NOT_A_FOLDER)
        done = here
    return Resolved(parts=done, node=tree.look(done), steps=steps)


def _stop(here: Parts, todo: list[str], node: Node, steps: list[Step], problem: str) -> Resolved:
    rest: list[str] = []
    for part in reversed(todo):
        if part == "..":  # of a folder that is not there: it leads nowhere
            break
        if part != ".":
            rest.append(part)
    return Resolved(
        parts=(*here, *rest), node=node, steps=steps, problem=problem, stopped=len(here)
    )


def _split(path: str) -> list[str]:
    """The parts, last first; what must be a folder ("x/") has a "." behind it."""
    parts = [part for part in path.split("/") if part]
    if path.endswith("/") and parts:
        parts.append(".")
    return parts[::-1]
