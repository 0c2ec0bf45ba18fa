"""supervisor.kernel.capabilities: the sets as the kernel reports and enforces them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from supervisor.errors import KernelError
from supervisor.kernel import capabilities
from tests.kernel.forked import OUTER, error_of, in_child

CHOWN, FOWNER, KILL, SETPCAP = (1 << number for number in (0, 3, 5, 8))
CHECKPOINT_RESTORE = 1 << 40  # in the high word


def sets() -> dict[str, int]:
    """CapInh, CapPrm, CapEff, CapBnd, CapAmb from /proc."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return {line[3:6]: int(line.split()[1], 16) for line in lines if line.startswith("Cap")}


def test_last_capability_is_the_kernels() -> None:
    expected = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    assert capabilities.last_capability() == expected


def test_get_is_what_proc_says() -> None:
    found = sets()
    assert capabilities.get_capabilities() == (found["Eff"], found["Prm"], found["Inh"])


def test_each_set_gets_its_own_mask() -> None:
    def body() -> dict[str, int]:
        permitted = CHOWN | KILL | CHECKPOINT_RESTORE
        capabilities.set_capabilities(KILL | CHECKPOINT_RESTORE, permitted, CHOWN)
        assert capabilities.get_capabilities() == (KILL | CHECKPOINT_RESTORE, permitted, CHOWN)
        return sets()

    found = in_child(body)
    assert found["Eff"] == KILL | CHECKPOINT_RESTORE
    assert found["Prm"] == CHOWN | KILL | CHECKPOINT_RESTORE
    assert found["Inh"] == CHOWN


def test_what_is_given_up_does_not_come_back() -> None:
    def body() -> str:
        capabilities.set_capabilities(0, KILL, 0)
        return error_of(capabilities.set_capabilities, KILL | CHOWN, KILL | CHOWN, 0)

    assert in_child(body) == "EPERM"


def test_the_kernel_enforces_them(tmp_path: Path) -> None:
    def body() -> list[bool]:
        found = []
        for effective in (CHOWN, KILL):
            capabilities.set_capabilities(effective, CHOWN | KILL, 0)
            try:
                os.chown(tmp_path, OUTER, OUTER)
                found.append(True)
            except PermissionError:
                found.append(False)
        return found

    assert in_child(body) == [True, False]


@pytest.mark.parametrize("keep", [0, CHOWN | KILL, CHECKPOINT_RESTORE | SETPCAP])
def test_bounding_set(keep: int) -> None:
    def body() -> dict[str, int]:
        capabilities.limit_bounding_set(keep)
        return sets()

    before = sets()
    found = in_child(body)
    assert found["Bnd"] == before["Bnd"] & keep
    assert found["Prm"] == before["Prm"]


def test_the_bounding_set_needs_setpcap() -> None:
    def body() -> str:
        capabilities.set_capabilities(CHOWN, CHOWN, 0)
        try:
            capabilities.limit_bounding_set(0)
        except KernelError as error:
            return str(error)
        return "allowed"

    assert in_child(body) == "prctl PR_CAPBSET_DROP 0: Operation not permitted"


def test_ambient() -> None:
    def body() -> list[int]:
        permitted = CHOWN | FOWNER | CHECKPOINT_RESTORE
        capabilities.set_capabilities(permitted, permitted, CHOWN | CHECKPOINT_RESTORE)
        found = []
        capabilities.raise_ambient(CHOWN | CHECKPOINT_RESTORE)
        found.append(sets()["Amb"])
        assert error_of(capabilities.raise_ambient, FOWNER) == "EPERM"
        capabilities.clear_ambient()
        found.append(sets()["Amb"])
        return found

    assert in_child(body) == [CHOWN | CHECKPOINT_RESTORE, 0]
