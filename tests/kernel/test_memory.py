"""Memory offered to KSM: whose it is, and whose not."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from supervisor.kernel import memory
from tests.api.box import Box
from tests.support.daemon import running_daemon

KSM = Path("/sys/kernel/mm/ksm").exists()


def mergeable(pid: int) -> int:
    """How many regions of the process KSM may look at (VmFlags: mg)."""
    return len(
        re.findall(r"^VmFlags:.* mg\b", Path(f"/proc/{pid}/smaps").read_text(), re.MULTILINE)
    )


def test_what_is_offered_is_inherited_by_a_fork_alone() -> None:
    before = mergeable(os.getpid())
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        offered = memory.offer_for_merging()
        found = mergeable(os.getpid())
        if os.fork() == 0:
            os.write(theirs, f"{offered} {found} {mergeable(os.getpid())}".encode())
            os._exit(0)
        os.wait()
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as answer:
        offered, found, inherited = map(int, answer.read().split())
    os.waitpid(child, 0)
    assert (offered > 1 << 20) is (found > 3) is KSM
    assert inherited == found
    assert mergeable(os.getpid()) == before == 0


@pytest.mark.parametrize("flags, offered", [((), KSM), (("--ksm=false",), False)])
def test_of_a_container_only_its_shim(flags: tuple[str, ...], offered: bool) -> None:
    with running_daemon(flags) as daemon:
        box = Box(daemon)
        box.build()
        box.start()
        shims = {p.name: p.pid for p in daemon.processes() if p.name.startswith("orlop-")}
        assert (mergeable(shims["orlop-shim"]) > 3) is offered
        assert (mergeable(shims["orlop-zygote"]) > 3) is offered
        (program,) = (p.pid for p in daemon.processes() if p.name == "sleep")
        assert mergeable(program) == mergeable(daemon.pid) == 0
        box.remove_all()
