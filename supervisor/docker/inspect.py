"""JSON of GET /containers/{id}/json and /exec/{id}/json."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from supervisor.docker.create import CreateBody, command
from supervisor.docker.health import health_json, healthcheck_json
from supervisor.docker.host_config import HostConfig
from supervisor.docker.network_json import endpoint_json, endpoints_json
from supervisor.docker.networks import EndpointView
from supervisor.docker.ports import ports_json
from supervisor.docker.times import rfc3339_nano
from supervisor.docker.views import ContainerView, ExecView
from supervisor.lifecycle.history import PastRun
from supervisor.spec.mount_points import DRIVER, VOLUME, MountPoint
from supervisor.spec.networks import BRIDGE, HOST
from supervisor.spec.options import DEFAULT_SHM_SIZE
from supervisor.spec.security import MASKED_PATHS, READONLY_PATHS, parse_security

RUNTIME = "orlop"

_HIDDEN_WHEN_UNSET = (
    "OrlopRootfs",
    "OrlopRootfsWritable",
    "OrlopOnUnhealthy",
    "KernelMemory",
    "KernelMemoryTCP",
    "Annotations",
    "StorageOpt",
    "Tmpfs",
    "Sysctls",
    "Mounts",
    "Init",
)
# As dockerd has them of a container of Docker's client; other lists are empty.
_NULL_WHEN_UNSET = (
    "Binds",
    "CapAdd",
    "CapDrop",
    "DeviceCgroupRules",
    "DeviceRequests",
    "ExtraHosts",
    "GroupAdd",
    "Links",
    "SecurityOpt",
    "VolumesFrom",
)


def container_answer(view: ContainerView, more: Mapping[str, Any]) -> msgspec.Raw:
    """`container_json` with `more`, encoded. All but that is encoded once for a view."""
    made = view.made.get("inspect")
    if made is None:
        made = view.made["inspect"] = msgspec.json.encode(container_json(view))
    return msgspec.Raw(made[:-1] + b"," + msgspec.json.encode(more)[1:] if more else made)


def container_json(view: ContainerView) -> dict[str, Any]:
    """The container with docker's field names and types."""
    body = view.body
    words = command(body)
    return {
        "Id": view.id,
        "Created": rfc3339_nano(view.created_ns),
        "Path": words[0] if words else "",
        "Args": words[1:],
        "State": state_json(view),
        "Image": view.image_id,
        "ResolvConfPath": _etc_path(view, "resolv.conf"),
        "HostnamePath": _etc_path(view, "hostname"),
        "HostsPath": _etc_path(view, "hosts"),
        "LogPath": view.log_path,
        "Name": f"/{view.name}",
        "RestartCount": view.restart_count,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": view.exec_ids or None,
        "HostConfig": host_config_json(body.host_config, view.network_mode),
        "GraphDriver": {"Name": "overlay2", "Data": _graph(view)},
        "Mounts": mounts_json(view.mounts),
        "Config": config_json(body, view.hostname),
        "NetworkSettings": _network_settings(view),
        **({"OrlopIDMappings": _id_mappings(*view.user_ids)} if view.user_ids else {}),
        "OrlopStart": dict(sorted(view.stages.items())),
        "OrlopHistory": [_past_run_json(past) for past in view.history],
    }


def state_json(view: ContainerView) -> dict[str, Any]:
    """The State object; Health only where something is checked."""
    return {
        "Status": view.status,
        "Running": view.running,
        "Paused": view.status == "paused",
        "Restarting": view.status == "restarting",
        "OOMKilled": view.oom_killed,
        "Dead": view.status == "dead",
        "Pid": view.pid,
        "ExitCode": view.exit_code,
        "Error": view.error,
        "StartedAt": rfc3339_nano(view.started_ns),
        "FinishedAt": rfc3339_nano(view.finished_ns),
        **({"Health": health_json(view.health)} if view.health else {}),
    }


def config_json(body: CreateBody, hostname: str) -> dict[str, Any]:
    """The Config object; what is optional in docker's answer only where it is set."""
    config: dict[str, Any] = {
        "Hostname": hostname or body.hostname,
        "Domainname": body.domainname,
        "User": body.user,
        "AttachStdin": body.attach_stdin,
        "AttachStdout": body.attach_stdout,
        "AttachStderr": body.attach_stderr,
        "Tty": body.tty,
        "OpenStdin": body.open_stdin,
        "StdinOnce": body.stdin_once,
        "Env": body.env,
        "Cmd": body.cmd,
        "Image": body.image,
        "Volumes": body.volumes or None,
        "WorkingDir": body.working_dir,
        "Entrypoint": body.entrypoint,
        "OnBuild": None,
        "Labels": body.labels,
    }
    if body.healthcheck is not None:
        config["Healthcheck"] = healthcheck_json(body.healthcheck)
    if body.exposed_ports:
        config["ExposedPorts"] = body.exposed_ports
    if body.stop_signal:
        config["StopSignal"] = body.stop_signal
    if body.stop_timeout is not None:
        config["StopTimeout"] = body.stop_timeout
    return config


def host_config_json(host: HostConfig, network: str) -> dict[str, Any]:
    """The HostConfig object with the defaults that the container got."""
    value: dict[str, Any] = msgspec.to_builtins(host)
    for name in _HIDDEN_WHEN_UNSET:
        if not value[name]:
            del value[name]
    for name in _NULL_WHEN_UNSET:
        value[name] = value[name] or None
    if not host.privileged and not parse_security(host.security_opt).unconfined_paths:
        if host.masked_paths is None:
            value["MaskedPaths"] = MASKED_PATHS
        if host.readonly_paths is None:
            value["ReadonlyPaths"] = READONLY_PATHS
    value["OomKillDisable"] = bool(host.oom_kill_disable)
    value["NetworkMode"] = network
    value["Runtime"] = RUNTIME
    value["IpcMode"] = host.ipc_mode or "private"
    value["CgroupnsMode"] = host.cgroupns_mode or "private"
    value["ShmSize"] = host.shm_size or DEFAULT_SHM_SIZE
    value["PidsLimit"] = host.pids_limit or None
    value["MemorySwappiness"] = None
    value["RestartPolicy"]["Name"] = host.restart_policy.name or "no"
    value["LogConfig"]["Type"] = host.log_config.type or "json-file"
    return value


def mounts_json(points: Iterable[MountPoint]) -> list[dict[str, Any]]:
    """The Mounts list, of inspect and of the container list."""
    return [_mount_json(point) for point in points]


def exec_json(view: ExecView) -> dict[str, Any]:
    """An exec session with docker's field names and types."""
    body = view.body
    process: dict[str, Any] = {
        "tty": body.tty,
        "entrypoint": body.cmd[0],
        "arguments": body.cmd[1:],
        "privileged": body.privileged,
    }
    if body.user:
        process["user"] = body.user
    return {
        "ID": view.id,
        "Running": view.running,
        "ExitCode": view.exit_code,
        "ProcessConfig": process,
        "OpenStdin": body.attach_stdin,
        "OpenStderr": body.attach_stderr,
        "OpenStdout": body.attach_stdout,
        "CanRemove": False,
        "ContainerID": view.container_id,
        "DetachKeys": body.detach_keys,
        "Pid": view.pid,
    }


def _mount_json(point: MountPoint) -> dict[str, Any]:
    is_volume = point.type == VOLUME
    return {
        "Type": point.type,
        **({"Name": point.name} if is_volume else {}),
        "Source": point.source,
        "Destination": point.destination,
        **({"Driver": DRIVER} if is_volume else {}),
        "Mode": point.mode,
        "RW": not point.read_only,
        "Propagation": point.propagation,
    }


def _id_mappings(first: int, size: int) -> dict[str, list[str]]:
    # In the form of podman's IDMappings. Not in HostConfig: who makes another container of that
    # must not ask for the same ids.
    line = f"0:{first}:{size}"
    return {"UidMap": [line], "GidMap": [line]}


def _past_run_json(past: PastRun) -> dict[str, Any]:
    return {
        "Run": past.run,
        "Reason": past.reason,
        "ExitCode": past.code,
        "Signal": past.signal,
        "OOMKilled": past.oom_killed,
        "OOMKills": past.oom_kills,
        "MemoryLimit": past.memory_limit,
        "MemoryPeak": past.memory_peak,
        "Killed": past.killed,
        "StartedAt": rfc3339_nano(past.started_ns),
        "FinishedAt": rfc3339_nano(past.finished_ns),
        "Error": past.error,
        "FollowedBy": past.follow,
        "RestartDelay": past.delay,
        "RestartPolicy": {"Name": past.policy.name, "MaximumRetryCount": past.policy.max},
        "RestartCount": past.restarts,
    }


def _etc_path(view: ContainerView, name: str) -> str:
    return f"{view.etc_folder}/{name}" if view.etc_folder else ""


def _graph(view: ContainerView) -> dict[str, str] | None:
    if not view.upper_dir:
        return None
    return {
        "ID": view.id,
        "LowerDir": ":".join(view.lower_dirs),
        "UpperDir": view.upper_dir,
        "WorkDir": view.work_dir,
    }


def _network_settings(view: ContainerView) -> dict[str, Any]:
    # Docker repeats at the top what the network named "bridge" says.
    default = next((e for e in view.endpoints if e.network_name == BRIDGE), _NOWHERE)
    top = endpoint_json(default)
    own = bool(view.sandbox_id) and view.running
    return {
        "Bridge": "",
        "SandboxID": view.sandbox_id,
        "SandboxKey": f"/proc/{view.pid}/ns/net" if own and view.pid else "",
        "Ports": ports_json(view.ports, view.body.exposed_ports)
        if own and view.network_mode != HOST
        else {},
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        **{name: top[name] for name in _TOP},
        "Networks": endpoints_json(view.endpoints, view.network_mode),
    }


_NOWHERE = EndpointView(network_name="", network_id="")
_TOP = (
    "EndpointID",
    "Gateway",
    "GlobalIPv6Address",
    "GlobalIPv6PrefixLen",
    "IPAddress",
    "IPPrefixLen",
    "IPv6Gateway",
    "MacAddress",
)
