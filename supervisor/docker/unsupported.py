"""Options of the Docker API that Orlop does not have: refused by name, never dropped.

A value that clients send for options nobody asked for (0, null, "", "default", [], -1)
is no request and passes.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any

from supervisor.docker.create import CreateBody
from supervisor.docker.decode import looks_set
from supervisor.docker.host_config import HostConfig, ResourceFields
from supervisor.errors import InvalidArgument
from supervisor.spec.networks import CONTAINER_PREFIX

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
_SHARED = ("pid_mode", "ipc_mode")


def refuse_unsupported(body: CreateBody) -> None:
    """InvalidArgument naming the first option of `body` that Orlop does not have."""
    host = body.host_config
    _check_shared("NetworkMode (--network)", host.network_mode)
    refuse_resources(host)
    _refuse(host, _HOST)
    for name, (label, words) in _ONE_OF.items():
        value: str = getattr(host, name)
        if name in _SHARED and value.startswith(CONTAINER_PREFIX):
            _check_shared(label, value)
        elif value and value not in words:
            shared = [CONTAINER_PREFIX + "NAME"] if name in _SHARED else []
            known = ", ".join([*sorted(words), *shared])
            raise InvalidArgument(f"{label} {value!r:.200} is not supported: give one of {known}")


def refuse_resources(fields: ResourceFields) -> None:
    """InvalidArgument naming the first resource option that Orlop does not have."""
    _refuse(fields, _RESOURCES)


def _refuse(value: HostConfig | ResourceFields, table: Mapping[str, tuple[str, str]]) -> None:
    if not any(attrgetter(*table)(value)):
        return  # as most requests
    for name, (label, advice) in table.items():
        if _asks(getattr(value, name)):
            raise InvalidArgument(f"{label} is not supported: {advice}")


def _asks(value: Any) -> bool:
    # {"80/tcp": []} binds nothing.
    return any(value.values()) if isinstance(value, dict) else looks_set(value)


def _check_shared(label: str, mode: str) -> None:
    if mode == CONTAINER_PREFIX:
        raise InvalidArgument(f"{label} {mode!r}: give container:NAME or container:ID")
