"""The templates of `--format`: what Go makes of them, what is refused, what is bounded."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.cli.failures import Failure
from supervisor.cli.listing import Labelled
from supervisor.cli.template import Template, TemplateError, compact, text_of
from supervisor.cli.template.parser import MAX_DEPTH, MAX_LENGTH
from tests.unit.cli.template_cases import CASES, CONTAINER, REFUSED


def render(template: str, value: Any = None) -> str:
    return Template(template).render(CONTAINER if value is None else value)


@pytest.mark.parametrize("template, shown", CASES)
def test_what_go_makes_of_it(template: str, shown: str) -> None:
    assert render(template) == shown


@pytest.mark.parametrize("template", REFUSED)
def test_what_go_refuses(template: str) -> None:
    with pytest.raises(TemplateError, match=r"template parsing error: line 1, column [0-9]+: "):
        render(template)


@pytest.mark.parametrize(
    "template, message",
    [
        ("a\nb {{.Nope}}", "line 2, column 5: there is no field 'Nope'; there are Args, Config,"),
        ("{{.Name}}\n\n{{if", "line 3, column 1: unclosed action"),
        ("{{.State.Nope}}", "there is no field 'Nope'; there are Error, ExitCode, FinishedAt,"),
        ("{{.Name.X}}", "there is no field 'X' in a value of type string"),
        ("{{nosuch 1}}", "function 'nosuch' not defined; there are and, eq, ge, gt, index, join,"),
        ('{{block "x" .}}{{end}}', "{{block}} is not supported"),
        ("{{len 1 2}}", "wrong number of arguments for len: want 1, got 2"),
        ("{{ge 1}}", "wrong number of arguments for ge: want 2, got 1"),
        ("{{slice .Path 1 2 3 4}}", "wrong number of arguments for slice: want at most 4, got 5"),
        ("{{and}}", "wrong number of arguments for and: want at least 1, got 0"),
        ('{{printf "%*d" 1 2}}', "%* is not supported"),
        ('{{printf "%#v" 1}}', "%#v is not supported"),
        ('{{printf "%99999d" 1}}', "a width or precision above 1000"),
        ('{{printf "%.1001f" 1.5}}', "a width or precision above 1000"),
        ("{{if .Name}}{{range .Args}}{{end}}", "missing {{end}} of {{if}}"),
        ("{{range .Args}}{{else}}{{break}}{{end}}", "{{break}} outside {{range}}"),
    ],
)
def test_messages_name_the_place_and_what_is_known(template: str, message: str) -> None:
    with pytest.raises(TemplateError) as raised:
        render(template)
    assert message in raised.value.message
    assert "\n" not in raised.value.message


@pytest.mark.parametrize(
    "template, value, shown",
    [
        ("{{.}}", None, "<no value>"),
        ("{{.}}", [None, 1.5, True], "[<nil> 1.5 true]"),
        ("{{.A}} {{json .A}}", {"A": None}, "<no value> null"),
        ("{{.Labels.x}}", {"Labels": None}, "<no value>"),
        ("{{json .Labels}}", {"Labels": None}, "null"),
        ('{{index .Labels "x"}}|', {"Labels": None}, "|"),
        ("{{range .A}}x{{else}}y{{end}}", {"A": None}, "y"),
        ("{{join .A 1 | len}}", {"A": []}, None),
        ("{{eq .A nil}} {{eq nil .B}}", {"A": None, "B": 1}, "true false"),
        ("{{lt 1 1.5}} {{eq 2 2.0}}", {}, "true true"),
        ('{{index .A 0 1 "b"}}', {"A": [[0, {"b": "c"}]]}, "c"),
        ("{{.A.B.C}}", {"A": {"B": {"C": 3}}}, "3"),
        ("{{.a_1}} {{.É}}", {"a_1": 1, "É": 2}, "1 2"),
        (
            "{{range $i, $x := .}}{{range $j, $y := $x}}{{$i}}{{$j}}{{$y}} {{end}}{{end}}",
            [["a", "b"], ["c"]],
            "00a 01b 10c ",
        ),
        (
            "{{range .}}{{range .}}{{if eq . 2}}{{break}}{{end}}{{.}}{{end}};{{end}}",
            [[1, 2, 3], [4, 2]],
            "1;4;",
        ),
        ("{{truncate . 2}}|{{slice . 1}}", "éa", "é|a"),
    ],
)
def test_values(template: str, value: Any, shown: str | None) -> None:
    if shown is None:
        with pytest.raises(TemplateError):
            Template(template).render(value)
    else:
        assert Template(template).render(value) == shown


@pytest.mark.parametrize(
    "number, shown",
    [
        (0.0, "0"),
        (-0.0, "-0"),
        (1e5, "100000"),
        (1e6, "1e+06"),
        (123456.75, "123456.75"),
        (1234567.0, "1.234567e+06"),
        (1e-4, "0.0001"),
        (1.5e-5, "1.5e-05"),
        (1e100, "1e+100"),
        (5e-324, "5e-324"),
        (0.1, "0.1"),
        (float("inf"), "+Inf"),
        (float("-inf"), "-Inf"),
        (float("nan"), "NaN"),
    ],
)
def test_fractions_show_as_go_shows_them(number: float, shown: str) -> None:
    assert text_of(number) == shown


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_no_fraction_loses_a_digit(number: float) -> None:
    assert float(text_of(number)) == number


def test_headings_stay_whole() -> None:
    template = Template(
        '{{upper .A}} {{json .B}} {{truncate .A 1}} {{pad .A 1 1}} {{.Label "x.y-z"}}'
    )
    headings = Labelled.headings({"A": "a head", "B": "b head"})
    assert template.render(headings, heading=True) == "a head b head a head  a head  y z"
    row = Labelled.row({"A": "aa", "B": "b"}, {"x.y-z": "label"})
    assert template.render(row) == 'AA "b" a  aa  label'
    assert compact(row) == '{"A":"aa","B":"b"}'


@pytest.mark.parametrize("template", ["{{.Label}}", '{{.Label "a" "b"}}', "{{.Label 5}}"])
def test_a_label_takes_one_text(template: str) -> None:
    with pytest.raises(TemplateError, match="Label takes one text"):
        Template(template).render(Labelled.row({"A": "a"}, None))
    assert Template('<{{.Label "a"}}>').render(Labelled.row({}, None)) == "<>"


# --- what is bounded --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "template, message",
    [
        ("{{if 1}}" * (MAX_DEPTH + 1), "levels of nesting"),
        ("{{" + "(" * 5000 + "1" + ")" * 5000 + "}}", "levels of nesting"),
        ("x" * (MAX_LENGTH + 1), "longer than"),
        ('{{$x := "0123456789"}}{{range 99}}{{$x = print $x $x}}{{end}}', "is longer than"),
        ("{{range 100000}}{{range 100000}}{{end}}{{end}}", "steps"),
        ("{{range 9999999999999}}{{end}}", "steps"),
        ('{{pad "x" 99999999999 1}}', "is longer than"),
        ('{{range 999999}}{{printf "%1000d" 1}}{{end}}', "is longer than"),
    ],
)
def test_bounds(template: str, message: str) -> None:
    begun = time.monotonic()
    with pytest.raises(TemplateError, match=message):
        render(template)
    assert time.monotonic() - begun < 20


def test_the_deepest_nesting_works() -> None:
    body = "{{with .A}}" * MAX_DEPTH + "x" + "{{end}}" * MAX_DEPTH
    value: dict[str, Any] = {"A": 1}
    for _ in range(MAX_DEPTH):
        value = {"A": value}
    assert Template(body).render(value) == "x"
    assert render("{{" + "(" * MAX_DEPTH + ".Path" + ")" * MAX_DEPTH + "}}") == "sh"


def test_a_value_nested_too_deeply_is_a_failure() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(TemplateError, match="nested too deeply"):
        Template("{{.}}").render(value)


# --- whatever comes ---------------------------------------------------------------------------

_WORDS = (
    *("{{", "}}", "{{-", "-}}", "{{/*", "*/}}", "{{end}}", "{{else}}", "\n", "|", "(", ")", ","),
    *("if", "else", "end", "range", "with", "break", "continue", "define", "template"),
    *(".", ".Name", ".State", ".Args", ".Labels", ".Nope", "$", "$x", "$x.Y", ":=", "="),
    *("and", "or", "not", "eq", "lt", "len", "index", "slice", "print", "println", "printf"),
    *("json", "join", "split", "upper", "title", "pad", "truncate", "(index .Args 0)"),
    *("nil", "true", "0", "1", "-1", "3.5", "0x1F", "'a'", '"a"', "`b`", '"%5d|%q|%x"', '"%v"'),
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["Name", "Args", "Labels", "State"]) | st.text(max_size=2),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def check(failure: Failure, beginning: str) -> None:
    assert failure.message.startswith(beginning)
    assert len(failure.message.splitlines()) == 1


@settings(max_examples=400)
@given(
    st.lists(st.sampled_from(_WORDS), max_size=24).map(" ".join)
    | st.lists(st.sampled_from(_WORDS), max_size=12).map("".join)
    | st.text(alphabet="{}.-|()$\"`'\\ab1 /*:=,%\n", max_size=40)
    | st.lists(st.sampled_from(_WORDS[9:]), min_size=1, max_size=5).map(
        lambda words: "{{" + " ".join(words) + "}}"
    ),
    _JSON,
)
def test_nothing_but_failures(template: str, value: Any) -> None:
    try:
        shown = Template(template).render(value)
    except Failure as failure:
        check(failure, "template parsing error: ")
        return
    assert isinstance(shown, str)
    if "{{" not in template:
        assert shown == template


@given(st.text(alphabet="%+-# 0123456789.sdvqxXtTcUbogeEfGz[]*", max_size=12), _JSON, _JSON)
def test_nothing_but_failures_of_printf(form: str, one: Any, other: Any) -> None:
    try:
        shown = Template("{{printf .F .A .B}}").render({"F": form, "A": one, "B": other})
    except Failure as failure:
        check(failure, "template parsing error: line 1, column 3: error calling printf: ")
        return
    assert "%" in form or shown.startswith(f"{form}%!(EXTRA ")


@given(st.text(max_size=30).map(lambda text: text.replace("{{", "")))
def test_strings_come_back_from_quotes(text: str) -> None:
    shown = Template('{{printf "%q" .}}').render(text)
    clean = text.encode("utf-8", "replace").decode()
    assert Template("{{" + shown + "}}").render(None) == clean
