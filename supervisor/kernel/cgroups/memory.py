"""A group's memory figures, alike for both versions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from supervisor.errors import KernelError
from supervisor.kernel.cgroups import files

if TYPE_CHECKING:
    from supervisor.spec.types import CgroupPaths

# v1 has no word for "no limit": it reads as the largest count of whole pages, which depends
# on the page size. Nothing above this is a limit anybody set.
_V1_UNLIMITED = 1 << 62


@dataclass(frozen=True, slots=True)
class MemoryUsage:
    """Bytes, but `oom_kills`: processes of this group (v2: and those below) ever OOM-killed.

    `limit` 0 = none. Where the kernel keeps no `peak` (v2 before Linux 5.19), it is the
    present usage. All 0 where the host has no memory controller.
    """

    current: int = 0
    peak: int = 0
    limit: int = 0
    oom_kills: int = 0


def read_memory(paths: CgroupPaths) -> MemoryUsage:
    """The figures of the group at `paths`, from its folders alone.

    Zeros where there is no memory controller or no such group any more; KernelError for
    anything else.
    """
    try:
        if "memory" in paths.v1:
            return _read_v1(paths.v1["memory"])
        # Only a hierarchy whose parent group has the controller enabled has its files.
        return _read_v2(paths.unified) if paths.unified else MemoryUsage()
    except KernelError as error:
        if not files.is_gone(error):
            raise
        return MemoryUsage()


def _read_v2(folder: str) -> MemoryUsage:
    current = int(files.read(f"{folder}/memory.current"))
    limit = files.read(f"{folder}/memory.max")
    return MemoryUsage(
        current=current,
        peak=_peak_v2(folder, current),
        limit=0 if limit == "max" else int(limit),
        oom_kills=files.field(files.read(f"{folder}/memory.events"), "oom_kill"),
    )


def _peak_v2(folder: str, current: int) -> int:
    try:
        return int(files.read(f"{folder}/memory.peak"))
    except KernelError as error:
        if not files.is_gone(error):
            raise
        return current


def _read_v1(folder: str) -> MemoryUsage:
    limit = int(files.read(f"{folder}/memory.limit_in_bytes"))
    return MemoryUsage(
        current=int(files.read(f"{folder}/memory.usage_in_bytes")),
        peak=int(files.read(f"{folder}/memory.max_usage_in_bytes")),
        limit=0 if limit >= _V1_UNLIMITED else limit,
        oom_kills=files.field(files.read(f"{folder}/memory.oom_control"), "oom_kill"),
    )
