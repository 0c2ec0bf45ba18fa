"""A run whose tests skip too much fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import skips_allowed

ROOT = Path(__file__).resolve().parents[3]
PASSES = "def test_one(): pass\n"
ONE_SKIPS = PASSES + "import pytest\ndef test_two(): pytest.skip('no such thing here')\n"
MODULE_SKIPS = "import pytest\npytest.skip('nothing of it here', allow_module_level=True)\n"
ONE_XFAILS = PASSES + "import pytest\n@pytest.mark.xfail\ndef test_two(): assert False\n"


def run(folder: Path, source: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_first.py").write_text(PASSES)
    (folder / "test_it.py").write_text(source)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-rs", "-p", "tests.conftest", *arguments, "."],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    "source, status",
    [(ONE_XFAILS, 0), (ONE_SKIPS, 1), (MODULE_SKIPS, 1)],
    ids=["one is expected to fail", "one skips", "a module skips"],
)
def test_no_skip_is_allowed(tmp_path: Path, source: str, status: int) -> None:
    done = run(tmp_path, source, "--limit-skips=check")
    assert done.returncode == status, done.stdout
    assert ("1 skipped, 0 allowed" in done.stdout) == (status == 1)


def test_without_the_option_there_is_no_limit(tmp_path: Path) -> None:
    done = run(tmp_path, ONE_SKIPS)
    assert done.returncode == 0
    assert "no such thing here" in done.stdout


def test_an_unknown_run_is_an_error() -> None:
    with pytest.raises(pytest.UsageError, match="elsewhere"):
        skips_allowed("elsewhere")
