"""What `docker info` shows of the host."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from supervisor import __version__
from supervisor.docker.views import HostInfo
from supervisor.engine.system_calls import UNFILTERED, security_options
from supervisor.lifecycle.state import docker_status
from supervisor.oci.reference import DEFAULT_DOMAIN

if TYPE_CHECKING:
    from supervisor.engine.engine import Engine

_CREDENTIALS = re.compile(r"//[^/@]*@")
_BY_CONTROLLER = {
    "memory": ("memory", "swap"),
    "cpu": ("cpu_quota", "cpu_shares"),
    "cpuset": ("cpuset",),
    "pids": ("pids",),
}


def host_info(engine: Engine) -> HostInfo:
    """The host and this agent, from memory and a few small files."""
    host = engine.host
    states = Counter(docker_status(c.state) for c in engine.containers.values())
    uname = os.uname()
    release = _os_release()
    controllers = host.layout.controllers
    limits = {word for name in controllers for word in _BY_CONTROLLER.get(name, ())}
    if "memory" in host.layout.v1:
        limits.add("oom_kill_disable")
    total = len(engine.containers)
    rules = engine.registries.config.rules
    return HostInfo(
        id=engine.engine_id,
        name=uname.nodename,
        version=__version__,
        root=str(host.root.path),
        containers=total,
        containers_running=states["running"] + states["restarting"],
        containers_paused=states["paused"],
        containers_stopped=total - states["running"] - states["paused"] - states["restarting"],
        images=len(engine.images.list()),
        kernel=uname.release,
        machine=uname.machine,
        operating_system=release.get("PRETTY_NAME", "Linux"),
        os_version=release.get("VERSION_ID", ""),
        cpus=os.cpu_count() or 1,
        memory=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        cgroup_version="2" if host.layout.kind == "unified" else "1",
        limits=frozenset(limits),
        forwarding=_forwards(),
        http_proxy=of_environment("http_proxy"),
        https_proxy=of_environment("https_proxy"),
        no_proxy=of_environment("no_proxy"),
        driver_status=(("Cgroup Layout", host.layout.kind),),
        security_options=security_options(host.facts, userns=engine.userns.gives),
        warnings=() if host.facts.filters else (UNFILTERED,),
        fds=len(list(Path("/proc/self/fd").iterdir())),
        tasks=trio.lowlevel.current_statistics().tasks_living,
        event_listeners=host.bus.listeners,
        insecure_registries=rules.insecure,
        registry_mirrors=rules.mirrors.get(DEFAULT_DOMAIN, ()),
    )


def _forwards() -> bool:
    try:
        return Path("/proc/sys/net/ipv4/ip_forward").read_bytes().strip() == b"1"
    except OSError:
        return False


def of_environment(name: str) -> str:
    """What httpx reads for registries, without credentials."""
    value = os.environ.get(name) or os.environ.get(name.upper(), "")
    return _CREDENTIALS.sub("//xxxxx:xxxxx@", value)


def _os_release() -> dict[str, str]:
    try:
        with Path("/etc/os-release").open(encoding="utf-8") as file:
            pairs = (line.strip().partition("=") for line in file)
            return {key: value.strip('"') for key, _, value in pairs}
    except OSError:
        return {}
