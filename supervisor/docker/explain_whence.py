"""Where a path comes from, in plain words: GET /orlop/whence.

The worker (`supervisor.snapshot.whence`) tells what each layer has, by its place in the
stack; here places become layers with names and instructions, and the whole a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from supervisor.docker.explain_mounts import Purposes, Row
from supervisor.docker.explain_text import clean

WRITABLE = "writable"

Answer = Mapping[str, Any]


class Layers:
    """The layers of one stack by their place in it, top-most first; `rows` are layers_json's."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], *, writable: bool) -> None:
        self._rows = list(rows)
        self._writable = writable

    def name(self, place: int) -> int | str:
        """The layer's number, counted from the lowest as 1, or "writable"."""
        if self._writable and place == 0:
            return WRITABLE
        number: int = self._rows[place - self._writable]["number"]
        return number

    def about(self, place: int) -> dict[str, Any]:
        """Its name, digests and instruction."""
        name = self.name(place)
        row = {} if name == WRITABLE else self._rows[place - self._writable]
        return {
            "layer": name,
            "chain_id": row.get("chain_id", ""),
            "diff_id": row.get("diff_id", ""),
            "instruction": row.get("instruction", ""),
        }

    def words(self, place: int) -> str:
        """ "layer 2", "the writable layer", "the folder"."""
        name = self.name(place)
        if name == WRITABLE:
            return "the writable layer"
        row = self._rows[place - self._writable]
        return f"layer {name}" if row["chain_id"] else f"the folder {row['folder']}"

    def made_by(self, place: int) -> str:
        """`words`, with the instruction that made the layer."""
        text = self.about(place)["instruction"]
        return f"{self.words(place)} ({text})" if text else self.words(place)


def whence_json(
    subject: Mapping[str, Any],
    asked: str,
    answer: Answer,
    layers: Layers,
    purposes: Purposes | None,
) -> dict[str, Any]:
    """The whole answer; `purposes` None for an image, which has no mounts."""
    rows = [_layer(row, layers, answer) for row in answer["layers"]]
    place = answer["layer"]
    shown: Mapping[str, Any] = {} if place is None else answer["layers"][place]
    mount = _mount(answer["mount"], purposes)
    copied = (
        bool(shown.get("origin")) if place is not None and _is_writable(layers, place) else None
    )
    whole = {
        **subject,
        "asked": asked,
        "path": answer["path"],
        "exists": answer["exists"],
        "problem": answer["problem"],
        "stopped": answer["stopped"],
        "steps": [_step(step, layers, purposes) for step in answer["steps"]],
        "file": answer["file"],
        "link": answer["link"],
        "mount": mount,
        "layer": None if place is None else layers.name(place),
        "copied_up": copied,
        "layers": rows,
        "words": _words(answer, layers, mount),
    }
    cleaned: dict[str, Any] = clean(whole)
    return cleaned


def _is_writable(layers: Layers, place: int) -> bool:
    return layers.name(place) == WRITABLE


def _layer(row: Mapping[str, Any], layers: Layers, answer: Answer) -> dict[str, Any]:
    by = row.get("by")
    return {
        **layers.about(row["layer"]),
        "state": row["state"],
        "by": layers.name(by) if by is not None else None,
        "at": row.get("at", ""),
        "file": row.get("file"),
        "link": row.get("link", ""),
        "words": _row_words(row, layers, answer),
    }


def _row_words(row: Mapping[str, Any], layers: Layers, answer: Answer) -> str:
    path, at = answer["path"], row.get("at", "")
    match row["state"]:
        case "shown":
            first = row["layer"] == answer["layer"]
            return "this is what is seen" if first else "a part of the directory that is seen"
        case "hidden":
            if row["by"] is None:
                return "there, hidden by the mount"
            return f"there, hidden by {layers.words(row['by'])}{_how(row, answer)}"
        case "deletes":
            return "deletes it" if at == path else f"deletes {at}"
        case "blocks":
            return f"has something at {at} that is no directory"
        case "opaque":
            return f"hides what lower layers have in {at}"
    return ""


def _how(row: Mapping[str, Any], answer: Answer) -> str:
    """How a layer hides what a lower one has, where it does so above the path."""
    cutter, at = answer["layers"][row["by"]], row["at"]
    if cutter["state"] == "deletes":
        return ", which deletes it" if at == answer["path"] else f", which deletes {at}"
    return "" if at == answer["path"] else f", which has another {at}"


# --- mounts and links -------------------------------------------------------------------------


def _mount(mount: Mapping[str, Any] | None, purposes: Purposes | None) -> dict[str, Any] | None:
    if mount is None or purposes is None:
        return None
    if "destination" not in mount:
        return {"point": "", "kind": "other", "why": "a mount made just now, or out of sight"}
    row = Row(
        point=mount["destination"],
        fstype=mount["type"],
        source=mount.get("source", ""),
        root=mount.get("root", "/"),
        options=tuple(mount.get("options", ())),
        read_only="ro" in mount.get("options", ()),
    )
    return {
        "point": row.point,
        "kind": purposes.kind(row),
        "type": row.fstype,
        "source": row.source,
        "root": row.root,
        "read_only": row.read_only,
        "why": purposes.why(row),
        "missing": mount.get("missing", ""),
    }


def _step(step: Mapping[str, Any], layers: Layers, purposes: Purposes | None) -> dict[str, Any]:
    place, mount = step["layer"], _mount(step["mount"], purposes)
    if mount is not None:
        words = f"in the mount at {mount['point']}"
    else:
        words = f"in {layers.words(place)}" if place is not None else ""
    return {
        "path": step["path"],
        "target": step["target"],
        "layer": layers.name(place) if place is not None else None,
        "mount": mount,
        "words": words,
    }


# --- the sentence -----------------------------------------------------------------------------


def _words(answer: Answer, layers: Layers, mount: Mapping[str, Any] | None) -> str:
    if answer["problem"]:
        return _why_not(answer, layers, mount)
    if mount is not None:
        magic = "; a link that the kernel follows by itself" if answer["magic"] else ""
        return f"from the mount at {mount['point']}: {mount['why']}{magic}"
    place = answer["layer"]
    if place is None:
        return "in the root filesystem"
    rows = answer["layers"]
    if answer["file"]["kind"] == "directory":
        return _directory(rows, layers)
    lower = next((row["layer"] for row in rows if row["state"] == "hidden"), None)
    if not _is_writable(layers, place):
        also = f", in place of what {layers.words(lower)} had" if lower is not None else ""
        return f"from {layers.made_by(place)}{also}"
    if rows[place].get("origin"):
        if lower is None:
            return "in the writable layer: copied up from the image and given another name"
        return f"in the writable layer: copied up from {layers.made_by(lower)} and changed"
    if lower is not None:
        had = f"in place of what {layers.made_by(lower)} has"
        return f"in the writable layer: made by the container, {had}"
    return "in the writable layer: made by the container"


def _directory(rows: Sequence[Mapping[str, Any]], layers: Layers) -> str:
    parts = [layers.words(row["layer"]) for row in rows if row["state"] == "shown"]
    if len(parts) == 1:
        return f"a directory of {parts[0]}"
    return f"a directory merged from {', '.join(parts[:-1])} and {parts[-1]}"


def _why_not(answer: Answer, layers: Layers, mount: Mapping[str, Any] | None) -> str:
    stopped, problem = answer["stopped"], answer["problem"]
    if problem == "not a directory":
        return f"{stopped} is no directory"
    if problem == "too many links":
        return f"too many links: {stopped} leads to itself"
    if problem == "magic link":
        return f"{stopped} is a link of the kernel's, which leads elsewhere for each process"
    if mount is not None:
        if answer["exists"] is None:
            return f"only its start decides: {mount['why']} ({mount['missing']})"
        return f"it is not in the mount at {mount['point']}: {mount['why']}"
    return _deleted(answer["layers"], layers) or "no layer has it"


def _deleted(rows: Sequence[Mapping[str, Any]], layers: Layers) -> str:
    """Who took away what lower layers have; "" where they have nothing."""
    hidden = next((row for row in rows if row["state"] == "hidden"), None)
    if hidden is None:
        return ""
    had = layers.made_by(hidden["layer"])
    cutter = next(row for row in rows if row["layer"] == hidden["by"])
    who = layers.made_by(hidden["by"])
    if cutter["state"] == "deletes":
        return f"deleted at {hidden['at']} by {who}; {had} has it"
    if cutter["state"] == "opaque":
        return f"{who} has a new {hidden['at']}; {had} has it in the old one"
    return f"{who} has something else at {hidden['at']}; {had} has it"
