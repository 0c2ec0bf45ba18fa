"""Layers and the history that made them."""

from __future__ import annotations

import pytest

from supervisor.docker.explain_layers import (
    LayerFacts,
    instruction,
    layers_json,
    names,
    stack_json,
    with_steps,
)
from supervisor.oci.config import HistoryEntry


def step(created_by: str, *, empty: bool = False) -> HistoryEntry:
    return HistoryEntry(created_by=created_by, empty_layer=empty, created="2026-11-21T03:27:45Z")


@pytest.mark.parametrize(
    "created_by, shown",
    [
        ('/bin/sh -c #(nop)  CMD ["sh"]', 'CMD ["sh"]'),
        ("/bin/sh -c #(nop) ADD file:0a1b in / ", "ADD file:0a1b in /"),
        ("/bin/sh -c apt-get update", "RUN apt-get update"),
        ("RUN /bin/sh -c apk add curl # buildkit", "RUN apk add curl"),
        ("|1 V=2 /bin/sh -c echo $V", "RUN echo $V"),
        ("RUN |2 A=1 B=x y /bin/sh -c make # buildkit", "RUN make"),
        ("COPY a b # buildkit", "COPY a b"),
        ("RUN a \\\n   && b", "RUN a \\ && b"),
        ("orlop image scratch", "orlop image scratch"),
        ("", ""),
    ],
)
def test_instructions(created_by: str, shown: str) -> None:
    assert instruction(created_by) == shown


def test_steps_without_a_layer_go_with_the_one_before() -> None:
    history = [
        step("ENV A=1", empty=True),
        step("ADD one"),
        step("ENV B=2", empty=True),
        step("CMD sh", empty=True),
        step("COPY two"),
    ]
    found = with_steps(2, history)
    assert [(made.created_by if made else "", then) for made, then in found] == [
        ("ADD one", ["ENV B=2", "CMD sh"]),
        ("COPY two", []),
    ]


@pytest.mark.parametrize("history", [(), (step("a"), step("b")), (step("a", empty=True),)])
def test_a_history_that_does_not_fit_is_not_guessed(history: tuple[HistoryEntry, ...]) -> None:
    assert with_steps(1, history) == [(None, [])]
    (row,) = layers_json([LayerFacts(folder="/l", size=5)], history)
    assert (row["instruction"], row["created"], row["number"]) == ("", "", 1)


def test_layers_are_numbered_from_the_lowest() -> None:
    facts = [
        LayerFacts(folder="/2", chain_id="sha256:2", diff_id="sha256:b", size=7, images=("x:1",)),
        LayerFacts(folder="/1", chain_id="sha256:1", diff_id="sha256:a", size=30),
    ]
    rows = layers_json(facts, [step("ADD one"), step("/bin/sh -c two")])
    assert [(r["number"], r["instruction"], r["folder"]) for r in rows] == [
        (2, "RUN two", "/2"),
        (1, "ADD one", "/1"),
    ]
    whole = stack_json({"name": "web"}, rows, {"folder": "/u", "size": 3})
    assert (whole["size"], whole["writable"], whole["name"]) == (
        37,
        {"folder": "/u", "size": 3},
        "web",
    )


def test_names() -> None:
    assert names(["a:1", "b:2"], "sha256:x") == ["a:1", "b:2"]
    assert names([], f"sha256:{'0123456789ab'}cdef") == ["0123456789ab"]
