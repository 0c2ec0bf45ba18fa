"""YAML with places."""

from __future__ import annotations

import pytest

from supervisor.cli.apply.nodes import Items, Keys, Node, Place, Scalar, Wrong, parse


def plain(node: Node) -> object:
    """Texts, lists and dicts."""
    match node:
        case Scalar():
            return None if node.is_null else node.text
        case Items():
            return [plain(item) for item in node.values]
        case Keys():
            return {key: plain(value) for key, value in node.entries.items()}


def test_texts_are_kept_as_written() -> None:
    text = "a: 22:22\nb: no\nc: 0o17\nd: 1.10\ne: '~'\nf: ~\ng:\nh: null\ni: 2001-01-01\n"
    assert plain(parse(text)) == {
        "a": "22:22",
        "b": "no",
        "c": "0o17",
        "d": "1.10",
        "e": "~",
        "f": None,
        "g": None,
        "h": None,
        "i": "2001-01-01",
    }


@pytest.mark.parametrize(
    "opening, closing, depth",
    [("[", "]", 450), ("- ", "", 450), ("[", "]", 5000), ("{a: ", "}", 5000)],
)
def test_a_file_that_is_too_deep(opening: str, closing: str, depth: int) -> None:
    with pytest.raises(Wrong) as caught:
        parse(opening * depth + closing * depth)
    assert caught.value.message == "not YAML: it is nested too deeply"


def test_everything_knows_its_place() -> None:
    root = parse("a:\n  - b: x\n    cc: {d: y}\n")
    assert isinstance(root, Keys)
    items = root.entries["a"]
    assert isinstance(items, Items)
    inner = items.values[0]
    assert isinstance(inner, Keys)
    assert (inner.places["cc"], inner.entries["b"].place) == (Place(3, 5), Place(2, 8))


def test_merge_keys() -> None:
    text = "x: &x {a: 1, b: 2}\ny: &y {b: 3, c: 4}\nz: {<<: [*x, *y], a: 0}\nw: {<<: *y, d: 5}\n"
    root = parse(text)
    assert isinstance(root, Keys)
    assert plain(root.entries["z"]) == {"a": "0", "b": "2", "c": "4"}
    assert plain(root.entries["w"]) == {"b": "3", "c": "4", "d": "5"}
    merged = root.entries["w"]
    assert isinstance(merged, Keys)
    assert merged.places["b"] == Place(2, 8)


@pytest.mark.parametrize(
    "text, place, said",
    [
        ("", Place(1, 1), "the file is empty"),
        ("# nothing\n", Place(1, 1), "the file is empty"),
        ("a: [1\nb: 2\n", Place(2, 2), "not YAML"),
        ("a: b: c\n", Place(1, 5), "not YAML: mapping values are not allowed here"),
        ("a: *b\n", Place(1, 4), "not YAML: found undefined alias 'b'"),
        ("a: 1\n---\nb: 2\n", Place(2, 1), "not YAML: but found another document"),
        ("a: 1\nb: \x00\n", Place(2, 4), "not YAML: special characters are not allowed"),
        ("a: 1\nb: 2\na: 3\n", Place(3, 1), "'a' is given twice, first in line 1"),
        ("? [a]\n: b\n", Place(1, 3), "a key has to be a word"),
        ("a: &a [*a]\n", Place(1, 4), "contains itself"),
        ("a: !secret b\n", Place(1, 4), "the tag !secret is not supported"),
        ("a: {<<: 5}\n", Place(1, 9), "<< takes a map"),
        ("[" * 5000, Place(1, 1), "nested too deeply"),
        ("a: " + "x" * 5_000_000, Place(1, 1), "too long"),
    ],
    ids=range(14),
)
def test_what_is_refused(text: str, place: Place, said: str) -> None:
    with pytest.raises(Wrong) as error:
        parse(text)
    assert error.value.place == place
    assert said in error.value.message


def test_aliases_of_aliases_cost_no_more_than_they_say() -> None:
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40)]
    assert isinstance(parse("\n".join(lines)), Keys)
