"""The flags of `run` and `create`, and those of them that `update` has too.

Names, shorthands and units are docker's. `supervisor.cli.create_body` makes the request.
"""

from __future__ import annotations

from supervisor.cli import mount_values, network_values, values
from supervisor.cli.flags import Parser, integer, natural
from supervisor.cli.health_flags import declare_health
from supervisor.cli.network_flags import declare_network
from supervisor.spec.units import parse_cpus, parse_size


def memory_swap(text: str) -> int:
    """Bytes, or -1 for no limit."""
    return parse_size(text, allow_unlimited=True)


def declare_limits(parser: Parser) -> None:
    """What `update` can change of a running container, too."""
    flag = parser.flag
    flag("--blkio-weight", kind="uint16", parse=natural, help="Block I/O weight, 10 to 1000, or 0")
    flag("--cpu-period", kind="int", parse=natural, help="CFS period in microseconds")
    flag("--cpu-quota", kind="int", parse=integer, help="CFS quota in microseconds per period")
    flag("-c", "--cpu-shares", kind="int", parse=natural, help="CPU shares (relative weight)")
    flag("--cpus", kind="decimal", parse=parse_cpus, help="Number of CPUs (1.5)")
    flag("--cpuset-cpus", help="CPUs in which to allow execution (0-3, 0,1)")
    flag("--cpuset-mems", help="Memory nodes in which to allow execution (0-3, 0,1)")
    flag("-m", "--memory", kind="bytes", parse=parse_size, help="Memory limit (50m, 1.5g)")
    flag("--memory-reservation", kind="bytes", parse=parse_size, help="Memory soft limit")
    flag(
        "--memory-swap",
        kind="bytes",
        parse=memory_swap,
        help="Limit of memory plus swap; -1 for unlimited swap",
    )
    flag("--pids-limit", kind="int", parse=integer, help="Limit of processes; -1 for unlimited")
    flag(
        "--restart",
        parse=values.restart_policy,
        help="Restart policy: no, always, unless-stopped, on-failure[:MAX-RETRIES]",
    )


def declare_create(parser: Parser) -> None:
    """Every flag of `create`."""
    declare_limits(parser)
    _declare_process(parser)
    _declare_files(parser)
    _declare_isolation(parser)
    declare_health(parser)
    declare_network(parser)
    _declare_devices(parser)
    flag = parser.flag
    flag("--cidfile", kind="path", help="Write the container ID to the file")
    flag(
        "-l", "--label", kind="list", many=True, parse=values.label, help="Set a label (NAME=value)"
    )
    flag(
        "--log-opt",
        kind="list",
        many=True,
        parse=values.assignment,
        help="Log option: max-size=10m, max-file=3",
    )
    flag("--name", help="Assign a name to the container")
    flag("--platform", help="Platform of the image to pull (linux/arm64)")
    flag(
        "--pull",
        default="missing",
        parse=values.pull_policy,
        help="Pull image before creating (always, missing, never; default missing)",
    )
    parser.switch("-q", "--quiet", help="Suppress the pull output")
    parser.switch("--rm", help="Remove the container when it exits")


def _declare_process(parser: Parser) -> None:
    flag = parser.flag
    flag("--entrypoint", help="Overwrite the default ENTRYPOINT of the image")
    flag(
        "-e",
        "--env",
        kind="list",
        many=True,
        parse=values.environment,
        help="Set an environment variable (NAME=value, or NAME for its value here)",
    )
    flag(
        "--env-file",
        kind="list",
        many=True,
        parse=values.environment_file,
        help="Read in a file of environment variables",
    )
    flag("--group-add", kind="list", many=True, help="Add a group to join")
    parser.switch("--init", help="Run an init as PID 1 that forwards signals and reaps processes")
    parser.switch("-i", "--interactive", help="Keep STDIN open even if not attached")
    flag("--oom-score-adj", kind="int", parse=integer, help="Tune the OOM killer (-1000 to 1000)")
    parser.switch("--oom-kill-disable", help="Disable the OOM killer (cgroup v1 only)")
    flag("--stop-signal", help="Signal to stop the container")
    flag("--stop-timeout", kind="int", parse=integer, help="Seconds to wait for it before killing")
    parser.switch("-t", "--tty", help="Allocate a pseudo-TTY")
    flag(
        "--ulimit",
        kind="ulimit",
        many=True,
        parse=values.ulimit,
        help="Set a resource limit (nofile=1024:2048)",
    )
    flag("-u", "--user", help="Username or UID (format: <name|uid>[:<group|gid>])")
    flag("-w", "--workdir", kind="path", help="Working directory inside the container")


def _declare_files(parser: Parser) -> None:
    flag = parser.flag
    flag(
        "--mount",
        kind="mount",
        many=True,
        parse=mount_values.mount,
        help="Attach a filesystem mount (type=bind,src=/a,dst=/b,readonly;"
        " type=volume,src=v,dst=/v; type=tmpfs,dst=/t)",
    )
    parser.switch("--read-only", help="Mount the container's root filesystem as read only")
    flag("--rootfs", kind="path", help="Run from this folder instead of an image")
    parser.switch("--rootfs-rw", help="With --rootfs: write into the folder itself")
    flag("--shm-size", kind="bytes", parse=parse_size, help="Size of /dev/shm")
    flag(
        "--tmpfs",
        kind="list",
        many=True,
        parse=values.tmpfs,
        help="Mount a tmpfs folder (/tmp:size=16m,noexec)",
    )
    flag(
        "-v",
        "--volume",
        kind="list",
        many=True,
        parse=values.volume,
        help="Mount a folder or file of the host, or a volume ([SOURCE:]TARGET[:ro])",
    )
    flag("--volumes-from", kind="list", many=True, help="Mount the volumes of a container ([:ro])")


def _declare_isolation(parser: Parser) -> None:
    flag = parser.flag
    flag("--cap-add", kind="list", many=True, help="Add a Linux capability")
    flag("--cap-drop", kind="list", many=True, help="Drop a Linux capability")
    flag("--cgroupns", help="Cgroup namespace to use (host|private)")
    flag("--domainname", help="Container NIS domain name")
    flag("-h", "--hostname", help="Container host name")
    flag(
        "--ipc",
        parse=network_values.namespace,
        help="IPC namespace to use (private|shareable|host|none|container:NAME)",
    )
    flag(
        "--pid",
        parse=network_values.namespace,
        help="PID namespace to use (host|container:NAME)",
    )
    parser.switch("--privileged", help="Give extended privileges to this container")
    flag(
        "--security-opt",
        kind="list",
        many=True,
        parse=values.security_option,
        help="Security option (no-new-privileges, seccomp=unconfined|builtin|FILE)",
    )
    flag(
        "--sysctl",
        kind="map",
        many=True,
        parse=values.assignment,
        help="Set a kernel parameter of the container's namespaces (NAME=value)",
    )
    flag("--userns", help="User namespace to use (host|auto[:size=N]|private:UID:SIZE)")
    flag("--uts", help="UTS namespace to use (host)")


def _declare_devices(parser: Parser) -> None:
    flag = parser.flag
    flag(
        "--blkio-weight-device",
        kind="list",
        many=True,
        parse=values.device_weight,
        help="Block I/O weight of one device (/dev/sda:100)",
    )
    flag(
        "--device",
        kind="list",
        many=True,
        parse=values.device,
        help="Add a host device (HOST[:CONTAINER][:rwm])",
    )
    for way, word in (("read", "from"), ("write", "to")):
        flag(
            f"--device-{way}-bps",
            kind="list",
            many=True,
            parse=values.device_rate,
            help=f"Limit bytes per second {word} a device (/dev/sda:1mb)",
        )
        flag(
            f"--device-{way}-iops",
            kind="list",
            many=True,
            parse=values.device_count,
            help=f"Limit operations per second {word} a device (/dev/sda:100)",
        )
