"""Where a path of a container or image comes from: which layer, which mount, by which links."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from supervisor.kernel.mounts import MountInfo, mountinfo
from supervisor.snapshot.operations import Tell
from supervisor.snapshot.planned import Planned, open_source
from supervisor.snapshot.resolve import MAGIC, Resolved, Step, resolve
from supervisor.snapshot.stack import ABSENT, PRESENT, Found, Parts, Stack, describe
from supervisor.snapshot.trees import LiveTree, RestingTree, Tree
from supervisor.snapshot.view import open_tree


def run(arguments: dict[str, Any], fds: Mapping[str, int], _tell: Tell) -> dict[str, Any]:
    """The operation.

    path      what is asked for, from the container's root
    follow    whether a link at its end is followed
    layers    the folders, top-most first; with `overlay` false the one that is the root
    view, pid of a running container (see snapshot.view): its tree is the kernel's own, its
              mount table that of the process
    mounts    of one at rest, in order: type, source, destination, subpath

    The answer: `path` without links, `steps` (the links), `exists` (null: only its start
    decides), `problem` and `stopped` (see Resolved), the file's figures, `mount`, `layer`,
    and `layers`: what each has at that path.
    """
    with ExitStack() as opened:
        stack = Stack(arguments["layers"], overlay=arguments["overlay"])
        opened.callback(stack.close)
        tree = _tree(arguments, fds, stack, opened)
        found = resolve(tree, arguments["path"], follow=arguments["follow"])
        return _answer(found, stack)


def _tree(
    arguments: Mapping[str, Any], fds: Mapping[str, int], stack: Stack, opened: ExitStack
) -> Tree:
    if "view" in arguments:
        view = open_tree(arguments["view"], fds)
        opened.callback(os.close, view.root)
        return LiveTree(view.root, _table(arguments["pid"], fds), stack, view.ids)
    tree = RestingTree(stack)
    opened.callback(tree.close)
    for mount in arguments["mounts"]:
        parts = resolve(tree, mount["destination"]).parts
        fd, missing = open_source(mount)
        about = {**mount, "missing": missing}
        tree.planned.append(Planned(parts=parts, fd=fd, about=about, missing=missing))
    return tree


def _table(pid: int, fds: Mapping[str, int]) -> Sequence[MountInfo]:
    """The mount table of the container; () where its process has ended meanwhile."""
    try:
        table = mountinfo(pid)
        still = os.stat(f"/proc/{pid}/ns/mnt")
    except OSError:
        return ()
    # The number may be another process's by now: then it is in another mount namespace.
    namespace = fds.get("namespace")
    return table if namespace is None or os.path.samestat(still, os.fstat(namespace)) else ()


def _answer(found: Resolved, stack: Stack) -> dict[str, Any]:
    node = found.node
    there = node.status is not None and not found.problem
    return {
        "path": _path(found.parts),
        "steps": [_step(step) for step in found.steps],
        "exists": None if node.unknown or found.problem == MAGIC else there,
        "problem": found.problem,
        "stopped": _path(found.parts[: found.stopped]) if found.problem else "",
        "file": describe(node.status, node.owner) if there and node.status else None,
        "link": node.target if there else "",
        "magic": node.magic,
        "mount": dict(node.mount) if node.mount is not None else None,
        "layer": node.layer if there else None,
        "layers": column(stack.column(found.parts), found.parts, mounted=node.mount is not None),
    }


def column(layers: Sequence[Found], parts: Parts, *, mounted: bool = False) -> list[dict[str, Any]]:
    """Each layer's part in what is seen at the path, top-most first, one of

    shown    the container sees this; of a directory, merged with those that say so too
    hidden   it is there, and `by` says which layer hides it (null: a mount), `at` where
    deletes  it deletes what lower layers have, `at` the path or a folder above it
    blocks   at `at` it has something that is no directory
    opaque   it has nothing there, and its directory `at` hides the layers below
    absent   it has nothing there
    """
    rows: list[dict[str, Any]] = []
    cut: tuple[int | None, str] | None = (None, "") if mounted else None
    for number, found in enumerate(layers):
        row: dict[str, Any] = {"layer": number, "state": _state(found)}
        if found.status is not None and found.state == PRESENT:
            row |= {"file": describe(found.status), "link": found.target, "origin": found.origin}
            if cut is not None:
                row |= {"state": "hidden", "by": cut[0], "at": cut[1]}
            elif not found.is_folder and any(above["state"] == "shown" for above in rows):
                by = next(above["layer"] for above in rows if above["state"] == "shown")
                row |= {"state": "hidden", "by": by, "at": _path(parts)}
        elif row["state"] != ABSENT:
            row["at"] = _path(parts[: found.opaque if row["state"] == "opaque" else found.depth])
        if cut is None and found.cuts:
            cut = (number, _path(parts[: found.cuts]))
        rows.append(row)
    return rows


def _state(found: Found) -> str:
    if found.state == ABSENT:
        return "opaque" if found.opaque else ABSENT
    return {"present": "shown", "whiteout": "deletes", "blocked": "blocks"}[found.state]


def _step(step: Step) -> dict[str, Any]:
    return {
        "path": _path(step.parts),
        "target": step.target,
        "layer": step.layer,
        "mount": dict(step.mount) if step.mount is not None else None,
    }


def _path(parts: Parts) -> str:
    return "/" + "/".join(parts)
