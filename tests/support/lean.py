"""Programs run as the zygote is: no site-packages, its stand-ins first on the path."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LEAN = ROOT / "supervisor" / "shim" / "lean"
PATHS = f"import sys; sys.path[:0] = [{str(LEAN)!r}, {str(ROOT)!r}]\nimport json\n"


def lean(program: str) -> Any:
    """What the program prints, as JSON."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", PATHS + program],
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
