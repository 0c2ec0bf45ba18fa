"""A real zygote and real shims, driven by the shim protocol alone: no daemon between."""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from supervisor.engine.system_calls import machine_to_filter
from supervisor.engine.zygote import start_zygote
from supervisor.errors import OrlopError
from supervisor.kernel.cgroups import Group, Hierarchy, detect
from supervisor.shim import exit_record
from supervisor.shim.exit_record import ExitRecord, record_from_json
from supervisor.shim.packets import receive
from supervisor.spec.build import HostFacts, build_spec
from supervisor.spec.codec import to_json
from supervisor.spec.options import ContainerOptions
from supervisor.spec.types import Log, Overlay, Spec
from supervisor.store import scratch
from supervisor.store.layout import DataRoot
from supervisor.wire import shim_protocol
from supervisor.wire.logrecord import Decoder
from tests.support import leaks, places

SECONDS = 20.0
SIGKILL = 9


@dataclass(slots=True)
class Shim:
    """One connection to a shim: requests, and the events that came meanwhile.

    `fds` are descriptors that came with events; whoever takes one out closes it.
    """

    connection: socket.socket
    events: list[dict[str, Any]] = field(default_factory=list)
    replies: dict[int, dict[str, Any]] = field(default_factory=dict)
    last_id: int = 0
    fds: list[int] = field(default_factory=list)

    def send(self, operation: str, fds: Sequence[int] = (), **fields: Any) -> int:
        """Send a request; the id that its reply will have."""
        self.last_id += 1
        message = {"id": self.last_id, "op": operation, **fields}
        socket.send_fds(self.connection, [shim_protocol.encode(message)], fds)
        return self.last_id

    def reply(self, number: int) -> dict[str, Any]:
        """The reply's `ok`; raises its typed error."""
        while number not in self.replies:
            self._receive()
        reply = self.replies.pop(number)
        if "error" in reply:
            raise shim_protocol.error_from_json(reply["error"])
        ok: dict[str, Any] = reply["ok"]
        return ok

    def call(self, operation: str, fds: Sequence[int] = (), **fields: Any) -> dict[str, Any]:
        """A request and its reply."""
        return self.reply(self.send(operation, fds, **fields))

    def event(self, name: str) -> dict[str, Any]:
        """The next event of this name; those before it are dropped."""
        while True:
            while self.events:
                event = self.events.pop(0)
                if event["event"] == name:
                    return event
            self._receive()

    def ended(self, seconds: float = SECONDS) -> bool:
        """The shim closes this connection within `seconds`."""
        self.connection.settimeout(seconds)
        try:
            while True:
                self._receive()
        except (EOFError, ConnectionError):
            return True
        except TimeoutError:
            return False
        finally:
            self.connection.settimeout(SECONDS)

    def _receive(self) -> None:
        packet, fds = receive(self.connection)
        self.fds += fds
        if not packet:
            raise EOFError("the shim has ended")
        message = shim_protocol.decode(packet)
        if "event" in message:
            self.events.append(message)
        else:
            self.replies[message["id"]] = message


@dataclass(slots=True)
class Container:
    """A bundle, its cgroup and its shim."""

    spec: Spec
    bundle: Path
    group: Group
    shim: Shim
    shim_pid: int
    stays: bool = False  # the shim waits for another container

    def stay(self) -> socket.socket | None:
        """Acknowledge the end, asking the shim to stay: where to ask it for the next, if so."""
        self.stays = bool(self.shim.call("acknowledge", stay=True).get("stays"))
        return self.shim.connection.dup() if self.stays else None

    def created(self) -> int:
        """Wait until init waits for its start; its pid."""
        pid: int = self.shim.event("created")["pid"]
        return pid

    def start(self, **given: int) -> int:
        """Have init run the command, in namespaces given by descriptors; its pid."""
        fields = {"namespaces": list(given)} if given else {}
        pid: int = self.shim.call("start", tuple(given.values()), **fields)["pid"]
        return pid

    def exited(self) -> ExitRecord:
        """Wait for the end."""
        return record_from_json(self.shim.event("exited")["record"])

    def record(self) -> ExitRecord | None:
        """The exit record in the bundle."""
        return exit_record.read(str(self.bundle))

    def output(self) -> str:
        """What the log has of both streams; it is made with its first record."""
        path = self.bundle / "log"
        records = Decoder().feed(path.read_bytes() if path.exists() else b"")
        return b"".join(record.data for record in records).decode()

    def reconnect(self) -> Shim:
        """One more connection, as a new supervisor makes it."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.settimeout(SECONDS)
        connection.connect(str(self.bundle / "shim.sock"))
        return Shim(connection)

    def close(self) -> None:
        """End whatever is left of it."""
        try:
            self.group.kill()
            while not self.stays and (state := self.shim.call("state"))["record"] is None:
                if state["phase"] == "preparing":  # held: it ends with its last connection
                    self.shim.connection.shutdown(socket.SHUT_RDWR)
                time.sleep(0.01)
            if not self.stays:
                self.shim.call("acknowledge")
        except (EOFError, OSError, OrlopError):
            pass  # the shim has ended already
        ended = self.stays or self.shim.ended()
        leaks.reap_orphans()  # of a killed shim: an unreaped zombie keeps its cgroup
        self.shim.connection.close()
        for fd in self.shim.fds:
            os.close(fd)
        _wait_empty(self.group)
        self.group.remove()
        assert ended, f"the shim of {self.bundle} does not end"


def _wait_empty(group: Group) -> None:
    deadline = time.monotonic() + SECONDS
    while group.populated() and time.monotonic() < deadline:
        time.sleep(0.01)


class ShimRig:
    """A zygote, a cgroup parent and an image of this host's busybox."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.layout = detect()
        self.hierarchy = Hierarchy(self.layout, places.random_name())
        self.hierarchy.prepare()
        root = DataRoot(folder / "root")
        root.prepare()
        root.release()
        self.image = scratch.build(root, []).folder
        self.process, self.zygote = start_zygote()
        self.zygote.setblocking(True)

    def close(self) -> None:
        """End the zygote and remove the cgroups."""
        self.zygote.close()
        self.process.wait(SECONDS)
        self.hierarchy.remove()

    def spec(self, options: ContainerOptions, bundle: Path, group: Group) -> Spec:
        """The spec as the engine would build it; no default sysctls."""
        return build_spec(
            options,
            id=bundle.name,
            run=1,
            root=Overlay(
                lower=(str(self.image),), upper=str(bundle / "upper"), work=str(bundle / "work")
            ),
            cgroup=group.paths,
            log=Log(path=str(bundle / "log")),
            host=HostFacts(
                cgroup=self.layout.kind,
                v1_controllers=frozenset(self.layout.v1),
                sysctls=frozenset(),
                filters=machine_to_filter(),
            ),
        )

    @contextmanager
    def container(self, *args: str, **options: Any) -> Iterator[Container]:
        """A container on its way to `created`, with `hold` not before `start`.

        Ended and removed with the block. `by` is the connection of a shim that stayed.
        """
        hold = bool(options.pop("hold", False))
        by = options.pop("by", None)
        bundle = self.folder / secrets.token_hex(32)
        for name in ("", "upper", "work"):
            (bundle / name).mkdir(mode=0o755)
        group = self.hierarchy.create(bundle.name)
        spec = self.spec(ContainerOptions(args=args, **options), bundle, group)
        (bundle / "config.json").write_text(json.dumps(to_json(spec)))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(SECONDS)
        request = shim_protocol.encode({"op": "spawn", "bundle": str(bundle), "hold": hold})
        with theirs:
            socket.send_fds(by or self.zygote, [request], [theirs.fileno()])
        shim = Shim(ours)
        container = Container(spec, bundle, group, shim, shim.event("hello")["shim_pid"])
        try:
            yield container
        finally:
            container.close()

    def run(self, script: str, **options: Any) -> str:
        """Run a shell script in a container to its successful end; its output."""
        return self.run_args("sh", "-c", script, **options)

    def run_args(self, *args: str, **options: Any) -> str:
        """Run a command in the same way."""
        with self.container(*args, **options) as container:
            container.start()
            record = container.exited()
            output = container.output()
            assert record.code == 0, f"{record}\n{output}"
            return output


@contextmanager
def running_rig() -> Iterator[ShimRig]:
    """A rig for the tests of one module."""
    with places.short_folder() as folder:
        rig = ShimRig(folder)
        try:
            yield rig
        finally:
            rig.close()


def descriptors(pid: int) -> Sequence[str]:
    """What a process's open descriptors are."""
    folder = f"/proc/{pid}/fd"
    return [os.readlink(f"{folder}/{fd}") for fd in os.listdir(folder)]
