"""The worker's answer in words."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.docker.explain_layers import LayerFacts, layers_json
from supervisor.docker.explain_mounts import Purposes
from supervisor.docker.explain_whence import Layers, whence_json
from supervisor.oci.config import HistoryEntry
from supervisor.spec.mount_points import MountPoint
from supervisor.spec.types import Overlay, Process, Spec

SPEC = Spec(
    version=1,
    id="c",
    process=Process(args=("sh",)),
    root=Overlay(lower=("/l2", "/l1"), upper="/u", work="/w"),
)
POINTS = (MountPoint(type="volume", destination="/data", name="vol"),)
FILE = {"kind": "file", "size": 3, "mode": 0o644, "uid": 0, "gid": 0, "mtime": 0}


def layers(*, writable: bool = True) -> Layers:
    facts = [
        LayerFacts(folder="/l2", chain_id="sha256:2", diff_id="sha256:b"),
        LayerFacts(folder="/l1", chain_id="sha256:1", diff_id="sha256:a"),
    ]
    history = [HistoryEntry(created_by="ADD base"), HistoryEntry(created_by="RUN change")]
    return Layers(layers_json(facts, history), writable=writable)


def answer(*states: dict[str, Any] | str, **fields: Any) -> dict[str, Any]:
    rows = [
        {"layer": number, **({"state": state} if isinstance(state, str) else state)}
        for number, state in enumerate(states)
    ]
    for row in rows:
        if row["state"] in ("shown", "hidden"):
            row.setdefault("file", FILE)
    top = next((row["layer"] for row in rows if row["state"] == "shown"), None)
    return {
        "path": "/etc/x",
        "exists": top is not None,
        "problem": "" if top is not None else "missing",
        "stopped": "" if top is not None else "/etc/x",
        "steps": [],
        "file": FILE if top is not None else None,
        "link": "",
        "magic": False,
        "mount": None,
        "layer": top,
        "layers": rows,
        **fields,
    }


def words(worker: dict[str, Any], *, writable: bool = True) -> str:
    subject = {"kind": "container", "id": "c", "name": "web"}
    whole = whence_json(
        subject, "/etc/x", worker, layers(writable=writable), Purposes(SPEC, POINTS)
    )
    return str(whole["words"])


HIDDEN = {"state": "hidden", "by": 0, "at": "/etc/x"}
COPIED = {"state": "shown", "origin": True}


@pytest.mark.parametrize(
    "states, sentence",
    [
        (["absent", "shown", "absent"], "from layer 2 (RUN change)"),
        (
            ["absent", "shown", {"state": "hidden", "by": 1, "at": "/etc/x"}],
            "from layer 2 (RUN change), in place of what layer 1 had",
        ),
        (
            [COPIED, "absent", HIDDEN],
            "in the writable layer: copied up from layer 1 (ADD base) and changed",
        ),
        (
            ["shown", "absent", HIDDEN],
            "in the writable layer: made by the container, in place of what layer 1 (ADD base) has",
        ),
        (["shown", "absent", "absent"], "in the writable layer: made by the container"),
        (
            [COPIED, "absent", "absent"],
            "in the writable layer: copied up from the image and given another name",
        ),
        (["absent"] * 3, "no layer has it"),
        (
            [
                {"state": "deletes", "at": "/etc/x"},
                "absent",
                {"state": "hidden", "by": 0, "at": "/etc/x"},
            ],
            "deleted at /etc/x by the writable layer; layer 1 (ADD base) has it",
        ),
        (
            [
                "absent",
                {"state": "opaque", "at": "/etc"},
                {"state": "hidden", "by": 1, "at": "/etc"},
            ],
            "layer 2 (RUN change) has a new /etc; layer 1 (ADD base) has it in the old one",
        ),
        (
            [
                "absent",
                {"state": "blocks", "at": "/etc"},
                {"state": "hidden", "by": 1, "at": "/etc"},
            ],
            "layer 2 (RUN change) has something else at /etc; layer 1 (ADD base) has it",
        ),
    ],
)
def test_sentences(states: list[Any], sentence: str) -> None:
    assert words(answer(*states)) == sentence


def test_directories_are_merged() -> None:
    folder = {**FILE, "kind": "directory"}
    row = {"state": "shown", "file": folder}
    one = answer("absent", row, "absent", file=folder)
    assert words(one) == "a directory of layer 2"
    every = answer(row, row, row, file=folder)
    assert words(every) == "a directory merged from the writable layer, layer 2 and layer 1"


@pytest.mark.parametrize(
    "fields, sentence",
    [
        ({"problem": "not a directory"}, "/etc/x is no directory"),
        ({"problem": "too many links"}, "too many links: /etc/x leads to itself"),
        (
            {"problem": "magic link", "exists": None},
            "/etc/x is a link of the kernel's, which leads elsewhere for each process",
        ),
        (
            {"mount": {"destination": "/data", "type": "ext4"}},
            "it is not in the mount at /data: the volume vol",
        ),
        (
            {
                "mount": {"destination": "/data", "type": "bind", "missing": "gone"},
                "exists": None,
            },
            "only its start decides: the volume vol (gone)",
        ),
    ],
)
def test_what_is_not_there(fields: dict[str, Any], sentence: str) -> None:
    assert words(answer("absent", "absent", "absent", **fields)) == sentence


def test_a_file_in_a_mount_and_what_it_hides() -> None:
    mount = {"destination": "/data", "type": "ext4", "options": ["ro"], "root": "/volumes/vol"}
    worker = answer(
        "absent",
        {"state": "hidden", "by": None, "at": ""},
        "absent",
        mount=mount,
        file=FILE,
        exists=True,
        problem="",
    )
    whole = whence_json({}, "/data", worker, layers(), Purposes(SPEC, POINTS))
    assert whole["words"] == "from the mount at /data: the volume vol"
    assert (whole["mount"]["kind"], whole["mount"]["read_only"]) == ("volume", True)
    assert whole["layers"][1]["words"] == "there, hidden by the mount"
    assert whole["layer"] is None


def test_rows_have_names_and_links_have_places() -> None:
    worker = answer(
        {"state": "shown", "origin": True},
        {"state": "hidden", "by": 0, "at": "/etc/x"},
        "absent",
        steps=[{"path": "/a", "target": "etc", "layer": 2, "mount": None}],
    )
    whole = whence_json({"name": "web"}, "/a/x", worker, layers(), None)
    assert [row["layer"] for row in whole["layers"]] == ["writable", 2, 1]
    assert whole["layers"][1]["by"] == "writable"
    assert whole["layers"][1]["words"] == "there, hidden by the writable layer"
    assert (whole["layer"], whole["copied_up"]) == ("writable", True)
    assert whole["steps"] == [
        {"path": "/a", "target": "etc", "layer": 1, "mount": None, "words": "in layer 1"}
    ]
    of_image = whence_json({}, "/x", answer("shown", "absent"), layers(writable=False), None)
    assert (of_image["layer"], of_image["copied_up"]) == (2, None)


def test_names_that_are_no_text_can_be_sent() -> None:
    worker = answer("absent", "shown", "absent", path="/\udcff", link="\udcfe")
    whole = whence_json({}, "/x", worker, layers(), None)
    assert (whole["path"], whole["link"]) == ("/\ufffd", "\ufffd")
