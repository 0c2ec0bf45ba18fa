"""Init, as the shim has it: its root is prepared, it is cloned, wired and heard until it executes.

What it says, and how, stands in `init`; what it has to say is over at the end of file (execve, or
its end), and from then on it is a child to reap.
"""

import errno
import json
import os
import signal
import socket
import time
from collections.abc import Callable

from supervisor import failpoints
from supervisor.errors import InitError
from supervisor.kernel import namespaces, paths, process, vfork
from supervisor.shim import cgroup, given, handshake, init, rootfs, userns
from supervisor.shim.init_state import Init
from supervisor.shim.loop import IN, Loop
from supervisor.shim.session import Session
from supervisor.spec.types import Spec
from supervisor.wire.shim_protocol import Message


class Child:
    """One container's init; `pid` is 0 until it is cloned, `pidfd` -1 before and once it is dead.

    `error` is why nothing becomes of it. `on_ready` is told when it is set up, and whether it
    waits for `go`; `on_silent`, maybe twice, when it has nothing more to say; `on_dead` when it is
    no more, even where it cannot be reaped yet.
    """

    def __init__(
        self,
        spec: Spec,
        session: Session,
        loop: Loop,
        empty: int,
        mapped: int,
        on_ready: Callable[[bool], None],
        on_silent: Callable[[], None],
        on_dead: Callable[[], None],
    ) -> None:
        """`empty`: the mount namespace that it copies (`hollow.make`); `mapped`: a user namespace
        with the container's ids that is ready, or -1.
        """
        self.spec, self.session, self.loop, self.empty = spec, session, loop, empty
        self.on_ready, self.on_silent, self.on_dead = on_ready, on_silent, on_dead
        self.pid = 0
        self.pidfd = -1
        self.error: InitError | None = None
        self.root = -1
        self._mounts = -1  # its mount namespace
        self.wiring = False  # it waits for its network, to be born then
        self.cloned_ns = 0
        self._prepared: rootfs.Prepared | None = None
        self._reached: cgroup.Reached | None = None
        self._mapped = mapped
        self._joined: dict[str, int] = {}  # ours, while its network is wired
        self._at_once = False
        self._unborn = False  # it is still to have the process that the container is
        self._only_from = 0  # the pid whose words count; 0: whoever has the other end
        self._sync: socket.socket | None = None

    # --- its making ---------------------------------------------------------------------

    def prepare_root(self) -> None:
        """Mount what needs no cgroup and no namespace yet."""
        failpoints.hit("shim.rootfs")
        if self.spec.uid_mappings and self._mapped < 0:
            self._mapped = userns.make(self.spec)
        self._prepared = rootfs.prepare(self.spec, self._mapped)
        self.root = self._prepared.root
        try:
            # Most times it has been made meanwhile, and the start takes a moment yet.
            self._reached = cgroup.reach(self.spec)
        except OSError:
            pass

    def make_network(self, joined: dict[str, int]) -> int:
        """Its network namespace, which somebody wires; `clone_wired` then goes on."""
        self._joined = {kind: os.dup(fd) for kind, fd in joined.items()}
        self._joined["network"] = userns.make_network(joined.get("user", self._mapped))
        self.wiring = True
        return self._joined["network"]

    def clone_wired(self) -> None:
        """Clone it into the network that was wired."""
        try:
            self.clone(self._joined, at_once=True)
        finally:
            self.drop_network()

    def drop_network(self) -> None:
        """Wait no longer for a network to be cloned into."""
        self.wiring = False
        for fd in self._joined.values():
            os.close(fd)
        self._joined.clear()

    def clone(self, joined: dict[str, int], *, at_once: bool) -> None:
        """Needs the container's cgroup, and the namespaces to join; what comes before does not.

        `at_once`: it is to execute the program without waiting for `go`.
        """
        spec, prepared = self.spec, self._prepared
        assert prepared is not None
        self._at_once = at_once
        self.cloned_ns = time.monotonic_ns()
        far = (
            (-1, -1, -1)
            if spec.process.terminal
            else self.session.open_pipes(spec.stdin, userns.root_of(spec))
        )
        places = [mount.destination for mount in spec.mounts if mount.type == "joined"]
        copies = given.clone_mounts(joined["mount"], places) if places else {}
        reached, self._reached = self._reached or cgroup.reach(spec), None
        near, sync = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        proc = os.open("/proc", paths.DIRECTORY)
        # Who is in another's pid namespace may be traced there: it is born at init's end. But not
        # in a user namespace: see `userns.may_share_memory`.
        self._unborn = (
            "pid" in joined and not spec.uid_mappings and given.may_stay_outside(joined["pid"])
        )
        if self._unborn:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        state = Init(
            *(spec, sync, prepared, proc, reached.tasks, far, dict(joined)),
            start_at_once=at_once,
            unseen=self._unborn,
            joined_mounts=dict(copies),
            cgroup_folders=dict(reached.folders),
        )
        # Where init waits for us, or stays the interpreter that it is, we cannot wait for init.
        share = at_once and not spec.init and userns.may_share_memory(spec)
        try:
            # Whoever shares its pid namespace may read its command line: no path of the host.
            with process.command_line_as("orlop-init"):
                failpoints.hit("shim.clone")
                pid, pidfd = self._spawn(state, joined, near.fileno(), share, reached.unified)
        finally:
            state.let_go()
            sync.close()
            reached.close()
            for fd in (proc, *far, self._mapped, *copies.values()):
                if fd >= 0:
                    os.close(fd)
            self._mapped = -1
        failpoints.hit("shim.cloned")
        prepared.close_binds()
        self._sync = near
        self._is(pid, pidfd)
        self._hold_mounts()
        self._only_from = pid if self._unborn else 0
        near.setblocking(False)
        self.loop.add(near.fileno(), IN, self._speaks)

    def _spawn(
        self, state: Init, joined: dict[str, int], ours: int, share: bool, group: int
    ) -> tuple[int, int]:
        """Its pid and pidfd; `ours` would hide the shim's end from it."""
        flags = namespaces.CLONE_NEWNS
        for namespace in self.spec.namespaces:
            # cgroup: see init.join_cgroups; user: see userns.spawn.
            if not namespace.path and namespace.type not in ("cgroup", "user", *joined):
                flags |= namespaces.NAMESPACE_FLAGS[namespace.type]
        if not state.mapped:

            def run_init() -> None:
                os.close(ours)
                init.main(state)

            born_in = None if state.unseen else joined.get("pid")
            with given.children_in(born_in), namespaces.mount_namespace(self.empty):
                return vfork.spawn(run_init, flags, share=share, cgroup_fd=group)
        return userns.spawn(
            lambda: init.main(state),
            flags,
            joined.get("user", self._mapped),
            wanted=self.spec.process,
            share=share,
            cgroup_fd=group,
            pid_namespace=joined.get("pid", -1),
            not_for_it=(ours,),
        )

    def _is(self, pid: int, pidfd: int) -> None:
        self.pid, self.pidfd = pid, pidfd
        self.loop.add(pidfd, IN, self._dies)

    def _hold_mounts(self) -> None:
        """Keep its mount namespace until its end is told.

        Who lets go of one as the last unmounts all that is in it, and waits until all processors
        have seen that. It shall not be the process whose end somebody waits for. But where folders
        of the host's are mounted, these are free once the end is told: somebody may unmount them.
        """
        if any(
            one.type == "bind" and f"/{self.spec.id}/" not in one.source for one in self.spec.mounts
        ):
            return
        try:
            self._mounts = namespaces.mount_namespace_of(self.pidfd)
        except OSError:
            pass  # it is dead, or the kernel older than 6.11: all goes with the process

    def let_mounts_go(self) -> None:
        """Its end is told: what was mounted for it is not to stay any longer."""
        if self._mounts >= 0:
            os.close(self._mounts)
            self._mounts = -1

    def _drop_pidfd(self) -> None:
        self.loop.remove(self.pidfd)
        os.close(self.pidfd)
        self.pidfd = -1

    # --- what it says -------------------------------------------------------------------

    def go(self) -> bool:
        """Have it execute the program; False where it was killed while it waited."""
        try:
            return self._sync is not None and bool(self._sync.send(handshake.GO))
        except OSError:
            return False

    def _fall_silent(self) -> None:
        """Listen to it no more."""
        if self._sync is not None:
            self.loop.remove(self._sync.fileno())
            self._sync.close()
            self._sync = None

    def _speaks(self, _events: int) -> None:
        while self._hear():
            pass

    def _hear(self) -> bool:
        """Take one message of its, if there is one; False where there is none."""
        if self._sync is None:
            return False
        heard = handshake.hear(self._sync, self._only_from)
        if heard is None:
            return False
        packet, fds, stranger = heard
        if stranger:
            if self.error is not None:
                self._fall_silent()  # the process has only one thing to say
            self.error = self.error or handshake.last_words(packet)
            return True
        if not packet:
            self._fall_silent()
            self.on_silent()
            return False
        self._take(json.loads(packet), fds)
        return True

    def _take(self, message: Message, fds: list[int]) -> None:
        if "pid" in message:
            self._drop_pidfd()
            self._is(message["pid"], process.pidfd_open(message["pid"]))
            self._unborn = False
        elif message.get("pty"):
            self.session.use_terminal(fds[0])
        elif message.get("ready"):
            self.on_ready(not self._at_once)
        else:
            # The exit follows at once; SIGCHLD brings it.
            self.error = InitError.from_json(message)
            self._fall_silent()

    # --- its end ------------------------------------------------------------------------

    def _dies(self, _events: int) -> None:
        pid = self.pid
        while self._hear():
            pass
        if self.pid == pid:  # what has died did not only have the process born
            self.on_dead()

    def kill(self) -> None:
        """SIGKILL; SIGCHLD brings the rest."""
        process.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def reap_next(self) -> tuple[int, int]:
        """Pid and status of a child of the shim's that has ended, (0, 0) where none has.

        ChildProcessError where there is none at all. Until init has told its own child's pid,
        that is not reaped.
        """
        pid, status = os.waitpid(self.pid if self._unborn else -1, os.WNOHANG)
        while pid and self._unborn and self._hear():
            pass
        return pid, status

    def ended(self) -> None:
        """It is dead: its last words may not have been read yet, and there will be no more."""
        while self._hear():
            pass
        self._fall_silent()
        self.on_silent()  # it may have left a holder of its end behind (--init without a pid ns)
        self._drop_pidfd()


def ended_early() -> InitError:
    """Why a start is no more where something killed it."""
    return InitError(
        step="create", path="", errno=errno.ESRCH, message="init ended before the start"
    )
