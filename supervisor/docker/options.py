"""A create request, merged with its image, as `spec.options.ContainerOptions`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from supervisor.docker.create import CreateBody, command
from supervisor.docker.endpoints import endpoints_of, is_bridged, network_mode
from supervisor.docker.health import check_on_unhealthy
from supervisor.docker.host_config import HostConfig, LogConfig, Ulimit
from supervisor.docker.mounts import mount_points, tmpfs_mounts
from supervisor.docker.ports import port_requests
from supervisor.docker.resources import DeviceLookup, resources
from supervisor.docker.unsupported import refuse_unsupported
from supervisor.errors import InvalidArgument
from supervisor.lifecycle.restart import RestartPolicy, restart_policy
from supervisor.spec import etc_files
from supervisor.spec.mount_points import BIND, MountPoint, bind_mount
from supervisor.spec.networks import BRIDGE, HOST
from supervisor.spec.options import ContainerOptions
from supervisor.spec.security import is_seccomp_value, split_word
from supervisor.spec.signals import parse_signal
from supervisor.spec.types import Device, DeviceRule, Rlimit
from supervisor.spec.units import parse_size

DEFAULT_LOG_SIZE = 10 << 20
DEFAULT_LOG_FILES = 3
LOG_DRIVERS = ("json-file", "local")
ULIMITS = frozenset(
    {
        "as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile",
        "nproc", "rss", "rtprio", "rttime", "sigpending", "stack",
    }
)  # fmt: skip
MAX_HOSTNAME = 64  # __NEW_UTS_LEN


def container_options(
    body: CreateBody, look_up: DeviceLookup, points: Sequence[MountPoint] | None = None
) -> ContainerOptions:
    """What `body` (from `create.merge_image`) asks for; `look_up` reads the host's devices.

    `points` are its mount points where they are known already. Volumes among them are not in
    the `binds` of the result: where they are is not said here. Networks and containers stand
    in it by the names that the request has for them.
    InvalidArgument names the first field that cannot be: unsupported, malformed, or in
    conflict with another.
    """
    _check(body)
    host = body.host_config
    policy = policy_of(host)
    log_size, log_files = _log(host.log_config)
    no_new_privileges, security = _security(host.security_opt)
    devices, rules = _devices(host, look_up)
    rows, columns = host.console_size
    points = mount_points(body) if points is None else points
    return ContainerOptions(
        args=command(body),
        env=body.env,
        cwd=body.working_dir,
        user=body.user,
        groups=host.group_add,
        tty=body.tty,
        console_rows=rows,
        console_columns=columns,
        open_stdin=body.open_stdin,
        stdin_once=body.stdin_once,
        init=bool(host.init),
        hostname=body.hostname,
        domainname=body.domainname,
        labels=body.labels,
        stop_signal=body.stop_signal,
        stop_timeout=body.stop_timeout,
        auto_remove=host.auto_remove,
        restart_policy=policy.name,
        restart_max_retries=policy.max,
        log_max_size=log_size,
        log_max_files=log_files,
        binds=tuple(bind_mount(point) for point in points if point.type == BIND),
        tmpfs=tmpfs_mounts(host, points),
        read_only=host.readonly_rootfs,
        shm_size=host.shm_size,
        masked_paths=host.masked_paths,
        readonly_paths=host.readonly_paths,
        dns=host.dns,
        dns_search=host.dns_search,
        dns_options=host.dns_options,
        extra_hosts=host.extra_hosts,
        resources=resources(host, look_up),
        ulimits=_ulimits(host.ulimits),
        sysctls=host.sysctls,
        oom_score_adj=host.oom_score_adj,
        cap_add=host.cap_add,
        cap_drop=host.cap_drop,
        privileged=host.privileged,
        no_new_privileges=no_new_privileges,
        security_opts=security,
        devices=devices,
        device_rules=rules,
        userns=host.userns_mode,
        pid="" if host.pid_mode == "private" else host.pid_mode,
        ipc=host.ipc_mode,
        uts="host" if host.uts_mode == "host" else "",
        network=network_of(body),
        endpoints=endpoints_of(body),
        ports=port_requests(body),
        cgroupns=host.cgroupns_mode,
    )


def network_of(body: CreateBody) -> str:
    """The network mode of the options: "bridge" stands for any networks with a bridge."""
    mode = network_mode(body)
    return BRIDGE if is_bridged(mode) else mode


def _host_gateway(body: CreateBody) -> str:
    """Where host-gateway leads, if only to see that it leads somewhere; "" = nowhere."""
    return "127.0.0.1" if network_of(body) in (HOST, BRIDGE) else ""


def policy_of(host: HostConfig) -> RestartPolicy:
    """The restart policy; InvalidArgument in docker's words."""
    asked = host.restart_policy
    return restart_policy(asked.name, asked.maximum_retry_count)


def _check(body: CreateBody) -> None:
    refuse_unsupported(body)
    _check_texts(body)
    _check_numbers(body.host_config)
    check_on_unhealthy(body)
    if body.host_config.auto_remove and policy_of(body.host_config).name != "no":
        raise InvalidArgument("can't create 'AutoRemove' container with restart policy")


def _check_texts(body: CreateBody) -> None:
    host = body.host_config
    for entry in body.env:
        if not entry.partition("=")[0]:
            raise InvalidArgument(f"invalid environment variable: {entry!r:.200}")
    for text in (*command(body), *body.env, body.working_dir, body.user, *host.group_add):
        if "\0" in text:
            raise InvalidArgument(
                f"{text!r:.200} has a NUL character, which no program can be given"
            )
    if body.working_dir and not body.working_dir.startswith("/"):
        raise InvalidArgument(
            f"the working directory '{body.working_dir:.200}' is invalid, "
            "it needs to be an absolute path"
        )
    for what, name in (("hostname", body.hostname), ("domainname", body.domainname)):
        if len(name.encode()) > MAX_HOSTNAME or not all(33 <= ord(c) < 127 for c in name):
            raise InvalidArgument(
                f"invalid {what} {name!r:.200}: at most {MAX_HOSTNAME} printable ASCII characters"
            )
    if body.hostname and host.uts_mode == "host":
        raise InvalidArgument("conflicting options: hostname and the UTS mode")
    if body.stop_signal:
        parse_signal(body.stop_signal)
    etc_files.check_resolver(host.dns, host.dns_search, host.dns_options)
    for extra in host.extra_hosts:
        etc_files.parse_extra_host(extra, _host_gateway(body))


def _check_numbers(host: HostConfig) -> None:
    if not -1000 <= host.oom_score_adj <= 1000:
        raise InvalidArgument(
            f"invalid value {host.oom_score_adj}, range for oom score adj is [-1000, 1000]"
        )
    if host.shm_size < 0:
        raise InvalidArgument("SHM size can not be less than 0")
    if not all(0 <= size <= 0xFFFF for size in host.console_size):
        raise InvalidArgument(f"invalid ConsoleSize {list(host.console_size)}")


def _log(config: LogConfig) -> tuple[int, int]:
    if config.type and config.type not in LOG_DRIVERS:
        raise InvalidArgument(
            f"log driver {config.type!r:.80} is not supported: give one of {', '.join(LOG_DRIVERS)}"
        )
    size, files = DEFAULT_LOG_SIZE, DEFAULT_LOG_FILES
    for name, value in config.config.items():
        if name == "max-size":
            size = _log_size(value)
        elif name == "max-file" and value.isascii() and value.isdecimal() and 0 < len(value) < 4:
            files = int(value)
        else:
            raise InvalidArgument(
                f"log option {name!r:.80}={value!r:.80} is not supported: "
                "give max-size (example: 10m) or max-file (1-999)"
            )
    if size <= 0 or files <= 0:
        raise InvalidArgument("log options max-size and max-file must be at least 1")
    return size, files


def _log_size(text: str) -> int:
    try:
        return parse_size(text)
    except InvalidArgument as error:
        raise InvalidArgument(f"log option max-size: {error.message}") from None


def _security(opts: Iterable[str]) -> tuple[bool, tuple[str, ...]]:
    no_new_privileges = False
    rest = []
    for opt in opts:
        name, mark, value = split_word(opt)
        if name == "no-new-privileges":
            if mark and value not in ("true", "false"):
                raise InvalidArgument(f"invalid security option {opt!r:.200}: give true or false")
            no_new_privileges = value != "false"
        elif (name, value) in (("apparmor", "unconfined"), ("label", "disable")) or (
            name == "seccomp" and mark and is_seccomp_value(value)
        ):
            rest.append(f"{name}={value}")
        else:
            raise InvalidArgument(
                f"security option {opt!r:.200} is not supported: give no-new-privileges, "
                "seccomp=unconfined, seccomp=builtin, seccomp={…} (a profile as JSON), "
                "apparmor=unconfined or label=disable"
            )
    return no_new_privileges, tuple(rest)


def _ulimits(asked: Iterable[Ulimit]) -> tuple[Rlimit, ...]:
    limits = []
    for limit in asked:
        if limit.name not in ULIMITS:
            raise InvalidArgument(f"invalid ulimit type: {limit.name!r:.80}")
        if limit.hard != -1 and (limit.soft == -1 or limit.soft > limit.hard):
            raise InvalidArgument(
                f"ulimit {limit.name}: soft limit must be less than or equal to hard limit: "
                f"{limit.soft} > {limit.hard}"
            )
        if min(limit.soft, limit.hard) < -1:
            raise InvalidArgument(f"ulimit {limit.name}: give a number or -1 for unlimited")
        limits.append(Rlimit(type=f"RLIMIT_{limit.name.upper()}", soft=limit.soft, hard=limit.hard))
    return tuple(limits)


def _devices(
    host: HostConfig, look_up: DeviceLookup
) -> tuple[tuple[Device, ...], tuple[DeviceRule, ...]]:
    devices, rules = [], [parse_device_rule(text) for text in host.device_cgroup_rules]
    for asked in host.devices:
        access = asked.cgroup_permissions or "rwm"
        if not set(access) <= set("rwm") or len(set(access)) != len(access):
            raise InvalidArgument(f"invalid device mode: {access!r:.40}")
        target = asked.path_in_container or asked.path_on_host
        if not target.startswith("/"):
            raise InvalidArgument(f"{target!r:.200} is not an absolute path")
        for node in look_up(asked.path_on_host):
            below = node.path.removeprefix(asked.path_on_host.rstrip("/"))
            devices.append(_at(node, target.rstrip("/") + below))
            rules.append(
                DeviceRule(
                    allow=True, type=node.type, major=node.major, minor=node.minor, access=access
                )
            )
    return tuple(devices), tuple(rules)


def _at(node: Device, path: str) -> Device:
    return Device(
        path=path,
        type=node.type,
        major=node.major,
        minor=node.minor,
        mode=node.mode,
        uid=node.uid,
        gid=node.gid,
    )


def parse_device_rule(text: str) -> DeviceRule:
    """One `--device-cgroup-rule`: "c 1:3 rwm", "*" for any number."""
    words = text.split(" ")
    if len(words) == 3:
        kind, numbers, access = words
        major, colon, minor = numbers.partition(":")
        if (
            kind in ("a", "b", "c")
            and colon
            and all(_is_device_number(n) for n in (major, minor))
            and access
            and set(access) <= set("rwm")
        ):
            return DeviceRule(
                allow=True,
                type=kind,
                major=-1 if major == "*" else int(major),
                minor=-1 if minor == "*" else int(minor),
                access=access,
            )
    raise InvalidArgument(
        f"invalid device cgroup rule format: {text!r:.200} (example: 'c 1:3 rwm', * for any number)"
    )


def _is_device_number(text: str) -> bool:
    return text == "*" or (text.isascii() and text.isdecimal() and len(text) <= 7)
