"""`${NAME}` and its like."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.cli.apply.variable_files import variables_of
from supervisor.cli.apply.variables import expand

VARIABLES = {"A": "a", "EMPTY": "", "B2_x": "b"}


def expanded(text: str) -> tuple[str, list[str]]:
    missing: list[str] = []
    return expand(text, VARIABLES, missing.append), missing


@pytest.mark.parametrize(
    "text, value",
    [
        ("plain", "plain"),
        ("$A", "a"),
        ("x${A}y$B2_x-", "xayb-"),
        ("$$A $${A}", "$A ${A}"),
        ("${A:-no}${EMPTY:-yes}${EMPTY-no}${N-yes}", "ayesyes"),
        ("${N:-${M:-deep}}", "deep"),
        ("${N:-a}b}", "ab}"),
        ("${N:-$$}", "$"),
        ("${A:+yes}${EMPTY:+no}${EMPTY+set}${N+no}", "yesset"),
        ("${A:?why}${EMPTY?why}", "a"),
        ("${N:-http://x:80/?a=b}", "http://x:80/?a=b"),
        ("${A:-${N:?never looked at}}", "a"),
    ],
)
def test_forms(text: str, value: str) -> None:
    assert expanded(text) == (value, [])


def test_one_that_is_not_set_is_empty_and_told() -> None:
    assert expanded("<$N|${M}|$EMPTY>") == ("<||>", ["N", "M"])


@pytest.mark.parametrize(
    "text, said",
    [
        ("${N:?say it}", "variable N is not set: say it"),
        ("${EMPTY:?say it}", "variable EMPTY is not set: say it"),
        ("${N?}", "variable N is not set: it has to be set"),
        ("${N:?${A} is}", "variable N is not set: a is"),
        ("5$", "write $$ for a dollar sign"),
        ("$1", "write $$ for a dollar sign"),
        ("${A", "without its '}'"),
        ("${N:-${A}", "without its '}'"),
        ("${}", "has no name"),
        ("${A!}", "is no variable"),
        ("${A:=b}", "is no variable"),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=r".") as error:
        expanded(text)
    assert said in str(error.value)


def test_variables_in_variables_have_an_end() -> None:
    deep = "${X:-" * 5000 + "}" * 5000
    with pytest.raises(ValueError, match="nested too deeply"):
        expand(deep, {}, lambda name: None)


def test_values_that_grow_without_end_are_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        expand("$A" * 1000, {"A": "a" * 2000}, lambda _: None)


def test_a_file_of_variables(tmp_path: Path) -> None:
    path = tmp_path / "env"
    path.write_text(
        "# comment\n\nA=1\n export B = two words # comment\nC='x # y' # comment\nD=\"=\"\n"
        "E=\nF=a#b\nHERE\nNOT_HERE\nG=# all comment\n"
    )
    assert variables_of(path, {"HERE": "yes"}) == {
        "A": "1",
        "B": "two words",
        "C": "x # y",
        "D": "=",
        "E": "",
        "F": "a#b",
        "HERE": "yes",
        "G": "",
    }


@pytest.mark.parametrize(
    "content, said",
    [
        (b"A=1\nB C=2\n", "line 2: invalid variable name 'B C'"),
        (b"A='1\n", "line 1: the value ends with no '"),
        (b"A='1'2\n", "line 1: the value ends with no '"),
        (b"=2\n", "invalid variable name"),
        (b"\xff", "invalid UTF-8 at byte 0"),
    ],
)
def test_a_bad_file_of_variables(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "env"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=said):
        variables_of(path, {})


def test_a_file_of_variables_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="No such file"):
        variables_of(tmp_path / "none", {})
