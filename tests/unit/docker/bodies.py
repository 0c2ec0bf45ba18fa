"""The create request as docker's command line sends it when nothing is asked for."""

from __future__ import annotations

import json
from typing import Any

from supervisor.docker.create import CreateBody, decode_create, merge_image
from supervisor.docker.options import container_options
from supervisor.errors import InvalidArgument
from supervisor.spec.options import ContainerOptions
from supervisor.spec.types import Device

NULL = Device(path="/dev/null", type="c", major=1, minor=3)
DISK = Device(path="/dev/vda", type="b", major=254, minor=0, mode=0o660)
SOUND = (
    Device(path="/dev/snd/seq", type="c", major=116, minor=1),
    Device(path="/dev/snd/timer", type="c", major=116, minor=33),
)

CLI_HOST: dict[str, Any] = {
    "Binds": None,
    "ContainerIDFile": "",
    "LogConfig": {"Type": "", "Config": {}},
    "NetworkMode": "default",
    "PortBindings": {},
    "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
    "AutoRemove": False,
    "VolumeDriver": "",
    "VolumesFrom": None,
    "ConsoleSize": [0, 0],
    "CapAdd": None,
    "CapDrop": None,
    "CgroupnsMode": "",
    "Dns": [],
    "DnsOptions": [],
    "DnsSearch": [],
    "ExtraHosts": None,
    "GroupAdd": None,
    "IpcMode": "",
    "Cgroup": "",
    "Links": None,
    "OomScoreAdj": 0,
    "PidMode": "",
    "Privileged": False,
    "PublishAllPorts": False,
    "ReadonlyRootfs": False,
    "SecurityOpt": None,
    "UTSMode": "",
    "UsernsMode": "",
    "ShmSize": 0,
    "Isolation": "",
    "CpuShares": 0,
    "Memory": 0,
    "NanoCpus": 0,
    "CgroupParent": "",
    "BlkioWeight": 0,
    "BlkioWeightDevice": [],
    "BlkioDeviceReadBps": [],
    "BlkioDeviceWriteBps": [],
    "BlkioDeviceReadIOps": [],
    "BlkioDeviceWriteIOps": [],
    "CpuPeriod": 0,
    "CpuQuota": 0,
    "CpuRealtimePeriod": 0,
    "CpuRealtimeRuntime": 0,
    "CpusetCpus": "",
    "CpusetMems": "",
    "Devices": [],
    "DeviceCgroupRules": None,
    "DeviceRequests": None,
    "MemoryReservation": 0,
    "MemorySwap": 0,
    "MemorySwappiness": -1,
    "OomKillDisable": False,
    "PidsLimit": 0,
    "Ulimits": [],
    "CpuCount": 0,
    "CpuPercent": 0,
    "IOMaximumIOps": 0,
    "IOMaximumBandwidth": 0,
    "MaskedPaths": None,
    "ReadonlyPaths": None,
}
CLI_ENDPOINT: dict[str, Any] = {
    "IPAMConfig": None,
    "Links": None,
    "Aliases": None,
    "MacAddress": "",
    "DriverOpts": None,
    "GwPriority": 0,
    "NetworkID": "",
    "EndpointID": "",
    "Gateway": "",
    "IPAddress": "",
    "IPPrefixLen": 0,
    "IPv6Gateway": "",
    "GlobalIPv6Address": "",
    "GlobalIPv6PrefixLen": 0,
    "DNSNames": None,
}
CLI_BODY: dict[str, Any] = {
    "Hostname": "",
    "Domainname": "",
    "User": "",
    "AttachStdin": False,
    "AttachStdout": True,
    "AttachStderr": True,
    "Tty": False,
    "OpenStdin": False,
    "StdinOnce": False,
    "Env": None,
    "Cmd": ["echo", "hi"],
    "Image": "alpine",
    "Volumes": {},
    "WorkingDir": "",
    "Entrypoint": None,
    "OnBuild": None,
    "Labels": {},
    "HostConfig": CLI_HOST,
    "NetworkingConfig": {"EndpointsConfig": {"default": CLI_ENDPOINT}},
}


def decoded(host: dict[str, Any] | None = None, **fields: Any) -> CreateBody:
    """The command line's body with these fields, decoded."""
    body = {**CLI_BODY, **fields, "HostConfig": {**CLI_HOST, **(host or {})}}
    return decode_create(json.dumps(body).encode())


def options(host: dict[str, Any] | None = None, **fields: Any) -> ContainerOptions:
    """What the command line's body with these fields asks for, without an image."""
    return container_options(merge_image(decoded(host, **fields), None), look_up)


def look_up(path: str) -> tuple[Device, ...]:
    """A host with /dev/null, a disk and a folder of sound devices."""
    found = {"/dev/null": (NULL,), "/dev/vda": (DISK,), "/dev/snd": SOUND, "/dev/snd/": SOUND}
    if path not in found:
        raise InvalidArgument(f"error gathering device information: {path!r}: no such device")
    return found[path]
