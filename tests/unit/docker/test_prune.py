"""Which containers pruning takes."""

from __future__ import annotations

import pytest

from supervisor.docker.create import CreateBody
from supervisor.docker.prune import prune_filter, pruned_json
from supervisor.docker.views import ContainerView
from supervisor.errors import InvalidArgument

SECOND = 1_000_000_000
NOW = 1_800_000_000 * SECOND


def view(status: str = "exited", age: float = 60, **labels: str) -> ContainerView:
    created = NOW - int(age * SECOND)
    return ContainerView(
        id="c" * 64, name="c", created_ns=created, status=status, body=CreateBody(labels=labels)
    )


@pytest.mark.parametrize(
    "status, goes",
    [
        *(("created", True), ("exited", True), ("dead", True), ("running", False)),
        *(("paused", False), ("restarting", False), ("removing", False)),
    ],
)
def test_only_what_is_at_rest(status: str, goes: bool) -> None:
    assert prune_filter({}, NOW).takes(view(status)) is goes


@pytest.mark.parametrize(
    "filters, goes",
    [
        ({"until": ("1m",)}, True),
        ({"until": ("61s",)}, False),
        ({"until": (str(NOW // SECOND - 60),)}, True),
        ({"until": (str(NOW // SECOND - 61),)}, False),
        ({"until": ("2026-11-21T03:29:08Z",)}, False),
        ({"label": ("a",)}, True),
        ({"label": ("a=1", "b")}, True),
        ({"label": ("a=2",)}, False),
        ({"label": ("a", "c")}, False),
        ({"label!": ("c",)}, True),
        ({"label!": ("b=2",)}, False),
        ({"label": ("a",), "label!": ("b",)}, False),
        ({"label": ("a",), "until": ("2m",)}, False),
    ],
)
def test_filters(filters: dict[str, tuple[str, ...]], goes: bool) -> None:
    assert prune_filter(filters, NOW).takes(view(a="1", b="2")) is goes


@pytest.mark.parametrize(
    "filters, said",
    [
        ({"name": ("x",)}, "invalid filter 'name'"),
        ({"until": ("1h", "2h")}, "more than one until"),
        ({"until": ("soon",)}, "invalid value for 'until'"),
    ],
)
def test_refused(filters: dict[str, tuple[str, ...]], said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        prune_filter(filters, NOW)


def test_the_answer_has_null_for_nothing() -> None:
    assert pruned_json([], 0) == {"ContainersDeleted": None, "SpaceReclaimed": 0}
    assert pruned_json(["a"], 5) == {"ContainersDeleted": ["a"], "SpaceReclaimed": 5}
