"""Finding the process that has a port, for an error's text."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from netplumb.plan import procnet
from netplumb.plan.model import Address

_TABLES = {"tcp": ("tcp", "tcp6"), "udp": ("udp", "udp6")}
_MOST_PROCESSES = 20_000


def holder_of(protocol: str, address: Address, port: int, proc: Path = Path("/proc")) -> str:
    """As "process 1234 (nginx)"; "" if it cannot be found."""
    for table in _TABLES.get(protocol, ()):
        with suppress(OSError):
            text = (proc / "self/net" / table).read_text()
            found = procnet.in_the_way(
                procnet.parse(text, listening=protocol == "tcp"), address, port
            )
            if found is not None:
                return _process_with(found.inode, proc)
    return ""


def _process_with(inode: int, proc: Path) -> str:
    wanted = f"socket:[{inode}]"
    for pid in [entry for entry in os.listdir(proc) if entry.isdigit()][:_MOST_PROCESSES]:  # noqa: PTH208
        with suppress(OSError):
            if _has(proc / pid / "fd", wanted):
                name = (proc / pid / "comm").read_text().strip()
                return f"process {pid} ({name})"
    return ""


def _has(folder: Path, wanted: str) -> bool:
    with os.scandir(folder) as entries:
        return any(os.readlink(entry.path) == wanted for entry in entries)  # noqa: PTH115
