"""docs/lifecycle.md shows the transition table as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.lifecycle.machine import TaskStarted
from supervisor.lifecycle.picture import BEGIN, END, diagram, embed, main, render, words

DOCS = Path(__file__).resolve().parents[3] / "docs" / "lifecycle.md"


def test_docs_are_current() -> None:
    """If not: `python -m supervisor.lifecycle.picture docs/lifecycle.md`."""
    text = DOCS.read_text(encoding="utf-8")
    assert embed(text) == text


def test_words() -> None:
    assert words(TaskStarted) == "task started"


def test_diagram_has_the_way_in_and_out() -> None:
    assert "[*] --> created" in diagram()
    assert "removing --> [*] : cleaned" in diagram()
    assert "running --> paused : frozen" in diagram()


def test_embed_replaces_what_is_between_the_markers(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    main([str(path)])
    assert path.read_text(encoding="utf-8") == f"before\n{BEGIN}\n{render()}\n{END}\nafter\n"
    with pytest.raises(ValueError, match="begin"):
        embed("no markers")


def test_main_prints(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    assert capsys.readouterr().out == render() + "\n"
