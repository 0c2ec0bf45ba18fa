"""Clients' regular expressions: beside Python's, and those that must not take for ever."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.lifecycle.patterns import MAX_DEPTH, BadPattern, Pattern
from tests.support.pace import limit

TEXTS = ("", "a", "web", "web-1", "/web_2", "a.b", "AB", "aab", "ba", "a\nb", "é", "0" * 64, "a]b")


@pytest.mark.parametrize(
    "pattern",
    [
        *("", "a", "web", "^web", "web$", "^/web", "^$", "$", "w.b", "we?b", "a*b", "a+b", "a+?"),
        *("a|b", "^(a|b)$", "(?:a|ab)b", "(?P<name>a)b", "a{2}b", "a{1,2}", "a{2,}", "a{0,1}b$"),
        *("[ab]", "[^ab]", "[a-c]+$", "[]a]", "[^]]", "[a-]", "[-a]", r"[\d-]", r"[\w.]+$", "[/_]"),
        *(r"\d", r"\D", r"\w+-\d", r"\W", r"\s", r"\S+$", r"\.", r"\/web", r"\bweb\b", r"\Bb"),
        *(
            "(?i)ab",
            "(?i:A)b",
            "(?s)a.b",
            "(?m)^b$",
            "(?m)a$",
            "a.b",
            "()",
            "(|a)$",
            "a||b",
            "(a*)*b",
        ),
        *("{", "a{", "a{x}", r"\x61", "a)|(b".replace(")|(", "|"), "((a))", "(a|b)*$"),
    ],
)
def test_as_python_has_it(pattern: str) -> None:
    for text in TEXTS:
        # RE2's $ is the end alone, Python's also what stands before a last newline.
        wanted = re.search(pattern, text, re.ASCII) is not None
        assert Pattern(pattern).search(text) == wanted, text


def test_what_re2_has_and_python_has_not() -> None:
    assert Pattern(r"\x{1F600}$").search("a\U0001f600")
    assert Pattern("^[[:alpha:]_]+$").search("web_a")
    assert not Pattern("^[[:digit:]]+$").search("12a")
    assert Pattern(r"\Aweb\z").search("web")
    assert not Pattern("a$").search("a\n")
    assert Pattern("^a{,2}$").search("a{,2}")
    assert Pattern("(?<name>a)b").search("ab")
    assert Pattern("a(?i)B").search("ab")
    assert Pattern("(?i-i:A)|b(?U)c+").search("bc")
    assert not Pattern("(?i-i:A)").search("a")
    assert not Pattern(r"\d").search("\u0662")


@pytest.mark.parametrize(
    "pattern",
    [
        *("(", ")", "a)", "(a", "[", "[a", "[z-a]", "*", "+a", "?", "a**", "a+*", "^*(", "a{3,2}"),
        *("a{1001}", "\\", r"\k", r"\1", r"\p{L}", "(?=a)", "(?!a)", "(?P=a)", "(?z)a", "(?P<1>a)"),
        *(r"\xZZ", r"\x{110000}", r"\x4", "[[:no:]]", r"[\D]", "a" * 1001, r"\Z", r"[a-\d]"),
        *(
            "(" * (MAX_DEPTH + 1) + ")" * (MAX_DEPTH + 1),
            "(?:(?:a{100}){100}){100}",
            "(a{900}){900}",
        ),
    ],
)
def test_no_patterns(pattern: str) -> None:
    with pytest.raises(BadPattern):
        Pattern(pattern)


@pytest.mark.parametrize(
    "pattern",
    ["(a+)+x$", "(a|a)*x", "(.*)*x", "a*" * 30 + "x", "(a?){100}a{100}x", "([a-f0-9]+)+x$"],
)
def test_no_pattern_takes_for_ever(pattern: str) -> None:
    begun = time.perf_counter()
    found = Pattern(pattern)
    for text in ("a" * 64, "ab" * 100, "a" * 255):
        assert not found.search(text)
    assert time.perf_counter() - begun < limit(10)


def _patterns() -> st.SearchStrategy[str]:
    """Patterns nested five deep at most: deeper ones can be larger than `Pattern` takes."""
    simple = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", "^", "$", r"\w", r"\b", "c"])
    repeats = st.sampled_from(["*", "+", "?", "{2}", "{0,2}", "{1,}"])
    found: st.SearchStrategy[str] = simple
    for _ in range(5):
        found = st.one_of(
            simple,
            st.builds("({})".format, found),
            st.builds("(?:{}){}".format, found, repeats),
            st.builds("{}|{}".format, found, found),
            st.builds("{}{}".format, found, found),
        )
    return found


@settings(max_examples=80)
@given(_patterns(), st.text("abc ", max_size=6))
def test_any_pattern_finds_what_pythons_finds(pattern: str, text: str) -> None:
    assert Pattern(pattern).search(text) == (re.search(pattern, text, re.ASCII) is not None)


@given(st.text(max_size=30), st.text(max_size=10))
def test_any_text_is_a_pattern_or_none(pattern: str, text: str) -> None:
    try:
        Pattern(pattern).search(text)
    except BadPattern:
        return


def test_what_is_kept_of_a_pattern_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("supervisor.lifecycle.patterns._MOST_KEPT", 1000)
    pattern = Pattern("(.?){100}x$")
    for number in range(50):
        assert not pattern.search(f"{number:032x}" * 2)
    assert pattern._kept < 2000
    assert sum(len(at) for at, _, _ in pattern._known) < 2000
    assert pattern.search("abx")
