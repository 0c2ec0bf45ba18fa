"""The zygote: a small warm interpreter that keeps forks of itself ready to be shims.

Started once by the supervisor (`python -I -S`), it imports what shims and inits need, fills
their caches and freezes the collector's generations so that forks share their pages. Its
spares all wait on the supervisor's socket: the kernel hands each request to one of them, so
no fork stands between a request and its container. A spare that was taken says so, and the
zygote forks the next. It keeps no record of shims: they outlive it.
"""

import gc
import itertools
import os
import select
import signal
import socket
import struct

from supervisor import failpoints
from supervisor.errors import InitError, ProtocolError
from supervisor.kernel import memory, process, vfork
from supervisor.shim import heap, hollow, rehearsal, shim, userns
from supervisor.shim.failure import describe
from supervisor.shim.packets import receive
from supervisor.wire import shim_protocol

SHIM_OOM_SCORE_ADJ = -999
SPARES = 2
RETRY_MILLISECONDS = 100
PID = struct.Struct("i")


def main(control_fd: int, *, mergeable: bool = False) -> None:
    """Keep shims ready for spawn requests on `control_fd` until the supervisor closes it.

    `mergeable`: the kernel may merge pages that are the same in several shims.
    """
    control = socket.socket(fileno=control_fd)
    control.setblocking(True)
    process.set_process_name("orlop-zygote")
    process.set_command_line("orlop-zygote")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the supervisor's
    os.chdir("/")
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # whoever started the daemon may have ignored it
    empty = hollow.make()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps shims
    # With --oom-score-adj lowered once here, every shim inherits it; init resets its own.
    # Lowering needs CAP_SYS_RESOURCE: without it shims keep the supervisor's score.
    try:
        process.set_oom_score_adj(SHIM_OOM_SCORE_ADJ)
    except OSError:
        pass
    try:
        rehearsal.rehearse()
        rehearse_receiving()
        rehearse_cloning()
    except Exception:  # noqa: S110 - without it shims are slower and larger, and nothing else
        pass
    if failpoints.VARIABLE in os.environ:
        from supervisor.failpoints import registry  # noqa: PLC0415 - others need not pay

        registry.switch_on(os.environ[failpoints.VARIABLE])
    pool = Pool(control, empty)
    gc.collect()
    filling = heap.fill_gaps()
    gc.freeze()
    gc.disable()
    if mergeable:
        memory.offer_for_merging()
    pool.run()
    filling.clear()


class Pool:
    """SPARES forks that wait for work, each known by the pidfd that tells of its death."""

    def __init__(self, control: socket.socket, empty: int) -> None:
        """`empty` is the mount namespace of `hollow.make`."""
        self.control, self.empty = control, empty
        self.taken, self.take = os.pipe2(os.O_CLOEXEC)
        self.spares: dict[int, int] = {}  # pid → pidfd
        self.poll = select.poll()
        self.poll.register(self.taken, select.POLLIN)
        self.poll.register(control, 0)  # hang-up only: its messages are the spares'

    def run(self) -> None:
        """Keep spares until the supervisor closes its end; they see that themselves."""
        while True:
            self._fill()
            for fd, events in self.poll.poll(None if self.spares else RETRY_MILLISECONDS):
                if fd == self.taken:
                    for (pid,) in PID.iter_unpack(os.read(fd, 64 * PID.size)):
                        self._forget(pid)
                elif fd == self.control.fileno():
                    return
                elif events:
                    # None where it was taken and has died, both since the last look.
                    self._forget(next((p for p, f in self.spares.items() if f == fd), 0))

    def _fill(self) -> None:
        while len(self.spares) < SPARES:
            try:
                pid = os.fork()
            except OSError as error:
                if not self.spares:
                    refuse_one(self.control, error)
                return
            if pid == 0:
                self._serve()
            try:
                pidfd = process.pidfd_open(pid)
            except OSError:
                return  # it has ended already, and the kernel has reaped it
            self.spares[pid] = pidfd
            self.poll.register(pidfd, select.POLLIN)

    def _forget(self, pid: int) -> None:
        pidfd = self.spares.pop(pid, -1)
        if pidfd >= 0:
            self.poll.unregister(pidfd)
            os.close(pidfd)

    def _serve(self) -> None:
        """In the fork: prepare, wait for a request, become its shim; never returns."""
        os.close(self.taken)
        for pidfd in self.spares.values():
            os.close(pidfd)
        try:
            spare = shim.prepare(self.empty)
            packet, fds = receive(self.control)
            os.write(self.take, PID.pack(os.getpid()))
            os.close(self.take)
            self.control.close()
            serve(spare, packet, fds, self.empty)
        finally:
            os._exit(1)


def rehearse_receiving() -> None:
    """Take requests as a spare does, for what `rehearsal` says."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    request = shim_protocol.encode({"op": "spawn", "bundle": "/", "hold": True})
    with ours, theirs:
        for _ in range(rehearsal.ROUNDS):
            socket.send_fds(ours, [request], [ours.fileno()])
            packet, fds = receive(theirs)
            shim_protocol.decode(packet)
            os.close(fds.pop())


def rehearse_cloning() -> None:
    """Have children as a shim has them."""
    for _ in range(rehearsal.ROUNDS):
        os.close(vfork.spawn(lambda: os._exit(0), share=True)[1])


def serve(spare: shim.Shim, packet: bytes, fds: list[int], empty: int) -> None:
    """Run the container that the request names, and those that the next ones do."""
    for before in itertools.count(1):
        if not packet:
            return  # the supervisor is gone, or needs no more shims
        try:
            request = shim_protocol.decode(packet)
            if request.get("op") == "namespaces" and len(fds) == 1:
                packet, fds = hand_over_namespaces(socket.socket(fileno=fds.pop()), request)
                continue
            if request.get("op") != "spawn" or len(fds) not in (1, 2):
                raise ProtocolError("the zygote takes only spawn and namespaces, with one socket")
            bundle, hold = str(request["bundle"]), bool(request.get("hold"))
            user = fds.pop(1) if len(fds) > 1 else -1
        except (ProtocolError, KeyError) as error:
            report_failure(fds, error)
            return
        connection = shim.main(spare, bundle, fds.pop(), hold=hold, user=user)
        spare = shim.Shim(empty, before)
        packet, fds = receive(connection)
        connection.close()


def hand_over_namespaces(
    connection: socket.socket, request: shim_protocol.Message
) -> tuple[bytes, list[int]]:
    """Answer with a user namespace that has the asked maps, and a network namespace that it owns.

    Only a process with one thread can make them (clone(2), CLONE_NEWUSER). Returns the next
    request, for which this is still a shim that had no container.
    """
    made: list[int] = []
    with connection:
        try:
            made.append(userns.make_mapped(str(request["uid_map"]), str(request["gid_map"])))
            made.append(userns.make_network(made[0]))
            socket.send_fds(connection, [shim_protocol.encode({"ok": {}})], made)
        except (OSError, InitError) as error:
            failure = shim_protocol.error_to_json(describe(userns.STEP, error))
            connection.send(shim_protocol.encode({"error": failure}))
        finally:
            for fd in made:
                os.close(fd)
        return receive(connection)


def refuse_one(control: socket.socket, error: OSError) -> None:
    """No fork can be made and no spare is left: answer a waiting request, if there is one."""
    try:
        packet, fds = receive(control, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return
    if packet:
        report_failure(fds, error)
    for fd in fds:
        os.close(fd)


def report_failure(fds: list[int], error: Exception) -> None:
    """Tell the waiting supervisor on the container's own socket, where there is one."""
    if not fds:
        return
    message = {
        "event": "failed",
        "error": {"code": "internal", "message": f"zygote: {error}"},
    }
    with socket.socket(fileno=os.dup(fds[0])) as answer:
        try:
            answer.send(shim_protocol.encode(message))
        except OSError:
            pass  # it is gone: nobody is left to tell
