"""What the flags of `run`, `create` and `update` become in the request.

`supervisor.docker` reads the requests in the daemon; here it checks that it understands.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from supervisor.cli.create_body import create_body, limits_body
from supervisor.cli.create_flags import declare_create, declare_limits
from supervisor.cli.failures import Misuse
from supervisor.cli.flags import Parser
from supervisor.docker.create import decode_create


def body_of(*words: str, detached: bool = False) -> dict[str, Any]:
    parser = Parser("run", "IMAGE", "Run", interspersed=False)
    declare_create(parser)
    body = create_body(parser.parse(words), parser.prog, detached=detached)
    decode_create(json.dumps(body).encode())
    return body


def host_of(*words: str) -> dict[str, Any]:
    host: dict[str, Any] = body_of(*words, "img")["HostConfig"]
    return host


def test_nothing_asked_for_sends_no_limits() -> None:
    assert body_of("img") == {
        "AttachStdin": False,
        "AttachStdout": True,
        "AttachStderr": True,
        "Tty": False,
        "OpenStdin": False,
        "StdinOnce": False,
        "Env": [],
        "Labels": {},
        "Image": "img",
        "Cmd": None,
        "HostConfig": {"NetworkMode": "default"},
    }


@pytest.mark.parametrize(
    "words, expected",
    [
        (["--memory", "50m"], {"Memory": 52428800}),
        (["-m=1.5g"], {"Memory": 1610612736}),
        (["--memory-swap", "-1"], {"MemorySwap": -1}),
        (["--memory-reservation", "10m"], {"MemoryReservation": 10485760}),
        (["--cpus", "0.5"], {"NanoCpus": 500000000}),
        (["-c", "512"], {"CpuShares": 512}),
        (
            ["--cpu-quota", "50000", "--cpu-period", "100000"],
            {"CpuQuota": 50000, "CpuPeriod": 100000},
        ),
        (["--cpuset-cpus", "0-1", "--cpuset-mems", "0"], {"CpusetCpus": "0-1", "CpusetMems": "0"}),
        (["--pids-limit", "-1"], {"PidsLimit": -1}),
        (["--blkio-weight", "100"], {"BlkioWeight": 100}),
        (
            ["--blkio-weight-device", "/dev/vda:20"],
            {"BlkioWeightDevice": [{"Path": "/dev/vda", "Weight": 20}]},
        ),
        (
            ["--device-read-bps", "/dev/vda:1mb"],
            {"BlkioDeviceReadBps": [{"Path": "/dev/vda", "Rate": 1048576}]},
        ),
        (
            ["--device-write-bps", "/dev/vda:1k"],
            {"BlkioDeviceWriteBps": [{"Path": "/dev/vda", "Rate": 1024}]},
        ),
        (
            ["--device-read-iops", "/dev/vda:10"],
            {"BlkioDeviceReadIOps": [{"Path": "/dev/vda", "Rate": 10}]},
        ),
        (
            ["--device-write-iops", "/dev/vda:11"],
            {"BlkioDeviceWriteIOps": [{"Path": "/dev/vda", "Rate": 11}]},
        ),
        (
            ["--oom-kill-disable", "--oom-score-adj=-500"],
            {"OomKillDisable": True, "OomScoreAdj": -500},
        ),
        (
            ["--restart", "on-failure:3"],
            {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}},
        ),
        (["-v", "/a:/b:ro", "-v", "data:/d"], {"Binds": ["/a:/b:ro", "data:/d"]}),
        (["--volumes-from", "c:ro"], {"VolumesFrom": ["c:ro"]}),
        (
            ["--add-host", "a:1.2.3.4", "--add-host", "b=::1", "--dns", "1.1.1.1"],
            {"ExtraHosts": ["a:1.2.3.4", "b:::1"], "Dns": ["1.1.1.1"]},
        ),
        (
            ["--dns-search", ".", "--dns-option", "ndots:1"],
            {"DnsSearch": ["."], "DnsOptions": ["ndots:1"]},
        ),
        (
            ["--tmpfs", "/tmp:size=16m,noexec", "--tmpfs", "/run"],
            {"Tmpfs": {"/tmp": "size=16m,noexec", "/run": ""}},
        ),
        (
            ["--read-only", "--privileged", "--init", "--rm"],
            {"ReadonlyRootfs": True, "Privileged": True, "Init": True, "AutoRemove": True},
        ),
        (
            ["--cap-add", "NET_ADMIN", "--cap-drop", "ALL"],
            {"CapAdd": ["NET_ADMIN"], "CapDrop": ["ALL"]},
        ),
        (["--group-add", "audio", "--group-add", "5"], {"GroupAdd": ["audio", "5"]}),
        (
            ["--ulimit", "nofile=1024:2048", "--ulimit", "core=-1"],
            {
                "Ulimits": [
                    {"Name": "nofile", "Soft": 1024, "Hard": 2048},
                    {"Name": "core", "Soft": -1, "Hard": -1},
                ]
            },
        ),
        (["--sysctl", "net.ipv4.ip_forward=1"], {"Sysctls": {"net.ipv4.ip_forward": "1"}}),
        (
            [
                "--device",
                "/dev/null:/dev/x",
                "--device",
                "/dev/zero:r",
                "--device",
                "/dev/full:/dev/f:rw",
            ],
            {
                "Devices": [
                    {
                        "PathOnHost": "/dev/null",
                        "PathInContainer": "/dev/x",
                        "CgroupPermissions": "rwm",
                    },
                    {
                        "PathOnHost": "/dev/zero",
                        "PathInContainer": "/dev/zero",
                        "CgroupPermissions": "r",
                    },
                    {
                        "PathOnHost": "/dev/full",
                        "PathInContainer": "/dev/f",
                        "CgroupPermissions": "rw",
                    },
                ]
            },
        ),
        (["--shm-size", "8m"], {"ShmSize": 8388608}),
        (
            [
                "--userns",
                "private:100000:65536",
                "--pid",
                "host",
                "--ipc",
                "host",
                "--uts",
                "host",
                "--cgroupns",
                "host",
            ],
            {
                "UsernsMode": "private:100000:65536",
                "PidMode": "host",
                "IpcMode": "host",
                "UTSMode": "host",
                "CgroupnsMode": "host",
            },
        ),
        (["--net", "host"], {"NetworkMode": "host"}),
        (["--network", "none"], {"NetworkMode": "none"}),
        (
            ["--log-opt", "max-size=1m", "--log-opt", "max-file=2"],
            {"LogConfig": {"Type": "", "Config": {"max-size": "1m", "max-file": "2"}}},
        ),
        (["--security-opt", "no-new-privileges"], {"SecurityOpt": ["no-new-privileges"]}),
        (
            ["--security-opt", "systempaths=unconfined", "--security-opt", "seccomp=unconfined"],
            {"MaskedPaths": [], "ReadonlyPaths": [], "SecurityOpt": ["seccomp=unconfined"]},
        ),
        (
            ["--mount", 'type=bind,src=/x,"dst=/a,b",readonly,bind-propagation=rslave'],
            {
                "Mounts": [
                    {
                        "Type": "bind",
                        "Source": "/x",
                        "Target": "/a,b",
                        "ReadOnly": True,
                        "BindOptions": {"Propagation": "rslave"},
                    }
                ]
            },
        ),
        (
            ["--mount", "type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1770,ro=false"],
            {
                "Mounts": [
                    {
                        "Type": "tmpfs",
                        "Target": "/t",
                        "ReadOnly": False,
                        "TmpfsOptions": {"SizeBytes": 1048576, "Mode": 0o1770},
                    }
                ]
            },
        ),
        (
            [
                "--mount",
                (
                    "src=v,dst=/x,volume-nocopy,volume-subpath=a/b,volume-label=k=v,"
                    "volume-driver=local,volume-opt=type=tmpfs,volume-opt=o=size=1m"
                ),
            ],
            {
                "Mounts": [
                    {
                        "Type": "volume",
                        "Source": "v",
                        "Target": "/x",
                        "VolumeOptions": {
                            "NoCopy": True,
                            "Subpath": "a/b",
                            "Labels": {"k": "v"},
                            "DriverConfig": {
                                "Name": "local",
                                "Options": {"type": "tmpfs", "o": "size=1m"},
                            },
                        },
                    }
                ]
            },
        ),
        (
            ["--mount", "type=bind,src=/x,dst=/y,ro,bind-recursive=writable,bind-create-src"],
            {
                "Mounts": [
                    {
                        "Type": "bind",
                        "Source": "/x",
                        "Target": "/y",
                        "ReadOnly": True,
                        "BindOptions": {"ReadOnlyNonRecursive": True, "CreateMountpoint": True},
                    }
                ]
            },
        ),
        (
            ["--mount", "type=tmpfs,dst=/t,tmpfs-options=exec;uid=5"],
            {
                "Mounts": [
                    {
                        "Type": "tmpfs",
                        "Target": "/t",
                        "TmpfsOptions": {"Options": [["exec"], ["uid", "5"]]},
                    }
                ]
            },
        ),
    ],
)
def test_host_config(words: list[str], expected: dict[str, Any]) -> None:
    assert host_of(*words) == {"NetworkMode": "default", **expected}


def test_config_fields() -> None:
    body = body_of(
        *("--hostname", "h1", "--domainname", "d", "-u", "1000:5", "-w", "/tmp"),
        *("--stop-signal", "INT", "--stop-timeout", "0", "--label", "a=b", "-l", "c"),
        *("--entrypoint", "sh", "img", "-c", "exit 1"),
    )
    expected = {
        "Hostname": "h1",
        "Domainname": "d",
        "User": "1000:5",
        "WorkingDir": "/tmp",
        "StopSignal": "INT",
        "StopTimeout": 0,
        "Labels": {"a": "b", "c": ""},
        "Entrypoint": ["sh"],
        "Cmd": ["-c", "exit 1"],
    }
    assert {name: body[name] for name in expected} == expected


def test_an_empty_entrypoint_takes_the_images_away() -> None:
    assert body_of("--entrypoint", "", "img")["Entrypoint"] == [""]
    assert "Entrypoint" not in body_of("img")


def test_variables_come_from_files_then_flags_then_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HERE", "yes")
    monkeypatch.delenv("GONE", raising=False)
    file = tmp_path / "env"
    file.write_text("\ufeff# a comment\n\n  A=1=2 \nHERE\nGONE\n")
    body = body_of("--env-file", str(file), "-e", "B=", "-e", "HERE", "-e", "GONE", "img")
    assert body["Env"] == ["A=1=2 ", "HERE=yes", "B=", "HERE=yes", "GONE"]


def test_detached_and_interactive() -> None:
    body = body_of("-i", "img", detached=True)
    streams = ("AttachStdin", "AttachStdout", "AttachStderr", "OpenStdin", "StdinOnce")
    assert [body[name] for name in streams] == [False, False, False, True, False]
    body = body_of("-i", "img")
    assert [body[name] for name in streams] == [True, True, True, True, True]


def test_a_seccomp_profile_is_sent_as_one_line(tmp_path: Path) -> None:
    file = tmp_path / "profile.json"
    file.write_text('{\n  "defaultAction": "SCMP_ACT_ALLOW",\n  "comment": "ä"\n}\n')
    words = ["--security-opt", f"seccomp={file}", "--security-opt", "seccomp=builtin"]
    assert body_of(*words, "img")["HostConfig"]["SecurityOpt"] == [
        'seccomp={"defaultAction":"SCMP_ACT_ALLOW","comment":"ä"}',
        "seccomp=builtin",
    ]


def test_relative_sources_are_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    host = host_of("-v", ".:/a", "-v", "./b:/b", "--mount", "type=bind,src=./c,dst=/c")
    assert host["Binds"] == [f"{tmp_path}:/a", f"{tmp_path}/b:/b"]
    assert host["Mounts"][0]["Source"] == f"{tmp_path}/c"


def test_rootfs_takes_the_place_of_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    body = body_of("--rootfs", "root", "--rootfs-rw", "/bin/sh", "-c", "ls")
    assert (body["Image"], body["Cmd"]) == ("", ["/bin/sh", "-c", "ls"])
    host = body["HostConfig"]
    assert (host["OrlopRootfs"], host["OrlopRootfsWritable"]) == (f"{tmp_path}/root", True)


def test_a_volume_without_a_source_is_anonymous() -> None:
    body = body_of("-v", "/data", "-v", "v:/x", "-v", "/more", "img")
    assert body["Volumes"] == {"/data": {}, "/more": {}}
    assert body["HostConfig"]["Binds"] == ["v:/x"]
    assert "Volumes" not in body_of("-v", "v:/x", "img")


@pytest.mark.parametrize(
    "words, message",
    [
        (["--memory", "5x"], "invalid size: '5x'"),
        (["--cpus", "x"], "invalid number of CPUs"),
        (["--ulimit", "foo=1"], "NAME one of"),
        (["--ulimit", "nofile=5:3"], "5 > 3"),
        (["--ulimit", "nofile=-1:3"], "soft limit must not be above"),
        (["--ulimit", "nofile=a"], "not SOFT"),
        (["-v", "/a:/b:/c:/d"], "too many colons"),
        (["-v", ":/a"], "empty section"),
        (["--mount", "type=image,dst=/x"], "type 'image' is not supported"),
        (["--mount", "type=volume,src=v"], "target is required"),
        (["--mount", "dst=/x,volume-subpath"], "must be a key=value pair"),
        (["--mount", "type=bind,src=/a,dst=/x,volume-nocopy"], "cannot mix 'volume-*' options"),
        (["--mount", "type=bind,src=/a,dst=/x,bind-recursive=maybe"], "for bind-recursive"),
        (["--mount", "type=bind,src=/a,dst=/x,bind-recursive=writable"], "requires 'readonly'"),
        (
            ["--mount", "type=bind,src=/a,dst=/x,ro,bind-recursive=readonly"],
            "requires 'bind-propagation=rprivate'",
        ),
        (["--mount", "type=bind,dst=/x"], "source is required"),
        (["--mount", "type=bind,src=/x"], "target is required"),
        (["--mount", "type=tmpfs,dst=/x,src=/y"], "takes no source"),
        (["--mount", "type=tmpfs,dst=/x,bind-propagation=shared"], "cannot mix 'bind-*' options"),
        (["--mount", "type=tmpfs,dst=/x,tmpfs-mode=9"], "octal"),
        (["--mount", "type=tmpfs,dst=/x,ro=maybe"], "neither true nor false"),
        (["--mount", "type=bind,bogus=1"], "unknown option 'bogus'"),
        (["--env-file", "/nope"], "open /nope: No such file or directory"),
        (["-e", "=x"], "invalid environment variable"),
        (["--label", "=x"], "empty name"),
        (["--sysctl", "x"], "NAME=value is expected"),
        (["--device", "a:b:c:d"], "HOST"),
        (["--device-read-bps", "x"], "/dev/PATH:NUMBER"),
        (["--device-read-bps", "/dev/x:1x"], "invalid size: '1x'"),
        (["--device-read-iops", "/dev/x:1k"], "not a whole number"),
        (["--restart", "sometimes"], "unless-stopped"),
        (["--restart", "on-failure:x"], "maximum retry count must be an integer"),
        (["--restart", "always:3"], "on-failure only"),
        (["--security-opt", "x"], "no-new-privileges is expected"),
        (["--security-opt", "seccomp=/nope.json"], "open /nope.json: No such file"),
        (["--security-opt", "seccomp=/dev/null"], "/dev/null: not JSON"),
        (["--blkio-weight", "-5"], "must not be negative"),
        (["--rm", "--restart", "always"], "conflicting options"),
        (["--rootfs-rw"], "needs --rootfs"),
        (["--health-interval", "5"], "invalid duration: '5'"),
        (["--health-timeout", "-1s"], "--health-timeout cannot be negative"),
        (["--health-start-interval", "-1s"], "--health-start-interval cannot be negative"),
        (["--health-retries", "-1"], "--health-retries cannot be negative"),
        (["--health-retries", "two"], "a whole number is expected"),
        (["--no-healthcheck", "--health-cmd", "x"], "conflicts with --health-* options"),
        (["--no-healthcheck", "--health-retries", "1"], "conflicts with --health-* options"),
        (["--on-unhealthy", "reboot"], "none, restart, kill, stop is expected"),
    ],
)
def test_bad_values_are_refused_with_status_125(words: list[str], message: str) -> None:
    with pytest.raises(Misuse) as caught:
        body_of(*words, "img")
    assert message in caught.value.message
    assert caught.value.status == 125


def test_rm_goes_with_an_explicit_no_restart() -> None:
    assert host_of("--rm", "--restart", "no")["AutoRemove"] is True


def test_no_image_is_status_1() -> None:
    with pytest.raises(Misuse, match="requires at least 1 argument") as caught:
        body_of("--rm")
    assert caught.value.status == 1


@pytest.mark.parametrize("line", ["a b=c", "=x"])
def test_bad_lines_of_env_files_are_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "env"
    file.write_text(f"OK=1\n{line}\n")
    with pytest.raises(Misuse, match="line 2: invalid variable name"):
        body_of("--env-file", str(file), "img")


def test_update_sends_what_was_given_only() -> None:
    parser = Parser("update", "CONTAINER", "Update")
    declare_limits(parser)
    words = ["--memory", "64m", "--memory-swap", "64m", "--cpus", "1", "--restart", "on-failure:3"]
    assert limits_body(parser.parse([*words, "--pids-limit", "100", "web"])) == {
        "Memory": 67108864,
        "MemorySwap": 67108864,
        "NanoCpus": 1000000000,
        "PidsLimit": 100,
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
    }


@pytest.mark.parametrize(
    "words, expected",
    [
        ([], None),
        (["--health-cmd", ""], None),
        (["--no-healthcheck"], {"Test": ["NONE"]}),
        (["--health-cmd", "a b"], {"Test": ["CMD-SHELL", "a b"]}),
        (["--health-interval", "1m30s"], {"Interval": 90_000_000_000}),
        (
            [
                *("--health-cmd=x", "--health-timeout", "500ms", "--health-retries", "2"),
                *("--health-start-period", "2s", "--health-start-interval=1.5s"),
            ],
            {
                "Test": ["CMD-SHELL", "x"],
                "Timeout": 500_000_000,
                "Retries": 2,
                "StartPeriod": 2_000_000_000,
                "StartInterval": 1_500_000_000,
            },
        ),
    ],
)
def test_health_checks(words: list[str], expected: dict[str, Any] | None) -> None:
    assert body_of(*words, "img").get("Healthcheck") == expected


def test_what_is_done_with_an_unhealthy_container() -> None:
    assert host_of("--on-unhealthy", "restart")["OrlopOnUnhealthy"] == "restart"
