import json
from dataclasses import replace
from typing import Any

import pytest

from supervisor.errors import InvalidArgument, Unavailable
from supervisor.spec import seccomp
from supervisor.spec.build import (
    DEFAULT_PATH,
    HostFacts,
    build_spec,
    device_rules,
    effective_hostname,
    environment,
    process_capabilities,
    working_directory,
)
from supervisor.spec.capabilities import DEFAULT, NAMES
from supervisor.spec.codec import from_json, to_json
from supervisor.spec.devices import DEFAULT_NODES, DEFAULT_RULES
from supervisor.spec.options import ContainerOptions
from supervisor.spec.seccomp.abis import Machine
from supervisor.spec.security import MASKED_PATHS, READONLY_PATHS
from supervisor.spec.types import (
    SPEC_VERSION,
    CgroupPaths,
    Device,
    DeviceRule,
    IdMapping,
    Log,
    Mount,
    Namespace,
    Overlay,
    Rlimit,
    Spec,
)

ID = "0123456789ab" + "c" * 52
ANOTHERS = f"container:{'d' * 64}"
ROOT = Overlay(lower=("/l1", "/l0"), upper="/u", work="/w")
CGROUP = CgroupPaths(unified="/sys/fs/cgroup/orlop/x")
LOG = Log(path="/log")
HOST = HostFacts(hostname="thehost")
PLAIN = ContainerOptions(args=("sh", "-c", "true"))


def build(host: HostFacts = HOST, shared_name: str = "", **changes: Any) -> Spec:
    return build_spec(
        replace(PLAIN, **changes),
        id=ID,
        run=3,
        root=ROOT,
        cgroup=CGROUP,
        log=LOG,
        host=host,
        shared_name=shared_name,
    )


def refused(match: str, host: HostFacts = HOST, **changes: Any) -> None:
    with pytest.raises(InvalidArgument, match=match):
        build(host, **changes)


def mount_at(spec: Spec, destination: str) -> Mount:
    (mount,) = (m for m in spec.mounts if m.destination == destination)
    return mount


def bind(destination: str, *options: str, source: str = "/src") -> Mount:
    return Mount(destination=destination, type="bind", source=source, options=options)


def test_the_plainest_container_is_dockers() -> None:
    spec = build()
    assert (spec.version, spec.id, spec.run) == (SPEC_VERSION, ID, 3)
    assert (spec.root, spec.cgroup, spec.log) == (ROOT, CGROUP, LOG)
    assert (spec.root_readonly, spec.root_propagation) == (False, "private")
    assert (spec.hostname, spec.domainname) == (ID[:12], "")
    assert spec.process.args == ("sh", "-c", "true")
    assert spec.process.env == (f"PATH={DEFAULT_PATH}", f"HOSTNAME={ID[:12]}")
    assert spec.process.cwd == "/"
    assert spec.process.capabilities.bounding == DEFAULT
    assert spec.process.capabilities.effective == DEFAULT
    assert spec.process.capabilities.permitted == DEFAULT
    assert spec.process.capabilities.inheritable == ()
    assert spec.process.capabilities.ambient == ()
    assert spec.process.rlimits == (Rlimit(type="RLIMIT_CORE", soft=0, hard=0),)
    assert spec.process.oom_score_adj == 0
    assert not spec.process.no_new_privileges
    assert not spec.process.terminal
    assert spec.namespaces == tuple(
        Namespace(type=kind) for kind in ("mount", "pid", "network", "uts", "ipc", "cgroup")
    )
    assert (spec.uid_mappings, spec.gid_mappings) == ((), ())
    assert spec.devices == DEFAULT_NODES
    assert spec.masked_paths == MASKED_PATHS
    assert spec.readonly_paths == READONLY_PATHS
    assert spec.sysctl == {
        "net.ipv4.ip_unprivileged_port_start": "0",
        "net.ipv4.ping_group_range": "0 2147483647",
    }
    assert (spec.init, spec.stdin, spec.stdin_once) == (False, False, False)


def test_default_mounts_are_dockers() -> None:
    quiet = ("nosuid", "noexec", "nodev")
    assert [(m.destination, m.type, m.options) for m in build().mounts] == [
        ("/proc", "proc", quiet),
        ("/dev", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
        (
            "/dev/pts",
            "devpts",
            ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
        ),
        ("/sys", "sysfs", (*quiet, "ro")),
        ("/dev/mqueue", "mqueue", quiet),
        ("/sys/fs/cgroup", "cgroup", (*quiet, "ro")),
        ("/dev/shm", "tmpfs", (*quiet, "mode=1777", "size=67108864")),
    ]


def test_masked_and_read_only_paths_are_dockers() -> None:
    # As dockerd 28.5 shows them in inspect.
    assert sorted(MASKED_PATHS) == [
        "/proc/acpi",
        "/proc/asound",
        "/proc/interrupts",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/sys/devices/virtual/powercap",
        "/sys/firmware",
    ]
    assert sorted(READONLY_PATHS) == [
        "/proc/bus",
        "/proc/fs",
        "/proc/irq",
        "/proc/sys",
        "/proc/sysrq-trigger",
    ]


def test_the_host_may_mask_more() -> None:
    path = "/sys/devices/system/cpu/cpu0/thermal_throttle"
    assert build(HostFacts(masked_paths=(path,))).masked_paths == (*MASKED_PATHS, path)


def test_a_spec_survives_its_json() -> None:
    spec = build(
        tty=True, binds=(bind("/data", "rbind"),), userns="private:100000:65536", read_only=True
    )
    assert from_json(Spec, json.loads(json.dumps(to_json(spec)))) == spec


def test_privileged() -> None:
    extra = Device(path="/dev/sda", type="b", major=8, minor=0)
    clash = Device(path="/dev/null", type="c", major=1, minor=3, mode=0o600)
    host = HostFacts(devices=(extra, clash), capabilities=~(1 << NAMES["CAP_SYS_RESOURCE"]))
    spec = build(host, privileged=True)
    assert (spec.masked_paths, spec.readonly_paths) == ((), ())
    assert set(NAMES) - set(spec.process.capabilities.effective) == {"CAP_SYS_RESOURCE"}
    assert "ro" not in mount_at(spec, "/sys").options
    assert "ro" not in mount_at(spec, "/sys/fs/cgroup").options
    assert spec.devices == (*DEFAULT_NODES, extra)


def test_host_devices_only_when_privileged() -> None:
    host = HostFacts(devices=(Device(path="/dev/sda", type="b", major=8, minor=0),))
    assert build(host).devices == DEFAULT_NODES


def test_given_paths_replace_the_defaults() -> None:
    spec = build(masked_paths=("/proc/a",), readonly_paths=())
    assert (spec.masked_paths, spec.readonly_paths) == (("/proc/a",), ())
    assert build(privileged=True, masked_paths=("/proc/a",)).masked_paths == ("/proc/a",)
    refused("not absolute", masked_paths=("proc/a",))


def test_unconfined_system_paths() -> None:
    spec = build(security_opts=("systempaths=unconfined",))
    assert (spec.masked_paths, spec.readonly_paths) == ((), ())
    assert spec.process.capabilities.bounding == DEFAULT
    assert "ro" in mount_at(spec, "/sys").options


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({}, False),
        ({"no_new_privileges": True}, True),
        ({"security_opts": ("no-new-privileges",)}, True),
        ({"security_opts": ("no-new-privileges:true",)}, True),
        ({"security_opts": ("no-new-privileges=true",)}, True),
        ({"security_opts": ("no-new-privileges", "no-new-privileges:false")}, False),
        ({"security_opts": ("seccomp=unconfined", "apparmor:unconfined", "label=disable")}, False),
    ],
)
def test_no_new_privileges(changes: dict[str, Any], expected: bool) -> None:
    assert build(**changes).process.no_new_privileges is expected


def test_the_daemons_no_new_privileges_can_be_undone() -> None:
    host = HostFacts(no_new_privileges=True)
    assert build(host).process.no_new_privileges
    undone = build(host, security_opts=("no-new-privileges:false",))
    assert not undone.process.no_new_privileges


@pytest.mark.parametrize(
    "word",
    [
        "seccomp=profile.json",
        "seccomp",
        "apparmor=docker-default",
        "label",
        "no-new-privileges:maybe",
        "systempaths",
        "",
        "proc-opts=hidepid=2",
    ],
)
def test_other_security_options_are_refused_by_name(word: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        build(security_opts=(word,))
    assert f"'{word}'" in error.value.message
    assert "seccomp=unconfined" in error.value.message


FILTERING = HostFacts(filters=Machine(name="x86_64", kernel=(6, 1)))
DENY = 'seccomp={"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [], "comment": "a=b:c"}'


@pytest.mark.parametrize(
    "changes, word",
    [
        ({}, ""),
        ({"security_opts": ("seccomp=builtin",)}, ""),
        ({"security_opts": ("seccomp:builtin",)}, ""),
        ({"security_opts": ("seccomp=",)}, ""),
        ({"security_opts": ("seccomp=unconfined", "seccomp=builtin")}, ""),
        ({"security_opts": (DENY,)}, DENY.partition("=")[2]),
        ({"security_opts": (DENY.replace("=", ":", 1),)}, DENY.partition("=")[2]),
    ],
)
def test_the_filter_of_system_calls(changes: dict[str, Any], word: str) -> None:
    assert FILTERING.filters is not None
    expected = seccomp.compile_filter(word, FILTERING.filters, DEFAULT)
    assert build(FILTERING, **changes).process.seccomp == expected
    assert len(expected.program) >= 16


def test_the_filter_knows_the_capabilities() -> None:
    plain, admin = build(FILTERING), build(FILTERING, cap_add=("SYS_ADMIN",))
    assert plain.process.seccomp != admin.process.seccomp


def test_containers_without_a_filter() -> None:
    assert build(FILTERING, security_opts=("seccomp=unconfined",)).process.seccomp is None
    assert build(FILTERING, privileged=True).process.seccomp is None
    for asked in ("seccomp=builtin", DENY):
        assert build(FILTERING, privileged=True, security_opts=(asked,)).process.seccomp


def test_a_host_that_cannot_filter() -> None:
    assert build(HostFacts()).process.seccomp is None
    assert build(HostFacts(), security_opts=("seccomp=unconfined",)).process.seccomp is None
    for asked in ("seccomp=builtin", DENY):
        with pytest.raises(Unavailable, match="seccomp=unconfined"):
            build(HostFacts(), security_opts=(asked,))


def test_a_wrong_profile_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="seccomp profile: defaultAction is missing"):
        build(FILTERING, security_opts=("seccomp={}",))


def test_user_mounts_follow_the_defaults_parents_first() -> None:
    spec = build(
        binds=(bind("/a/b", "rbind", "ro"), bind("/a", "rbind", "rslave")),
        tmpfs={"/t/": "size=1m"},
    )
    assert spec.mounts[-3:] == (
        bind("/a", "rbind", "rslave"),
        Mount(
            destination="/t",
            type="tmpfs",
            source="tmpfs",
            options=("noexec", "nosuid", "nodev", "size=1m"),
        ),
        bind("/a/b", "rbind", "ro", "rprivate"),
    )


def test_a_bind_is_private_unless_it_says_otherwise() -> None:
    assert mount_at(build(binds=(bind("/a", "rbind"),)), "/a").options == ("rbind", "rprivate")
    assert mount_at(build(binds=(bind("/a", "shared"),)), "/a").options == ("shared",)


@pytest.mark.parametrize(
    "words, expected",
    [
        ((), "private"),
        (("rprivate",), "private"),
        (("rprivate", "rslave"), "slave"),
        (("rslave", "shared"), "shared"),
        (("rshared", "slave"), "shared"),
    ],
)
def test_the_root_propagates_as_its_binds_need(words: tuple[str, ...], expected: str) -> None:
    binds = [bind("/a"), *(bind(f"/{word}", word) for word in words)]
    assert build(binds=tuple(binds)).root_propagation == expected


def test_a_user_mount_replaces_the_default_at_its_place() -> None:
    spec = build(binds=(bind("/dev/shm", "rbind"),), tmpfs={"/sys/fs/cgroup": ""})
    assert mount_at(spec, "/dev/shm").type == "bind"
    assert mount_at(spec, "/sys/fs/cgroup").type == "tmpfs"


def test_a_dev_of_the_users_own_brings_all_below_it() -> None:
    spec = build(binds=(bind("/dev", "rbind"), bind("/dev/mine", "rbind")))
    below = [m.destination for m in spec.mounts if m.destination.startswith("/dev")]
    assert below == ["/dev", "/dev/mine"]


@pytest.mark.parametrize("path", ["/proc", "/sys", "/", "rel", "/x/../proc"])
def test_volumes_over_proc_sys_and_root_are_refused(path: str) -> None:
    refused("invalid (mount path|specification)", binds=(bind(path),))
    refused("invalid (mount path|specification)", tmpfs={path: ""})


def test_shared_memory() -> None:
    assert "size=1048576" in mount_at(build(shm_size=1 << 20), "/dev/shm").options
    assert all(m.destination != "/dev/shm" for m in build(ipc="none").mounts)
    host = mount_at(build(ipc="host"), "/dev/shm")
    assert (host.type, host.source) == ("bind", "/dev/shm")
    assert "rprivate" in host.options
    refused("SHM size can not be less than 0", shm_size=-1)


def test_no_cgroup_mount_without_a_hierarchy() -> None:
    spec = build(HostFacts(cgroup="none"))
    assert all(m.type != "cgroup" for m in spec.mounts)
    assert any(m.type == "cgroup" for m in build(HostFacts(cgroup="hybrid")).mounts)


def test_environment_is_dockers() -> None:
    spec = build(tty=True, env=("A=1", "PATH=/bin", "A=2", "EMPTY=", "B=x=y"), hostname="h")
    assert spec.process.env == (
        "PATH=/bin",
        "HOSTNAME=h",
        "TERM=xterm",
        "A=2",
        "EMPTY=",
        "B=x=y",
    )


def test_a_bare_name_removes_a_variable() -> None:
    env = environment(("TERM", "NOPE", "A=1", "A"), hostname="h", terminal=True)
    assert env == (f"PATH={DEFAULT_PATH}", "HOSTNAME=h")


def test_the_name_of_whose_network_it_shares() -> None:
    spec = build(network=ANOTHERS, shared_name="web")
    assert spec.hostname == "web"
    assert "HOSTNAME=web" in spec.process.env
    assert build(network=ANOTHERS).hostname == ID[:12]
    assert build(network=ANOTHERS, hostname="own", shared_name="web").hostname == "own"
    assert build(network="bridge", shared_name="web").hostname == ID[:12]


@pytest.mark.parametrize("item", ["", "=x", "A=\0", "A\0"])
def test_malformed_environment(item: str) -> None:
    refused("invalid environment variable", env=(item,))


@pytest.mark.parametrize(
    "changes, name, spec_name",
    [
        ({"hostname": "web"}, "web", "web"),
        ({}, ID[:12], ID[:12]),
        ({"network": "host"}, "thehost", "thehost"),
        ({"network": "host", "hostname": "web"}, "web", "web"),
        # With the host's uts namespace its name is nothing for init to set.
        ({"uts": "host"}, "thehost", ""),
    ],
)
def test_hostname(changes: dict[str, Any], name: str, spec_name: str) -> None:
    spec = build(**changes)
    assert f"HOSTNAME={name}" in spec.process.env
    assert spec.hostname == spec_name
    assert effective_hostname(replace(PLAIN, **changes), ID, HOST) == name


def test_hostnames_that_cannot_be() -> None:
    refused("conflicting options: hostname and the UTS mode", hostname="web", uts="host")
    refused("at most 64 bytes", hostname="x" * 65)
    refused("at most 64 bytes", hostname="é" * 33)
    refused("no NUL", hostname="a\0b")
    assert build(hostname="x" * 64).hostname == "x" * 64


def test_domainname() -> None:
    assert build(domainname="example.org").domainname == "example.org"
    assert build(domainname="example.org", uts="host").domainname == ""


def test_terminal_and_stdin() -> None:
    spec = build(
        tty=True, console_rows=24, console_columns=80, open_stdin=True, stdin_once=True, init=True
    )
    assert spec.process.terminal
    assert (spec.process.console_rows, spec.process.console_columns) == (24, 80)
    assert (spec.stdin, spec.stdin_once, spec.init) == (True, True, True)


def test_init_only_in_a_pid_namespace_of_its_own() -> None:
    assert not build(init=True, pid="host").init
    assert not build(init=True, pid=ANOTHERS).init


@pytest.mark.parametrize(
    "cwd, clean", [("", "/"), ("/srv//x/../y/", "/srv/y"), ("//srv", "/srv"), ("/..", "/")]
)
def test_working_directory(cwd: str, clean: str) -> None:
    assert working_directory(cwd) == clean
    assert build(cwd=cwd).process.cwd == clean


@pytest.mark.parametrize("cwd", ["srv", "./", "../..", "/a\0b"])
def test_working_directory_that_cannot_be(cwd: str) -> None:
    refused("it needs to be an absolute path", cwd=cwd)


def test_commands_that_cannot_be() -> None:
    refused("^no command specified$", args=())
    refused("^no command specified$", args=("", "x"))
    refused("NUL", args=("sh", "a\0b"))


@pytest.mark.parametrize("user", ["-1", "+0", "4294967296", "1_000", "root:-1", "a b"])
def test_malformed_users_are_refused_at_creation(user: str) -> None:
    refused("invalid (user|group)", user=user)
    refused("invalid group", groups=(user.rpartition(":")[2],))


def test_user_and_groups_are_handed_on() -> None:
    process = build(user="bob:staff", groups=("wheel", "7")).process
    assert (process.user, process.additional_groups) == ("bob:staff", ("wheel", "7"))


def test_oom_score() -> None:
    assert build(oom_score_adj=-500).process.oom_score_adj == -500
    refused(r"range for oom score adj is \[-1000, 1000\]", oom_score_adj=1001)
    refused("oom score adj", oom_score_adj=-1001)


def nofile(soft: int, hard: int) -> Rlimit:
    return Rlimit(type="RLIMIT_NOFILE", soft=soft, hard=hard)


def test_ulimits_override_the_daemons() -> None:
    core = Rlimit(type="RLIMIT_CORE", soft=0, hard=0)
    host = HostFacts(ulimits=(core, nofile(1, 2)))
    assert build(host, ulimits=(nofile(64, -1),)).process.rlimits == (core, nofile(64, -1))
    files = Rlimit(type="RLIMIT_CORE", soft=-1, hard=-1)
    assert build(ulimits=(files,)).process.rlimits == (files,)


@pytest.mark.parametrize(
    "limit, match",
    [
        (nofile(10, 5), "less than or equal to hard limit: 10 > 5"),
        (nofile(-1, 5), "less than or equal to hard limit"),
        (nofile(-2, -1), "negative"),
        (
            Rlimit(type="RLIMIT_NOPE", soft=1, hard=1),
            r"invalid ulimit type: nope \(known: as, core",
        ),
        (Rlimit(type="nofile", soft=1, hard=1), "invalid ulimit type: nofile"),
    ],
)
def test_ulimits_that_cannot_be(limit: Rlimit, match: str) -> None:
    refused(match, ulimits=(limit,))


def test_capabilities() -> None:
    options = replace(PLAIN, cap_add=("SYS_ADMIN",), cap_drop=("ALL",))
    assert process_capabilities(options, HOST).bounding == ("CAP_SYS_ADMIN",)
    refused("unknown capability", cap_add=("NOPE",))
    refused("not available", HostFacts(last_capability=30), cap_add=("SETFCAP",))


def test_device_rules() -> None:
    rule = DeviceRule(allow=True, type="c", major=10, minor=229, access="rw")
    assert device_rules(PLAIN) == DEFAULT_RULES
    assert device_rules(replace(PLAIN, device_rules=(rule,))) == (*DEFAULT_RULES, rule)
    assert device_rules(replace(PLAIN, privileged=True, device_rules=(rule,))) == (
        DeviceRule(allow=True),
    )


def test_devices_of_the_users_own() -> None:
    fuse = Device(path="/dev/fuse", type="c", major=10, minor=229)
    null = Device(path="/dev/null", type="c", major=1, minor=3, mode=0o600)
    devices = build(devices=(fuse, null)).devices
    assert fuse in devices
    assert [d for d in devices if d.path == "/dev/null"] == [null]
    assert len(devices) == len(DEFAULT_NODES) + 1


@pytest.mark.parametrize("path", ["", "fuse", "/dev/../fuse", "/dev/", "//dev/x", "/", "/dev/\0"])
def test_device_paths_that_cannot_be(path: str) -> None:
    refused("invalid device path", devices=(Device(path=path, type="c", major=1, minor=1),))


def test_what_has_to_be_given_at_the_start() -> None:
    assert build().given == build(network="none").given == build(network="host").given == set()
    assert build(network="bridge").given == {"network"}
    assert build(network=ANOTHERS, pid=ANOTHERS).given == {"network", "pid"}
    shared = build(ipc=ANOTHERS)
    assert shared.given == {"ipc", "mount"}
    assert mount_at(shared, "/dev/shm").type == "joined"
    own = Mount(destination="/dev/shm", type="bind", source="/srv", options=("rbind", "rprivate"))
    assert mount_at(build(ipc=ANOTHERS, binds=(own,)), "/dev/shm") == own


def test_a_network_of_a_user_namespace_is_wired() -> None:
    spec = build(network="bridge", userns="private:100000:65536")
    assert spec.wire_network
    assert spec.given == set()
    assert spec.sysctl == {
        "net.ipv4.ip_unprivileged_port_start": "0",
        "net.ipv4.ping_group_range": "0 65535",
    }
    assert not build(network="bridge").wire_network
    assert from_json(Spec, to_json(spec)) == spec


def test_user_namespace() -> None:
    spec = build(userns="private:100000:65536")
    mapping = (IdMapping(container_id=0, host_id=100000, size=65536),)
    assert spec.namespaces[0] == Namespace(type="user")
    assert (spec.uid_mappings, spec.gid_mappings) == (mapping, mapping)
    assert spec.sysctl == {
        "net.ipv4.ip_unprivileged_port_start": "0",
        "net.ipv4.ping_group_range": "0 65535",
    }
    assert "gid=5" in mount_at(spec, "/dev/pts").options
    assert "gid=5" not in mount_at(build(userns="private:1000:5"), "/dev/pts").options
    assert all(n.type != "user" for n in build(userns="host").namespaces)


def test_sysctls_of_the_users_own_win() -> None:
    spec = build(sysctls={"net.ipv4.ip_unprivileged_port_start": "80", "kernel.shmmax": "1"})
    assert spec.sysctl == {
        "net.ipv4.ip_unprivileged_port_start": "80",
        "net.ipv4.ping_group_range": "0 2147483647",
        "kernel.shmmax": "1",
    }
    refused("is not allowed", sysctls={"kernel.hostname": "x"})
