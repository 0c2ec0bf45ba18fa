"""Namespaces of other containers for a run that joins them: --network, --pid, --ipc container:ID.

Opened by the pid of the other container's init, and checked afterwards: while its shim has not
reaped it, no other process can have had that pid.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from supervisor.errors import Conflict, InvalidArgument, NotFound, OrlopError
from supervisor.kernel.namespaces import PROC_NAMES, namespace_inode
from supervisor.lifecycle.machine import Phase
from supervisor.spec.namespaces import HOST, donors, parse_userns
from supervisor.spec.networks import CONTAINER_PREFIX
from supervisor.spec.options import ContainerOptions

if TYPE_CHECKING:
    from supervisor.engine.container import Container
    from supervisor.engine.shim_client import ShimClient

_WORDS = {"network": "network", "pid": "PID", "ipc": "IPC"}


async def join_fds(find: Callable[[str], Container], container: Container) -> dict[str, int]:
    """Kind → descriptor of every namespace of others that the container is to join.

    They are what the shim's `start` expects besides a network of the container's own; the
    caller closes them. `find` is by id or name. Raises OrlopError as `check_donors` does.
    """
    found = check_donors(find, container)
    with ExitStack() as undo:
        fds: dict[str, int] = {}
        shims = {kind: _shim(kind, donor) for kind, donor in found.items()}
        for kind, donor in found.items():
            # Shared memory is a mount, and a mount is only to be had from its namespace.
            for name in (kind, "mount") if kind == "ipc" else (kind,):
                fds[name] = _open(kind, donor, name)
                undo.callback(os.close, fds[name])
            if container.record.options.userns_chosen:
                _open_user(kind, donor, fds, undo)
        for kind, shim in shims.items():
            try:
                await shim.request("signal", signal=0)  # Conflict once init is reaped
            except OrlopError:
                raise _not_running(kind, found[kind]) from None
        undo.pop_all()
    return fds


def check_donors(find: Callable[[str], Container], container: Container) -> dict[str, Container]:
    """Kind → the running container that it joins; Conflict or InvalidArgument for one that
    cannot be joined, in docker's words."""
    found = {}
    for kind, ref in donors(container.record.options).items():
        try:
            donor = found[kind] = find(ref)
        except NotFound as error:
            raise Conflict(f"joining {kind} namespace of container: {error}") from None
        _check(kind, donor, container.record.options)
    return found


def is_watched(container: Container, others: Iterable[Container]) -> bool:
    """Whether another running container has joined this one's processes: it sees new ones, and
    may be allowed to trace them."""
    joined = [
        other.state.pid
        for other in others
        if other is not container and other.state.pid and "pid" in donors(other.record.options)
    ]
    if not joined:
        return False
    try:
        own = namespace_inode(container.state.pid, "pid")
    except OSError:
        return True  # whoever it was is gone, and so will be the session
    return any(_is_in(pid, own) for pid in joined)


def _is_in(pid: int, inode: int) -> bool:
    try:
        return namespace_inode(pid, "pid") == inode
    except OSError:
        return False  # it has ended


def _check(kind: str, donor: Container, asking: ContainerOptions) -> None:
    options = donor.record.options
    if donor.state.phase is Phase.RESTARTING:
        raise Conflict(f"Container {donor.id} is restarting, wait until the container is running")
    if not donor.state.pid:
        raise _not_running(kind, donor)
    if kind == "ipc" and not _is_shareable(options.ipc):
        raise InvalidArgument(
            f"failed to join IPC namespace: container {donor.id}: non-shareable IPC (hint: use "
            "IpcMode:shareable for the donor container)"
        )
    # Who has the same ids joins the user namespace, too. Else who joins is in the host's, and root
    # there has privilege over all below. A range that somebody chose is not crossed all the same;
    # one that may be nothing but the daemon's default must not keep containers apart that were
    # made to be together. Shared memory is of no use across: its file system knows none of the
    # joiner's ids (EOVERFLOW).
    if asking.userns_chosen:
        if not options.userns_chosen or options.userns != asking.userns:
            raise InvalidArgument(
                f"cannot join {_WORDS[kind]} of container {donor.record.name}: it has other user "
                "ids (make one of the two again)"
            )
    elif parse_userns(options.userns) and (kind == "ipc" or not options.userns_chosen):
        raise InvalidArgument(
            f"cannot join {_WORDS[kind]} of container {donor.record.name}: it has a user namespace "
            "of its own (start it with --userns=host)"
        )


def _is_shareable(ipc: str) -> bool:
    return ipc in ("shareable", HOST) or ipc.startswith(CONTAINER_PREFIX)


def _open(kind: str, donor: Container, name: str) -> int:
    path = f"/proc/{donor.state.pid}/ns/{PROC_NAMES[name]}"
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        raise _not_running(kind, donor) from None


def _open_user(kind: str, donor: Container, fds: dict[str, int], undo: ExitStack) -> None:
    """The user namespace of all donors; Conflict if there are two with the same ids."""
    fd = _open(kind, donor, "user")
    if "user" not in fds:
        fds["user"] = fd
        undo.callback(os.close, fd)
        return
    same = os.path.samestat(os.fstat(fd), os.fstat(fds["user"]))
    os.close(fd)
    if not same:
        raise Conflict(
            f"cannot join {_WORDS[kind]} of container {donor.record.name}: it was started apart "
            "from the other one to be joined (restart it)"
        )


def _shim(kind: str, donor: Container) -> ShimClient:
    """The shim of the run that the donor is in now, not of one that follows."""
    if donor.task is None or donor.task.shim is None:
        raise _not_running(kind, donor)
    return donor.task.shim


def _not_running(kind: str, donor: Container) -> Conflict:
    return Conflict(f"cannot join {_WORDS[kind]} of a non running container: {donor.id}")
