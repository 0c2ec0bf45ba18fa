"""Limits of a process: what the host's root raises first, and what is set in the container."""

from __future__ import annotations

import resource
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from supervisor.errors import NotFound
from supervisor.shim import become
from supervisor.spec.types import Process, Rlimit

FILES, CORE, MEMLOCK = resource.RLIMIT_NOFILE, resource.RLIMIT_CORE, resource.RLIMIT_MEMLOCK
UNLIMITED = resource.RLIM_INFINITY


@dataclass
class FakeKernel:
    """setrlimit(2): a hard limit is raised by the privileged alone, to `ceiling` at most."""

    limits: dict[int, tuple[int, int]]
    privileged: bool = True
    ceiling: int = UNLIMITED
    set: list[tuple[int, tuple[int, int]]] = field(default_factory=list)

    def get(self, kind: int) -> tuple[int, int]:
        return self.limits[kind]

    def change(self, kind: int, wanted: tuple[int, int]) -> None:
        self.set.append((kind, wanted))
        soft, hard = (_number(limit) for limit in wanted)
        if soft > hard or hard > _number(self.ceiling):
            raise ValueError("current limit exceeds maximum limit")
        if hard > _number(self.limits[kind][1]) and not self.privileged:
            raise ValueError("not allowed to raise maximum limit")
        self.limits[kind] = wanted


def _number(limit: int) -> float:
    return float("inf") if limit == UNLIMITED else limit


Boot = Callable[..., FakeKernel]


@pytest.fixture
def boot(monkeypatch: pytest.MonkeyPatch) -> Boot:
    """`boot(FakeKernel)`: the kernel that `become` asks."""

    def use(**options: object) -> FakeKernel:
        limits = {FILES: (1024, 4096), CORE: (0, 0), MEMLOCK: (65536, UNLIMITED)}
        kernel = FakeKernel(limits, **options)  # type: ignore[arg-type]  # as given
        monkeypatch.setattr(resource, "getrlimit", kernel.get)
        monkeypatch.setattr(resource, "setrlimit", kernel.change)
        return kernel

    return use


def wanting(*limits: tuple[str, int, int]) -> Process:
    return Process(
        args=("sh",),
        rlimits=tuple(Rlimit(type=kind, soft=soft, hard=hard) for kind, soft, hard in limits),
    )


def becoming(wanted: Process) -> become.Becoming:
    return become.Becoming(process=wanted, root_fd=-1, stdio=(0, 1, 2), make_cwd=False)


def test_a_higher_hard_limit_is_raised_and_the_soft_one_left(boot: Boot) -> None:
    kernel = boot()
    become.raise_limits(wanting(("RLIMIT_NOFILE", 2000, 9000), ("RLIMIT_CORE", -1, UNLIMITED)))
    assert kernel.limits[FILES] == (1024, 9000)
    assert kernel.limits[CORE] == (0, UNLIMITED)


@pytest.mark.parametrize(
    "limit",
    [
        ("RLIMIT_NOFILE", 10, 20),  # would be in the way of what is still to be done
        ("RLIMIT_NOFILE", 4096, 4096),
        ("RLIMIT_MEMLOCK", 1, 1 << 40),  # not limited as it is
        ("RLIMIT_MEMLOCK", 1, UNLIMITED),
        ("RLIMIT_NONE", 1, 1),  # `set_rlimits` says what is wrong with it
    ],
)
def test_what_is_not_raised_is_left_alone(boot: Boot, limit: tuple[str, int, int]) -> None:
    kernel = boot()
    before = dict(kernel.limits)
    become.raise_limits(wanting(limit))
    assert kernel.limits == before
    assert not kernel.set


@pytest.mark.parametrize("options", [{"privileged": False}, {"ceiling": 8000}])
def test_what_the_host_withholds_is_no_error(boot: Boot, options: dict[str, object]) -> None:
    kernel = boot(**options)
    wanted = wanting(("RLIMIT_NOFILE", 2000, 9000))
    become.raise_limits(wanted)
    assert kernel.limits[FILES] == (1024, 4096)
    become.set_rlimits(becoming(wanted))  # as high as may be
    assert kernel.limits[FILES] == (2000, 4096)


def test_what_was_raised_is_then_set_without_privilege(boot: Boot) -> None:
    """In a user namespace nothing can be raised any more."""
    kernel = boot()
    wanted = wanting(("RLIMIT_NOFILE", 9000, 9000), ("RLIMIT_MEMLOCK", 1, 2))
    become.raise_limits(wanted)
    kernel.privileged = False
    become.set_rlimits(becoming(wanted))
    assert kernel.limits[FILES] == (9000, 9000)
    assert kernel.limits[MEMLOCK] == (1, 2)


def test_a_limit_that_nobody_knows_is_refused(boot: Boot) -> None:
    boot()
    with pytest.raises(NotFound, match="RLIMIT_NONE is not a resource limit"):
        become.set_rlimits(becoming(wanting(("RLIMIT_NONE", 1, 1))))
