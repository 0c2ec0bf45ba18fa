"""A seccomp profile as values: Docker's, which is OCI's with conditions on container and host."""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.spec.seccomp.words import Op


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What argument `index` (0–5) of a call has to be."""

    index: int
    op: Op
    value: int
    value_two: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Conditions on the container and its host; `min_kernel` (major, minor), (0, 0) = none."""

    capabilities: tuple[str, ...] = ()
    machines: tuple[str, ...] = ()
    min_kernel: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """`action` is the kernel's value with its data, for calls that meet the conditions."""

    names: tuple[str, ...]
    action: int
    conditions: tuple[Condition, ...] = ()
    includes: Where = Where()
    excludes: Where = Where()


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """`architectures` are ABIs beside the machine's own; `flags` those of seccomp(2)."""

    default: int
    rules: tuple[Rule, ...] = ()
    architectures: tuple[str, ...] = ()
    arch_map: tuple[tuple[str, tuple[str, ...]], ...] = ()
    flags: int = 0
