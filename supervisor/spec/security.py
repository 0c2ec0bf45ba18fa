"""--security-opt words, and the paths below /proc and /sys that containers must not reach."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from supervisor.errors import InvalidArgument
from supervisor.spec.options import ContainerOptions

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
    "no-new-privileges[:true|false], seccomp=unconfined, apparmor=unconfined, label=…, "
    "systempaths=unconfined"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """What the words ask for; `no_new_privileges` None where they say nothing of it."""

    no_new_privileges: bool | None = None
    unconfined_paths: bool = False


def parse_security(words: Iterable[str]) -> Security:
    """Read the words; InvalidArgument names one that is not accepted and those that are.

    A profile that would silently not be applied is refused rather than ignored: only the
    words that ask for no confinement, and SELinux labels (which docker ignores too where
    the host has no SELinux), pass.
    """
    no_new_privileges: bool | None = None
    unconfined_paths = False
    for word in words:
        name, _, value = word.replace(":", "=", 1).partition("=")
        if name == "no-new-privileges" and value in ("", "true", "false"):
            no_new_privileges = value != "false"
        elif (name, value) == ("systempaths", "unconfined"):
            unconfined_paths = True
        elif (name, value) not in (("seccomp", "unconfined"), ("apparmor", "unconfined")) and (
            name != "label" or not value
        ):
            raise InvalidArgument(
                f"security option '{word:.200}' is not supported; accepted are: {ACCEPTED}"
            )
    return Security(no_new_privileges=no_new_privileges, unconfined_paths=unconfined_paths)


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
    for path in (*masked, *readonly):
        if not path.startswith("/") or "\0" in path:
            raise InvalidArgument(f"invalid masked or read-only path {path!r:.200}: not absolute")
    return masked, readonly
