"""From a create request to the container's options, and all that is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.docker.options import parse_device_rule
from supervisor.errors import InvalidArgument
from supervisor.spec.networks import EndpointOptions
from supervisor.spec.options import ContainerOptions
from supervisor.spec.types import BlockLimit, BlockWeight, Device, DeviceRule, Mount, Rlimit
from tests.unit.docker.bodies import options


def test_nothing_asked_for_is_the_defaults() -> None:
    assert options() == ContainerOptions(
        args=("echo", "hi"), network="bridge", endpoints=(EndpointOptions(network="default"),)
    )


def test_the_plain_fields() -> None:
    found = options(
        {
            "AutoRemove": True,
            "CapAdd": ["NET_ADMIN"],
            "CapDrop": ["ALL"],
            "ConsoleSize": [30, 100],
            "GroupAdd": ["staff"],
            "Init": True,
            "IpcMode": "shareable",
            "CgroupnsMode": "host",
            "PidMode": "host",
            "UTSMode": "host",
            "UsernsMode": "private:100000:65536",
            "NetworkMode": "host",
            "OomScoreAdj": 500,
            "Privileged": True,
            "ReadonlyRootfs": True,
            "ShmSize": 8 << 20,
            "Sysctls": {"net.core.somaxconn": "1024"},
            "MaskedPaths": [],
            "ReadonlyPaths": ["/proc/sys"],
        },
        Domainname="example.org",
        Env=["A=b"],
        Labels={"x": "y"},
        OpenStdin=True,
        StdinOnce=True,
        StopSignal="INT",
        StopTimeout=0,
        Tty=True,
        User="1000:1000",
        WorkingDir="/srv",
    )
    assert found == ContainerOptions(
        args=("echo", "hi"),
        env=("A=b",),
        cwd="/srv",
        user="1000:1000",
        groups=("staff",),
        tty=True,
        console_rows=30,
        console_columns=100,
        open_stdin=True,
        stdin_once=True,
        init=True,
        domainname="example.org",
        labels={"x": "y"},
        stop_signal="INT",
        stop_timeout=0,
        auto_remove=True,
        read_only=True,
        shm_size=8 << 20,
        masked_paths=(),
        readonly_paths=("/proc/sys",),
        sysctls={"net.core.somaxconn": "1024"},
        oom_score_adj=500,
        cap_add=("NET_ADMIN",),
        cap_drop=("ALL",),
        privileged=True,
        userns="private:100000:65536",
        pid="host",
        ipc="shareable",
        uts="host",
        network="host",
        cgroupns="host",
    )


def test_resources() -> None:
    found = options(
        {
            "Memory": 52428800,
            "MemorySwap": -1,
            "MemoryReservation": 1,
            "NanoCpus": 1_500_000_000,
            "CpuShares": 512,
            "CpusetCpus": "0-1",
            "CpusetMems": "0",
            "PidsLimit": -1,
            "BlkioWeight": 300,
            "OomKillDisable": True,
            "BlkioWeightDevice": [{"Path": "/dev/vda", "Weight": 200}],
            "BlkioDeviceReadBps": [{"Path": "/dev/vda", "Rate": 1048576}],
            "BlkioDeviceWriteIOps": [{"Path": "/dev/vda", "Rate": 100}],
        }
    ).resources
    assert (found.memory, found.memory_swap, found.memory_reservation) == (52428800, -1, 1)
    assert (found.nano_cpus, found.cpu_shares, found.pids_limit) == (1_500_000_000, 512, -1)
    assert (found.cpuset_cpus, found.cpuset_mems) == ("0-1", "0")
    assert (found.blkio_weight, found.oom_kill_disable) == (300, True)
    assert found.blkio_weight_device == (BlockWeight(major=254, minor=0, weight=200),)
    assert found.blkio_read_bps == (BlockLimit(major=254, minor=0, rate=1048576),)
    assert found.blkio_write_iops == (BlockLimit(major=254, minor=0, rate=100),)
    assert (found.blkio_write_bps, found.blkio_read_iops, found.cpu_quota) == ((), (), None)


def test_restart_policy_log_and_ulimits() -> None:
    found = options(
        {
            "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "2"}},
            "Ulimits": [
                {"Name": "nofile", "Soft": 10, "Hard": 20},
                {"Name": "core", "Soft": 0, "Hard": -1},
                {"Name": "memlock", "Soft": -1, "Hard": -1},
            ],
        }
    )
    assert (found.restart_policy, found.restart_max_retries) == ("on-failure", 3)
    assert (found.log_max_size, found.log_max_files) == (1 << 20, 2)
    assert found.ulimits == (
        Rlimit(type="RLIMIT_NOFILE", soft=10, hard=20),
        Rlimit(type="RLIMIT_CORE", soft=0, hard=-1),
        Rlimit(type="RLIMIT_MEMLOCK", soft=-1, hard=-1),
    )


def test_mounts() -> None:
    found = options(
        {
            "Binds": ["/srv:/data", "/etc:/e:ro,rslave,z"],
            "Tmpfs": {"/run/": "size=64k", "/t": ""},
            "Mounts": [
                {
                    "Type": "bind",
                    "Source": "/src",
                    "Target": "/b",
                    "ReadOnly": True,
                    "BindOptions": {"Propagation": "shared", "NonRecursive": True},
                },
                {
                    "Type": "tmpfs",
                    "Target": "/m",
                    "ReadOnly": True,
                    "TmpfsOptions": {
                        "SizeBytes": 1048576,
                        "Mode": 0o1770,
                        "Options": [["exec"], ["uid", "5"]],
                    },
                },
            ],
        }
    )
    assert found.binds == (
        Mount(destination="/data", type="bind", source="/srv", options=("rbind", "rprivate")),
        Mount(destination="/e", type="bind", source="/etc", options=("rbind", "rslave", "ro")),
        Mount(destination="/b", type="bind", source="/src", options=("bind", "shared", "ro")),
    )
    assert found.tmpfs == {
        "/run": "size=64k",
        "/t": "",
        "/m": "exec,uid=5,size=1048576,mode=1770,ro",
    }


def test_devices() -> None:
    found = options(
        {
            "Devices": [
                {"PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "r"},
                {"PathOnHost": "/dev/vda"},
                {"PathOnHost": "/dev/snd/", "PathInContainer": "/dev/sound/"},
            ],
            "DeviceCgroupRules": ["c 10:* rw"],
        }
    )
    assert found.devices == (
        Device(path="/dev/x", type="c", major=1, minor=3),
        Device(path="/dev/vda", type="b", major=254, minor=0, mode=0o660),
        Device(path="/dev/sound/seq", type="c", major=116, minor=1),
        Device(path="/dev/sound/timer", type="c", major=116, minor=33),
    )
    assert found.device_rules[0] == DeviceRule(
        allow=True, type="c", major=10, minor=-1, access="rw"
    )
    assert found.device_rules[1] == DeviceRule(allow=True, type="c", major=1, minor=3, access="r")
    assert len(found.device_rules) == 5


@pytest.mark.parametrize(
    "opts,expected",
    [
        ([], (False, ())),
        (["no-new-privileges"], (True, ())),
        (["no-new-privileges:true"], (True, ())),
        (["no-new-privileges=false"], (False, ())),
        (["seccomp=unconfined", "apparmor:unconfined", "label=disable"],
         (False, ("seccomp=unconfined", "apparmor=unconfined", "label=disable"))),
        (["seccomp:builtin"], (False, ("seccomp=builtin",))),
        (['seccomp={"comment":"a=b"}'], (False, ('seccomp={"comment":"a=b"}',))),
        (['seccomp:{"comment":"a=b"}'], (False, ('seccomp={"comment":"a=b"}',))),
    ],
)  # fmt: skip
def test_security_options(opts: list[str], expected: tuple[bool, tuple[str, ...]]) -> None:
    found = options({"SecurityOpt": opts})
    assert (found.no_new_privileges, found.security_opts) == expected


REFUSED_HOST: list[tuple[dict[str, Any], str]] = [
    ({"Links": ["a:b"]}, "Links"),
    ({"Dns": ["1.1.1"]}, "IP address is not correctly formatted: '1.1.1'"),
    ({"DnsOptions": ["ndots:1\nnameserver"]}, "invalid --dns-option"),
    ({"DnsSearch": ["a b"]}, "invalid --dns-search"),
    ({"ExtraHosts": ["a:1.2.3"]}, "invalid IP address in add-host: '1.2.3'"),
    ({"ExtraHosts": ["a"]}, "bad format for add-host: 'a'"),
    ({"NetworkMode": "none", "ExtraHosts": ["a:host-gateway"]},
     "unable to derive the IP value for host-gateway"),
    ({"VolumeDriver": "nfs"}, "VolumeDriver"),
    ({"CgroupParent": "../x"}, "CgroupParent"),
    ({"Cgroup": "container:x"}, "Cgroup"),
    ({"StorageOpt": {"size": "1G"}}, "StorageOpt"),
    ({"Runtime": "runsc"}, "Runtime (--runtime) 'runsc'"),
    ({"Isolation": "hyperv"}, "Isolation"),
    ({"DeviceRequests": [{"Count": -1, "Capabilities": [["gpu"]]}]}, "DeviceRequests (--gpus)"),
    ({"CpuRealtimePeriod": 1}, "CpuRealtimePeriod"),
    ({"CpuRealtimeRuntime": 1}, "CpuRealtimeRuntime"),
    ({"KernelMemory": 1}, "KernelMemory"),
    ({"KernelMemoryTCP": 1}, "KernelMemoryTCP"),
    ({"MemorySwappiness": 50}, "MemorySwappiness"),
    ({"CpuCount": 1}, "CpuCount"),
    ({"CpuPercent": 1}, "CpuPercent"),
    ({"IOMaximumIOps": 1}, "IOMaximumIOps"),
    ({"IOMaximumBandwidth": 1}, "IOMaximumBandwidth"),
    ({"PidMode": "container:"}, "PidMode (--pid) 'container:': give container:NAME"),
    ({"IpcMode": "container:"}, "IpcMode (--ipc) 'container:': give container:NAME"),
    ({"UTSMode": "container:x"}, "UTSMode (--uts) 'container:x'"),
    ({"PidMode": "path:/proc/1/ns/pid"}, "PidMode"),
    ({"IpcMode": "path:/proc/1/ns/ipc"}, "IpcMode"),
    ({"UTSMode": "path:/proc/1/ns/uts"}, "UTSMode"),
    ({"CgroupnsMode": "x"}, "CgroupnsMode"),
    ({"NetworkMode": "container:"}, "NetworkMode (--network) 'container:': give container:NAME"),
    ({"LogConfig": {"Type": "syslog"}}, "log driver 'syslog'"),
    ({"LogConfig": {"Config": {"labels": "x"}}}, "log option 'labels'"),
    ({"LogConfig": {"Config": {"max-file": "0"}}}, "at least 1"),
    ({"LogConfig": {"Config": {"max-file": "x"}}}, "log option 'max-file'"),
    ({"LogConfig": {"Config": {"max-size": "5x"}}}, "5x"),
    ({"SecurityOpt": ["seccomp=profile.json"]}, "security option"),
    ({"SecurityOpt": ["seccomp"]}, "security option"),
    ({"SecurityOpt": ["no-new-privileges:maybe"]}, "security option"),
    ({"Ulimits": [{"Name": "files", "Soft": 1, "Hard": 1}]}, "invalid ulimit type: 'files'"),
    ({"Ulimits": [{"Name": "nofile", "Soft": 2, "Hard": 1}]}, "soft limit must be less"),
    ({"Ulimits": [{"Name": "nofile", "Soft": -1, "Hard": 1}]}, "soft limit must be less"),
    ({"Ulimits": [{"Name": "nofile", "Soft": -2, "Hard": 1}]}, "-1 for unlimited"),
    ({"OomScoreAdj": 1001}, "range for oom score adj is [-1000, 1000]"),
    ({"ShmSize": -1}, "SHM size"),
    ({"ConsoleSize": [70000, 1]}, "ConsoleSize"),
    ({"RestartPolicy": {"Name": "sometimes"}}, "unknown policy 'sometimes'"),
    ({"RestartPolicy": {"Name": "always", "MaximumRetryCount": 1}}, "maximum retry count"),
    ({"RestartPolicy": {"Name": "always"}, "AutoRemove": True}, "can't create 'AutoRemove'"),
    ({"Devices": [{"PathOnHost": "/dev/nope"}]}, "/dev/nope"),
    ({"Devices": [{"PathOnHost": "/dev/null", "CgroupPermissions": "x"}]}, "invalid device mode"),
    ({"Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "x"}]}, "not an absolute path"),
    ({"DeviceCgroupRules": ["c 1:3"]}, "invalid device cgroup rule"),
    ({"BlkioDeviceReadBps": [{"Path": "/dev/null", "Rate": 1}]}, "is not a block device"),
    ({"BlkioWeightDevice": [{"Path": "/dev/nope", "Weight": 1}]}, "/dev/nope"),
    ({"Binds": ["/a:ro"]}, "invalid volume specification: '/a:ro'"),
    ({"Binds": [":/data"]}, "invalid volume specification"),
    ({"Binds": ["/a:/b:ro:z"]}, "invalid volume specification"),
    ({"Binds": ["/a:/b:readonly"]}, "invalid mode: readonly"),
    ({"Binds": ["/a:b"]}, "mount path must be absolute"),
    ({"Binds": ["/a:/"]}, "destination can't be '/'"),
    ({"Binds": ["/a:/x/../proc"]}, "/proc"),
    ({"Binds": ["/a\0:/b"]}, "NUL"),
    ({"Mounts": [{"Type": "image", "Source": "v", "Target": "/v"}]}, "mount type unknown"),
    ({"Mounts": [{"Target": "/v"}]}, 'invalid mount config for type "": mount type unknown'),
    ({"Mounts": [{"Type": "bind", "Source": "x", "Target": "/v"}]}, "must be absolute"),
    ({"Mounts": [{"Type": "bind", "Source": "/x", "Target": "v"}]}, "must be absolute"),
    ({"Mounts": [{"Type": "bind", "Source": "/x", "Target": "/v",
                  "BindOptions": {"Propagation": "loud"}}]}, "invalid propagation mode"),
    ({"Mounts": [{"Type": "bind", "Source": "/x", "Target": "/v", "TmpfsOptions": {}}]},
     "TmpfsOptions must not be specified"),
    ({"Mounts": [{"Type": "tmpfs", "Source": "/x", "Target": "/v"}]}, "Source must not be"),
    ({"Mounts": [{"Type": "tmpfs", "Target": "/v", "TmpfsOptions": {"SizeBytes": -1}}]},
     "give a size of 0 or more"),
    ({"Tmpfs": {"/v": ""}, "Mounts": [{"Type": "tmpfs", "Target": "/v/"}]}, "Duplicate mount"),
    ({"Tmpfs": {"v": ""}}, "must be absolute"),
]  # fmt: skip


@pytest.mark.parametrize("host,text", REFUSED_HOST, ids=[repr(h)[:50] for h, _ in REFUSED_HOST])
def test_refused_by_name(host: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        options(host)
    assert text in caught.value.message


REFUSED_BODY: list[tuple[dict[str, Any], str]] = [
    ({"Volumes": {"/x/../proc": {}}}, "would hide the container's own /proc"),
    ({"Volumes": {"/": {}}}, "destination can't be '/'"),
    ({"Env": [""]}, "invalid environment variable"),
    ({"Env": ["=x"]}, "invalid environment variable: '=x'"),
    ({"Env": ["A=\0"]}, "NUL"),
    ({"Cmd": ["a\0b"]}, "NUL"),
    ({"User": "a\0b"}, "NUL"),
    ({"WorkingDir": "srv"}, "needs to be an absolute path"),
    ({"Hostname": "x" * 65}, "invalid hostname"),
    ({"Hostname": "a b"}, "invalid hostname"),
    ({"Domainname": "ä"}, "invalid domainname"),
    ({"StopSignal": "SIGNOPE"}, "SIGNOPE"),
]  # fmt: skip


@pytest.mark.parametrize("fields,text", REFUSED_BODY, ids=[repr(f)[:50] for f, _ in REFUSED_BODY])
def test_refused_beside_the_host_config(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        options(**fields)
    assert text in caught.value.message


@pytest.mark.parametrize(
    "host,fields",
    [
        ({"PortBindings": {"80/tcp": []}}, {}),
        ({"Isolation": "default", "VolumeDriver": "local", "Runtime": "orlop"}, {}),
        ({"PidMode": "private"}, {}),
        ({"NetworkMode": ""}, {"NetworkingConfig": {"EndpointsConfig": {"bridge": None}}}),
        ({}, {"Healthcheck": {"Test": ["NONE"]}}),
        ({}, {"Healthcheck": {}}),
        ({}, {"ExposedPorts": {"80/tcp": {}}}),
        ({}, {"NetworkingConfig": {}}),
    ],
)
def test_what_asks_for_nothing_special_passes(host: dict[str, Any], fields: dict[str, Any]) -> None:
    assert options(host, **fields) == options()


def test_device_rules() -> None:
    assert parse_device_rule("a *:* rwm") == DeviceRule(allow=True)
    for text in ("", "c", "c 1 r", "x 1:3 r", "c 1:3 x", "c 1:3 ", "c 1:-3 r", "c  1:3 r"):
        with pytest.raises(InvalidArgument, match="invalid device cgroup rule"):
            parse_device_rule(text)
