"""A small load: everything goes right, what does not is told, and the report has it all."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import replace

import pytest

from tests.load import beside, mix
from tests.load.__main__ import daemon, run
from tests.load.drive import Load, Outcome, Sample, Start
from tests.load.mix import KINDS, plan
from tests.load.report import figures, picture

SMALL = sum(kind.weight for kind in KINDS)


def test_a_plan_has_each_kind_in_proportion() -> None:
    assert Counter(kind.name for kind in plan(2 * SMALL, 1)) == {
        k.name: 2 * k.weight for k in KINDS
    }
    assert plan(SMALL, 1) == plan(SMALL, 1) != plan(SMALL, 2)


def test_of_a_small_load_all_goes_right_and_nothing_is_left() -> None:
    outcome = run(SMALL, 2, 1, networked=True)
    assert outcome.wrong == []
    assert set(outcome.left.values()) == {0}
    assert len(outcome.starts) == SMALL
    assert outcome.kept == sum(kind.weight for kind in KINDS if kind.code is None)
    assert [one.name for one in figures(outcome) if one.met is False] == []


def test_one_more_beside_those_that_have_everything() -> None:
    measured = beside.run(3, 2, watch=0.1)
    assert measured.wrong == []
    assert len(measured.before) == len(measured.pairs) == len(measured.after) == 2
    named = {one.name: one for one in beside.figures(measured, 3)}
    assert named["what went wrong"].met
    assert named["beside 3 / empty daemon, p50 of the pairs"].value > 0


def test_what_goes_wrong_is_told() -> None:
    ends = next(kind for kind in KINDS if kind.name == "writes")
    kinds = [
        replace(ends, name="has another code", code=4),
        replace(ends, name="writes less", lines=mix.LINES + 1),
        replace(ends, name="is no program", command=("no-such-program",)),
        replace(ends, name="has ended", command=("true",), code=None, lines=0),
    ]
    with daemon(networked=False) as made:
        outcome = Load(made, kinds, "none", 1).run()
    said = dict(sentence.split(": ", 1) for sentence in outcome.wrong)
    assert said["has another code"] == "ended with 0, not 4"
    assert said["writes less"] == f"{mix.LINES} lines in its log, not {mix.LINES + 1}"
    assert said["is no program"].startswith("400 ")
    assert said["has ended"].endswith("does not run")
    assert [one.name for one in figures(outcome) if one.met is False] == ["what went wrong"]


@pytest.mark.parametrize("count", [0, 1, 30])
def test_the_picture_has_every_start(count: int) -> None:
    outcome = Outcome(
        starts=[Start(kind="a & b", at=n, create=0.01, start=0.1 + n) for n in range(count)],
        samples=[Sample(at=n, running=n, rss=n << 20, cpu=n) for n in range(count)],
    )
    root = ET.fromstring(picture(outcome))  # noqa: S314 - made just here
    assert len(root.findall("{http://www.w3.org/2000/svg}circle")) == count
    assert len(root.findall("{http://www.w3.org/2000/svg}polyline")) == 2


def test_a_load_that_came_to_nothing_is_reported_too() -> None:
    assert [one.name for one in figures(Outcome(wrong=["all"])) if one.met is False] == [
        "what went wrong"
    ]
