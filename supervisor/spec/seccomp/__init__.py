"""Which system calls a container may make: profiles, and their filters as BPF programs.

    text ── decode ──► Profile ── rules.applying, .spans ──► [Span] ── assemble ──► bytes

`default` is the profile of containers that ask for none, `abis` and `table` say what number a
call has. All of it runs in the supervisor, ahead of need; a container's process only loads the
bytes (`supervisor.kernel.seccomp`).
"""

from __future__ import annotations

from functools import lru_cache
from itertools import groupby

from supervisor.spec.seccomp import abis, rules
from supervisor.spec.seccomp.abis import Machine
from supervisor.spec.seccomp.assemble import assemble
from supervisor.spec.seccomp.decode import decode
from supervisor.spec.seccomp.default import DEFAULT
from supervisor.spec.seccomp.profile import Profile
from supervisor.spec.types import SystemCallFilter

BUILTIN = "builtin"
UNCONFINED = "unconfined"

_COMPILED = 64  # programs kept, each of a few KiB


def has_tables(machine: str) -> bool:
    """Whether filters can be made for this machine (as `uname -m` has it)."""
    return abis.is_known(machine)


def read(word: str) -> Profile:
    """The profile of a `seccomp=` word: "" or "builtin", else Docker's JSON."""
    return DEFAULT if word in ("", BUILTIN) else decode(word)


@lru_cache(maxsize=_COMPILED)
def compile_filter(word: str, machine: Machine, capabilities: tuple[str, ...]) -> SystemCallFilter:
    """The filter of a container with these capabilities; InvalidArgument for a wrong profile."""
    profile = read(word)
    program = compile_profile(profile, machine, capabilities)
    return SystemCallFilter(program=program.hex(), flags=profile.flags)


def compile_profile(profile: Profile, machine: Machine, capabilities: tuple[str, ...]) -> bytes:
    """The BPF program of `profile`; InvalidArgument if it is too long for the kernel."""
    applying = rules.applying(profile, machine, capabilities)
    together = groupby(rules.covered(profile, machine), key=lambda abi: abi.audit)
    return assemble((audit, rules.spans(profile, applying, covers)) for audit, covers in together)


@lru_cache(maxsize=_COMPILED)
def misspelt(word: str, machine: Machine, capabilities: tuple[str, ...]) -> tuple[str, ...]:
    """Names in the profile that no kernel has: they restrict and allow nothing."""
    profile = read(word)
    return tuple(rules.unknown_names(rules.applying(profile, machine, capabilities)))
