"""What this host can filter of containers' system calls, and what is told about it."""

from __future__ import annotations

import os

from supervisor.kernel import seccomp
from supervisor.spec.build import HostFacts, process_capabilities
from supervisor.spec.options import ContainerOptions
from supervisor.spec.seccomp import BUILTIN, UNCONFINED, has_tables, misspelt
from supervisor.spec.seccomp.abis import Machine
from supervisor.spec.security import parse_security

UNFILTERED = (
    "no seccomp on this host: containers run without a filter of system calls, and those that "
    "ask for a profile are refused"
)
_SHOWN = 10


def machine_to_filter() -> Machine | None:
    """The machine that filters are for; None if its kernel takes none or it has no tables."""
    uname = os.uname()
    if not has_tables(uname.machine) or not seccomp.is_available():
        return None
    return Machine(name=uname.machine, kernel=kernel_version(uname.release))


def kernel_version(release: str) -> tuple[int, int]:
    """Major and minor of a release as `uname -r` has it ("6.1.0-31-amd64")."""
    major, _, rest = release.partition(".")
    minor = rest[: next((at for at, c in enumerate(rest) if not c.isdigit()), len(rest))]
    return (int(major), int(minor)) if major.isdigit() and minor else (0, 0)


def security_options(facts: HostFacts, *, userns: bool = False) -> tuple[str, ...]:
    """Docker's words for what confines containers here; `userns`: ids of their own by default."""
    found = ("name=seccomp,profile=builtin",) if facts.filters else ()
    return (*found, "name=cgroupns", *(("name=userns",) if userns else ()))


def warnings(facts: HostFacts, options: ContainerOptions) -> list[str]:
    """Sentences about a container whose filter is not what was asked for."""
    word = parse_security(options.security_opts).seccomp
    if facts.filters is None:
        return [] if options.privileged or word == UNCONFINED else [UNFILTERED]
    if word in ("", BUILTIN, UNCONFINED):
        return []
    names = misspelt(word, facts.filters, process_capabilities(options, facts).bounding)
    if not names:
        return []
    shown = ", ".join(name[:40] for name in names[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return [f"the seccomp profile names system calls that no kernel has: {shown}{more}"]
