"""Capability names and numbers (linux/capability.h), and which of them a container gets."""

from __future__ import annotations

from collections.abc import Iterable

from supervisor.errors import InvalidArgument

NAMES: dict[str, int] = {
    f"CAP_{name}": number
    for number, name in enumerate(
        (
            "CHOWN",
            "DAC_OVERRIDE",
            "DAC_READ_SEARCH",
            "FOWNER",
            "FSETID",
            "KILL",
            "SETGID",
            "SETUID",
            "SETPCAP",
            "LINUX_IMMUTABLE",
            "NET_BIND_SERVICE",
            "NET_BROADCAST",
            "NET_ADMIN",
            "NET_RAW",
            "IPC_LOCK",
            "IPC_OWNER",
            "SYS_MODULE",
            "SYS_RAWIO",
            "SYS_CHROOT",
            "SYS_PTRACE",
            "SYS_PACCT",
            "SYS_ADMIN",
            "SYS_BOOT",
            "SYS_NICE",
            "SYS_RESOURCE",
            "SYS_TIME",
            "SYS_TTY_CONFIG",
            "MKNOD",
            "LEASE",
            "AUDIT_WRITE",
            "AUDIT_CONTROL",
            "SETFCAP",
            "MAC_OVERRIDE",
            "MAC_ADMIN",
            "SYSLOG",
            "WAKE_ALARM",
            "BLOCK_SUSPEND",
            "AUDIT_READ",
            "PERFMON",
            "BPF",
            "CHECKPOINT_RESTORE",
        )
    )
}
LAST = len(NAMES) - 1

DEFAULT = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SYS_CHROOT",
    "CAP_MKNOD",
    "CAP_AUDIT_WRITE",
    "CAP_SETFCAP",
)
_ALL = "ALL"


def select(
    add: Iterable[str],
    drop: Iterable[str],
    privileged: bool,
    last: int = LAST,
    available: int = -1,
) -> tuple[str, ...]:
    """The names a container gets, in number order, as docker combines --cap-add and --cap-drop.

    `last` is the kernel's newest capability, `available` the mask that the daemon itself may
    pass on (-1 = all). One that is asked for by name and cannot be had is an InvalidArgument,
    as is an unknown name; "ALL" and the defaults leave out what cannot be had.
    """
    everything = {n for n, number in NAMES.items() if number <= last and available >> number & 1}
    added, dropped = _normalize(add), _normalize(drop)
    for name in sorted(added - everything - {_ALL}):
        raise InvalidArgument(
            f"capability {name} is not supported by this kernel or not available to the daemon"
        )
    if privileged:
        chosen = everything
    elif _ALL in added:
        chosen = everything - dropped
    elif _ALL in dropped:
        chosen = added
    else:
        chosen = (everything & set(DEFAULT)) - dropped | added
    return tuple(name for name in NAMES if name in chosen)


def _normalize(words: Iterable[str]) -> set[str]:
    return {_full_name(word) for word in words}


def _full_name(word: str) -> str:
    name = word.upper()
    if name == _ALL:
        return name
    name = name if name.startswith("CAP_") else f"CAP_{name}"
    if name not in NAMES:
        raise InvalidArgument(f"unknown capability: {word!r:.80}{_suggestion(name)}")
    return name


def _suggestion(name: str) -> str:
    import difflib  # noqa: PLC0415 - the zygote loads this module and never needs difflib

    close = difflib.get_close_matches(name, NAMES, n=3, cutoff=0.75)
    return f" (did you mean {' or '.join(close)}?)" if close else ""


def mask(names: Iterable[str]) -> int:
    """The kernel's bit mask of full names ("CAP_CHOWN"); InvalidArgument for an unknown one."""
    bits = 0
    for name in names:
        if name not in NAMES:
            raise InvalidArgument(f"unknown capability: {name!r:.80}")
        bits |= 1 << NAMES[name]
    return bits
