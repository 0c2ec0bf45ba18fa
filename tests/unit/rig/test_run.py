"""The sums that `make test` ends with."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.run import closing_line, counts

REPORT = """<?xml version="1.0" encoding="utf-8"?>
<testsuites><testsuite tests="4">
<testcase name="a"/><testcase name="b"/>
<testcase name="c"><skipped message="why"/></testcase>
<testcase name="d"><failure message="no"/></testcase>
<testcase name="e"><error message="oh"/></testcase>
</testsuite></testsuites>
"""


def test_counts(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    assert counts(report) == Counter()
    report.write_text(REPORT)
    assert counts(report) == {"passed": 2, "skipped": 1, "failed": 1, "errors": 1}


def test_the_closing_line_sums_up() -> None:
    runs = {"host": Counter(passed=40, skipped=1), "guest": Counter(passed=9)}
    assert closing_line(runs, 12.5) == "==== 49 passed, 1 skipped in 12.50s (host 41, guest 9) ===="
    runs["guest"]["failed"] = 2
    assert closing_line(runs, 1).startswith("==== 2 failed, 49 passed, 1 skipped in")


def test_a_run_that_never_reported() -> None:
    assert closing_line({"guest": Counter()}, 0) == "==== no tests ran in 0.00s (guest 0) ===="
