"""A daemon to measure, with the image that every part runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests.bench.client import Client
from tests.support import places
from tests.support.daemon import Daemon

T = TypeVar("T")

IMAGE = "bench:latest"
CLIENTS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much of everything is measured."""

    pairs: int = 150
    fleet: int = 200
    growth: int = 500
    execs: int = 100
    kills: int = 100
    ooms: int = 200
    lifecycles: int = 500
    idle_seconds: float = 5.0
    networked: int = 500
    storm: int = 2000
    mixed_clients: int = 64
    mixed_seconds: float = 600.0
    docker_pairs: int = 50
    docker_fleet: int = 40


QUICK = Sizes(
    pairs=25,
    fleet=40,
    growth=80,
    execs=20,
    kills=20,
    ooms=20,
    lifecycles=60,
    idle_seconds=2.0,
    networked=60,
    storm=120,
    mixed_seconds=10.0,
    docker_pairs=8,
    docker_fleet=12,
)


class Rig:
    """A started daemon and how to ask it for the bench's containers.

    `profile` is where cProfile's data goes, None for nowhere.
    """

    def __init__(self, daemon: Daemon, profile: Path | None = None) -> None:
        self.daemon = daemon
        self.profile = profile

    def client(self) -> Client:
        """A new connection."""
        return Client(self.daemon.socket)

    def layer(self) -> Path:
        """The image's only layer, unpacked."""
        (folder,) = (self.daemon.data_root / "layers").iterdir()
        return folder

    def lifecycle(self, client: Client, **host_config: Any) -> None:
        """Create, start, wait, delete of `true`; AssertionError unless it ended with 0."""
        container = self.run_true(client, **host_config)
        client.call("DELETE", f"/containers/{container}")

    def run_true(self, client: Client, **host_config: Any) -> str:
        """Create, start, wait of `true`; its id."""
        container = create(client, ["true"], **host_config)
        client.call("POST", f"/containers/{container}/start")
        answer = client.call("POST", f"/containers/{container}/wait")
        assert answer["StatusCode"] == 0, answer
        return container

    def running(self, client: Client, **host_config: Any) -> str:
        """The id of a new container that sleeps."""
        container = create(client, ["sleep", "3600"], **host_config)
        client.call("POST", f"/containers/{container}/start")
        return container

    def by_clients(self, one: Callable[[Client, int], T], count: int) -> list[T]:
        """`one(client, number)` for 0…count-1 by CLIENTS connections at once."""
        numbers = iter(range(count))

        def serve() -> list[T]:
            with self.client() as client:
                return [one(client, number) for number in numbers]

        with ThreadPoolExecutor(CLIENTS) as pool:
            served = [pool.submit(serve) for _ in range(CLIENTS)]
            return [result for future in served for result in future.result()]

    def remove_all(self, containers: Sequence[str]) -> None:
        """`rm -f` of all, by CLIENTS connections."""
        self.by_clients(
            lambda client, i: client.call("DELETE", f"/containers/{containers[i]}?force=1"),
            len(containers),
        )

    def shims(self) -> list[int]:
        """The pids of the shims that have a container; the zygote keeps a few ready."""
        found = []
        for p in self.daemon.processes():
            with suppress(OSError):  # a container's process, which has ended meanwhile
                if Path(f"/proc/{p.pid}/cmdline").read_bytes().startswith(b"orlop-shim "):
                    found.append(p.pid)
        return found

    def zygote(self) -> int:
        """The zygote's pid."""
        return next(p.pid for p in self.daemon.processes() if p.name == "orlop-zygote")


def create(client: Client, command: Sequence[str], **host_config: Any) -> str:
    """Create a container, without network unless `host_config` says so; its id."""
    body = {
        "Image": IMAGE,
        "Cmd": list(command),
        "HostConfig": {"NetworkMode": "none", **host_config},
    }
    container: str = client.call("POST", "/containers/create", body)["Id"]
    return container


@contextmanager
def rig(
    profile: Path | None = None,
    arguments: Sequence[str] = (),
    inside: Callable[[list[str]], list[str]] | None = None,
) -> Iterator[Rig]:
    """A fresh daemon, warmed up by a few lifecycles; `profile` is where cProfile's data goes.

    `inside` makes its command one that runs in a network namespace of the bench's own: only
    there it has a default network.
    """
    program: tuple[str, ...] = ("-m", "supervisor.daemon")
    if profile is not None:
        program = ("-m", "cProfile", "-o", str(profile), *program)
    with places.short_folder() as folder:
        daemon = Daemon(folder, arguments, program, networked=inside is not None)
        if inside is not None:
            daemon.command = inside(daemon.command)
        try:
            daemon.start()
            found = Rig(daemon, profile)
            with found.client() as client:
                client.call("POST", f"/orlop/images/scratch?name={IMAGE}", {"binaries": []})
                for _ in range(5):
                    found.lifecycle(client)
            yield found
        finally:
            daemon.close()


def descriptors(pid: int) -> int:
    """The number of the process's open descriptors."""
    return len(os.listdir(f"/proc/{pid}/fd"))
