"""What containers, images and registries have named reaches a terminal as text only."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.cli.failures import Failure, report
from supervisor.cli.listing import Labelled, plain, show, shown
from supervisor.cli.template import compact, readable

HOSTILE = "a\x1b]0;title\x07\x9b2J\x7f\r\u202eb\n\tc"
ESCAPED = "a\\x1b]0;title\\x07\\x9b2J\\x7f\\r\\u202eb\n\tc"


def controls(text: str) -> list[str]:
    """What of it a terminal might act upon."""
    return [c for c in text if unicodedata.category(c) in ("Cc", "Cf") and c not in "\n\t"]


@given(st.text())
def test_plain_text_is_harmless_and_ordinary_text_stays(text: str) -> None:
    assert not controls(plain(text))
    if text.isprintable():
        assert plain(text) == text


@given(st.text())
def test_json_means_the_same(text: str) -> None:
    written = compact({"name": text})
    assert written.isprintable()
    assert json.loads(written) == {"name": text}
    lines = readable(json.dumps([text], indent=4, ensure_ascii=False))
    assert not controls(lines)
    assert json.loads(lines) == [text]


@pytest.mark.parametrize(
    "shape, on_terminal, elsewhere",
    [
        ("table", ESCAPED.replace("\n\t", r"\n\t"), ESCAPED.replace("\n\t", r"\n\t")),
        ("{{.Name}}", ESCAPED, HOSTILE),
        ('{{.Label "x"}}', ESCAPED, HOSTILE),
    ],
)
def test_a_list(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    shape: str,
    on_terminal: str,
    elsewhere: str,
) -> None:
    rows = [Labelled.row({"Name": HOSTILE}, {"x": HOSTILE})]
    for a_terminal, wanted in ((True, on_terminal), (False, elsewhere)):
        monkeypatch.setattr("sys.stdout.isatty", lambda answer=a_terminal: answer)
        show(rows, Labelled.headings({"Name": "NAME"}), ("Name",), shape)
        assert capsys.readouterr().out.removeprefix("NAME\n") == f"{wanted}\n"


def test_errors_and_answers(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    report(Failure(HOSTILE))
    assert capsys.readouterr().err == f"orlop: {ESCAPED}\n"
    assert shown(HOSTILE) == HOSTILE
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert shown(HOSTILE) == ESCAPED
