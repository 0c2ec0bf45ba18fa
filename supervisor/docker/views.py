"""What the engine shows of its containers, exec sessions, events and host.

Frozen values, made by the engine, turned into Docker's JSON by the modules beside this
one (`inspect`, `listing`, `events`, `host`). Times are wall clock in ns, 0 = never.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from supervisor.docker.create import CreateBody
from supervisor.docker.exec import ExecBody
from supervisor.docker.networks import EndpointView
from supervisor.lifecycle.health import Health
from supervisor.lifecycle.history import PastRun
from supervisor.spec.mount_points import MountPoint
from supervisor.spec.networks import PublishedPort


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerView:
    """One container.

    name        without a leading slash
    image_id    "sha256:…", "" for one that runs from a folder
    status      docker's word: created, running, paused, restarting, exited, removing, dead
    pid         host pid of PID 1, 0 unless running
    error       why it could not start, "" = it could
    oom_killed  the kernel killed something of the latest run for want of memory
    body        the request, merged with the image's config and brought up to date by updates
    hostname    as the container has it
    log_path    "" where it has no log
    lower_dirs  the layers, top-most first; `upper_dir`, `work_dir` the writable layer
    exec_ids    of exec sessions that run
    user_ids    first id on the host and count of those that it has, None for all
    mounts      binds, volumes and tmpfs, but for those of --tmpfs
    network_mode none, host, container:ID, bridge, or the network that was asked for
    endpoints   its networks; none where it shares another container's
    ports       published while it runs
    sandbox_id  of the network namespace of this run, "" unless it runs in one of its own
    health      of its checks, None until one that has a check was started
    stages      of its latest start, by name, ns; those that are known
    history     its latest runs that are over, oldest first
    etc_folder  where /etc/hosts and its like are on the host, "" until they were made
    made        what was made of it and is the same as long as it is shown
    """

    id: str
    name: str
    created_ns: int
    image_id: str = ""
    status: str = "created"
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    started_ns: int = 0
    finished_ns: int = 0
    restart_count: int = 0
    body: CreateBody = field(default_factory=CreateBody)
    hostname: str = ""
    log_path: str = ""
    lower_dirs: tuple[str, ...] = ()
    upper_dir: str = ""
    work_dir: str = ""
    exec_ids: tuple[str, ...] = ()
    user_ids: tuple[int, int] | None = None
    mounts: tuple[MountPoint, ...] = ()
    network_mode: str = "none"
    endpoints: tuple[EndpointView, ...] = ()
    ports: tuple[PublishedPort, ...] = ()
    sandbox_id: str = ""
    etc_folder: str = ""
    health: Health | None = None
    history: tuple[PastRun, ...] = ()
    stages: Mapping[str, int] = field(default_factory=dict)
    made: dict[str, bytes] = field(default_factory=dict, init=False, compare=False, repr=False)

    @property
    def running(self) -> bool:
        """Docker's State.Running: paused and restarting containers count too."""
        return self.status in _RUNNING

    @property
    def image(self) -> str:
        """The image as the request named it."""
        return self.body.image

    @property
    def tty(self) -> bool:
        """Whether its output is a terminal's: raw streams, not frames."""
        return self.body.tty

    @property
    def labels(self) -> dict[str, str]:
        """Labels, the image's included."""
        return self.body.labels


_RUNNING = frozenset({"running", "paused", "restarting"})


class ExecView(msgspec.Struct, frozen=True, kw_only=True):
    """One exec session; `exit_code` None until it ended, `pid` on the host (0 = never ran)."""

    id: str
    container_id: str
    body: ExecBody
    running: bool = False
    exit_code: int | None = None
    pid: int = 0


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something happened to `id` of `type` (container, image, …); `action` is docker's."""

    type: str
    action: str
    id: str
    time_ns: int
    attributes: dict[str, str] = msgspec.field(default_factory=dict)


class HostInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The host and the agent on it.

    id               stable over restarts
    version          the agent's
    containers_…     numbers by docker's status
    kernel           release, as `uname -r`
    machine          as `uname -m`
    memory           bytes
    cgroup_version   "1" or "2": where limits are enforced
    limits           which limits the host can enforce, of LIMITS
    driver_status    rows about the storage driver
    security_options docker's "name=…" words
    insecure_…       registries that may do without TLS, and networks of them
    registry_mirrors of docker.io
    forwarding       whether the host routes IPv4 packets
    …_proxy          what registries are reached by, without credentials
    """

    id: str
    name: str
    version: str
    root: str
    containers: int = 0
    containers_running: int = 0
    containers_paused: int = 0
    containers_stopped: int = 0
    images: int = 0
    kernel: str = ""
    machine: str = ""
    operating_system: str = ""
    os_version: str = ""
    cpus: int = 0
    memory: int = 0
    cgroup_version: str = "2"
    limits: frozenset[str] = frozenset()
    driver: str = "overlay2"
    driver_status: tuple[tuple[str, str], ...] = ()
    security_options: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    fds: int = 0
    tasks: int = 0
    event_listeners: int = 0
    insecure_registries: tuple[str, ...] = ()
    registry_mirrors: tuple[str, ...] = ()
    forwarding: bool = False
    http_proxy: str = ""
    https_proxy: str = ""
    no_proxy: str = ""


LIMITS = frozenset(
    {"memory", "swap", "cpu_quota", "cpu_shares", "cpuset", "pids", "oom_kill_disable"}
)
