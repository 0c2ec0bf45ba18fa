"""--security-opt words, and the paths below /proc and /sys that containers must not reach."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from supervisor.errors import InvalidArgument, Unavailable
from supervisor.spec import seccomp
from supervisor.spec.options import ContainerOptions
from supervisor.spec.seccomp.abis import Machine
from supervisor.spec.types import SystemCallFilter

MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",  # keystroke and load timing, GHSA-6fw5-f8r9-fgfm
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",  # PLATYPUS, GHSA-jq35-85cj-fj4p
    "/sys/firmware",
)
READONLY_PATHS = (
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
)
ACCEPTED = (
    "no-new-privileges[:true|false], seccomp=unconfined, seccomp=builtin, seccomp={…} (a profile "
    "as JSON), apparmor=unconfined, label=…, systempaths=unconfined"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """What the words ask for; `no_new_privileges` None where they say nothing of it.

    `seccomp` is "" by default, "builtin", "unconfined" or a profile in Docker's JSON.
    """

    no_new_privileges: bool | None = None
    unconfined_paths: bool = False
    seccomp: str = ""


def split_word(word: str) -> tuple[str, str, str]:
    """Name, separator and value, by the first "=" or ":"; a profile's JSON has more of both."""
    first = min((at for at in (word.find("="), word.find(":")) if at >= 0), default=len(word))
    return word[:first], word[first : first + 1], word[first + 1 :]


def is_seccomp_value(value: str) -> bool:
    """A word for a profile, or what looks like the JSON of one."""
    return value in ("", seccomp.UNCONFINED, seccomp.BUILTIN) or value.lstrip().startswith("{")


def parse_security(words: Iterable[str]) -> Security:
    """Read the words; InvalidArgument names one that is not accepted and those that are.

    A profile that would silently not be applied is refused rather than ignored: only the
    words that ask for no confinement, and SELinux labels (which docker ignores too where
    the host has no SELinux), pass.
    """
    found = Security()
    for word in words:
        name, separator, value = split_word(word)
        if name == "no-new-privileges" and value in ("", "true", "false"):
            found = replace(found, no_new_privileges=value != "false")
        elif (name, value) == ("systempaths", "unconfined"):
            found = replace(found, unconfined_paths=True)
        elif name == "seccomp" and separator and is_seccomp_value(value):
            found = replace(found, seccomp=value)
        elif (name, value) != ("apparmor", "unconfined") and (name != "label" or not value):
            raise InvalidArgument(
                f"security option '{word:.200}' is not supported; accepted are: {ACCEPTED}"
            )
    return found


def choose_filter(
    options: ContainerOptions,
    capabilities: tuple[str, ...],
    machine: Machine | None,
) -> SystemCallFilter | None:
    """The filter of system calls for a container with these capabilities; None = no filter.

    `machine` None is a host that cannot filter: a container that asks for nothing runs without,
    one that asks for a profile is an Unavailable. InvalidArgument for a profile that is none.
    """
    word = parse_security(options.security_opts).seccomp
    if word == seccomp.UNCONFINED or (options.privileged and not word):
        return None
    if machine is None:
        if word:
            raise Unavailable(
                "seccomp is not available on this host, so a profile cannot be applied: "
                "give --security-opt seccomp=unconfined to run without"
            )
        return None
    return seccomp.compile_filter(word, machine, capabilities)


def covered_paths(
    options: ContainerOptions, *, unconfined: bool, extra: tuple[str, ...] = ()
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(masked, read-only) paths: docker's lists unless privileged, unconfined or given.

    `extra` is what this host has to mask beyond the default list.
    """
    open_by_default = options.privileged or unconfined
    masked = options.masked_paths
    if masked is None:
        masked = () if open_by_default else MASKED_PATHS + extra
    readonly = options.readonly_paths
    if readonly is None:
        readonly = () if open_by_default else READONLY_PATHS
    for path in (*(options.masked_paths or ()), *(options.readonly_paths or ())):
        if not path.startswith("/") or "\0" in path:
            raise InvalidArgument(f"invalid masked or read-only path {path!r:.200}: not absolute")
    return masked, readonly
