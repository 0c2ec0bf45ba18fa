"""The files of the page for people, beside this one in `page/`. Nothing of it is made at run time.

The page shows what containers say of themselves, so the browser is told to run, load and ask for
nothing but these files and this server, and to let no text become markup (Content Security Policy
Level 3, Trusted Types).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)

HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}

_FOLDER = Path(__file__).with_name("page")
_FILES = {
    b"/": ("index.html", "text/html; charset=utf-8"),
    b"/page.css": ("page.css", "text/css; charset=utf-8"),
    b"/page.js": ("page.js", "text/javascript; charset=utf-8"),
    b"/icon.svg": ("icon.svg", "image/svg+xml"),
}


class Asset(NamedTuple):
    """A file's content and its type."""

    content: bytes
    type: str


@cache
def asset(path: bytes) -> Asset | None:
    """The file at that path of the server; None where there is none. Each is read once."""
    if path not in _FILES:
        return None
    name, type = _FILES[path]
    return Asset((_FOLDER / name).read_bytes(), type)
