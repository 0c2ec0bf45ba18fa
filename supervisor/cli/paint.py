"""Colours on a terminal, none elsewhere or with NO_COLOR (no-color.org)."""

from __future__ import annotations

import os

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34"}


class Paint:
    """`paint(text, "bold")`; plain text where standard output is no terminal."""

    def __init__(self) -> None:
        self.on = os.isatty(1) and "NO_COLOR" not in os.environ

    def __call__(self, text: str, *styles: str) -> str:
        """The text in these styles of bold, dim, red, green, yellow, blue."""
        if not self.on or not text:
            return text
        codes = ";".join(_CODES[style] for style in styles)
        return f"\x1b[{codes}m{text}\x1b[0m"
