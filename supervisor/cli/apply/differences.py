"""What differs between two configurations, in the words of the file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

_WORDS = {
    "Cmd": "command",
    "Domainname": "domainname",
    "DriverOpts": "driver_opts",
    "EnableIPv4": "enable_ipv4",
    "EnableIPv6": "enable_ipv6",
    "Entrypoint": "entrypoint",
    "Env": "environment",
    "Healthcheck": "healthcheck",
    "Hostname": "hostname",
    "IPAM": "ipam",
    "Image": "image",
    "Internal": "internal",
    "Labels": "labels",
    "OpenStdin": "stdin_open",
    "Options": "driver_opts",
    "StopSignal": "stop_signal",
    "StopTimeout": "stop_grace_period",
    "Tty": "tty",
    "User": "user",
    "Volumes": "volumes",
    "WorkingDir": "working_dir",
}
_HOST_WORDS = {
    "Binds": "volumes",
    "CapAdd": "cap_add",
    "CapDrop": "cap_drop",
    "CgroupnsMode": "cgroup",
    "CpuPeriod": "cpu_period",
    "CpuQuota": "cpu_quota",
    "CpuShares": "cpu_shares",
    "CpusetCpus": "cpuset",
    "Devices": "devices",
    "Dns": "dns",
    "DnsOptions": "dns_opt",
    "DnsSearch": "dns_search",
    "ExtraHosts": "extra_hosts",
    "GroupAdd": "group_add",
    "Init": "init",
    "IpcMode": "ipc",
    "LogConfig": "logging",
    "Memory": "mem_limit",
    "MemoryReservation": "mem_reservation",
    "MemorySwap": "memswap_limit",
    "Mounts": "volumes",
    "NanoCpus": "cpus",
    "NetworkMode": "network_mode",
    "OomKillDisable": "oom_kill_disable",
    "OomScoreAdj": "oom_score_adj",
    "PidMode": "pid",
    "PidsLimit": "pids_limit",
    "PortBindings": "ports",
    "Privileged": "privileged",
    "ReadonlyRootfs": "read_only",
    "RestartPolicy": "restart",
    "SecurityOpt": "security_opt",
    "ShmSize": "shm_size",
    "Sysctls": "sysctls",
    "Tmpfs": "tmpfs",
    "UTSMode": "uts",
    "Ulimits": "ulimits",
    "UsernsMode": "userns_mode",
}


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    """`key` in the file's words; "" for `old` or `new` where there is none, else JSON."""

    key: str
    old: str
    new: str

    @property
    def word(self) -> str:
        """The key of the service, without what is below it."""
        return self.key.partition(".")[0]

    def __str__(self) -> str:
        if not self.old:
            return f"{self.key}: {self.new} is new"
        if not self.new:
            return f"{self.key}: {self.old} is gone"
        return f"{self.key}: {self.old} -> {self.new}"


def differences(old: Json, new: Json) -> tuple[Difference, ...]:
    """What has changed from one create request to another, each value that has by itself."""
    before, after = _by_key(old), _by_key(new)
    return tuple(
        sorted(
            Difference(key, before.get(key, ""), after.get(key, ""))
            for key in before.keys() | after.keys()
            if before.get(key) != after.get(key)
        )
    )


def _by_key(config: Json) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for key, text in _flat(config):  # volumes have several fields of a request
        found.setdefault(key, []).append(text)
    return {key: " ".join(texts) for key, texts in found.items()}


def _flat(config: Json) -> Iterator[tuple[str, str]]:
    for name, value in config.items():
        if name == "HostConfig":
            for field, part in value.items():
                yield from _leaves(_HOST_WORDS.get(field, field), part)
        elif name == "NetworkingConfig":
            yield from _leaves("networks", value.get("EndpointsConfig", {}))
        elif name == "ExposedPorts":
            published = config["HostConfig"].get("PortBindings", ())
            for port in value:
                if port not in published:  # those are told of as ports
                    yield f"expose.{port}", "{}"
        elif name == "Env":
            pairs = (text.partition("=") for text in value)
            yield from _leaves("environment", {key: text for key, _, text in pairs})
        else:
            yield from _leaves(_WORDS.get(name, name), value)


def _leaves(key: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for name, part in value.items():
            yield from _leaves(f"{key}.{name}", part)
    else:
        yield key, json.dumps(value, ensure_ascii=False, sort_keys=True)
