"""The sums that `make test` ends with."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests import run
from tests.run import FEW, closing_line, counts

REPORT = """<?xml version="1.0" encoding="utf-8"?>
<testsuites><testsuite tests="4">
<testcase name="a"/><testcase name="b"/>
<testcase name="c"><skipped message="why"/></testcase>
<testcase name="d"><failure message="no"/></testcase>
<testcase name="e"><error message="oh"/></testcase>
<testcase name="f"><failure message="no"/></testcase>
<testcase name="f"><error message="and left things behind"/></testcase>
</testsuite></testsuites>
"""


def test_counts(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    assert counts(report) == Counter()
    report.write_text(REPORT)
    assert counts(report) == {"passed": 2, "skipped": 1, "failed": 2, "errors": 1}


def test_the_closing_line_sums_up() -> None:
    runs = {"host": Counter(passed=40, skipped=1), "guest": Counter(passed=9)}
    assert closing_line(runs, 12.5) == "==== 49 passed, 1 skipped in 12.50s (host 41, guest 9) ===="
    runs["guest"]["failed"] = 2
    assert closing_line(runs, 1).startswith("==== 2 failed, 49 passed, 1 skipped in")


def test_a_run_that_never_reported() -> None:
    assert closing_line({"guest": Counter()}, 0) == "==== no tests ran in 0.00s (guest 0) ===="


STAYS, FINE = "def test_stays(): assert 0", "def test_fine(): pass"
# Fails once, and so does its clean-up: its file is there from then on.
GOES = """
import pathlib, pytest
@pytest.fixture
def seen():
    mark = pathlib.Path(__file__ + ".mark")
    seen = mark.exists()
    mark.touch()
    yield seen
    assert seen
def test_goes(seen):
    assert seen
"""


@pytest.mark.parametrize(
    "tests, unsteady",
    [
        ([FINE], []),
        ([FINE, GOES], ["test_it.py::test_goes"]),
        ([GOES, STAYS], []),
        ([FINE, GOES, *(STAYS.replace("s()", f"s{n}()") for n in range(FEW))], []),
    ],
)
def test_a_few_that_failed_run_again_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tests: list[str], unsteady: list[str]
) -> None:
    file = tmp_path / "test_it.py"
    file.write_text("\n".join(tests))

    def command(results: Path) -> list[str]:
        return [*run.PYTEST, f"--rootdir={tmp_path}", *run.reports(results, "host")]

    monkeypatch.setattr(run, "COMMANDS", {"host": command})
    monkeypatch.setattr(run, "ROOT", tmp_path)
    subprocess.run(command(tmp_path), capture_output=True, cwd=tmp_path)
    assert run.run_again("host", counts(tmp_path / "host.xml"), tmp_path) == unsteady
