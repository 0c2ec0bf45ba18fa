"""The stack of layers of an image or container as JSON: who made each, and who shares it.

A history names the steps of a build, the layers are those steps that changed files: they are
matched in order, which nothing enforces, so a history that does not fit is said to be unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

_NO_SHELL = re.compile(r"^/bin/sh -c #\(nop\)\s+")
_SHELL = re.compile(r"^(?:RUN )?(?:\|\d+ .*? )?/bin/sh -c ")
_BUILDKIT = re.compile(r"\s+# buildkit\s*$")


class StepLike(Protocol):
    """One entry of an image's history."""

    @property
    def created(self) -> str: ...
    @property
    def created_by(self) -> str: ...
    @property
    def comment(self) -> str: ...
    @property
    def empty_layer(self) -> bool: ...


class LayerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One layer: its folder, names ("" for a folder that is no layer of an image), bytes in
    its files, and whose it is too.
    """

    folder: str
    chain_id: str = ""
    diff_id: str = ""
    size: int = 0
    images: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()


def instruction(created_by: str) -> str:
    """What made a layer, as people write it in a Dockerfile, on one line."""
    text = _BUILDKIT.sub("", " ".join(created_by.split()))
    plain = _NO_SHELL.sub("", text)
    if plain != text:
        return plain
    shell = _SHELL.sub("", text)
    return f"RUN {shell}" if shell != text else text


def with_steps(layers: int, history: Sequence[StepLike]) -> list[tuple[StepLike | None, list[str]]]:
    """For each of `layers`, lowest first: the step that made it, and the instructions between
    it and the next one, which changed no file.
    """
    making = [step for step in history if not step.empty_layer]
    if len(making) != layers:
        return [(None, [])] * layers
    found: list[tuple[StepLike | None, list[str]]] = []
    for step in history:
        if not step.empty_layer:
            found.append((step, []))
        elif found:
            found[-1][1].append(instruction(step.created_by))
    return found


def layers_json(layers: Sequence[LayerFacts], history: Sequence[StepLike]) -> list[dict[str, Any]]:
    """The layers, top-most first as in `layers`; `history` oldest first."""
    steps = with_steps(len(layers), history)[::-1]
    return [
        {
            "number": len(layers) - index,
            "chain_id": layer.chain_id,
            "diff_id": layer.diff_id,
            "folder": layer.folder,
            "size": layer.size,
            "instruction": instruction(step.created_by) if step else "",
            "created_by": step.created_by if step else "",
            "created": step.created if step else "",
            "comment": step.comment if step else "",
            "then": then,
            "images": list(layer.images),
            "containers": list(layer.containers),
        }
        for index, (layer, (step, then)) in enumerate(zip(layers, steps, strict=True))
    ]


def stack_json(
    subject: Mapping[str, Any],
    layers: Sequence[dict[str, Any]],
    writable: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The answer of GET /orlop/layers. `subject` says what it is of; `writable` is the
    container's own layer, None where it has none.
    """
    return {
        **subject,
        "writable": dict(writable) if writable is not None else None,
        "layers": list(layers),
        "size": sum(layer["size"] for layer in layers),
    }


def names(tags: Iterable[str], id: str) -> list[str]:
    """What people call an image: its tags, or its short id."""
    return list(tags) or [id.removeprefix("sha256:")[:12]]
