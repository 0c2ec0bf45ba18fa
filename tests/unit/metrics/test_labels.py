"""Whatever a container is called, its label block is valid and says it."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.render import labels
from tests.unit.metrics import judge
from tests.unit.metrics.snapshots import container

# Lone surrogates stand for bytes that were no UTF-8 (PEP 383).
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=labels.MAX_VALUE)
NASTY = st.text(st.sampled_from('"\\\n\r\0,}{= é\udcff'), max_size=40)


def parsed(block: str) -> dict[str, str]:
    """The labels as prometheus_client reads them, in both formats."""
    lines = f"# TYPE x gauge\nx{block}}} 1\n"
    (text,) = judge.families(lines)
    (openmetrics,) = judge.openmetrics_families(lines + "# EOF\n")
    assert text.samples[0].labels == openmetrics.samples[0].labels
    return dict(text.samples[0].labels)


def readable(text: str) -> str:
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


@given(st.one_of(ANY_TEXT, NASTY), st.one_of(ANY_TEXT, NASTY))
def test_any_value_comes_out_as_it_went_in(name: str, image: str) -> None:
    capped: Counter[str] = Counter()
    block = labels.block([("name", name), ("image", image)], capped)
    block += labels.suffix("cpu", "total", capped)
    expected = {"name": readable(name), "image": readable(image), "cpu": "total"}
    # What took one surrogate's place may be three characters, and then one too many.
    if not capped:
        assert parsed(block) == expected
    assert "\n" not in block


def test_a_value_that_is_too_long_is_cut_and_stays_unique() -> None:
    capped: Counter[str] = Counter()
    one, two = (labels.value("x" * 1000 + end, capped) for end in "ab")
    assert one != two
    assert len(one) == len(two) == labels.MAX_VALUE
    assert re.fullmatch(r"x+~[0-9a-f]{8}", one)
    assert capped == {"label_value": 2}
    assert labels.value("x" * labels.MAX_VALUE, capped) == "x" * labels.MAX_VALUE


def test_every_container_has_a_name_and_an_image() -> None:
    # Dashboards select by name=~".+" and image!="".
    one = container("", id="abcdef" * 10, image="")
    block = parsed(labels.blocks(one, (), Counter()).full)
    assert block == {"id": "/orlop/", "image": "<none>", "name": "abcdefabcdef"}


def test_only_labels_on_the_list_become_labels() -> None:
    one = container(labels={"com.docker.compose.project": "shop", "secret": "x", "a-b": "1"})
    allowed = ("com.docker.compose.project", "missing", "a-b")
    assert parsed(labels.blocks(one, allowed, Counter()).full) == {
        "id": "/orlop/web",
        "image": "docker.io/library/alpine:3.20",
        "name": "web",
        "container_label_com_docker_compose_project": "shop",
        "container_label_a_b": "1",
    }
    assert "container_label" not in labels.blocks(one, (), Counter()).full


def test_two_labels_that_become_one_are_one() -> None:
    capped: Counter[str] = Counter()
    one = container(labels={"a.b": "first", "a-b": "second"})
    block = parsed(labels.blocks(one, ("a.b", "a-b"), capped).full)
    assert block["container_label_a_b"] == "first"
    assert capped == {"label_name": 1}


def test_the_number_of_labels_is_bounded() -> None:
    capped: Counter[str] = Counter()
    names = [f"l{number}" for number in range(labels.MAX_LABELS + 5)]
    one = container(labels=dict.fromkeys(names, "x"))
    block = parsed(labels.blocks(one, names, capped).full)
    assert len(block) == 3 + labels.MAX_LABELS
    assert capped == {"label_count": 5}


@given(st.text(max_size=20))
def test_names_of_labels_are_always_valid(name: str) -> None:
    one = container(labels={name: "x"})
    block = parsed(labels.blocks(one, [name], Counter()).full)
    (made,) = (key for key in block if key.startswith("container_label_"))
    assert re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", made)


@pytest.mark.parametrize("part", ["name", "info"])
def test_our_own_blocks(part: str) -> None:
    one = container('a"b', image_digest="sha256:1", network_mode="bridge", restart_policy="no")
    block = parsed(getattr(labels.blocks(one, (), Counter()), part))
    assert block["name"] == 'a"b'
    if part == "info":
        assert block["image_digest"] == "sha256:1"
        assert block["id"] == one.id


def test_ten_thousand_containers_with_too_many_long_labels_are_cut_and_counted() -> None:
    many, allowed = 10_000, [f"l{number}" for number in range(labels.MAX_LABELS + 6)]
    given = dict.fromkeys(allowed, "x" * 300)
    capped: Counter[str] = Counter()
    sizes = {
        len(labels.blocks(container(f"c{number}", labels=given), allowed, capped).full)
        for number in range(many)
    }
    assert capped == {"label_count": 6 * many, "label_value": labels.MAX_LABELS * many}
    assert max(sizes) < labels.MAX_LABELS * (labels.MAX_VALUE + 40) + 200
