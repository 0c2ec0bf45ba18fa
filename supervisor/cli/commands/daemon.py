"""`orlop daemon`: this process becomes the daemon."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import supervisor
from supervisor.cli.context import Context


def daemon(words: Sequence[str], context: Context) -> int:
    """`python -m supervisor.daemon` with the flags given; `--help` is the daemon's own."""
    arguments = list(words)
    if context.address_given and not any(w.partition("=")[0] in ("-H", "--host") for w in words):
        arguments[:0] = ["--host", context.address]
    # -P: a folder named `supervisor` where root happens to stand must not become the daemon.
    found_here = str(Path(supervisor.__file__).parent.parent)
    if sys.path[0] in ("", found_here):  # a source tree, run from there
        os.environ["PYTHONPATH"] = found_here
    os.execv(sys.executable, [sys.executable, "-P", "-m", "supervisor.daemon", *arguments])
