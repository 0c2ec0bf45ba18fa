"""Dashboards and alerts ask for nothing that is not there, and are what their generator makes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dashboards import boards, generate
from metrics.render.families import CONTAINER, OWN
from metrics.serve.agent import Agent

FOLDER = Path(__file__).resolve().parents[3] / "dashboards"
WORD = re.compile(r"\b(?:container|machine|cadvisor|orlop|process)_[a-z0-9_]+\b")
LABEL = re.compile(r"\{[^}]*\}|by \([^)]*\)|on \([^)]*\)")


def families() -> set[str]:
    """The names of all samples there can be, by the names of our families."""
    names = {family.name for family in (*CONTAINER, *OWN)}
    for metric in Agent().registry.collect():
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}
        names |= {metric.name + suffix for suffix in suffixes.get(metric.type, ("",))}
    return names


def expressions(value: Any) -> Iterator[str]:
    """Every PromQL expression of a dashboard or of a file of rules."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("expr", "definition") and isinstance(inner, str):
                yield inner
            else:
                yield from expressions(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from expressions(inner)


def used(value: Any) -> set[str]:
    return {name for expr in expressions(value) for name in WORD.findall(LABEL.sub("", expr))}


def board(name: str) -> Any:
    return json.loads((FOLDER / name).read_text())


@pytest.mark.parametrize("name", sorted(boards.BOARDS))
def test_the_json_is_what_the_generator_makes(name: str) -> None:
    made = generate.text(boards.BOARDS[name])
    assert (FOLDER / name).read_text() == made, "run python -m dashboards.generate"


@pytest.mark.parametrize("name", sorted(boards.BOARDS))
def test_a_dashboard_asks_for_families_that_exist(name: str) -> None:
    asked = used(board(name))
    assert asked
    assert asked <= families()


@pytest.mark.parametrize("name", ["alerts.yml", "alerts_test.yml"])
def test_alerts_ask_for_families_that_exist(name: str) -> None:
    rules = yaml.safe_load((FOLDER / name).read_text())
    series = [
        {"expr": one["series"]}
        for test in rules.get("tests", [])
        for one in test.get("input_series", [])
    ]
    asked = used(series or rules)
    assert asked
    assert asked <= families()


@pytest.mark.parametrize("name", sorted(boards.BOARDS))
def test_a_board_has_a_picture_that_is_small_and_shown(name: str) -> None:
    picture = FOLDER / "pictures" / name.replace(".json", ".png")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size <= 200_000
    assert f"(pictures/{picture.name})" in (FOLDER / "README.md").read_text()


def test_every_alert_has_a_test() -> None:
    rules = yaml.safe_load((FOLDER / "alerts.yml").read_text())
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    tests = yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"]
    fires = {
        case["alertname"]
        for test in tests
        for case in test["alert_rule_test"]
        if case["exp_alerts"]
    }
    assert fires == alerts


def test_the_board_of_containers_works_with_cadvisor() -> None:
    cadvisors = {family.name for family in CONTAINER}
    assert used(board("containers.json")) <= cadvisors


def test_what_the_agent_tells_is_shown_somewhere() -> None:
    shown = {name for one in boards.BOARDS for name in used(board(one))}
    own = {name for name in families() if name.startswith("orlop_")}
    own -= {name for name in own if name.endswith(("_sum", "_count", "_bucket"))}
    in_totals = {name for name in own if name.startswith("orlop_containers_")}
    assert own - in_totals - {"orlop_build_info"} <= shown


@pytest.mark.parametrize("name", sorted(boards.BOARDS))
def test_variables_and_panels(name: str) -> None:
    found = board(name)
    names = [variable["name"] for variable in found["templating"]["list"]]
    assert names[:2] == ["datasource", "instance"]
    panels = [panel for panel in found["panels"] if panel["type"] != "row"]
    ids = [panel["id"] for panel in found["panels"]]
    assert len(ids) == len(set(ids))
    assert len(panels) >= 20
    for expr in expressions(panels):
        assert "$instance" in expr
        if "rate(" in expr and "[1h]" not in expr:
            assert "[$__rate_interval]" in expr or "[$__range]" in expr
    for panel in panels:
        assert panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24


def test_dashboards_have_addresses_of_their_own() -> None:
    uids = [board(name)["uid"] for name in boards.BOARDS]
    assert len(uids) == len(set(uids))
    link = json.dumps(board("containers.json"))
    assert f"/d/{boards.CONTAINER.uid}?" in link
