"""`replace` gives what `dataclasses.replace` gives."""

from __future__ import annotations

import dataclasses
from dataclasses import FrozenInstanceError, dataclass

import pytest

from supervisor.spec.options import ContainerOptions
from supervisor.spec.values import replace


@dataclass(frozen=True, slots=True)
class Pair:
    """A value of two fields."""

    left: int
    right: int = 2


def test_only_what_is_named_changes() -> None:
    before = ContainerOptions(args=("true",), labels={"a": "b"})
    after = replace(before, user="1", groups=("2",))
    assert after == dataclasses.replace(before, user="1", groups=("2",))
    assert after.labels is before.labels
    assert before.user == ""


def test_nothing_named_is_an_equal_value() -> None:
    options = ContainerOptions(args=("true",), labels={"a": "b"})
    again = replace(options)
    assert again == options
    assert again is not options


def test_a_field_that_there_is_not_is_refused() -> None:
    with pytest.raises(TypeError, match="Pair has no field middle"):
        replace(Pair(1), middle=3)


def test_the_new_value_is_frozen_too() -> None:
    changed = replace(Pair(1), right=3)
    assert (changed.left, changed.right) == (1, 3)
    with pytest.raises(FrozenInstanceError):
        changed.left = 5  # type: ignore[misc]
