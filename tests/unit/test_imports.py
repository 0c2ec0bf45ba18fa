"""What the zygote loads, and what is pure, imports the standard library and ourselves only.

The import-linter contract names the third-party packages of today; this knows all others, too.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("failpoints", "wire", "lifecycle", "spec", "kernel", "shim")
SOURCES = [
    *(ROOT / "supervisor").glob("*.py"),
    *(path for folder in FOLDERS for path in (ROOT / "supervisor" / folder).rglob("*.py")),
]


def imported(source: str) -> set[str]:
    """The top-level names that a module imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(str(node.module).partition(".")[0])
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_standard_library(path: Path) -> None:
    assert imported(path.read_text()) - sys.stdlib_module_names <= {"supervisor"}
