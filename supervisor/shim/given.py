"""Namespaces that a container is given at its start instead of having its own made.

They come with the `start` request, a descriptor each; the names say which is which. Init joins
them itself (setns(2)). A pid namespace is entered by being born in it: by init's one child, which
becomes the container's process (see `unseen`), or by init where only from inside a proc of it can
be made. In a user namespace init is born by `userns.spawn`, which sees to both.
"""

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from supervisor.errors import InitError, KernelError
from supervisor.kernel import mounts, namespaces, paths
from supervisor.shim.failure import describe
from supervisor.spec.types import Spec
from supervisor.wire.shim_protocol import Message

STEP = "namespaces"


def pair(spec: Spec, request: Message, fds: Sequence[int]) -> dict[str, int]:
    """Kind → descriptor, exactly for the kinds that the spec expects; else InitError.

    The descriptors stay the caller's.
    """
    names = [str(name) for name in request.get("namespaces", ())]
    if len(names) != len(fds):
        raise _refused(f"{len(names)} names came with {len(fds)} descriptors")
    if len(set(names)) != len(names):
        raise _refused(f"a name twice: {', '.join(names)}")
    if set(names) != spec.given:
        raise _refused(f"the start gives {_listed(names)}, {_listed(spec.given)} was expected")
    return dict(zip(names, fds, strict=True))


def refuse_early(spec: Spec) -> None:
    """InitError where init is to be cloned before anything could be given to it."""
    if spec.given or spec.wire_network:
        raise _refused(
            f"{_listed(spec.given or ('network',))} can be given only with the start: the shim "
            "has to be spawned with hold"
        )


def may_stay_outside(fd: int) -> bool:
    """Whether a proc of the pid namespace `fd` can be made outside it (Linux 6.17)."""
    context = mounts.fsopen("proc")
    try:
        mounts.fsconfig_fd(context, "pidns", fd)
    except KernelError:
        return False
    finally:
        os.close(context)
    return True


@contextmanager
def children_in(fd: int | None) -> Iterator[None]:
    """Children cloned in the block are born in that pid namespace; None changes nothing.

    Undone afterwards: what execs fork is to have pids of the shim's own namespace.
    """
    if fd is None:
        yield
        return
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        namespaces.setns(fd, namespaces.CLONE_NEWPID)
        try:
            yield
        except OSError as error:
            if error.errno == errno.ENOMEM:  # pid_namespaces(7): its PID 1 has ended
                raise _refused("the pid namespace to join has ended with its container") from None
            raise
        finally:
            namespaces.setns(own, namespaces.CLONE_NEWPID)
    finally:
        os.close(own)


def join(given: Mapping[str, int]) -> None:
    """Enter what was given, in init: user and pid are entered by birth, mount is looked into."""
    for kind, fd in given.items():
        if kind not in ("user", "pid", "mount"):
            namespaces.setns(fd, namespaces.NAMESPACE_FLAGS[kind])


def clone_mounts(fd: int, destinations: Sequence[str]) -> dict[str, int]:
    """Detached copies of what is mounted at places of the mount namespace `fd`.

    Only from inside can a mount be copied (open_tree(2)). Names are resolved in that namespace's
    root.
    """
    copies: dict[str, int] = {}
    with namespaces.mount_namespace(fd):
        root = os.open("/", paths.DIRECTORY)
        try:
            for destination in destinations:
                place = paths.open_in_root(root, destination, os.O_PATH)
                try:
                    copies[destination] = mounts.open_tree(place, "", mounts.OPEN_TREE_CLONE)
                finally:
                    os.close(place)
        except OSError as error:
            for copy in copies.values():
                os.close(copy)
            raise describe(STEP, error) from None
        finally:
            os.close(root)
    return copies


def _listed(kinds: Sequence[str] | frozenset[str]) -> str:
    return f"the namespaces {', '.join(sorted(kinds))}" if kinds else "no namespace"


def _refused(why: str) -> InitError:
    return InitError(step=STEP, path="", errno=errno.EINVAL, message=f"{STEP}: {why}")
