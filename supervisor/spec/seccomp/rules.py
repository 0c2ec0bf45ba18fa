"""Which rules of a profile apply, and what they decide for each number of an ABI.

The order of rules means nothing: of those that match a call the strictest decides (the
kernel's order of actions, which it applies to several filters), the first of equals. Where
none matches, the profile's default does, but with two exceptions unless the default lets
calls pass: numbers that the tables do not know, and those above the highest that the profile
names (calls newer than the profile), fail with ENOSYS.

Several conditions must all be met; but where two of them are about one argument, each stands
for itself (any is enough), as runc reads Docker's profiles.
"""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from supervisor.errors import InvalidArgument
from supervisor.spec.seccomp import abis, words
from supervisor.spec.seccomp.abis import Abi, Machine
from supervisor.spec.seccomp.profile import Condition, Profile, Rule, Where

ABSENT = words.ERRNO | errno.ENOSYS
MAX_CASES = 800  # of at least five instructions each: what is above it no kernel takes


@dataclass(frozen=True, slots=True)
class Decision:
    """The action of the first case whose conditions are all met, else `otherwise`."""

    otherwise: int
    cases: tuple[tuple[tuple[Condition, ...], int], ...] = ()


@dataclass(frozen=True, slots=True)
class Span:
    """Numbers from `first` to the next span's first that share a decision."""

    first: int
    decision: Decision


def applying(profile: Profile, machine: Machine, capabilities: Collection[str]) -> list[Rule]:
    """The rules whose `includes` hold and whose `excludes` do not."""
    return [
        rule
        for rule in profile.rules
        if _includes(rule.includes, machine, capabilities)
        and not _excludes(rule.excludes, machine, capabilities)
    ]


def _includes(where: Where, machine: Machine, capabilities: Collection[str]) -> bool:
    return (
        all(name in capabilities for name in where.capabilities)
        and (not where.machines or abis.docker_word(machine.name) in where.machines)
        and machine.kernel >= where.min_kernel
    )


def _excludes(where: Where, machine: Machine, capabilities: Collection[str]) -> bool:
    return (
        any(name in capabilities for name in where.capabilities)
        or abis.docker_word(machine.name) in where.machines
        or (where.min_kernel > (0, 0) and machine.kernel >= where.min_kernel)
    )


def covered(profile: Profile, machine: Machine) -> list[Abi]:
    """The ABIs that the profile is for: the machine's own, and those it names beside it."""
    own, *others = abis.abis_of(machine.name)
    named = {*profile.architectures}
    for main, below in profile.arch_map:
        if main == own.name:
            named.update(below)
    return [own, *(abi for abi in others if abi.name in named)]


def unknown_names(rules: Iterable[Rule]) -> list[str]:
    """Names in rules that no kernel's tables have: probably misspelt."""
    return sorted({name for rule in rules for name in rule.names} - abis.names())


def spans(profile: Profile, rules: Iterable[Rule], covers: Iterable[Abi]) -> list[Span]:
    """Decisions about every number of the ABIs that share one AUDIT_ARCH, in ascending order."""
    found: list[Span] = []
    cases = 0
    for abi in sorted(covers, key=lambda abi: abi.marker):
        for span in _of_abi(profile, rules, abi):
            found.append(span)
            cases += len(span.decision.cases)
            if cases > MAX_CASES:
                raise InvalidArgument(
                    f"seccomp profile: more than {MAX_CASES} conditions on arguments; each counts "
                    "once for every system call that it is about"
                )
    if found[-1].first < abis.X32_BIT:
        # The numbers of x32, if this is x86_64; none that any other ABI has.
        found.append(Span(abis.X32_BIT, Decision(ABSENT)))
    return [found[0], *(b for a, b in pairwise(found) if a.decision != b.decision)]


def _of_abi(profile: Profile, rules: Iterable[Rule], abi: Abi) -> Iterator[Span]:
    numbers = abis.numbers(abi.name)
    matching: dict[int, list[Rule]] = {}
    for rule in rules:
        for number in {numbers[name] for name in rule.names if name in numbers}:
            matching.setdefault(number, []).append(rule)
    unknown = Decision(profile.default if words.lets_pass(profile.default) else ABSENT)
    known = Decision(profile.default)
    newest = max(matching, default=abi.marker - 1)
    at = abi.marker
    for number in sorted(numbers.values()):
        if number > at:
            yield Span(at, unknown)
        if number in matching:
            yield Span(number, _decision(matching[number], profile.default))
        else:
            yield Span(number, known if number < newest else unknown)
        at = number + 1
    yield Span(at, unknown)


def _decision(matching: Iterable[Rule], default: int) -> Decision:
    cases: list[tuple[tuple[Condition, ...], int]] = []
    otherwise = default
    for rule in sorted(matching, key=lambda rule: words.strictness(rule.action)):
        if not rule.conditions:
            otherwise = rule.action
            break
        cases += [(conditions, rule.action) for conditions in alternatives(rule.conditions)]
    while cases and cases[-1][1] == otherwise:
        cases.pop()
    return Decision(otherwise, tuple(cases))


def alternatives(conditions: tuple[Condition, ...]) -> list[tuple[Condition, ...]]:
    """Sets of conditions of which one has to be met, see above."""
    if len({condition.index for condition in conditions}) == len(conditions):
        return [conditions]
    return [(condition,) for condition in conditions]
