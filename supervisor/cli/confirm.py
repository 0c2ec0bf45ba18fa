"""Asking before something is destroyed."""

from __future__ import annotations

import sys


def confirmed(warning: str) -> bool:
    """Show the warning and ask; only y or yes, in any case, is a yes. An end of input is a no."""
    print(f"WARNING! {warning}\nAre you sure you want to continue? [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
