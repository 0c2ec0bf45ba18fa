"""Lifecycles of networked containers by several clients at once, with kills where they hurt.

What happens to a container is decided by its number; when, by chance. Whoever runs a storm looks
afterwards at what it has left.
"""

from __future__ import annotations

import http.client
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.support import procfs
from tests.support.daemon import Daemon
from tests.support.pace import limit

CLIENTS = 4
AWAY = 0  # the status of a request that the daemon did not live to answer
PATIENCE = limit(30.0)
LONGEST_START = 0.015
SLEEP = ("sleep", "1000")


class Storm:
    """`networks` are the names of those to start containers in; every second one publishes a port.

    `happened` counts what was done, `surprises` are answers that nothing here explains.
    """

    def __init__(self, daemon: Daemon, image: str, networks: Sequence[str], seed: int = 0) -> None:
        self.daemon = daemon
        self.image = image
        self.networks = networks
        self.happened: Counter[str] = Counter()
        self.surprises: list[str] = []
        self._chance = random.Random(seed)
        self._crashing = threading.Lock()
        self._kinds: tuple[Callable[[str], None], ...] = (
            self._calm,
            self._init_killed,
            self._shim_killed,
            self._removed_in_start,
            self._shim_killed_in_start,
        )

    def run(self, count: int, *, crashes: int = 0) -> None:
        """So many lifecycles, and so many SIGKILLs of the daemon spread over them.

        At the end the daemon runs and has no container.
        """
        numbers = iter(range(count))
        crash_at = {count * (one + 1) // (crashes + 1) for one in range(crashes)}

        def client() -> None:
            for number in numbers:
                if number in crash_at:
                    self.crash()
                self._lifecycle(number)

        with ThreadPoolExecutor(CLIENTS) as pool:
            for done in [pool.submit(client) for _ in range(CLIENTS)]:
                done.result()
        self.remove_all()

    def crash(self) -> None:
        """SIGKILL the daemon and start it again."""
        with self._crashing:
            self.happened["crash"] += 1
            self.daemon.kill()
            self.daemon.start()

    def remove_all(self) -> None:
        """Every container goes."""
        _, found = self._ask("GET", "/containers/json?all=1", expected={200})
        for one in found:
            self._ask("DELETE", f"/containers/{one['Id']}?force=1", expected={204, 404})

    # --- one container --------------------------------------------------------------------

    def _lifecycle(self, number: int) -> None:
        kind = self._kinds[number % len(self._kinds)]
        host: dict[str, Any] = {"NetworkMode": self.networks[number % len(self.networks)]}
        if number % 2:
            host["PortBindings"] = {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}
        command = ["true"] if kind == self._calm else [*SLEEP]
        body = {"Image": self.image, "Cmd": command, "HostConfig": host}
        status, answer = self._ask("POST", "/containers/create", body, expected={201})
        if status == AWAY:
            self.happened["interrupted"] += 1
            return
        self.happened[kind.__name__.strip("_")] += 1
        kind(answer["Id"])

    def _calm(self, container: str) -> None:
        self._start(container)
        self._ended(container)

    def _init_killed(self, container: str) -> None:
        self._start(container)
        kill(self._pid(container))
        self._ended(container)

    def _shim_killed(self, container: str) -> None:
        self._start(container)
        kill(shim_of(container))
        self._ended(container)

    def _removed_in_start(self, container: str) -> None:
        with self._starting(container):
            time.sleep(self._chance.random() * LONGEST_START)
            self._remove(container)
        self._remove(container)

    def _shim_killed_in_start(self, container: str) -> None:
        with self._starting(container):
            deadline = time.monotonic() + LONGEST_START * 4
            while not kill(shim_of(container)) and time.monotonic() < deadline:
                pass
        self._remove(container)

    # --- requests -------------------------------------------------------------------------

    @contextmanager
    def _starting(self, container: str) -> Iterator[None]:
        expected = {204, 400, 404, 409}  # 400: the shim was lost
        arguments = ("POST", f"/containers/{container}/start", None)
        thread = threading.Thread(target=self._ask, args=arguments, kwargs={"expected": expected})
        thread.start()
        try:
            yield
        finally:
            thread.join()

    def _start(self, container: str) -> None:
        self._ask("POST", f"/containers/{container}/start", expected={204})

    def _pid(self, container: str) -> int:
        status, answer = self._ask("GET", f"/containers/{container}/json", expected={200})
        return int(answer["State"]["Pid"]) if status == 200 else 0

    def _ended(self, container: str) -> None:
        """Wait for its end, if it was started, and remove it."""
        status, answer = self._ask("GET", f"/containers/{container}/json", expected={200})
        if status == 200 and answer["State"]["Status"] == "running":
            if answer["Config"]["Cmd"] == [*SLEEP]:
                kill(answer["State"]["Pid"])  # the daemon's crash came before the kill
            self._ask("POST", f"/containers/{container}/wait", expected={200})
        self._remove(container)

    def _remove(self, container: str) -> None:
        self._ask("DELETE", f"/containers/{container}?force=1", expected={204, 404, 409})

    def _ask(
        self, method: str, path: str, body: object = None, *, expected: set[int]
    ) -> tuple[int, Any]:
        """A request; AWAY from a daemon that was killed meanwhile, which then runs again."""
        before = self.daemon.pid
        try:
            status, answer = self.daemon.request(method, path, body, timeout=PATIENCE)
        except (OSError, http.client.HTTPException) as error:
            with self._crashing:  # until it is back
                if self.daemon.pid == before and not self.daemon.running:
                    self.surprises.append(f"{method} {path}: {error!r}: the daemon has ended")
            if isinstance(error, TimeoutError):
                self._note(f"{method} {path}: no answer in {PATIENCE} s", path)
            return AWAY, None
        if status not in expected:
            self._note(f"{method} {path}: {status} {answer}", path)
        return status, answer

    def _note(self, surprise: str, path: str) -> None:
        """Keep it, with what the daemon knows of the container."""
        container = path.split("/")[2].partition("?")[0]
        with suppress(OSError, http.client.HTTPException):
            _, answer = self.daemon.request("GET", f"/containers/{container}/json", timeout=5)
            surprise += f"\nits state: {answer.get('State', answer)}"
        lines = [line for line in self.daemon.log.splitlines() if container[:12] in line]
        self.surprises.append("\n".join([surprise, *lines]))


def shim_of(container: str) -> int:
    """The pid of a container's shim, 0 where there is none."""
    for process in procfs.processes():
        with suppress(OSError):
            command = Path(f"/proc/{process.pid}/cmdline").read_bytes()
            if command.startswith(b"orlop-shim ") and container.encode() in command:
                return process.pid
    return 0


def kill(pid: int) -> bool:
    """SIGKILL; False where there is no such process, as with 0."""
    with suppress(ProcessLookupError):
        if pid:
            os.kill(pid, signal.SIGKILL)
            return True
    return False


def namespaces_held(daemon: Daemon) -> int:
    """How many network namespaces the daemon and its processes live in or have open."""
    found: set[str] = set()
    for pid in (daemon.pid, *(process.pid for process in daemon.processes())):
        with suppress(OSError):
            found.add(os.readlink(f"/proc/{pid}/ns/net"))
            for entry in os.listdir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    target = os.readlink(f"/proc/{pid}/fd/{entry}")
                    found |= {target} if target.startswith("net:") else set()
    return len(found)
