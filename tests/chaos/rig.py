"""A daemon to be killed over and over, and what must be true of it afterwards.

It is started by the nest, so that a restart takes a tenth of a second. `remains` is what it has
on this machine at rest; a test compares it with what there was before.
"""

from __future__ import annotations

import http.client
import os
import sqlite3
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from supervisor.engine.zygote import MOST_IDLE
from supervisor.failpoints import VARIABLE
from tests.api.box import IMAGE, Box, eventually
from tests.support import leaks, nest, places, procfs
from tests.support.daemon import Daemon, UnixConnection, Warden
from tests.support.network_storm import shim_of
from tests.support.pace import limit

FULL = "ORLOP_CHAOS_FULL" in os.environ


def sized(what: str, full: int, small: int) -> int:
    """How much of it: at full length, or as ORLOP_CHAOS_`what` says, or small."""
    return int(os.environ.get(f"ORLOP_CHAOS_{what}", full)) if FULL else small


PATIENCE = limit(60.0)
WELL = frozenset({200, 201, 204, 304})
FOLDERS = (
    *("blobs/*/*", "layers/*", "images/*", "volumes/*", "networks/*"),
    *("containers/*", "tmp/*", "trash/*"),
)
# Ends with 7 when it is told to end, and says when it is ready for that.
OBEDIENT = ("sh", "-c", "trap 'exit 7' TERM; echo up; while :; do sleep 0.05 & wait $!; done")


class Gone(Exception):
    """The daemon ended before it answered."""


class Refused(Exception):
    """It answered that it could not."""


class Rig:
    """Requests to a daemon that may die of them; `Gone` and `Refused` say how they ended."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.box = Box(daemon)
        self.lock = threading.Lock()  # held while the daemon is killed and started again

    # --- the daemon's life

    def start(self, points: str = "") -> bool:
        """Start it with these failpoints; False if it died of them before it served."""
        self.daemon.settings = {VARIABLE: points} if points else {}
        try:
            self.daemon.start()
        except AssertionError:
            if points and not self.daemon.running:
                return False
            raise
        return True

    def restart(self, points: str = "") -> bool:
        """Kill it if it runs, start it again."""
        with self.lock:
            if self.daemon.running:
                self.daemon.kill()
            return self.start(points)

    # --- requests

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        data: bytes | None = None,
        expected: Collection[int] = WELL,
    ) -> Any:
        """One request; its answer. Gone, Refused; AssertionError if nothing explains its end."""
        before = self.daemon.pid
        try:
            if data is None:
                status, answer = self.daemon.request(method, path, body, timeout=PATIENCE)
            else:
                status, answer = self._upload(method, path, data)
        except (OSError, http.client.HTTPException) as error:
            with self.lock:
                if self.daemon.pid != before:
                    raise Gone from None
                with suppress(TimeoutError):
                    self.daemon.warden.wait(before, limit(5))
                    raise Gone from None
            raise AssertionError(f"{method} {path}: {error!r}, and the daemon lives") from error
        failed = isinstance(answer, bytes) and b'"errorDetail"' in answer
        if status not in expected or failed:
            raise Refused(f"{method} {path}: {status} {answer!r:.600}")
        return answer

    def _upload(self, method: str, path: str, data: bytes) -> tuple[int, bytes]:
        with closing(UnixConnection(self.daemon.socket, PATIENCE)) as connection:
            headers = {"Content-Type": "application/x-tar", "Connection": "close"}
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            return response.status, response.read()

    def state(self, ref: str) -> dict[str, Any] | None:
        """The State of a container, None where there is none of this name."""
        answer = self.ask("GET", f"/containers/{ref}/json", expected={200, 404})
        return dict(answer["State"]) if "State" in answer else None

    def status(self, ref: str) -> str:
        """Its Status, "absent" where there is none."""
        state = self.state(ref)
        return str(state["Status"]) if state else "absent"

    # --- what it has on this machine

    def remains(self) -> set[str]:
        """Objects, files, cgroups, mounts and processes that it has now, each printable."""
        daemon = self.daemon
        found = {
            f"file {path.relative_to(daemon.data_root)}"
            for pattern in FOLDERS
            for path in daemon.data_root.glob(pattern)
        }
        found |= {f"row {kind} {key}" for kind, key in self.rows()}
        found |= {
            f"cgroup {folder}"
            for folder in leaks.cgroups(daemon.cgroup_parent)
            if Path(folder).name != daemon.cgroup_parent
        }
        found |= {
            str(mount)
            for mount in procfs.mounts()
            if Path(mount.target).is_relative_to(daemon.folder)
        }
        return found | set(self._processes())

    def _processes(self) -> Iterator[str]:
        zygotes = idle = 0
        for process in self.daemon.processes():
            with suppress(OSError):
                command = Path(f"/proc/{process.pid}/cmdline").read_bytes()
                if command.startswith(b"orlop-zygote"):
                    zygotes += 1
                    if zygotes > 4:  # itself, its spares, one that has just been taken
                        yield f"zygote {zygotes}"
                elif command.rstrip(b"\0") == b"orlop-shim":
                    idle += 1
                    if idle > MOST_IDLE:
                        yield f"idle shim {idle}"
                elif process.pid != self.daemon.pid:
                    yield f"process {command.decode().replace(chr(0), ' ')}"

    def rows(self) -> list[tuple[str, str]]:
        """(kind, key) of all records."""
        path = self.daemon.data_root / "orlop.db"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            return list(database.execute("SELECT kind, key FROM records"))

    def settled(self, before: set[str], seconds: float = 10.0) -> None:
        """Nothing is there but what was `before`; AssertionError says what."""
        found: set[str] = set()

        def same() -> bool:
            found.clear()
            found.update(self.remains())
            return found == before

        try:
            eventually(same, seconds)
        except AssertionError:
            left = [f"left: {one}" for one in sorted(found - before)]
            lost = [f"lost: {one}" for one in sorted(before - found)]
            raise AssertionError("\n".join([*left, *lost, self.daemon.log[-3000:]])) from None

    # --- words for containers

    def create(self, name: str, *command: str, **more: Any) -> None:
        """Make a container of the usual image."""
        body = {"Image": IMAGE, "Cmd": list(command), **more}
        self.ask("POST", f"/containers/create?name={name}", body)

    def up(self, name: str, *command: str, **more: Any) -> int:
        """Make and start one; its pid once it has written something."""
        self.create(name, *(command or OBEDIENT), **more)
        self.ask("POST", f"/containers/{name}/start")
        self.ready(name)
        state = self.state(name)
        assert state is not None
        return int(state["Pid"])

    def ready(self, name: str) -> None:
        """Until it has written something, or has ended."""
        path = f"/containers/{name}/logs?stdout=1"
        eventually(lambda: self.ask("GET", path) or self.status(name) == "exited", 30)

    def remove_all(self) -> None:
        """Every container goes, and every volume."""
        for one in self.ask("GET", "/containers/json?all=1"):
            path = f"/containers/{one['Id']}?force=1&v=1"
            self.ask("DELETE", path, expected={204, 404, 409})
        eventually(lambda: not self.ask("GET", "/containers/json?all=1"), 30)
        for one in self.ask("GET", "/volumes")["Volumes"] or ():
            self.ask("DELETE", f"/volumes/{one['Name']}")


def alive(pid: int) -> bool:
    """There is such a process, and it is no zombie."""
    found = procfs.process(pid) if pid else None
    return found is not None and not found.zombie


def seconds_since(began: float) -> float:
    """So long ago, by the clock that `time.monotonic` gives."""
    return time.monotonic() - began


def cpu_seconds(pid: int) -> float:
    """What a process has used of the processor."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_gone(pid: int) -> bool:
    """There is no such process any more."""
    return not alive(pid)


def has_ended(rig: Rig, name: str) -> bool:
    """It is shown as exited."""
    return rig.status(name) == "exited"


def shim(rig: Rig, name: str) -> int:
    """The pid of a container's shim."""
    return shim_of(str(rig.box.inspect(name)["Id"]))


@contextmanager
def nested_rig() -> Iterator[Rig]:
    """A started daemon with the usual image; closed and checked at the end."""
    with places.short_folder() as folder:
        daemon = Daemon(folder, warden=Warden(nest.COMMAND))
        rig = Rig(daemon)
        try:
            daemon.start()
            rig.box.build()
            rig.box.ok("run", "--rm", IMAGE, "true")  # what is made once and kept
            yield rig
        finally:
            if not daemon.running:
                rig.start()
            daemon.close()
