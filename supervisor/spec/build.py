"""From what a container was asked to be to the runtime spec that a shim runs.

Docker's defaults (moby, daemon/pkg/oci/defaults.go and daemon/oci_linux.go), decided here
once: init only carries out what the spec says.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from supervisor.errors import InvalidArgument
from supervisor.spec import capabilities, sysctls, users
from supervisor.spec.mount_plan import plan_mounts, root_propagation
from supervisor.spec.namespaces import HOST, OWN, read_modes
from supervisor.spec.networks import CONTAINER_PREFIX
from supervisor.spec.options import ContainerOptions
from supervisor.spec.seccomp.abis import Machine
from supervisor.spec.security import choose_filter, covered_paths, parse_security
from supervisor.spec.types import (
    SPEC_VERSION,
    Capabilities,
    CgroupPaths,
    Device,
    DeviceRule,
    Log,
    Mount,
    Overlay,
    Process,
    Rlimit,
    Spec,
    SystemCallFilter,
)

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_HOST_NAME_MAX = 64
_RLIMITS = frozenset(
    f"RLIMIT_{name}"
    for name in (
        "AS",
        "CORE",
        "CPU",
        "DATA",
        "FSIZE",
        "MEMLOCK",
        "MSGQUEUE",
        "NICE",
        "NOFILE",
        "NPROC",
        "RSS",
        "RTPRIO",
        "RTTIME",
        "SIGPENDING",
        "STACK",
    )
)


# A crash is cheap to provoke: its file would fill the disk, or a bound folder of the host.
NO_CORE_FILES = Rlimit(type="RLIMIT_CORE", soft=0, hard=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """What of the host a spec depends on.

    `cgroup` is the layout's kind: unified, hybrid, v1 or none; `last_capability` the
    kernel's newest, `capabilities` the mask the daemon can pass on (-1 = all); `hostname`
    the host's, for containers that share its network; `sysctls` which of docker's default
    sysctls exist; `masked_paths` what this host has to hide beyond the defaults (each CPU's
    /sys/devices/system/cpu/cpuN/thermal_throttle); `devices` its device nodes, for
    privileged containers; `ulimits` the daemon's defaults; `filters` the machine that filters
    of system calls are for, None where there can be none.
    """

    cgroup: str = "unified"
    v1_controllers: frozenset[str] = frozenset()
    last_capability: int = capabilities.LAST
    capabilities: int = -1
    hostname: str = ""
    sysctls: frozenset[str] = frozenset(
        (sysctls.UNPRIVILEGED_PORTS[0], sysctls.UNPRIVILEGED_PING[0])
    )
    masked_paths: tuple[str, ...] = ()
    devices: tuple[Device, ...] = ()
    ulimits: tuple[Rlimit, ...] = (NO_CORE_FILES,)
    no_new_privileges: bool = False
    filters: Machine | None = None


def build_spec(
    options: ContainerOptions,
    *,
    id: str,
    run: int,
    root: Overlay,
    cgroup: CgroupPaths,
    log: Log,
    host: HostFacts,
    provided: Sequence[Mount] = (),
    shared_name: str = "",
) -> Spec:
    """The spec of run number `run` of container `id`; InvalidArgument for what cannot be.

    `provided` are mounts of files that every container gets, as /etc/hosts; `shared_name` the
    host name of the container whose network it shares.
    """
    modes = read_modes(options)
    security = parse_security(options.security_opts)
    mounts = plan_mounts(options, modes, has_cgroup=host.cgroup != "none", provided=provided)
    masked, readonly = covered_paths(
        options, unconfined=security.unconfined_paths, extra=host.masked_paths
    )
    hostname = effective_hostname(options, id, host, shared_name)
    no_new_privileges = security.no_new_privileges
    if no_new_privileges is None:
        no_new_privileges = options.no_new_privileges or host.no_new_privileges
    return Spec(
        version=SPEC_VERSION,
        id=id,
        run=run,
        process=_process(options, hostname, no_new_privileges, host),
        root=root,
        root_readonly=options.read_only,
        root_propagation=root_propagation(mounts),
        hostname="" if modes.uts == HOST else hostname,
        domainname="" if modes.uts == HOST else options.domainname,
        mounts=mounts,
        devices=_devices(options, host),
        namespaces=modes.namespaces(),
        wire_network=modes.wire_network,
        uid_mappings=modes.uid_mappings,
        gid_mappings=modes.uid_mappings,
        sysctl=sysctls.choose(options.sysctls, modes, host.sysctls),
        masked_paths=masked,
        readonly_paths=readonly,
        cgroup=cgroup,
        # In a joined or the host's pid namespace somebody else reaps.
        init=options.init and modes.pid == OWN,
        stdin=options.open_stdin,
        stdin_once=options.stdin_once,
        log=log,
    )


def effective_hostname(
    options: ContainerOptions, id: str, host: HostFacts, shared_name: str = ""
) -> str:
    """The name asked for, else that of whose network or uts it shares, else 12 of `id`.

    `shared_name` is the name of the container of mode container:ID, where it is known.
    """
    name = options.hostname
    if name:
        if options.uts == HOST:
            raise InvalidArgument("conflicting options: hostname and the UTS mode")
        # sethostname(2) refuses more than __NEW_UTS_LEN bytes.
        if len(name.encode()) > _HOST_NAME_MAX or "\0" in name:
            raise InvalidArgument(
                f"invalid hostname {name[:80]!r}: at most {_HOST_NAME_MAX} bytes, no NUL"
            )
        return name
    if HOST in (options.network, options.uts) and host.hostname:
        return host.hostname
    if shared_name and options.network.startswith(CONTAINER_PREFIX):
        return shared_name
    return id[:12]


def device_rules(options: ContainerOptions) -> tuple[DeviceRule, ...]:
    """What the container's device cgroup allows, in order; everything when privileged."""
    from supervisor.spec.devices import DEFAULT_RULES  # noqa: PLC0415

    if options.privileged:
        return (DeviceRule(allow=True),)
    return (*DEFAULT_RULES, *options.device_rules)


def process_capabilities(options: ContainerOptions, host: HostFacts) -> Capabilities:
    """Bounding, effective and permitted set as docker has it; inheritable and ambient empty."""
    return _capabilities(
        options.cap_add,
        options.cap_drop,
        options.privileged,
        host.last_capability,
        host.capabilities,
    )


@lru_cache(maxsize=64)  # most containers ask for the same
def _capabilities(
    add: tuple[str, ...], drop: tuple[str, ...], privileged: bool, last: int, available: int
) -> Capabilities:
    names = capabilities.select(add, drop, privileged, last, available)
    return Capabilities(bounding=names, effective=names, permitted=names)


def process_filter(options: ContainerOptions, host: HostFacts) -> SystemCallFilter | None:
    """The filter of system calls for all processes of the container, exec sessions included."""
    return _filter(options, process_capabilities(options, host), host)


def _filter(
    options: ContainerOptions, caps: Capabilities, host: HostFacts
) -> SystemCallFilter | None:
    return choose_filter(options, caps.bounding, host.filters)


def environment(items: Sequence[str], *, hostname: str, terminal: bool) -> tuple[str, ...]:
    """Docker's PATH, HOSTNAME and (on a terminal) TERM under the container's own variables.

    The last of several values of a name counts; "NAME" without "=" removes the default.
    InvalidArgument for an empty name or a NUL.
    """
    values = {"PATH": DEFAULT_PATH, "HOSTNAME": hostname}
    if terminal:
        values["TERM"] = "xterm"
    for item in items:
        name, equals, value = item.partition("=")
        if not name or "\0" in item:
            raise InvalidArgument(f"invalid environment variable: {item!r:.80}")
        if equals:
            values[name] = value
        else:
            values.pop(name, None)
    return tuple(f"{name}={value}" for name, value in values.items())


def _process(
    options: ContainerOptions, hostname: str, no_new_privileges: bool, host: HostFacts
) -> Process:
    if not options.args or not options.args[0]:
        raise InvalidArgument("no command specified")
    if any("\0" in arg for arg in options.args):
        raise InvalidArgument("invalid command: an argument has a NUL character")
    users.parse_user(options.user)  # its numbers are wrong now, not at start
    for group in options.groups:
        users.parse_id(group, "group")
    if not -1000 <= options.oom_score_adj <= 1000:
        raise InvalidArgument(
            f"Invalid value {options.oom_score_adj}, range for oom score adj is [-1000, 1000]"
        )
    caps = process_capabilities(options, host)
    return Process(
        args=options.args,
        env=environment(options.env, hostname=hostname, terminal=options.tty),
        cwd=working_directory(options.cwd),
        user=options.user,
        additional_groups=options.groups,
        terminal=options.tty,
        console_rows=options.console_rows,
        console_columns=options.console_columns,
        capabilities=caps,
        rlimits=process_limits(options, host),
        no_new_privileges=no_new_privileges,
        seccomp=_filter(options, caps, host),
        oom_score_adj=options.oom_score_adj,
    )


def working_directory(cwd: str) -> str:
    """The folder as docker cleans it, "/" by default; InvalidArgument unless absolute."""
    if not cwd:
        return "/"
    if not cwd.startswith("/") or "\0" in cwd:
        raise InvalidArgument(
            f"the working directory '{cwd!a:.200}' is invalid, it needs to be an absolute path"
        )
    return "/" + posixpath.normpath(cwd).lstrip("/")


def process_limits(options: ContainerOptions, host: HostFacts) -> tuple[Rlimit, ...]:
    """The daemon's resource limits with the container's own; InvalidArgument for a wrong one."""
    limits = {limit.type: limit for limit in (*host.ulimits, *options.ulimits)}
    for limit in options.ulimits:
        if limit.type not in _RLIMITS:
            known = ", ".join(sorted(name.removeprefix("RLIMIT_").lower() for name in _RLIMITS))
            name = limit.type.removeprefix("RLIMIT_").lower()
            raise InvalidArgument(f"invalid ulimit type: {name:.80} (known: {known})")
        if min(limit.soft, limit.hard) < -1:
            raise InvalidArgument(f"ulimit {limit.type} is negative (only -1 is: no limit)")
        if limit.hard != -1 and (limit.soft == -1 or limit.soft > limit.hard):
            raise InvalidArgument(
                f"ulimit soft limit must be less than or equal to hard limit: "
                f"{limit.soft} > {limit.hard}"
            )
    return tuple(limits.values())


def _devices(options: ContainerOptions, host: HostFacts) -> tuple[Device, ...]:
    from supervisor.spec.devices import DEFAULT_NODES  # noqa: PLC0415

    for device in options.devices:
        path = device.path
        clean = "/" + posixpath.normpath(path).lstrip("/")
        if path != clean or path == "/" or "\0" in path:
            raise InvalidArgument(
                f"invalid device path {path!r:.200}: give an absolute path such as /dev/fuse"
            )
    nodes = {device.path: device for device in DEFAULT_NODES}
    if options.privileged:
        nodes |= {device.path: device for device in host.devices if device.path not in nodes}
    nodes |= {device.path: device for device in options.devices}
    return tuple(nodes.values())
