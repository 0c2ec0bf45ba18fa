"""User namespaces of containers: made before init, entered by it, owners of all its others.

shim                            middle                       init
 │ vfork(CLONE_NEWUSER) ──────►  (a child that only ends)
 │ writes its id maps, opens it, reaps it
 │ idmaps the layers with it
 │ vfork ─────────────────────► │ setns(user)
 ┊                              │ vfork(CLONE_PARENT │ the other namespaces) ──► │ steps
 ┊                              ┊                                                │ execve
 │ ◄─────────────── {"pid": n} ─│ exits
"""

import json
import os
import socket
from collections.abc import Callable

from supervisor.errors import InitError, KernelError
from supervisor.kernel import namespaces, process, vfork
from supervisor.shim import become
from supervisor.shim.failure import describe
from supervisor.shim.handshake import send, send_error
from supervisor.spec.types import IdMapping, Process, Spec

STEP = "user namespace"


def may_share_memory(spec: Spec) -> bool:
    """Whether nobody in the container can do anything to an init that still has the shim's memory.

    It is not dumpable: tracing it takes CAP_SYS_PTRACE in the user namespace that its memory
    belongs to, and that is where the shim was executed, the host's (ptrace(2)). Nobody has that
    in a user namespace of the container's own, whatever `--cap-add` says.
    """
    if any(n.type == "pid" and n.path for n in spec.namespaces):
        return False  # others are there, and may kill it
    return bool(spec.uid_mappings) or "CAP_SYS_PTRACE" not in (spec.process.capabilities.bounding)


def make(spec: Spec) -> int:
    """An fd of a new user namespace with the container's maps, which lives as long as the fd.

    Its only process ends at once: what has ended and is not reaped still tells its namespace,
    and has the files that its maps are written to.
    """
    return make_mapped(text(spec.uid_mappings), text(spec.gid_mappings))


def make_mapped(uid_map: str, gid_map: str) -> int:
    """As `make`, by what is to be written to the two files."""
    pid, pidfd = vfork.spawn(lambda: os._exit(0), namespaces.CLONE_NEWUSER, share=True)
    try:
        write_maps(pid, uid_map, gid_map)
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.waitpid(pid, 0)
        os.close(pidfd)


def make_network(user: int) -> int:
    """An fd of a new network namespace that the user namespace `user` owns."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def run() -> None:
        try:
            namespaces.setns(user, namespaces.CLONE_NEWUSER)
            namespaces.unshare(namespaces.CLONE_NEWNET)
            send(far, {}, (os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC),))
        except OSError as error:
            send_error(far, describe("network", error))
        os._exit(0)

    with near, far:
        pid, pidfd = vfork.spawn(run, share=True)
        os.close(pidfd)
        os.waitpid(pid, 0)
        packet, fds, _, _ = socket.recv_fds(near, 65536, 1)
    if not fds:
        raise InitError.from_json(json.loads(packet))
    os.set_inheritable(fds[0], False)
    return fds[0]


def spawn(
    run: Callable[[], None],
    flags: int,
    user: int,
    *,
    wanted: Process,
    share: bool,
    cgroup_fd: int,
    pid_namespace: int = -1,
    not_for_it: tuple[int, ...] = (),
) -> tuple[int, int]:
    """As `vfork.spawn`, of a child that is in the user namespace `user` from its birth.

    It owns the namespaces of `flags`; `pid_namespace` is one to be born in, -1 for none.
    `wanted` has what only root of the host may set, and is set before. `not_for_it` are
    descriptors that neither child is to have.
    """
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def middle() -> None:
        try:
            for fd in (near.fileno(), *not_for_it):
                os.close(fd)
            become.set_oom_score(wanted)
            become.raise_limits(wanted)
            namespaces.setns(user, namespaces.CLONE_NEWUSER)
            if pid_namespace >= 0:
                namespaces.setns(pid_namespace, namespaces.CLONE_NEWPID)
            pid, _ = vfork.spawn(
                run,
                flags | namespaces.CLONE_PARENT,
                share=share,
                exit_signal=0,
                cgroup_fd=cgroup_fd,
            )
            send(far, {"pid": pid})
        except (OSError, InitError) as error:
            send_error(far, describe(STEP, error))
        os._exit(0)

    with near, far:
        stage, pidfd = vfork.spawn(middle, share=True)
        os.close(pidfd)
        far.close()
        packet = near.recv(65536)
        os.waitpid(stage, 0)
    said = json.loads(packet) if packet else {}
    if "pid" not in said:
        raise InitError.from_json(said) if said else KernelError("clone3", "init", 0)
    # Our own unreaped child: the pid cannot be another's.
    return int(said["pid"]), process.pidfd_open(int(said["pid"]))


def write_maps(pid: int, uid_map: str, gid_map: str) -> None:
    """Write uid_map and gid_map of our child `pid` (user_namespaces(7))."""
    for name, lines in (("uid_map", uid_map), ("gid_map", gid_map)):
        path = f"/proc/{pid}/{name}"
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, lines.encode())
        except OSError as error:
            raise KernelError("write", path, error.errno or 0) from None
        finally:
            os.close(fd)


def text(mappings: tuple[IdMapping, ...]) -> str:
    """The map file's lines: inside, outside, count."""
    return "".join(f"{m.container_id} {m.host_id} {m.size}\n" for m in mappings)


def root_of(spec: Spec) -> int:
    """The host id of the container's root."""
    return spec.uid_mappings[0].host_id if spec.uid_mappings else 0
