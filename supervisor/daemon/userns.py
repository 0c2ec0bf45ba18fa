"""The daemon's settings of user namespaces: its options, and where the pool of ids is from."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from supervisor.errors import InvalidArgument
from supervisor.spec.namespaces import HOST
from supervisor.spec.user_ranges import AUTO, FIXED_POOL, IdRange, parse_pool, subordinate

if TYPE_CHECKING:
    from supervisor.daemon.config import Config

DEFAULTS = (HOST, AUTO)
USERS = ("containers", "orlop")
_FOLDER = Path("/etc")


def add_userns_options(parser: argparse.ArgumentParser) -> None:
    """Those of `orlop daemon` that are about user namespaces."""
    parser.add_argument(
        "--userns",
        choices=DEFAULTS,
        help="the user namespace of containers that ask for none: one with user ids of its own for "
        "each, where its other flags and the kernel allow it, or the host's (default: auto)",
    )
    parser.add_argument(
        "--userns-pool",
        metavar="BASE:SIZE",
        help="user and group ids of the host for containers with --userns auto (default: those of "
        f"{' or '.join(USERS)} in /etc/subuid and /etc/subgid, else "
        f"{FIXED_POOL.first}:{FIXED_POOL.size})",
    )


def check_userns(config: Config) -> None:
    """InvalidArgument for settings that cannot be."""
    if config.userns not in DEFAULTS:
        raise InvalidArgument(f"userns {config.userns!r:.80}: give one of {', '.join(DEFAULTS)}")
    if config.userns_pool:
        parse_pool(config.userns_pool)


def pool_of(config: Config, folder: Path = _FOLDER) -> IdRange:
    """The ids to give out: as set, else from the files of subordinate ids in `folder`."""
    if config.userns_pool:
        return parse_pool(config.userns_pool)
    found = subordinate(_read(folder / "subuid"), _read(folder / "subgid"), USERS)
    return found or FIXED_POOL


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
