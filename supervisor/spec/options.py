"""What a create request asks for, after it was merged with the image's configuration.

The one value between Docker's JSON (or the command line's) and the runtime spec: every
default that comes from the image is filled in, every size is a number, every mount is a
`Mount`. `supervisor.spec.build` turns it into a `Spec`; nothing is checked before that.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from supervisor.spec.networks import EndpointOptions, PortRequest
from supervisor.spec.types import Device, DeviceRule, Mount, Resources, Rlimit

DEFAULT_SHM_SIZE = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerOptions:
    """A container as asked for.

    Process: `args` is entrypoint + command; `env` items are "NAME=value" ("NAME" alone
    removes a default); `user` is docker's USER string and `groups` its --group-add;
    `console_rows` and `console_columns` 0 = unknown. `stop_signal` is a name or number,
    "" = SIGTERM; `stop_timeout` seconds, None = the daemon's default.

    Filesystem: `binds` are mounts of binds and volumes with their words ("rbind", "ro");
    `tmpfs` maps a destination to its comma-separated words; `shm_size` bytes, 0 = 64 MiB.
    `masked_paths` and `readonly_paths`: None = the defaults, () = none. `dns`, `dns_search`
    and `dns_options` take the place of the host's in /etc/resolv.conf; `extra_hosts` are
    lines for /etc/hosts, "NAME:IP" (see `supervisor.spec.etc_files`).

    Namespaces: "" is the default of each; `pid`, `ipc`, `uts`, `network` may be "host", all
    but `uts` "container:ID" (that container's); `ipc` also "none", "private", "shareable";
    `network` "none" = a namespace of its own, "bridge" = one that is in the networks of
    `endpoints`, with `ports` published; `cgroupns` "private" or "host"; `userns` "host" or
    "private:UID:SIZE" ("auto" until the container is made); `userns_chosen`: that range was given
    to it for "auto", and is its own, or that of the containers whose namespaces it shares.

    Devices: `devices` are nodes to make, `device_rules` what the cgroup allows beyond the
    defaults (a rule for each of `devices` included). `ulimits` are OCI's ("RLIMIT_NOFILE").
    `restart_policy` is no, always, on-failure or unless-stopped; `restart_max_retries` 0 =
    without end. `log_max_size` bytes per file.
    """

    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    cwd: str = ""
    user: str = ""
    groups: tuple[str, ...] = ()
    tty: bool = False
    console_rows: int = 0
    console_columns: int = 0
    open_stdin: bool = False
    stdin_once: bool = False
    init: bool = False

    hostname: str = ""
    domainname: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    stop_signal: str = ""
    stop_timeout: int | None = None
    auto_remove: bool = False
    restart_policy: str = "no"
    restart_max_retries: int = 0
    log_max_size: int = 10 << 20
    log_max_files: int = 3

    binds: tuple[Mount, ...] = ()
    tmpfs: dict[str, str] = field(default_factory=dict)
    read_only: bool = False
    shm_size: int = 0
    masked_paths: tuple[str, ...] | None = None
    readonly_paths: tuple[str, ...] | None = None
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()

    resources: Resources = field(default_factory=Resources)
    ulimits: tuple[Rlimit, ...] = ()
    sysctls: dict[str, str] = field(default_factory=dict)
    oom_score_adj: int = 0

    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    privileged: bool = False
    no_new_privileges: bool = False
    security_opts: tuple[str, ...] = ()
    devices: tuple[Device, ...] = ()
    device_rules: tuple[DeviceRule, ...] = ()

    userns: str = ""
    userns_chosen: bool = False
    pid: str = ""
    ipc: str = ""
    uts: str = ""
    network: str = ""
    endpoints: tuple[EndpointOptions, ...] = ()
    ports: tuple[PortRequest, ...] = ()
    cgroupns: str = ""
