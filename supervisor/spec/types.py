"""The runtime spec: what a bundle's config.json says and a shim runs.

The subset of the OCI runtime specification (v1.2, `config.md`, `config-linux.md`) that
Orlop runs, with its names and units, and what OCI leaves to others (overlay layers, log,
stdin) under `orlop`. Values are frozen; `supervisor.spec.codec` is the JSON form.
"""

from __future__ import annotations

from dataclasses import dataclass, field

SPEC_VERSION = 1
JOINED = "given"
"""`Namespace.path` of one to join: its descriptor comes with the shim's `start` request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rlimit:
    """One resource limit; `type` as in OCI ("RLIMIT_NOFILE"), -1 is unlimited."""

    type: str
    soft: int
    hard: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """Capability names ("CAP_CHOWN") per set."""

    bounding: tuple[str, ...] = ()
    effective: tuple[str, ...] = ()
    permitted: tuple[str, ...] = ()
    inheritable: tuple[str, ...] = ()
    ambient: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemCallFilter:
    """A seccomp filter: `program` is struct sock_filter after struct sock_filter, in hex.

    `flags` are those of seccomp(2), SECCOMP_SET_MODE_FILTER.
    """

    program: str
    flags: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process to run in a container: PID 1 or an exec session.

    `user` is docker's USER string ("", "name", "1000:staff", …), resolved against the
    container's own passwd and group when the process starts; `additional_groups` are
    names or ids as given by --group-add. `umask` is a number. `seccomp` None = no filter.
    """

    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    cwd: str = "/"
    user: str = ""
    additional_groups: tuple[str, ...] = ()
    terminal: bool = False
    console_rows: int = 0
    console_columns: int = 0
    capabilities: Capabilities = Capabilities()
    rlimits: tuple[Rlimit, ...] = ()
    no_new_privileges: bool = False
    seccomp: SystemCallFilter | None = None
    oom_score_adj: int | None = None
    umask: int = 0o022


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One mount in the container, in order of mounting.

    `type`: bind, tmpfs, proc, sysfs, devpts, mqueue, cgroup; or "joined", what is mounted at
    this place in the mount namespace that is given at the start. `options` are mount(8)'s words
    ("ro", "nosuid", "rbind", "rprivate", "mode=755", "size=65536k"; see `supervisor.spec.mounts`).
    `subpath`: of a bind, what below `source` to mount; no link in it leads out of `source`.
    """

    destination: str
    type: str
    source: str = ""
    options: tuple[str, ...] = ()
    subpath: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device node to make in /dev: `type` c, b or p; `mode` permission bits."""

    path: str
    type: str
    major: int
    minor: int
    mode: int = 0o666
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRule:
    """One cgroup device rule; type a, c or b; -1 for any number; access of "rwm"."""

    allow: bool
    type: str = "a"
    major: int = -1
    minor: int = -1
    access: str = "rwm"


@dataclass(frozen=True, slots=True, kw_only=True)
class IdMapping:
    """`size` ids from `container_id` in the user namespace are `host_id`… outside."""

    container_id: int
    host_id: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace:
    """`type`: pid, mount, network, uts, ipc, cgroup, user. Absent = the host's.

    `path` is "", a new one is made, or JOINED.
    """

    type: str
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockLimit:
    """A throttle of one block device; `rate` in bytes/s or operations/s."""

    major: int
    minor: int
    rate: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockWeight:
    """The I/O weight (1–1000, blkio's scale) of one block device."""

    major: int
    minor: int
    weight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Limits, in Docker's units and meanings; None or () = not limited.

    memory bytes; memory_swap = memory + swap in bytes, -1 unlimited; memory_reservation
    bytes; nano_cpus 1e9 = one CPU; cpu_quota and cpu_period µs; cpu_shares 2–262144;
    cpuset lists as "0-1,3"; pids_limit -1 unlimited; blkio_weight 10–1000.
    """

    memory: int | None = None
    memory_swap: int | None = None
    memory_reservation: int | None = None
    oom_group: bool = False
    oom_kill_disable: bool = False
    nano_cpus: int | None = None
    cpu_quota: int | None = None
    cpu_period: int | None = None
    cpu_shares: int | None = None
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids_limit: int | None = None
    blkio_weight: int | None = None
    blkio_weight_device: tuple[BlockWeight, ...] = ()
    blkio_read_bps: tuple[BlockLimit, ...] = ()
    blkio_write_bps: tuple[BlockLimit, ...] = ()
    blkio_read_iops: tuple[BlockLimit, ...] = ()
    blkio_write_iops: tuple[BlockLimit, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """The root filesystem as an overlay: lower folders top-most first, one upper and work.

    Without `upper` the root is `lower[0]` itself, mounted writable (--rootfs-rw) or
    read-only as `Spec.root_readonly` says. `volatile` skips syncs (a --rm container).
    """

    lower: tuple[str, ...]
    upper: str = ""
    work: str = ""
    volatile: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """Where the shim writes output: `path` of the current file; rotation by size in bytes.

    Older files are `path`.1 (newest) … `path`.(max_files - 1). `path` "" = no log.
    """

    path: str = ""
    max_size: int = 10 << 20
    max_files: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class CgroupPaths:
    """The container's cgroup folders: `unified` on v2; `v1` controller → folder on hybrid."""

    unified: str = ""
    v1: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """All that a shim needs to run one container once; JSON in the bundle's config.json.

    `version` is SPEC_VERSION when written. `wire_network`: the network namespace is the
    container's own, and somebody else makes its devices before init goes on.
    """

    version: int
    id: str
    run: int = 1
    process: Process
    root: Overlay
    root_readonly: bool = False
    root_propagation: str = "private"
    hostname: str = ""
    domainname: str = ""
    mounts: tuple[Mount, ...] = ()
    devices: tuple[Device, ...] = ()
    namespaces: tuple[Namespace, ...] = ()
    wire_network: bool = False
    uid_mappings: tuple[IdMapping, ...] = ()
    gid_mappings: tuple[IdMapping, ...] = ()
    sysctl: dict[str, str] = field(default_factory=dict)
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()
    cgroup: CgroupPaths = CgroupPaths()
    init: bool = False
    stdin: bool = False
    stdin_once: bool = False
    log: Log = Log()

    def makes(self, kind: str) -> bool:
        """Whether it asks for a new namespace of this kind, not the host's or one to join."""
        return any(n.type == kind and not n.path for n in self.namespaces)

    @property
    def given(self) -> frozenset[str]:
        """Kinds of the namespaces that have to come with the `start` request.

        With "ipc" comes "mount", for the mounts of type "joined": it is not joined itself.
        """
        kinds = {namespace.type for namespace in self.namespaces if namespace.path == JOINED}
        return frozenset(kinds | {"mount"} if "ipc" in kinds else kinds)
