"""What is told of a host's filters of system calls."""

from __future__ import annotations

import pytest

from supervisor.engine.system_calls import (
    UNFILTERED,
    kernel_version,
    machine_to_filter,
    security_options,
    warnings,
)
from supervisor.spec.build import HostFacts
from supervisor.spec.options import ContainerOptions
from supervisor.spec.seccomp.abis import Machine

FILTERING = HostFacts(filters=Machine(name="x86_64", kernel=(6, 1)))
WRONG = ", ".join(f'"call{n}"' for n in range(12))
MISSPELT = (
    'seccomp={"defaultAction": "SCMP_ACT_ALLOW", "syscalls": '
    f'[{{"names": ["read", {WRONG}], "action": "SCMP_ACT_ERRNO"}}]}}'
)


@pytest.mark.parametrize(
    "release, expected",
    [
        ("6.1.0-31-amd64", (6, 1)),
        ("6.18.44-fc-v595", (6, 18)),
        ("5.15-rc3", (5, 15)),
        ("7.0", (7, 0)),
        ("6", (0, 0)),
        ("6.x", (0, 0)),
        ("", (0, 0)),
    ],
)
def test_versions(release: str, expected: tuple[int, int]) -> None:
    assert kernel_version(release) == expected


def test_this_host() -> None:
    machine = machine_to_filter()
    assert machine is None or machine.kernel >= (5, 0)


def test_security_options() -> None:
    assert security_options(FILTERING) == ("name=seccomp,profile=builtin", "name=cgroupns")
    assert security_options(HostFacts()) == ("name=cgroupns",)


def test_warnings_where_there_is_no_filter() -> None:
    assert warnings(HostFacts(), ContainerOptions()) == [UNFILTERED]
    assert warnings(HostFacts(), ContainerOptions(privileged=True)) == []
    unconfined = ContainerOptions(security_opts=("seccomp=unconfined",))
    assert warnings(HostFacts(), unconfined) == []
    assert warnings(FILTERING, unconfined) == warnings(FILTERING, ContainerOptions()) == []


def test_warnings_of_misspelt_names() -> None:
    (found,) = warnings(FILTERING, ContainerOptions(security_opts=(MISSPELT,)))
    assert found.startswith("the seccomp profile names system calls that no kernel has: call0, ")
    assert found.endswith(" and 2 more")
    assert "read" not in found
