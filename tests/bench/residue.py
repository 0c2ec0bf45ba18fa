"""What many lifecycles leave behind, counted before and after."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench.figures import Figure
from tests.bench.rig import Rig, Sizes, descriptors
from tests.support import leaks, procfs

SETTLE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """Of what lifecycles may leave, how much there is now."""

    mounts: int
    cgroups: int
    processes: int
    descriptors: int
    folders: int


def residue(rig: Rig, sizes: Sizes) -> list[Figure]:
    """Lifecycles by several clients at once; what there is more of afterwards."""
    # The same once before: what is opened once and kept (a thread, a listener) is no leak.
    rig.by_clients(lambda client, _: rig.lifecycle(client), 10 * 4)
    before = settled(rig, None)
    rig.by_clients(lambda client, _: rig.lifecycle(client), sizes.lifecycles)
    after = settled(rig, before)
    return [
        Figure(
            part="residue",
            name=f"{kind} left after {sizes.lifecycles} lifecycles",
            value=getattr(after, kind) - count,
            unit="",
            most=0,
        )
        for kind, count in asdict(before).items()
    ]


def settled(rig: Rig, wanted: Count | None) -> Count:
    """What there is once it is `wanted`, or what it is after SETTLE_SECONDS.

    The trash is emptied and a shim reaped shortly after the answer to the client.
    """
    deadline = time.monotonic() + SETTLE_SECONDS
    last = None
    while time.monotonic() < deadline:
        now = _count(rig)
        if now == (wanted or last):
            return now
        last = now
        time.sleep(0.2)
    return _count(rig)


def _count(rig: Rig) -> Count:
    daemon = rig.daemon
    return Count(
        mounts=len(procfs.mounts()),
        cgroups=len(leaks.cgroups(daemon.cgroup_parent)),
        processes=len(procfs.descendants(daemon.warden.pid)) - daemon.idle_shims(),
        descriptors=daemon.open_files() + descriptors(rig.zygote()),
        folders=sum(_entries(root) for root in (daemon.data_root, daemon.run_root)),
    )


def _entries(root: Path) -> int:
    """Everything below `root` but the image's files; what vanishes meanwhile is not counted."""
    left_out = root / "layers"
    waiting, count = [root], 0
    while waiting:
        try:
            found = list(waiting.pop().iterdir())
        except FileNotFoundError:
            continue
        count += len(found)
        waiting += [p for p in found if p.is_dir() and not p.is_symlink() and p != left_out]
    return count
