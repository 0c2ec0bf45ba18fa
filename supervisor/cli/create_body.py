"""The JSON of `POST /containers/create` and `/update` from parsed flags.

Only what was asked for is sent: the daemon knows the defaults.
"""

from __future__ import annotations

from argparse import Namespace
from itertools import chain
from pathlib import Path
from typing import Any

from supervisor.cli.failures import Misuse
from supervisor.cli.health_flags import health_fields
from supervisor.cli.network_flags import attachments, port_fields

Json = dict[str, Any]

_LIMITS = {
    "blkio_weight": "BlkioWeight",
    "cpu_period": "CpuPeriod",
    "cpu_quota": "CpuQuota",
    "cpu_shares": "CpuShares",
    "cpus": "NanoCpus",
    "cpuset_cpus": "CpusetCpus",
    "cpuset_mems": "CpusetMems",
    "memory": "Memory",
    "memory_reservation": "MemoryReservation",
    "memory_swap": "MemorySwap",
    "pids_limit": "PidsLimit",
    "restart": "RestartPolicy",
}
_HOST = {
    "blkio_weight_device": "BlkioWeightDevice",
    "cap_add": "CapAdd",
    "cap_drop": "CapDrop",
    "cgroupns": "CgroupnsMode",
    "cidfile": "ContainerIDFile",
    "device": "Devices",
    "device_read_bps": "BlkioDeviceReadBps",
    "device_read_iops": "BlkioDeviceReadIOps",
    "device_write_bps": "BlkioDeviceWriteBps",
    "device_write_iops": "BlkioDeviceWriteIOps",
    "add_host": "ExtraHosts",
    "dns": "Dns",
    "dns_option": "DnsOptions",
    "dns_search": "DnsSearch",
    "group_add": "GroupAdd",
    "init": "Init",
    "ipc": "IpcMode",
    "mount": "Mounts",
    "on_unhealthy": "OrlopOnUnhealthy",
    "oom_kill_disable": "OomKillDisable",
    "oom_score_adj": "OomScoreAdj",
    "pid": "PidMode",
    "privileged": "Privileged",
    "read_only": "ReadonlyRootfs",
    "rm": "AutoRemove",
    "shm_size": "ShmSize",
    "ulimit": "Ulimits",
    "userns": "UsernsMode",
    "uts": "UTSMode",
    "volumes_from": "VolumesFrom",
}
_CONFIG = {
    "domainname": "Domainname",
    "hostname": "Hostname",
    "stop_signal": "StopSignal",
    "stop_timeout": "StopTimeout",
    "user": "User",
    "workdir": "WorkingDir",
}


def limits_body(options: Namespace) -> Json:
    """What `update` sends."""
    return _chosen(options, _LIMITS)


def create_body(options: Namespace, program: str, *, detached: bool = False) -> Json:
    """What `create` and `run` send; raises Misuse for flags that exclude each other."""
    _check(options, program)
    networks = attachments(options, program)
    ports, published = port_fields(options)
    attached_stdin = options.interactive and not detached
    body: Json = {
        **_chosen(options, _CONFIG),
        "AttachStdin": attached_stdin,
        "AttachStdout": not detached,
        "AttachStderr": not detached,
        "Tty": options.tty,
        "OpenStdin": options.interactive,
        "StdinOnce": attached_stdin,
        "Env": [*chain.from_iterable(options.env_file), *options.env],
        "Labels": dict(options.label),
        "Image": "" if options.rootfs else options.operands[0],
        "Cmd": list(options.operands if options.rootfs else options.operands[1:]) or None,
        **health_fields(options, program),
        **ports,
        "HostConfig": {"NetworkMode": networks[0][0], **_host_config(options), **published},
    }
    if len(networks) > 1 or networks[0][1]:
        body["NetworkingConfig"] = {"EndpointsConfig": dict(networks)}
    if anonymous := [path for path in options.volume if ":" not in path]:
        body["Volumes"] = {path: {} for path in anonymous}
    if options.entrypoint is not None:
        # [""] and not [] is how docker's API takes the image's entrypoint away.
        body["Entrypoint"] = [options.entrypoint]
    return body


def _host_config(options: Namespace) -> Json:
    host = {**_chosen(options, _LIMITS), **_chosen(options, _HOST)}
    if binds := [text for text in options.volume if ":" in text]:
        host["Binds"] = binds
    if options.log_opt:
        host["LogConfig"] = {"Type": "", "Config": dict(options.log_opt)}
    if options.tmpfs:
        host["Tmpfs"] = dict(options.tmpfs)
    if options.sysctl:
        host["Sysctls"] = dict(options.sysctl)
    if options.rootfs:
        host["OrlopRootfs"] = str(Path(options.rootfs).absolute())
        host["OrlopRootfsWritable"] = options.rootfs_rw
    host |= _security(options.security_opt)
    if options.tty:
        from supervisor.cli.terminal import size

        host["ConsoleSize"] = list(size() or (0, 0))
    return host


def _security(given: list[str]) -> Json:
    # systempaths is the client's word: the API has the lists of paths instead.
    left = [option for option in given if option != "systempaths=unconfined"]
    host: Json = {"SecurityOpt": left} if left else {}
    return host | ({"MaskedPaths": [], "ReadonlyPaths": []} if left != given else {})


def _check(options: Namespace, program: str) -> None:
    policy = (options.restart or {}).get("Name", "no")
    if options.rm and policy != "no":
        raise Misuse("conflicting options: cannot specify both --restart and --rm", program)
    if options.rootfs_rw and not options.rootfs:
        raise Misuse("--rootfs-rw needs --rootfs", program)
    if not options.operands and not options.rootfs:
        raise Misuse(f"'{program}' requires at least 1 argument", program, 1)


def _chosen(options: Namespace, names: dict[str, str]) -> Json:
    # 0 is a value (--stop-timeout 0), False and [] are flags that were not given.
    found = ((field, getattr(options, name)) for name, field in names.items())
    return {
        field: value
        for field, value in found
        if value is not None and value is not False and value != []
    }
