"""The features that can only be read: versions, controllers, and what is switched on."""

from __future__ import annotations

import os

from supervisor.errors import KernelError
from supervisor.kernel.cgroups import Layout, detect, files
from supervisor.kernel.probe.feature import Feature

_OLDEST = (5, 14)
_CAP_SYS_ADMIN = 21
_BRIDGE_CALLS = ("iptables", "ip6tables")


def kernel(proc: str) -> Feature:
    """The version: clone3 into a cgroup, mount_setattr and cgroup.kill need 5.14."""
    release = _read(f"{proc}/sys/kernel/osrelease")
    return Feature(
        name="kernel",
        status="ok" if _version(release) >= _OLDEST else "fail",
        found=f"Linux {release or 'of unknown version'}",
        why="older kernels lack system calls that every container needs",
        fix="Linux 5.14 or newer; 6.13 has all that Orlop uses",
    )


def privileges(proc: str) -> Feature:
    """CAP_SYS_ADMIN, without which most of the trials fail, too."""
    effective = 0
    for line in _read(f"{proc}/self/status").splitlines():
        if line.startswith("CapEff:"):
            effective = int(line.split()[1], 16)
    able = bool(effective & 1 << _CAP_SYS_ADMIN)
    return Feature(
        name="privileges",
        status="ok" if able else "fail",
        found="CAP_SYS_ADMIN" if able else "no CAP_SYS_ADMIN",
        why="namespaces, mounts and cgroups are made by the daemon itself",
        fix="run it as root; inside a container, a privileged one",
    )


def cgroups(root: str, proc: str) -> list[Feature]:
    """The layout, then each controller that limits are made of."""
    try:
        layout = detect(root, proc)
    except KernelError as error:
        return [_layout("none", str(error)), *_controllers(Layout(kind="none"))]
    places = [layout.unified, *sorted(set(layout.v1.values()))]
    found = ", ".join(place for place in places if place)
    return [
        _layout(layout.kind, f"{layout.kind}: {found}" if found else "no cgroup mounted"),
        *_controllers(layout),
    ]


def pressure(proc: str) -> Feature:
    """Pressure stall information: Documentation/accounting/psi.rst."""
    on = _read(f"{proc}/pressure/memory").startswith("some ")
    return Feature(
        name="psi",
        status="ok" if on else "warn",
        found=f"{proc}/pressure" if on else "not in this kernel, or switched off",
        why="metrics tell how long containers waited for CPU, memory and I/O",
        fix="a kernel with CONFIG_PSI, booted with psi=1",
    )


def same_page_merging(sys: str) -> Feature:
    """KSM: Documentation/admin-guide/mm/ksm.rst."""
    state = _read(f"{sys}/kernel/mm/ksm/run")
    return Feature(
        name="ksm",
        status="ok" if state == "1" else "warn",
        found={"": "not in this kernel", "1": "on"}.get(state, "off"),
        why="merges what is the same in the memory of all shims: a container costs a third",
        fix=(
            "echo 1 > /sys/kernel/mm/ksm/run; on a host of virtual machines read its kernel "
            "document first, theirs may be merged, too"
            if state
            else "a kernel with CONFIG_KSM"
        ),
    )


def ipv6(proc: str) -> Feature:
    """Whether IPv6 is there and not disabled."""
    state = _read(f"{proc}/sys/net/ipv6/conf/all/disable_ipv6")
    words = {"0": "enabled", "1": "disabled"}
    return Feature(
        name="ipv6",
        status="ok" if state == "0" else "warn",
        found=words.get(state, "not in this kernel"),
        why="container networks can have IPv6 addresses",
        fix="sysctl net.ipv6.conf.all.disable_ipv6=0, or boot without ipv6.disable=1",
    )


def ip_forward(proc: str) -> Feature:
    """Whether packets are forwarded, or can be: the daemon switches it on itself."""
    path = f"{proc}/sys/net/ipv4/ip_forward"
    on = _read(path) == "1"
    # access(2) tells a read-only mount, as of /proc/sys in most containers, to root, too.
    found = "on" if on else "off: switched on when the first network that leads out is made"
    able = on or os.access(path, os.W_OK)
    return Feature(
        name="ip-forward",
        status="ok" if able else "warn",
        found=found if able else f"off, and {path} cannot be written",
        why="packets pass between container networks and the world outside",
        fix="sysctl net.ipv4.ip_forward=1; inside a container, one with a writable /proc/sys",
    )


def bridge_netfilter(proc: str) -> Feature:
    """Whether what passes within a bridge also passes the host's IP firewall: br_netfilter."""
    states = {v: _read(f"{proc}/sys/net/bridge/bridge-nf-call-{v}") for v in _BRIDGE_CALLS}
    on = [version for version, state in states.items() if state == "1"]
    unknown = not any(states.values())
    return Feature(
        name="br-netfilter",
        status="warn" if on else "ok",
        found=f"on for {', '.join(on)}" if on else "not loaded" if unknown else "off",
        why="where it is on, other programs' firewall rules (a FORWARD policy of DROP) also judge "
        "what containers of one network send each other",
        fix=" && ".join(f"sysctl net.bridge.bridge-nf-call-{version}=0" for version in on)
        or "sysctl net.bridge.bridge-nf-call-iptables=0",
    )


def apparmor(sys: str) -> Feature:
    """Presence alone: Orlop sets no profile, so containers have the daemon's."""
    on = _read(f"{sys}/module/apparmor/parameters/enabled") == "Y"
    return Feature(
        name="apparmor",
        status="ok",
        found="active" if on else "not active",
        why="containers run under the daemon's own profile",
        fix="",
    )


def selinux(sys: str) -> Feature:
    """Enforcing, it may refuse what containers do to unlabelled files."""
    state = _read(f"{sys}/fs/selinux/enforce")
    words = {"1": "enforcing", "0": "permissive"}
    return Feature(
        name="selinux",
        status="warn" if state == "1" else "ok",
        found=words.get(state, "not active"),
        why="Orlop sets no labels: a policy made for other runtimes may refuse its containers",
        fix="setenforce 0, or a policy that allows the daemon's domain",
    )


def _layout(kind: str, found: str) -> Feature:
    return Feature(
        name="cgroup",
        status={"unified": "ok", "hybrid": "warn"}.get(kind, "fail"),
        found=found,
        why="v2 holds containers together; where v1 has the controllers, it sets their limits",
        fix=(
            "boot with systemd.unified_cgroup_hierarchy=1"
            if kind == "hybrid"
            else "mount -t cgroup2 cgroup2 /sys/fs/cgroup"
        ),
    )


def _controllers(layout: Layout) -> list[Feature]:
    return [
        _controller(layout, name, why, fix)
        for name, why, fix in (
            ("memory", "--memory, OOM events", "boot with cgroup_enable=memory swapaccount=1"),
            ("cpu", "--cpus, --cpu-shares", "a kernel with CONFIG_CFS_BANDWIDTH"),
            ("cpuset", "--cpuset-cpus, --cpuset-mems", "a kernel with CONFIG_CPUSETS"),
            ("pids", "--pids-limit: fork bombs end at it", "a kernel with CONFIG_CGROUP_PIDS"),
            ("io", "--blkio-weight, --device-read-bps …", "a kernel with CONFIG_BLK_CGROUP"),
        )
    ]


def _controller(layout: Layout, name: str, why: str, fix: str) -> Feature:
    v1_name = "blkio" if name == "io" else name
    if layout.kind == "unified" and name in layout.controllers:
        found = "v2"
    elif v1_name in layout.v1:
        found = f"v1: {layout.v1[v1_name]}"
    else:
        found = ""
    return Feature(
        name=f"cgroup-{name}",
        status="ok" if found else "warn",
        found=found or "no such controller",
        why=why,
        fix=fix,
    )


def _version(release: str) -> tuple[int, ...]:
    """(6, 18) of "6.18.44-generic"; () of what is none."""
    numbers = []
    for part in release.split(".")[:2]:
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)


def _read(path: str) -> str:
    """The file's text, "" where there is none to be read."""
    try:
        return files.read(path).strip()
    except OSError:
        return ""
