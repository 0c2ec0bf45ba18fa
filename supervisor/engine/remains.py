"""Looking for what may be left of containers on this host: processes and mounts. Blocking.

Whether something is left over is not decided here: `supervisor.engine.reconcile` does.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from supervisor.kernel import mounts, process

# Of groups and bundles of ours; what has another name is not ours to judge.
ID = re.compile(r"[0-9a-f]{64}")
_SHIM = b"orlop-shim\n"
_DELETED = " (deleted)"


class ShimProcess(msgspec.Struct, frozen=True):
    """A shim that lives; `container` is "" where its bundle is gone. `started` tells it from
    another process that gets its pid later (`process.start_time`)."""

    pid: int
    started: int
    container: str


class Mount(msgspec.Struct, frozen=True):
    """Something mounted at `target` in a bundle; `container` is "" where that is in the trash."""

    target: str
    container: str


def shims(root: Path, proc: Path = Path("/proc")) -> list[ShimProcess]:
    """The shims of the data root `root`; those that end meanwhile are left out.

    A shim's working folder is its bundle: the kernel tells its path whatever it is renamed to.
    Forks of the zygote that wait for a container stand elsewhere.
    """
    found = []
    # There may be thousands: no Path for each, no file object.
    for name in filter(str.isdigit, os.listdir(proc)):  # noqa: PTH208
        # Gone meanwhile, or a zombie, which has no working folder.
        with suppress(OSError):
            if _comm(f"{proc}/{name}/comm") == _SHIM:
                container = _container(root, os.readlink(f"{proc}/{name}/cwd"))  # noqa: PTH115
                if container is not None:
                    pid = int(name)
                    found.append(ShimProcess(pid, process.start_time(pid), container))
    return found


def _comm(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 64)
    finally:
        os.close(fd)


def still(shim: ShimProcess, root: Path, proc: Path = Path("/proc")) -> bool:
    """Whether it is what it was when it was found: that very process, with that container."""
    try:
        place = str((proc / str(shim.pid) / "cwd").readlink())
        return (process.start_time(shim.pid), _container(root, place)) == (
            shim.started,
            shim.container,
        )
    except OSError:
        return False


def mounted(root: Path, table: Iterable[mounts.MountInfo] | None = None) -> list[Mount]:
    """What is mounted in bundles in our own mount namespace, inner ones first."""
    found = []
    for mount in mounts.mountinfo() if table is None else table:
        container = _container(root, mount.mount_point)
        if container is not None:
            found.append(Mount(mount.mount_point, container))
    return found[::-1]


def folders(root: Path) -> Iterator[str]:
    """The names of the bundles."""
    with os.scandir(root / "containers") as entries:
        yield from (entry.name for entry in entries if ID.fullmatch(entry.name))


def _container(root: Path, path: str) -> str | None:
    """Whose bundle a path is, or is in; "" for what was thrown away, None for neither."""
    for prefix in (f"{root}/containers/", f"{root}/trash/"):
        if path.startswith(prefix):
            name = path.removeprefix(prefix).partition("/")[0]
            gone = path.endswith(_DELETED) or prefix.endswith("/trash/")
            return "" if gone else name
    return None


def own_memory(shims: Iterable[ShimProcess], proc: Path = Path("/proc")) -> int:
    """Bytes that nothing shares with these shims, all together (proc_pid_smaps_rollup(5))."""
    size = 0
    for shim in shims:
        with suppress(OSError):  # it has ended
            for line in (proc / str(shim.pid) / "smaps_rollup").read_bytes().splitlines():
                if line.startswith(b"Private_"):
                    size += int(line.split()[1]) * 1024
    return size
