"""JSON of GET /version and /info."""

from __future__ import annotations

import platform
from typing import Any

from supervisor.docker.times import rfc3339_nano
from supervisor.docker.views import HostInfo
from supervisor.oci.platform import architecture
from supervisor.spec.mount_points import DRIVER

API_VERSION = "1.51"
MIN_API_VERSION = "1.24"


def version_json(info: HostInfo) -> dict[str, Any]:
    """Docker's version object; Python's version stands where docker has Go's."""
    common = {
        "ApiVersion": API_VERSION,
        "MinAPIVersion": MIN_API_VERSION,
        "GitCommit": "",
        "GoVersion": f"{platform.python_implementation()} {platform.python_version()}",
        "Os": "linux",
        "Arch": architecture(info.machine),
        "KernelVersion": info.kernel,
        "BuildTime": "",
    }
    details = {**common, "Experimental": "false"}
    return {
        "Platform": {"Name": "Orlop"},
        "Components": [{"Name": "Engine", "Version": info.version, "Details": details}],
        "Version": info.version,
        **common,
    }


def info_json(info: HostInfo, now_ns: int) -> dict[str, Any]:
    """Docker's info object."""
    limits = info.limits
    return {
        "ID": info.id,
        "Containers": info.containers,
        "ContainersRunning": info.containers_running,
        "ContainersPaused": info.containers_paused,
        "ContainersStopped": info.containers_stopped,
        "Images": info.images,
        "Driver": info.driver,
        "DriverStatus": info.driver_status,
        "Plugins": {
            "Volume": [DRIVER],
            "Network": ["bridge", "host", "null"],
            "Authorization": None,
            "Log": ["json-file", "local"],
        },
        "MemoryLimit": "memory" in limits,
        "SwapLimit": "swap" in limits,
        "KernelMemoryTCP": False,
        "CpuCfsPeriod": "cpu_quota" in limits,
        "CpuCfsQuota": "cpu_quota" in limits,
        "CPUShares": "cpu_shares" in limits,
        "CPUSet": "cpuset" in limits,
        "PidsLimit": "pids" in limits,
        "IPv4Forwarding": info.forwarding,
        "Debug": False,
        "NFd": info.fds,
        "OomKillDisable": "oom_kill_disable" in limits,
        "NGoroutines": info.tasks,
        "SystemTime": rfc3339_nano(now_ns),
        "LoggingDriver": "json-file",
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": info.cgroup_version,
        "NEventsListener": info.event_listeners,
        "KernelVersion": info.kernel,
        "OperatingSystem": info.operating_system,
        "OSVersion": info.os_version,
        "OSType": "linux",
        "Architecture": info.machine,
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": _registry_config(info),
        "NCPU": info.cpus,
        "MemTotal": info.memory,
        "GenericResources": None,
        "DockerRootDir": info.root,
        "HttpProxy": info.http_proxy,
        "HttpsProxy": info.https_proxy,
        "NoProxy": info.no_proxy,
        "Name": info.name,
        "Labels": [],
        "ExperimentalBuild": False,
        "ServerVersion": info.version,
        "Runtimes": {"orlop": {"path": "orlop"}},
        "DefaultRuntime": "orlop",
        "Swarm": {
            "NodeID": "",
            "NodeAddr": "",
            "LocalNodeState": "inactive",
            "ControlAvailable": False,
            "Error": "",
            "RemoteManagers": None,
        },
        "LiveRestoreEnabled": True,
        "Isolation": "",
        "InitBinary": "orlop",
        "ContainerdCommit": {"ID": ""},
        "RuncCommit": {"ID": ""},
        "InitCommit": {"ID": ""},
        "SecurityOptions": info.security_options,
        "FirewallBackend": {"Driver": "nftables"},
        "CDISpecDirs": [],
        "Warnings": info.warnings or None,
    }


def _registry_config(info: HostInfo) -> dict[str, Any]:
    networks = [entry for entry in info.insecure_registries if "/" in entry]
    names = [entry for entry in info.insecure_registries if "/" not in entry]
    hub = {"Name": "docker.io", "Mirrors": info.registry_mirrors, "Secure": True, "Official": True}
    others = {
        name: {"Name": name, "Mirrors": [], "Secure": False, "Official": False} for name in names
    }
    return {
        "IndexConfigs": {"docker.io": hub, **others},
        "InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8", *networks],
        "Mirrors": info.registry_mirrors,
    }
