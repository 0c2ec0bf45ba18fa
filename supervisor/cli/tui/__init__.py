"""`orlop top` as an application on the whole terminal, with the extra `orlop[tui]` (textual).

feed    threads that ask the daemon, and tell the application
cells   rows of usage as text, pure
app     the table of all containers
detail  one container: what it uses, its logs, commands in it
"""

from __future__ import annotations


def installed() -> bool:
    """textual is there; without it `supervisor.cli.live_top` shows the same table."""
    from importlib.util import find_spec

    return find_spec("textual") is not None
