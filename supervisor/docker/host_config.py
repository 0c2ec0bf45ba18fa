"""Docker's HostConfig: how a container runs on this host, and the `Resources` in it.

Field names are Docker's JSON names; 0, "", null, [] and {} are unset.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import field

from supervisor.docker.decode import Int64


class LogConfig(msgspec.Struct, rename="pascal", frozen=True, kw_only=True):
    """The log driver and its options."""

    type: str = ""
    config: dict[str, str] = {}


class RestartPolicyBody(msgspec.Struct, rename="pascal", frozen=True, kw_only=True):
    """no ("" too), always, unless-stopped, on-failure with an optional maximum."""

    name: str = ""
    maximum_retry_count: Int64 = 0


class WeightDevice(msgspec.Struct, rename="pascal", frozen=True, kw_only=True):
    """The I/O weight of one block device, by path."""

    path: str = ""
    weight: Int64 = 0


class ThrottleDevice(msgspec.Struct, rename="pascal", frozen=True, kw_only=True):
    """The I/O limit of one block device, by path; per second."""

    path: str = ""
    rate: Int64 = 0


class DeviceMapping(msgspec.Struct, rename="pascal", frozen=True, kw_only=True):
    """A host device in the container; permissions of "rwm"."""

    path_on_host: str = ""
    path_in_container: str = ""
    cgroup_permissions: str = "rwm"


class Ulimit(msgspec.Struct, rename="pascal", frozen=True, kw_only=True):
    """One resource limit; `name` as in ulimit ("nofile"), -1 is unlimited."""

    name: str = ""
    soft: Int64 = 0
    hard: Int64 = 0


class BindOptions(msgspec.Struct, rename="pascal", frozen=True, kw_only=True, omit_defaults=True):
    """How a bind mount is made."""

    propagation: str = ""
    non_recursive: bool = False
    create_mountpoint: bool = False
    read_only_non_recursive: bool = False
    read_only_force_recursive: bool = False


class TmpfsOptions(msgspec.Struct, rename="pascal", frozen=True, kw_only=True, omit_defaults=True):
    """Size in bytes (0 = the kernel's default), mode bits, further options as word lists."""

    size_bytes: Int64 = 0
    mode: Int64 = 0
    options: tuple[tuple[str, ...], ...] = ()


class DriverConfig(msgspec.Struct, rename="pascal", frozen=True, kw_only=True, omit_defaults=True):
    """The driver of a volume that is to be made, and its options."""

    name: str = ""
    options: dict[str, str] = {}


class VolumeOptions(msgspec.Struct, rename="pascal", frozen=True, kw_only=True, omit_defaults=True):
    """How a volume is made and filled, and which part of it is mounted."""

    no_copy: bool = False
    labels: dict[str, str] = {}
    driver_config: DriverConfig = DriverConfig()
    subpath: str = ""


class MountBody(msgspec.Struct, rename="pascal", frozen=True, kw_only=True, omit_defaults=True):
    """One `--mount`."""

    type: str = ""
    source: str = ""
    target: str = ""
    read_only: bool = False
    consistency: str = ""
    bind_options: BindOptions | None = None
    tmpfs_options: TmpfsOptions | None = None
    volume_options: VolumeOptions | None = None
    image_options: dict[str, Any] | None = None
    cluster_options: dict[str, Any] | None = None


class ResourceFields(msgspec.Struct, rename="pascal", frozen=True, kw_only=True):
    """Docker's `Resources`, part of HostConfig and of an update; 0, "" and null are unset."""

    cpu_shares: Int64 = 0
    memory: Int64 = 0
    nano_cpus: Int64 = 0
    cgroup_parent: str = ""
    blkio_weight: Int64 = 0
    blkio_weight_device: tuple[WeightDevice, ...] = ()
    blkio_device_read_bps: tuple[ThrottleDevice, ...] = ()
    blkio_device_write_bps: tuple[ThrottleDevice, ...] = ()
    blkio_device_read_iops: tuple[ThrottleDevice, ...] = field(
        name="BlkioDeviceReadIOps", default=()
    )
    blkio_device_write_iops: tuple[ThrottleDevice, ...] = field(
        name="BlkioDeviceWriteIOps", default=()
    )
    cpu_period: Int64 = 0
    cpu_quota: Int64 = 0
    cpu_realtime_period: Int64 = 0
    cpu_realtime_runtime: Int64 = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    devices: tuple[DeviceMapping, ...] = ()
    device_cgroup_rules: tuple[str, ...] = ()
    device_requests: tuple[dict[str, Any], ...] = ()
    kernel_memory: Int64 = 0
    kernel_memory_tcp: Int64 = field(name="KernelMemoryTCP", default=0)
    memory_reservation: Int64 = 0
    memory_swap: Int64 = 0
    memory_swappiness: Int64 | None = None
    oom_kill_disable: bool | None = None
    pids_limit: Int64 | None = None
    ulimits: tuple[Ulimit, ...] = ()
    cpu_count: Int64 = 0
    cpu_percent: Int64 = 0
    io_maximum_iops: Int64 = field(name="IOMaximumIOps", default=0)
    io_maximum_bandwidth: Int64 = field(name="IOMaximumBandwidth", default=0)


class HostConfig(ResourceFields, rename="pascal", frozen=True, kw_only=True):
    """Docker's HostConfig, and what only Orlop has.

    `orlop_rootfs` is an absolute folder used as the root filesystem instead of an image's
    layers; `orlop_rootfs_writable` lets the container write into it. `orlop_on_unhealthy` is
    what is done when its health check fails: "" or none, restart, kill, stop.
    """

    binds: tuple[str, ...] = ()
    container_id_file: str = field(name="ContainerIDFile", default="")
    log_config: LogConfig = LogConfig()
    network_mode: str = ""
    port_bindings: dict[str, Any] = {}
    restart_policy: RestartPolicyBody = RestartPolicyBody()
    auto_remove: bool = False
    volume_driver: str = ""
    volumes_from: tuple[str, ...] = ()
    console_size: tuple[int, int] = (0, 0)
    annotations: dict[str, str] = {}
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    cgroupns_mode: str = ""
    dns: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    group_add: tuple[str, ...] = ()
    ipc_mode: str = ""
    cgroup: str = ""
    links: tuple[str, ...] = ()
    oom_score_adj: Int64 = 0
    pid_mode: str = ""
    privileged: bool = False
    publish_all_ports: bool = False
    readonly_rootfs: bool = False
    security_opt: tuple[str, ...] = ()
    storage_opt: dict[str, str] = {}
    tmpfs: dict[str, str] = {}
    uts_mode: str = field(name="UTSMode", default="")
    userns_mode: str = ""
    shm_size: Int64 = 0
    sysctls: dict[str, str] = {}
    runtime: str = ""
    isolation: str = ""
    mounts: tuple[MountBody, ...] = ()
    masked_paths: tuple[str, ...] | None = None
    readonly_paths: tuple[str, ...] | None = None
    init: bool | None = None
    orlop_rootfs: str = ""
    orlop_rootfs_writable: bool = False
    orlop_on_unhealthy: str = ""
