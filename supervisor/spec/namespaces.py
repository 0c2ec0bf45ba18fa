"""Namespace modes of a create request (--pid, --net, --userns …) to the spec's namespaces."""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.errors import InvalidArgument
from supervisor.spec.networks import BRIDGE, CONTAINER_PREFIX, NONE
from supervisor.spec.options import ContainerOptions
from supervisor.spec.types import JOINED, IdMapping, Namespace

HOST = "host"
OWN = ""
SHARED = "shared"
WIRED = "wired"
_PRIVATE_USER = "private:"
MAX_ID = (1 << 32) - 2  # 4294967295 is "no id" (user_namespaces(7))
_ACCEPTED: dict[str, tuple[str, ...]] = {
    "pid": ("", "private"),
    "network": ("", NONE, BRIDGE),
    "ipc": ("", "private", "shareable", "none"),
    "uts": ("", "private"),
    "cgroup": ("", "private"),
}
_SHARED = ("pid", "network", "ipc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Modes:
    """Each kind's mode: HOST, OWN (a new one) or SHARED (another container's).

    `network` may be WIRED: the container's own, with devices that somebody else makes there.
    `joins_user`: the user namespace is that of the container whose others are shared.
    """

    pid: str
    network: str
    uts: str
    ipc: str
    cgroup: str
    uid_mappings: tuple[IdMapping, ...] = ()
    joins_user: bool = False

    @property
    def user(self) -> bool:
        """Whether the container gets a user namespace of its own."""
        return bool(self.uid_mappings)

    @property
    def wire_network(self) -> bool:
        """Whether the container makes the network namespace that somebody else fills.

        Its user namespace has to own it, or its root could not so much as bring lo up; all
        others join one that is ready (network_namespaces(7)).
        """
        return self.user and self.network == WIRED

    def namespaces(self) -> tuple[Namespace, ...]:
        """The spec's list; the user namespace first, since it owns the others."""
        listed = []
        if self.user:
            listed.append(Namespace(type="user", path=JOINED if self.joins_user else ""))
        listed.append(Namespace(type="mount"))
        for kind in ("pid", "network", "uts", "ipc", "cgroup"):
            mode: str = getattr(self, kind)
            if mode != HOST:
                own = mode == OWN or (mode == WIRED and self.user)
                listed.append(Namespace(type=kind, path="" if own else JOINED))
        return tuple(listed)


def read_modes(options: ContainerOptions) -> Modes:
    """The modes asked for; InvalidArgument for unknown words and impossible combinations."""
    modes = Modes(
        pid=_mode("pid", options.pid),
        network=_mode("network", options.network),
        uts=_mode("uts", options.uts),
        ipc=_mode("ipc", options.ipc),
        cgroup=_mode("cgroup", options.cgroupns),
        uid_mappings=parse_userns(options.userns),
        joins_user=options.userns_chosen and bool(donors(options)),
    )
    if modes.user:
        _check_user_namespace(options, modes)
    return modes


def _mode(kind: str, text: str) -> str:
    if text == HOST:
        return HOST
    if kind in _SHARED and len(text) > len(CONTAINER_PREFIX) and text.startswith(CONTAINER_PREFIX):
        return SHARED
    accepted = _ACCEPTED[kind]
    if text not in accepted:
        shared = (CONTAINER_PREFIX + "ID",) if kind in _SHARED else ()
        known = ", ".join(word for word in (*accepted, HOST, *shared) if word)
        raise InvalidArgument(f"invalid {kind} mode '{text:.200}': give one of {known}")
    return WIRED if text == BRIDGE else OWN


def donors(options: ContainerOptions) -> dict[str, str]:
    """Kind → the container whose namespace of that kind is to be joined, as it was asked for."""
    asked = {"network": options.network, "pid": options.pid, "ipc": options.ipc}
    return {
        kind: text.removeprefix(CONTAINER_PREFIX)
        for kind, text in asked.items()
        if _mode(kind, text) == SHARED
    }


def parse_userns(text: str) -> tuple[IdMapping, ...]:
    """The mapping of "private:UID:SIZE" (0… inside to UID… outside); () for "" and "host"."""
    if text in ("", HOST):
        return ()
    form = "give host, auto, auto:size=N or private:UID:SIZE (example: private:100000:65536)"
    numbers = text.removeprefix(_PRIVATE_USER).split(":")
    if (
        not text.startswith(_PRIVATE_USER)
        or len(numbers) != 2
        or not all(n.isascii() and n.isdecimal() and len(n) <= 10 for n in numbers)
    ):
        raise InvalidArgument(f"invalid user namespace mode '{text:.200}': {form}")
    first, size = int(numbers[0]), int(numbers[1])
    if first == 0:
        raise InvalidArgument(
            f"invalid user namespace mode '{text}': UID 0 would map the container's root to "
            f"the host's; {form}"
        )
    if size == 0 or first + size - 1 > MAX_ID:
        raise InvalidArgument(
            f"invalid user namespace mode '{text}': UID + SIZE must stay within {MAX_ID} and "
            f"SIZE be at least 1; {form}"
        )
    return (IdMapping(container_id=0, host_id=first, size=size),)


def _check_user_namespace(options: ContainerOptions, modes: Modes) -> None:
    # Mounting proc, sysfs and mqueue, and joining with setns, need privilege in the user
    # namespace that owns the pid, network or ipc namespace concerned: root of a new one
    # has none over the host's or another container's (user_namespaces(7)). What it shares with
    # a container whose own ids it was given belongs to that one's, which it joins then.
    if options.privileged:
        raise InvalidArgument(
            "privileged mode is incompatible with user namespaces: use --userns=host with it"
        )
    for kind in ("network", "pid", "ipc"):
        mode: str = getattr(modes, kind)
        if mode == HOST or (mode == SHARED and not modes.joins_user):
            whose = "the host's" if mode == HOST else "another container's"
            raise InvalidArgument(
                f"cannot share {whose} {kind} namespace when user namespaces are enabled: "
                "use --userns=host with it"
            )
