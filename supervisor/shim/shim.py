"""The shim: the parent of one container's PID 1, for as long as that lives, and a little longer.

It prepares the root, clones init, serves the shim protocol, pumps the streams, reaps, and
writes the exit record before it tells anybody. It ends when a supervisor has acknowledged
that record. See `docs/shim-protocol.md`.
"""

import gc
import json
import os
import signal
import socket
import time
import traceback
from collections.abc import Callable

from supervisor import failpoints
from supervisor.errors import Conflict, InitError, InvalidArgument, ProtocolError
from supervisor.kernel import cgroups, process
from supervisor.shim import cgroup, exit_record, given
from supervisor.shim.attaching import attach
from supervisor.shim.child import Child, ended_early
from supervisor.shim.execs import Execs
from supervisor.shim.exit_record import ExitRecord
from supervisor.shim.failure import describe
from supervisor.shim.log_file import LogFile
from supervisor.shim.loop import IN, Loop
from supervisor.shim.peer import Peer
from supervisor.shim.session import Session
from supervisor.spec.codec import from_json
from supervisor.spec.types import Spec
from supervisor.wire import shim_protocol
from supervisor.wire.shim_protocol import CONFIG_NAME, SOCKET_NAME, Message

MOST_CONTAINERS = 100  # one after the other: each leaves a little memory behind


def prepare(empty: int) -> "Shim":
    """Become a shim that has no container yet, in a fork of the zygote; see `hollow.make`."""
    os.setsid()
    process.set_process_name("orlop-shim")
    process.set_child_subreaper(True)
    # Nobody in a container may trace a child that still has our memory, nor us.
    process.set_dumpable(False)
    redirect_std_streams()
    os.umask(0o077)
    return Shim(empty)


def main(
    shim: "Shim", bundle: str, control_fd: int, *, hold: bool, user: int = -1
) -> socket.socket:
    """Serve the container of `bundle`. `hold`: init is cloned at `start` only; `user`: a user
    namespace with the container's ids, -1 for none that is ready.

    Returns the connection on which the next one is to be waited for, if whoever acknowledged
    the end of this one asked for that, and it has left nothing behind; else ends the process.
    """
    control = socket.socket(fileno=control_fd)
    try:
        process.set_command_line(f"orlop-shim {bundle}")
        os.chdir(bundle)
        shim.run(control, hold=hold, user=user)
        kept = shim.let_go()
        if kept is not None:
            process.set_command_line("orlop-shim")
            os.chdir("/")
            return kept
    except BaseException as error:  # the last frame; the traceback is kept in the bundle
        leave_traceback()
        failure = describe("shim", error) if isinstance(error, OSError | InitError) else None
        message = shim_protocol.error_to_json(
            failure or InitError(step="shim", path=bundle, errno=0, message=f"shim: {error!r}")
        )
        try:
            control.send(shim_protocol.encode({"event": "failed", "error": message}))
        except OSError:
            pass
        os._exit(1)
    os._exit(0)


def redirect_std_streams() -> None:
    """The supervisor's terminal or pipe must not be held open by containers' shims."""
    null = os.open("/dev/null", os.O_RDWR)
    for target in range(3):
        os.dup2(null, target)
    if null > 2:
        os.close(null)


def leave_traceback() -> None:
    """Write what went wrong to shim.err in the bundle (the current folder)."""
    try:
        fd = os.open("shim.err", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError:
        return
    os.write(fd, traceback.format_exc().encode())
    os.close(fd)


class Shim:
    """State of one container's run. `phase`: created (init waits) → running → exited."""

    spec: Spec
    session: Session
    child: Child

    def __init__(self, empty: int, before: int = 0) -> None:
        """`empty`: the mount namespace that init copies; `before`: how many containers this
        process has had.
        """
        self.empty, self.before = empty, before
        self.loop = Loop()
        self.peers: list[Peer] = []
        self.folder = -1
        self.log: LogFile | None = None
        self.execs = Execs(self.loop, self._add_client, self._tell)
        self.phase = "preparing"
        self.held = False
        self.starting: tuple[Peer, Message] | None = None
        self.started_ns = 0
        self.started_boottime_ns = 0
        self.stages: dict[str, int] = {}  # how long parts of the start took, in ns
        self.killed = False
        self.status = 0
        self.finished = (0, 0)
        self.record: ExitRecord | None = None
        self.durable = False
        self.stays_for: Peer | None = None
        self._watch_children()

    def run(self, control: socket.socket, *, hold: bool, user: int = -1) -> None:
        """Run the container of the current folder; until its exit record is acknowledged."""
        self.held = hold
        self.spec = read_spec()
        self.folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.log = LogFile(self.spec.log) if self.spec.log.path else None
        self.session = Session(self.loop, log=self.log, stdin_once=self.spec.stdin_once)
        self.child = Child(
            *(self.spec, self.session, self.loop, self.empty, user),
            *(self._ready, self._silent, self._dead),
        )
        self._add_peer(control)
        self._listen()
        begun = time.monotonic_ns()
        self._attempt(self.child.prepare_root)
        self.stages["rootfs"] = time.monotonic_ns() - begun
        if not hold:
            self._attempt(lambda: given.refuse_early(self.spec))
            self._attempt(lambda: self._clone({}))
        self.loop.run()

    def _attempt(self, step: Callable[[], None]) -> None:
        """Do a step towards the container; nothing after one that failed."""
        if self.child.error is not None:
            return
        try:
            step()
        except (OSError, InitError, ProtocolError, ValueError) as error:
            self._fail(describe("shim", error))

    # --- becoming a container ---------------------------------------------------------

    def _clone(self, joined: dict[str, int]) -> None:
        self.held = False
        self.child.clone(joined, at_once=self.starting is not None)

    def _offer_network(self, joined: dict[str, int]) -> None:
        """Hand init's network namespace to whoever asked for the start; init comes after that."""
        assert self.starting is not None
        self.held = False  # a supervisor that comes later learns what became of it
        begun = time.monotonic_ns()
        network = self.child.make_network(joined)
        self.stages["netns"] = time.monotonic_ns() - begun
        self.starting[0].send({"event": "network"}, (network,))

    def _ready(self, waits: bool) -> None:
        if not waits:
            self.phase = "starting"
            return
        self.phase = "created"
        self._tell(self._created_event())
        if self.starting is not None:
            self._go()

    def _go(self) -> None:
        if self.child.go():
            self.phase = "starting"

    def _silent(self) -> None:
        if self.phase == "starting" and self.child.error is None:
            self._started()

    def _started(self) -> None:
        failpoints.hit("shim.started")
        self.phase = "running"
        self.started_ns = time.time_ns()
        self.started_boottime_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        if self.starting is not None:
            peer, request = self.starting
            self.starting = None
            self.stages["exec"] = time.monotonic_ns() - self.child.cloned_ns
            reply = {"pid": self.child.pid, "started_ns": self.started_ns, "stages": self.stages}
            peer.answer(request, reply)
        gc.enable()  # off until here, as in the zygote: a long life makes cycles

    # --- children ---------------------------------------------------------------------

    def _watch_children(self) -> None:
        near, far = socket.socketpair()
        near.setblocking(False)
        far.setblocking(False)
        self.wakeup = (near, far)
        signal.set_wakeup_fd(far.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # only its container's end ends a shim
        self.loop.add(near.fileno(), IN, self._reap)

    def _reap(self, _events: int) -> None:
        try:
            self.wakeup[0].recv(4096)
        except BlockingIOError:
            pass
        while True:
            try:
                pid, status = self.child.reap_next()
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.child.pid and self.child.pidfd >= 0:
                self._init_ended(status)
                continue
            self.execs.child_ended(pid, status)

    def _dead(self) -> None:
        """Init is, and we may have heard nothing: who traces it has it first, and may keep it."""
        self._reap(0)
        if self.child.pidfd < 0:
            return
        try:
            status = process.exit_status(self.child.pid)
        except OSError:
            return  # let go this moment: SIGCHLD comes
        self._init_ended(status)

    def _init_ended(self, status: int) -> None:
        self.status = status
        self.child.ended()
        # Now that they told that it began: no run ends before it starts.
        self.finished = (time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME))
        if not self.spec.makes("pid"):
            cgroup.kill_all(self.spec)  # without a pid namespace of its own, descendants live on
        self.session.process_ended(self._write_record)

    def _fail(self, error: InitError) -> None:
        """Set-up failed in the shim itself: no init ever was, or it is of no use."""
        self.child.error = error
        if self.child.pid:
            self.child.kill()
            return
        self.finished = (time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME))
        self.session.process_ended(self._write_record)
        self.session.abandon_outputs()

    def _write_record(self) -> None:
        code = os.waitstatus_to_exitcode(self.status)
        if self.child.error is None and self.phase in ("preparing", "created"):
            self.child.error = ended_early()
        error = self.child.error
        memory = cgroups.read_memory(self.spec.cgroup)
        if self.log is not None:
            self.log.close()
        self.record = ExitRecord(
            id=self.spec.id,
            run=self.spec.run,
            pid=self.child.pid,
            code=code if code >= 0 else 128 - code,
            signal=max(0, -code),
            oom_kills=memory.oom_kills,
            memory_peak=memory.peak,
            memory_limit=memory.limit,
            killed=self.killed,
            log_dropped=self.log.dropped if self.log else 0,
            started_ns=self.started_ns,
            finished_ns=self.finished[0],
            started_boottime_ns=self.started_boottime_ns,
            finished_boottime_ns=self.finished[1],
            error=dict(error.to_json()) if error else None,
        )
        try:
            failpoints.hit("shim.record")
            exit_record.write(self.record, self.folder)
            self.durable = True
            failpoints.hit("shim.told")
        except OSError:
            leave_traceback()  # a full disk: the supervisor still hears it, and asks again
        self.phase = "exited"
        self.session.finish_clients()
        self._tell_the_end()

    def _tell_the_end(self) -> None:
        assert self.record is not None
        if self.starting is not None and self.child.error is not None:
            peer, request = self.starting
            self.starting = None
            peer.refuse(request, self.child.error)
        self._tell({"event": "exited", "record": self.record.to_json(), "durable": self.durable})
        self.child.let_mounts_go()

    # --- the protocol -----------------------------------------------------------------

    def _listen(self) -> None:
        try:
            os.unlink(SOCKET_NAME)
        except FileNotFoundError:
            pass
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # Relative: the bundle's absolute path may be longer than sun_path.
        self.listener.bind(SOCKET_NAME)
        self.listener.listen(8)
        self.listener.setblocking(False)
        self.loop.add(self.listener.fileno(), IN, self._accept)

    def _accept(self, _events: int) -> None:
        try:
            connection, _ = self.listener.accept()
        except OSError:
            return
        self._add_peer(connection)

    def _add_peer(self, connection: socket.socket) -> None:
        peer = Peer(self.loop, connection, self._dispatch, self._peer_gone)
        self.peers.append(peer)
        peer.send({"event": "hello", "version": shim_protocol.VERSION, "shim_pid": os.getpid()})

    def _peer_gone(self, peer: Peer) -> None:
        self.peers.remove(peer)
        if self.starting is not None and self.starting[0] is peer:
            self.starting = None
            if self.child.wiring:
                self._refuse_network("the supervisor went away before there was a network")
        if self.held and not self.peers:
            self._leave()  # whoever wanted a container is gone before there was one

    def _tell(self, event: Message) -> None:
        for peer in list(self.peers):
            peer.send(event)

    def _created_event(self) -> Message:
        return {"event": "created", "pid": self.child.pid, "run": self.spec.run}

    def _dispatch(self, peer: Peer, request: Message, fds: list[int]) -> Message | None:
        operation = OPERATIONS.get(str(request.get("op")))
        if operation is None:
            raise InvalidArgument(f"shim: no operation {request.get('op')!r}")
        return operation(self, peer, request, fds)

    def _start(self, peer: Peer, request: Message, fds: list[int]) -> Message | None:
        if self.phase not in ("preparing", "created") or self.starting is not None:
            raise Conflict(f"shim: cannot start: {self.phase}")
        if not self.held and (fds or request.get("namespaces")):
            raise InvalidArgument("shim: init is there already: no namespace can be given to it")
        self.starting = (peer, request)
        if self.phase == "created":
            self._go()
        elif self.held:
            # The fds stay those of the request, which closes them: init has its own copies.
            begin = self._offer_network if self.spec.wire_network else self._clone
            self._attempt(lambda: begin(given.pair(self.spec, request, fds)))
        return None

    def _wired(self, _peer: Peer, request: Message, _fds: list[int]) -> Message:
        if not self.child.wiring:
            raise Conflict("shim: init does not wait for a network")
        if "error" in request:
            self._refuse_network(str(request["error"]))
        else:
            self._attempt(self.child.clone_wired)
        return {}

    def _refuse_network(self, why: str) -> None:
        self._end_wiring(InitError(step="network", path="", errno=0, message=why))

    def _end_wiring(self, error: InitError) -> None:
        self.child.drop_network()
        self._fail(error)

    def _signal(self, _peer: Peer, request: Message, _fds: list[int]) -> Message:
        number = int(request["signal"])
        if self.child.wiring and number == signal.SIGKILL:
            self.killed, self.status = True, number
            self._end_wiring(ended_early())
            return {}
        if self.child.pidfd < 0:
            raise Conflict("shim: the container has ended")
        process.pidfd_send_signal(self.child.pidfd, number)
        self.killed = self.killed or number == signal.SIGKILL
        return {}

    def _resize(self, _peer: Peer, request: Message, _fds: list[int]) -> Message:
        self._session(request).resize(int(request["rows"]), int(request["columns"]))
        return {}

    def _session(self, request: Message) -> Session:
        name = request.get("exec", "")
        return self.execs.find(name).session if name else self.session

    def _attach(self, _peer: Peer, request: Message, fds: list[int]) -> Message:
        if self.phase == "exited" or len(fds) != 1:
            raise Conflict("shim: the container has ended")
        self._add_client(self.session, request, fds)
        return {}

    def _add_client(self, session: Session, request: Message, fds: list[int]) -> None:
        attach(self.loop, session, request, fds, self._tell)

    def _exec(self, peer: Peer, request: Message, fds: list[int]) -> Message | None:
        if self.phase != "running" or self.child.pidfd < 0:
            raise Conflict("shim: the container is not running")
        self.execs.launch(self.spec, self.child.pidfd, peer, request, fds)
        return None

    def _exec_state(self, _peer: Peer, request: Message, _fds: list[int]) -> Message:
        return self.execs.find(str(request["exec"])).state()

    def _state(self, _peer: Peer, _request: Message, _fds: list[int]) -> Message:
        return {
            "phase": self.phase,
            "run": self.spec.run,
            "pid": self.child.pid,
            "started_ns": self.started_ns,
            "record": self.record.to_json() if self.record else None,
        }

    def _acknowledge(self, peer: Peer, request: Message, _fds: list[int]) -> Message:
        if self.record is None:
            raise Conflict("shim: nothing to acknowledge, the container lives")
        if request.get("stay") and self._may_stay():
            self.stays_for = peer
            self._leave()
            return {"stays": True}
        for session in self._sessions():
            session.on_last_client_gone = self._end
        self._end()
        return {}

    def _sessions(self) -> list[Session]:
        return [self.session, *(e.session for e in self.execs.sessions.values())]

    def _end(self) -> None:
        """Leave, once no client is left that still takes output."""
        if any(session.clients for session in self._sessions()):
            return
        self._leave()

    def _may_stay(self) -> bool:
        """Whether nothing of this container can be in the way of the next: as most are."""
        clean = not (self.execs.sessions or self.session.clients or process.has_children())
        # After an init that was killed in our memory there is no telling how that is.
        whole = self.child.error is None or not os.WIFSIGNALED(self.status)
        return clean and whole and self.durable and self.before < MOST_CONTAINERS

    def let_go(self) -> socket.socket | None:
        """Close all but the connection that is stayed for; None where there is none.

        Also where a descriptor is left that nobody owns: better a new shim than a strange one.
        """
        if self.stays_for is None or self.stays_for.closed:
            return None
        connection, empty = self.stays_for.connection, self.empty
        for peer in self.peers:
            self.loop.remove(peer.connection.fileno())
            if peer is not self.stays_for:
                peer.connection.close()
        self.session.close()
        signal.set_wakeup_fd(-1)
        for end in (*self.wakeup, self.listener, self.loop.epoll):
            end.close()
        for fd in (self.folder, self.child.root):
            os.close(fd)
        self.loop.callbacks.clear()
        vars(self.child).clear()  # the cycles in which they lie
        vars(self).clear()
        gc.disable()  # as in the zygote
        connection.setblocking(True)
        left = process.descriptors() - {0, 1, 2, empty, connection.fileno()}
        return None if left else connection

    def _leave(self) -> None:
        try:
            os.unlink(SOCKET_NAME)
        except OSError:
            pass
        self.loop.done = True


OPERATIONS = {
    "start": Shim._start,
    "wired": Shim._wired,
    "signal": Shim._signal,
    "resize": Shim._resize,
    "attach": Shim._attach,
    "exec": Shim._exec,
    "exec_state": Shim._exec_state,
    "state": Shim._state,
    "acknowledge": Shim._acknowledge,
}


def read_spec() -> Spec:
    """The bundle's config.json (the current folder is the bundle)."""
    fd = os.open(CONFIG_NAME, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return from_json(Spec, json.loads(os.read(fd, os.fstat(fd).st_size)))
    finally:
        os.close(fd)
