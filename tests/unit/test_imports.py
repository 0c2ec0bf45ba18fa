"""What the zygote loads imports the standard library and ourselves only. What others do without.

The import-linter contract names the third-party packages of today; this knows all others, too.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("failpoints", "wire", "spec", "kernel", "shim")
SOURCES = [
    *(ROOT / "supervisor").glob("*.py"),
    *(path for folder in FOLDERS for path in (ROOT / "supervisor" / folder).rglob("*.py")),
]
LIFECYCLE = sorted((ROOT / "supervisor" / "lifecycle").rglob("*.py"))


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


@pytest.mark.parametrize("path", LIFECYCLE, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_lifecycle_has_structs_besides(path: Path) -> None:
    assert imported(path.read_text()) - sys.stdlib_module_names <= {"supervisor", "msgspec"}


def test_the_daemon_is_ready_without_what_few_ask_for() -> None:
    code = "import supervisor.daemon.main, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    ).stdout.split()
    for name in ("shim.shim", "engine.explain", "store.archive_load"):
        assert f"supervisor.{name}" not in loaded


def test_the_command_line_loads_no_structs() -> None:
    """Importing msgspec costs `orlop ps` more than its few dataclasses do."""
    code = (
        "import importlib, pkgutil, sys, supervisor.cli.commands as all\n"
        "for one in pkgutil.iter_modules(all.__path__, 'supervisor.cli.commands.'):\n"
        "    importlib.import_module(one.name)\n"
        "print(*sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    ).stdout.split()
    assert "supervisor.cli.commands.run" in loaded
    assert "msgspec" not in loaded
