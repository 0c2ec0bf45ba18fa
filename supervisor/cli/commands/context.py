"""`orlop context`: the way to the daemon for docker's own commands."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from supervisor.cli.context import Context
from supervisor.cli.flags import Parser


def context(words: Sequence[str], context: Context) -> int:
    """Print lines for a shell: `eval "$(orlop context)"`, then docker talks to this daemon."""
    parser = Parser(
        "context",
        "",
        "Print what sets DOCKER_HOST, for docker's own commands",
        count=(0, 0),
        notes='Use it as: eval "$(orlop context)"; then docker, docker compose and docker-py\n'
        "talk to this daemon.",
    )
    parser.parse(words)
    lines = [("DOCKER_HOST", context.address)]
    if context.tls is not None:
        # Docker finds the three files by their names in one folder.
        folder = str(Path(context.tls.cert or context.tls.ca).absolute().parent)
        lines += [("DOCKER_TLS_VERIFY", "1")] if context.tls.verify else []
        lines += [("DOCKER_CERT_PATH", folder)]
    for name, value in lines:
        print(f"export {name}={shlex.quote(value)}")
    return 0
