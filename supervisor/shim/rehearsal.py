"""A container's whole life, played in the zygote before it forks, with scenery for a kernel.

The first runs of a piece of Python write: the interpreter counts and then specializes the
code, instances' key tables and caches of methods and decoding plans grow. A fork that does
it pays a page fault for each page so touched, and keeps the copy: twice the memory of a
shim, a third of its time. So the zygote plays shim, init and exec session on real pipes,
sockets and memory files, while every system call that would change anything is replaced by
one that does not. What this does not reach is only slower and larger, never wrong.
"""

import _signal  # type: ignore[import-not-found]
import ctypes
import fcntl
import gc
import json
import os
import resource
import signal
import socket
import sys
import types
from collections.abc import Callable, Generator
from typing import Any

from supervisor.kernel import _call, capabilities, namespaces, process, vfork
from supervisor.shim import exec_stage, shim
from supervisor.shim.loop import IN
from supervisor.spec.capabilities import DEFAULT
from supervisor.spec.codec import to_json
from supervisor.spec.devices import DEFAULT_NODES
from supervisor.spec.types import (
    JOINED,
    SPEC_VERSION,
    Capabilities,
    CgroupPaths,
    Log,
    Mount,
    Namespace,
    Overlay,
    Process,
    Rlimit,
    Spec,
    SystemCallFilter,
)
from supervisor.wire import shim_protocol

ROUNDS = 10  # the interpreter specializes code in its ninth run (CPython 3.11)
MOST_TURNS = 1000
# No process ever has these: above PID_MAX_LIMIT (4,194,304).
INIT, STAGE, SESSION = 5_000_001, 5_000_002, 5_000_003
# What stays as it is while a play runs: it works on the play's own descriptors only.
HARMLESS = {
    "dup",
    "fspath",
    "fstat",
    "getcwd",
    "getpid",
    "lseek",
    "memfd_create",
    "major",
    "minor",
    "makedev",
    "pread",
    "read",
    "set_blocking",
    "set_inheritable",
    "strerror",
    "waitstatus_to_exitcode",
    "write",
}
FUNCTION = type(_call.libc.getpid).__mro__[1]  # ctypes' own base of function pointers
FILES = {
    "config.json": b"",
    "oom_control": b"oom_kill_disable 0\nunder_oom 0\noom_kill 0\n",
    "in_bytes": b"1\n",
    "memory.events": b"oom 0\noom_kill 0\n",
    "memory.max": b"max\n",
    "memory.current": b"1\n",
    "memory.peak": b"1\n",
    "/passwd": b"root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/:/bin/false\n",
    "/group": b"root:x:0:\ndaemon:x:1:\n",
}
PROCESS = Process(
    args=("true",),
    env=("PATH=/bin", "HOSTNAME=rehearsal"),
    user="0:0",
    capabilities=Capabilities(bounding=DEFAULT, effective=DEFAULT, permitted=DEFAULT),
    rlimits=(Rlimit(type="RLIMIT_NOFILE", soft=1024, hard=1024),),
    seccomp=SystemCallFilter(program="00" * 8),
)


class Curtain(BaseException):
    """A play ends where its process would."""


def specification(unified: bool) -> Spec:
    """A container as most are: docker's default mounts, masks and namespaces.

    With `unified` it has a cgroup of version 2, and is given its network.
    """
    v1 = {name: f"/sys/fs/cgroup/{name}/rehearsal" for name in ("cpu", "memory", "pids")}
    return Spec(
        version=SPEC_VERSION,
        id="rehearsal",
        process=PROCESS,
        root=Overlay(lower=("/lower", "/below"), upper="/upper", work="/work"),
        hostname="rehearsal",
        mounts=(
            Mount(destination="/proc", type="proc", options=("nosuid", "noexec", "nodev")),
            Mount(destination="/dev", type="tmpfs", options=("nosuid", "mode=755", "size=64k")),
            Mount(destination="/dev/pts", type="devpts", options=("nosuid", "newinstance")),
            Mount(destination="/sys", type="sysfs", options=("nosuid", "ro")),
            Mount(destination="/sys/fs/cgroup", type="cgroup", options=("nosuid", "ro")),
            Mount(
                destination="/etc/hosts",
                type="bind",
                source="/hosts",
                options=("rbind", "rprivate", "ro"),
            ),
        ),
        devices=DEFAULT_NODES,
        namespaces=(
            Namespace(type="network", path=JOINED if unified else ""),
            *(Namespace(type=kind) for kind in ("pid", "mount", "uts", "ipc", "cgroup")),
        ),
        sysctl={"net.ipv4.ping_group_range": "0 0"},
        masked_paths=("/proc/kcore", "/proc/acpi", "/proc/keys"),
        readonly_paths=("/proc/sys", "/proc/bus"),
        cgroup=CgroupPaths(unified="/unified" if unified else "", v1={} if unified else v1),
        log=Log(path="/log"),
    )


class Scenery:
    """Replaces what acts upon the kernel, for as long as the block lasts."""

    def __init__(self) -> None:
        self.replaced: list[tuple[Any, str, Any]] = []
        self.config = b""
        self.given: frozenset[str] = frozenset()
        self.in_child = False
        self.pairs: list[socket.socket] = []
        self.pipes: list[int] = []
        self.kept: list[socket.socket] = []
        self.ended: list[tuple[int, int]] = []
        self.ends: list[tuple[object, ...]] = []

    def __enter__(self) -> "Scenery":
        # Asked of the kernel once, for all forks.
        capabilities.last_capability()
        process.command_line_place()
        vfork.possible()
        try:
            self._set_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _set_up(self) -> None:
        self.close = os.close
        self.memfd_create = os.memfd_create
        self.real_open = os.open
        self.real_pair = socket.socketpair
        self.real_pipe = os.pipe2
        self.real_pidfd = os.pidfd_open
        self.pid = os.getpid()
        mine: dict[str, Callable[..., Any]] = {
            "open": self.open_file,
            "close": self.close_file,
            "pipe2": self.pipe,
            "waitpid": self.waitpid,
            "_exit": self.exit,
            "execve": self.exit,
        }
        for name, value in list(vars(os).items()):
            if isinstance(value, types.BuiltinFunctionType) and name not in HARMLESS:
                self.replace(os, name, mine.get(name, nothing))
        opening = {"_openat2": self.openat2, "_fsmount": self.detached}
        opening |= dict.fromkeys(("_fsopen", "_open_tree"), self.folder)
        opening["_pidfd_open"] = self.somebody
        for module in [m for n, m in sys.modules.items() if n.startswith("supervisor.kernel.")]:
            for name, value in list(vars(module).items()):
                if isinstance(value, FUNCTION):
                    self.replace(module, name, opening.get(name) or like(value))
        self.replace(vfork, "spawn", self.spawn)
        self.replace(socket, "socketpair", self.socketpair)
        self.replace(ctypes, "memmove", nothing)  # of the command line
        self.replace(_signal, "signal", nothing)
        self.replace(signal, "signal", nothing)
        self.replace(signal, "set_wakeup_fd", nothing)
        self.replace(resource, "setrlimit", nothing)
        self.replace(fcntl, "ioctl", self.ioctl)
        self.replace(shim, "leave_traceback", nothing)
        self.replace(shim, "SOCKET_NAME", f"\0orlop-rehearsal-{os.getpid()}")

    def __exit__(self, *_: object) -> None:
        for owner, name, value in reversed(self.replaced):
            vars(owner)[name] = value

    def replace(self, owner: types.ModuleType, name: str, value: Any) -> None:
        """Put `value` in the place of a module's function until the end of the block."""
        # In its dictionary: setattr would ask the type for each name, and the cache of such
        # answers, which this is to fill, has only so many places.
        self.replaced.append((owner, name, vars(owner)[name]))
        vars(owner)[name] = value

    def file(self, path: str) -> int:
        """A memory file with what a file of this name would hold."""
        fd = self.memfd_create("rehearsal")
        for end, content in FILES.items():
            if path.endswith(end):
                os.write(fd, self.config if end == "config.json" else content)
                os.lseek(fd, 0, os.SEEK_SET)
        return fd

    def folder(self, *_: object) -> int:
        """Any folder."""
        return self.real_open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def ioctl(self, _fd: int, _request: int, *argument: object) -> Any:
        """What is written to an argument; a namespace where there is none."""
        return bytes(40) if argument else self.folder()

    def somebody(self, *_: object) -> int:
        """A pidfd of who lives on."""
        return self.real_pidfd(self.pid)

    def detached(self, *_: object) -> int:
        """Another file than any folder: a target must not be the root."""
        return self.file("")

    def open_file(self, path: str, flags: int, *_: object, **__: object) -> int:
        """In the place of os.open."""
        return self.folder() if flags & os.O_DIRECTORY else self.file(path)

    def close_file(self, fd: int) -> None:
        """In the place of os.close: a play of two processes in one closes some twice."""
        try:
            self.close(fd)
        except OSError:
            pass

    def openat2(self, _number: int, _folder: int, path: bytes, *_: object) -> int:
        """In the place of openat2(2)."""
        if path.endswith(b"null"):
            return self.real_open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        if path.endswith((b"passwd", b"group", b"kcore", b"keys", b"hosts")):
            return self.file(path.decode())
        return self.folder()

    def pipe(self, flags: int) -> tuple[int, int]:
        """In the place of os.pipe2."""
        self.pipes = list(self.real_pipe(flags))
        return self.pipes[0], self.pipes[1]

    def socketpair(self, *arguments: Any) -> tuple[socket.socket, socket.socket]:
        """In the place of socket.socketpair: the next child speaks on the last pair."""
        self.pairs = list(self.real_pair(*arguments))
        if self.in_child:
            self.kept.append(self.pairs[0].dup())  # the shim that is not played lives
        return self.pairs[0], self.pairs[1]

    def spawn(self, run: Callable[[], None], flags: int = 0, **_: object) -> tuple[int, int]:
        """In the place of vfork.spawn, which does not come back in a child.

        The shim has init by it, with flags, and the stage of an exec session: their last words
        come from here.
        """
        if self.in_child:
            run()
        if not flags:
            self.speak({"ready": True}, {"pid": SESSION})
            return STAGE, self.somebody()
        self.speak({"ready": True})
        os.write(self.pipes[1], b"played\n")
        return INIT, self.somebody()

    def speak(self, *messages: dict[str, object]) -> None:
        """Say what the child would, on its end of the pair made last."""
        end = self.pairs[1].dup()
        for message in messages:
            end.send(json.dumps(message).encode())
        self.kept.append(end)

    def waitpid(self, _pid: int, _flags: int) -> tuple[int, int]:
        """In the place of os.waitpid."""
        return self.ended.pop(0) if self.ended else (0, 0)

    def exit(self, *arguments: object) -> None:
        """In the place of what never returns: os.execve and os._exit."""
        self.ends.append(arguments)
        raise Curtain


def nothing(*_: object, **__: object) -> None:
    """In the place of a function that acts."""


def like(function: Any) -> Any:
    """A function with the same arguments that does nothing; called as the other, by ctypes."""
    return _call.prototype("getuid", *(function.argtypes or ()), restype=function.restype)


def rehearse() -> None:
    """Play each role ROUNDS times; leaves no descriptor and no object behind."""
    before = process.descriptors()
    scenery = Scenery()
    with scenery:
        for number in range(ROUNDS):
            for play in PLAYS:
                perform(scenery, play, specification(number % 2 > 0))
        scenery.pairs.clear()
        gc.collect()
    for fd in process.descriptors() - before:
        os.close(fd)


def perform(scenery: Scenery, play: Callable[[Scenery], None], spec: Spec) -> None:
    """Play one role to its end, of which `scenery.ends` tells."""
    scenery.config = json.dumps(to_json(spec)).encode()
    scenery.given = spec.given
    scenery.ends.clear()
    try:
        play(scenery)
    except Curtain:
        pass
    scenery.kept.clear()


def play_shim(scenery: Scenery) -> None:
    """A shim's life: start, an attached client, an exec session, the end."""
    scenery.in_child = False
    ours, theirs = scenery.real_pair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    player = shim.prepare(scenery.folder())
    script = follow(scenery, player, ours)
    turns = 0

    def turn(_events: int) -> None:
        nonlocal turns
        turns += 1
        if turns > MOST_TURNS:
            raise Curtain
        next(script)

    always, end = scenery.real_pipe(os.O_CLOEXEC)
    os.write(end, b"readable")
    player.loop.add(always, IN, turn)
    try:
        shim.main(player, "/", theirs.detach(), hold=True)
    finally:
        script.close()
        player.loop.epoll.close()
        vars(player).clear()


def follow(scenery: Scenery, player: shim.Shim, ours: socket.socket) -> Generator[None, None, None]:
    """The supervisor's part, and that of the container's processes."""
    near, far = scenery.real_pair()
    request(ours, "attach", far, stdin=True, framed=True)
    start(scenery, ours)
    while player.phase != "starting":
        yield
    scenery.kept.pop().close()  # execve
    while player.phase != "running":
        yield
    request(ours, "state")
    name = "rehearsal"
    fd = scenery.file("")
    os.write(fd, json.dumps(to_json(PROCESS)).encode())
    socket.send_fds(ours, [message("exec", exec=name)], [fd])
    sessions = player.execs.sessions
    while name not in sessions or not (sessions[name].ready and sessions[name].pid):
        yield
    scenery.kept.pop().close()
    scenery.ended += [(STAGE, 0), (SESSION, 0)]
    player.wakeup[1].send(b"\0")
    while sessions[name].code is None:
        yield
    request(ours, "signal", signal=9)
    scenery.ended.append((INIT, 9))
    player.wakeup[1].send(b"\0")
    while player.phase != "exited":
        yield
    near.close()
    request(ours, "acknowledge")
    while True:
        yield


def message(operation: str, **fields: object) -> bytes:
    """A request of the shim protocol."""
    return shim_protocol.encode({"id": 1, "op": operation, **fields})


def request(ours: socket.socket, operation: str, *sockets: socket.socket, **fields: object) -> None:
    """Send one, and the descriptors with it."""
    socket.send_fds(ours, [message(operation, **fields)], [s.fileno() for s in sockets])
    for sent in sockets:
        sent.close()


def start(scenery: Scenery, ours: socket.socket) -> None:
    """Ask for the start, with the namespaces that the container is given."""
    kinds = sorted(scenery.given)
    fds = [scenery.folder() for _ in kinds]
    socket.send_fds(ours, [message("start", namespaces=kinds)], fds)
    for fd in fds:
        scenery.close_file(fd)


def play_init(scenery: Scenery) -> None:
    """From the start to execve, in the place of the shim that clones."""
    scenery.in_child = True
    ours, theirs = scenery.real_pair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    player = shim.prepare(scenery.folder())
    start(scenery, ours)
    try:
        player.run(theirs, hold=True)
    finally:
        player.loop.epoll.close()
        vars(player).clear()


def play_stage(scenery: Scenery) -> None:
    """An exec session's stage, that clones the process and goes."""
    scenery.in_child = False
    exec_stage.main(stage(scenery))


def play_session(scenery: Scenery) -> None:
    """An exec session's process, to its execve."""
    scenery.in_child = True
    exec_stage.main(stage(scenery))


def stage(scenery: Scenery) -> exec_stage.ExecStage:
    """What an exec session's stage works on."""
    near, far = scenery.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    scenery.kept.append(near)
    output = scenery.pipe(os.O_CLOEXEC)
    return exec_stage.ExecStage(
        process=PROCESS,
        sync=far,
        pidfd=scenery.folder(),
        namespace_flags=namespaces.CLONE_NEWCGROUP,
        cgroup_fd=scenery.folder(),
        cgroup_tasks=(scenery.file(""),),
        stdio=(-1, output[1], output[1]),
    )


PLAYS = (play_shim, play_init, play_stage, play_session)
