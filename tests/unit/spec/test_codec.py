import json
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.spec.codec import camel, from_json, to_json
from supervisor.spec.types import (
    SPEC_VERSION,
    CgroupPaths,
    Mount,
    Namespace,
    Overlay,
    Process,
    Resources,
    Spec,
)

MINIMAL = Spec(
    version=SPEC_VERSION, id="a" * 64, process=Process(args=("sh",)), root=Overlay(lower=("/l",))
)


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    ratio: float = 0.0
    colour: Colour = Colour.RED


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    count: int
    maybe_count: int | None = None
    flag: bool = False
    inner: Inner = Inner()
    many: tuple[Inner, ...] = ()
    by_name: dict[str, int] = field(default_factory=dict)
    anything: Any = None


@given(st.from_type(Spec))
@settings(max_examples=60, deadline=None)
def test_spec_round_trip(spec: Spec) -> None:
    assert from_json(Spec, json.loads(json.dumps(to_json(spec)))) == spec


@given(st.from_type(Resources))
@settings(max_examples=60, deadline=None)
def test_resources_round_trip(resources: Resources) -> None:
    assert from_json(Resources, json.loads(json.dumps(to_json(resources)))) == resources


def test_names_are_ocis() -> None:
    assert camel("oom_score_adj") == "oomScoreAdj"
    assert camel("no_new_privileges") == "noNewPrivileges"
    assert camel("args") == "args"


def test_no_two_fields_share_a_key() -> None:
    for cls in (Spec, Process, Resources):
        names = [camel(f.name) for f in fields(cls)]
        assert len(set(names)) == len(names)


def test_defaults_are_left_out() -> None:
    assert to_json(MINIMAL) == {
        "version": SPEC_VERSION,
        "id": "a" * 64,
        "process": {"args": ["sh"]},
        "root": {"lower": ["/l"]},
    }


def test_a_value_that_is_falsy_but_no_default_is_kept() -> None:
    process = Process(args=("sh",), oom_score_adj=0, umask=0, cwd="")
    assert to_json(process) == {"args": ["sh"], "oomScoreAdj": 0, "umask": 0, "cwd": ""}
    assert from_json(Process, to_json(process)) == process


def test_unknown_keys_are_ignored() -> None:
    data = to_json(MINIMAL) | {"fromTheFuture": {"deep": [1]}}
    assert from_json(Spec, data) == MINIMAL


def test_every_kind_of_field() -> None:
    value = Outer(
        count=1,
        maybe_count=0,
        flag=True,
        inner=Inner(ratio=0.5),
        many=(Inner(), Inner(ratio=2.0)),
        by_name={"a": 1},
        anything=[{"x": None}],
    )
    data = json.loads(json.dumps(to_json(value)))
    assert data["many"] == [{}, {"ratio": 2.0}]
    back = from_json(Outer, data)
    assert back == value
    assert back.inner.colour is Colour.RED
    # A whole number is a float's JSON too.
    assert from_json(Outer, {"count": 1, "inner": {"ratio": 2}}).inner.ratio == 2.0


def test_a_decoded_default_is_not_shared() -> None:
    first = from_json(CgroupPaths, {})
    first.v1["memory"] = "/x"
    assert from_json(CgroupPaths, {}).v1 == {}


@pytest.mark.parametrize(
    "data, where",
    [
        ({"count": "1"}, "Outer.count"),
        ({"count": True}, "Outer.count"),
        ({"count": 1.0}, "Outer.count"),
        ({"count": None}, "Outer.count"),
        ({"count": 1, "maybeCount": "x"}, "Outer.maybeCount"),
        ({"count": 1, "flag": 1}, "Outer.flag"),
        ({"count": 1, "many": {}}, "Outer.many"),
        ({"count": 1, "many": [{"ratio": "x"}]}, "Outer.many: Inner.ratio"),
        ({"count": 1, "inner": []}, "Outer.inner: Inner"),
        ({"count": 1, "inner": {"colour": "blue"}}, "Outer.inner: Inner.colour"),
        ({"count": 1, "byName": {"a": "b"}}, "Outer.byName"),
        ({}, "Outer"),
        ([], "Outer"),
    ],
)
def test_errors_name_the_field(data: object, where: str) -> None:
    with pytest.raises(ValueError, match=f"^{where}:"):
        from_json(Outer, data)


def test_nested_spec_error() -> None:
    data = to_json(MINIMAL) | {"mounts": [{"destination": "/a", "type": 5}]}
    with pytest.raises(ValueError, match=r"^Spec\.mounts: Mount\.type: expected str, got 5"):
        from_json(Spec, data)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["destination", "type", "source", "options", "path"]), inner
            )
        ),
        max_leaves=8,
    )
)
def test_any_json_decodes_or_is_a_value_error(data: object) -> None:
    for cls in (Mount, Namespace):
        try:
            value = from_json(cls, data)
        except ValueError:
            continue
        assert from_json(cls, to_json(value)) == value
