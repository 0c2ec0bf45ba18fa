"""Options of the Docker API that Orlop does not have: refused by name, never dropped.

A value that clients send for options nobody asked for (0, null, "", "default", [], -1)
is no request and passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from supervisor.docker.create import CreateBody
from supervisor.docker.decode import looks_set
from supervisor.docker.host_config import HostConfig, ResourceFields
from supervisor.errors import InvalidArgument

NETWORKS = frozenset({"", "default", "bridge", "none", "host"})

_NO_NETWORKS = "networks are not supported: a container has its loopback only, or --network host"
_RESOURCES = {
    "cgroup_parent": ("CgroupParent (--cgroup-parent)", "orlop keeps its containers together"),
    "cpu_realtime_period": ("CpuRealtimePeriod (--cpu-rt-period)", "use --cpus or --cpu-shares"),
    "cpu_realtime_runtime": ("CpuRealtimeRuntime (--cpu-rt-runtime)", "use --cpus or --cpu-shares"),
    "device_requests": ("DeviceRequests (--gpus)", "name the device nodes with --device"),
    "kernel_memory": ("KernelMemory (--kernel-memory)", "use --memory, which counts it in"),
    "kernel_memory_tcp": ("KernelMemoryTCP", "use --memory, which counts it in"),
    "memory_swappiness": ("MemorySwappiness (--memory-swappiness)", "use --memory-swap"),
    "cpu_count": ("CpuCount (--cpu-count)", "it is for Windows; use --cpus"),
    "cpu_percent": ("CpuPercent (--cpu-percent)", "it is for Windows; use --cpus"),
    "io_maximum_iops": (
        "IOMaximumIOps (--io-maxiops)",
        "it is for Windows; use --device-read-iops",
    ),
    "io_maximum_bandwidth": (
        "IOMaximumBandwidth (--io-maxbandwidth)",
        "it is for Windows; use --device-read-bps",
    ),
}
_HOST = {
    "port_bindings": ("PortBindings (--publish)", _NO_NETWORKS),
    "publish_all_ports": ("PublishAllPorts (--publish-all)", _NO_NETWORKS),
    "links": ("Links (--link)", _NO_NETWORKS),
    "cgroup": ("Cgroup", "a container has a cgroup of its own"),
    "storage_opt": ("StorageOpt (--storage-opt)", "the writable layer has no quota"),
}
_ONE_OF: dict[str, tuple[str, frozenset[str]]] = {
    "volume_driver": ("VolumeDriver (--volume-driver)", frozenset({"local"})),
    "runtime": ("Runtime (--runtime)", frozenset({"orlop"})),
    "isolation": ("Isolation (--isolation)", frozenset({"default"})),
    "pid_mode": ("PidMode (--pid)", frozenset({"host", "private"})),
    "uts_mode": ("UTSMode (--uts)", frozenset({"host"})),
    "ipc_mode": ("IpcMode (--ipc)", frozenset({"host", "private", "shareable", "none"})),
    "cgroupns_mode": ("CgroupnsMode (--cgroupns)", frozenset({"host", "private"})),
}
_ENDPOINT = (
    "Links",
    "Aliases",
    "MacAddress",
    "DriverOpts",
    "GwPriority",
    "IPAMConfig",
    "IPAddress",
)


def refuse_unsupported(body: CreateBody) -> None:
    """InvalidArgument naming the first option of `body` that Orlop does not have."""
    host = body.host_config
    _refuse_network(host.network_mode)
    refuse_resources(host)
    _refuse(host, _HOST)
    for name, (label, words) in _ONE_OF.items():
        value: str = getattr(host, name)
        if value and value not in words:
            known = ", ".join(sorted(words))
            raise InvalidArgument(f"{label} {value!r:.200} is not supported: give one of {known}")
    if body.healthcheck is not None and body.healthcheck.test not in ((), ("NONE",)):
        raise InvalidArgument("Healthcheck (--health-cmd) is not supported: run checks by exec")
    if body.mac_address:
        raise InvalidArgument(f"MacAddress (--mac-address) is not supported: {_NO_NETWORKS}")
    _refuse_endpoints(body.networking_config.endpoints_config)


def refuse_resources(fields: ResourceFields) -> None:
    """InvalidArgument naming the first resource option that Orlop does not have."""
    _refuse(fields, _RESOURCES)


def _refuse(value: HostConfig | ResourceFields, table: Mapping[str, tuple[str, str]]) -> None:
    for name, (label, advice) in table.items():
        if _asks(getattr(value, name)):
            raise InvalidArgument(f"{label} is not supported: {advice}")


def _asks(value: Any) -> bool:
    # {"80/tcp": []} binds nothing.
    return any(value.values()) if isinstance(value, dict) else looks_set(value)


def _refuse_network(mode: str) -> None:
    if mode not in NETWORKS:
        raise InvalidArgument(f"NetworkMode {mode!r:.200} (--network): {_NO_NETWORKS}")


def _refuse_endpoints(endpoints: Mapping[str, Any]) -> None:
    for network, settings in endpoints.items():
        _refuse_network(network)
        for name in _set_fields(settings):
            raise InvalidArgument(f"EndpointsConfig.{network}.{name}: {_NO_NETWORKS}")


def _set_fields(settings: Any) -> Iterator[str]:
    if isinstance(settings, dict):
        yield from (name for name in _ENDPOINT if looks_set(settings.get(name)))
