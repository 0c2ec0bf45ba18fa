"""Which sysctls a container may set: those of its own ipc and network namespaces."""

from __future__ import annotations

from collections.abc import Mapping

from supervisor.errors import InvalidArgument
from supervisor.spec.namespaces import HOST, OWN, SHARED, WIRED, Modes

# Docker's: harmless in a network namespace of its own, and images rely on them.
UNPRIVILEGED_PORTS = ("net.ipv4.ip_unprivileged_port_start", "0")
_LAST_PING_GROUP = (1 << 31) - 1
UNPRIVILEGED_PING = ("net.ipv4.ping_group_range", f"0 {_LAST_PING_GROUP}")

_IPC = frozenset(
    (
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    )
)
_IPC_PREFIX = "fs.mqueue."
_NET_PREFIX = "net."
_ACCEPTED = "kernel.shm*, kernel.msg*, kernel.sem, fs.mqueue.* and net.*"


def choose(asked: Mapping[str, str], modes: Modes, available: frozenset[str]) -> dict[str, str]:
    """Docker's default sysctls that the host has (`available`), overridden by `asked`.

    Raises InvalidArgument for one outside of the container's own namespaces.
    """
    chosen: dict[str, str] = {}
    if modes.network in (OWN, WIRED):
        defaults = [UNPRIVILEGED_PORTS, UNPRIVILEGED_PING]
        if modes.user:  # a group that is not mapped would be refused: EINVAL
            last = min(modes.uid_mappings[0].size - 1, _LAST_PING_GROUP)
            defaults[1] = (UNPRIVILEGED_PING[0], f"0 {last}")
        chosen.update((key, value) for key, value in defaults if key in available)
    for key, value in asked.items():
        check(key, value, modes)
        chosen[key] = value
    return chosen


def check(key: str, value: str, modes: Modes) -> None:
    """InvalidArgument unless the container may set this sysctl in these namespaces."""
    # The key becomes a path below /proc/sys: a name of plain parts, no "..", no "/".
    plain = all(part and set(part) <= _KEY_CHARACTERS for part in key.split("."))
    net = key.startswith(_NET_PREFIX)
    if not plain or not (net or key in _IPC or key.startswith(_IPC_PREFIX)):
        raise InvalidArgument(
            f"sysctl '{key:.200}' is not allowed: it belongs to no namespace of the container "
            f"(allowed: {_ACCEPTED})"
        )
    if "\0" in value:
        raise InvalidArgument(f"sysctl '{key}' has a value with a NUL character")
    kind, mode = ("network", modes.network) if net else ("ipc", modes.ipc)
    if mode == HOST:
        raise InvalidArgument(f"sysctl '{key}' not allowed in host {kind} namespace")
    if mode == SHARED:
        raise InvalidArgument(
            f"sysctl '{key}' not allowed in another container's {kind} namespace: set it on the "
            "container that owns the namespace"
        )


_KEY_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
