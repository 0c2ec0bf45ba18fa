"""Debian's Prometheus scrapes a daemon under load: dashboards, alerts and discovery find it all."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from dashboards.boards import BOARDS
from tests.api.box import IMAGE, ONLY_V2, eventually
from tests.api.network_box import NetworkBox, Service, network_box
from tests.api.prometheus_server import Prometheus, prometheus, tool
from tests.api.test_metrics import by_socket
from tests.kernel.netplumb.rig import Outside
from tests.support import places
from tests.support.pace import limit
from tests.unit.metrics.test_dashboards import FOLDER, board, expressions

pytestmark = pytest.mark.feature("bridge", "veth", "nftables", "nftables-bridge")

HERE = ("--metrics-addr", "127.0.0.1:9323")
PORT = 9000
MIB = 1 << 20
# What Grafana would put in for its variables; the interval is five scrapes.
VARIABLES = {"$__rate_interval": "5s", "$__range": "1m", "$instance": ".+"}

BUSY = "dd if=/dev/zero of=/written bs=1M count=4 oflag=direct; while :; do :; done"
HOLD = "dd if=/dev/zero of=/dev/shm/x bs=1M count=100 2>/dev/null; echo held; exec sleep 10000"
# With processes that stay the same: a new one would be taken for what a test has left.
TALK = f"dd if=/dev/zero bs=16k | nc {Outside.OWN4} {PORT}"
BANDWIDTH = ("--network-bandwidth", "2mbit:2mbit")
# Each is a cAdvisor name that Prometheus' own rules would have otherwise.
LINT = {
    "cadvisor_version_info label names should be written in 'snake_case' not 'camelCase'",
    'container_fs_inodes_total non-counter metrics should not have "_total" suffix',
}
NO_DISK = "the data root is on no block device, or the kernel counts none for containers"


class Sink(Service):
    """Takes what a client sends."""

    def converse(self, connection: Any, peer: str) -> None:
        while connection.recv(1 << 16):
            pass


class Seen(NamedTuple):
    """A daemon that is scraped; `disk`: the kernel can count what containers do to one."""

    box: NetworkBox
    server: Prometheus
    disk: bool


@pytest.fixture(scope="module")
def seen() -> Iterator[Seen]:
    """A daemon whose containers are under load, and who scrapes it."""
    with (
        network_box(*HERE) as box,
        Sink(box.outside, PORT),
        places.short_folder() as folder,
        prometheus(box, folder) as server,
    ):
        disk = load(box)
        scrapes(server, 3)  # a counter has to be seen before it is seen to grow
        use(box)
        scrapes(server, 6)
        yield Seen(box, server, disk)
        box.remove_all()  # the talker, before whom it talks to


def scrapes(server: Prometheus, number: int) -> None:
    """Wait until Prometheus has scraped so often again."""
    query = 'count_over_time(up{job="orlop"}[10m])'
    wanted = server.value(query) + number
    eventually(lambda: server.value(query) >= wanted, 5.0 * number)


def load(box: NetworkBox) -> bool:
    """Containers that use what there is; whether a disk is among it."""
    disk = block_device(box.daemon.data_root)
    # v1 of newer kernels counts what is done to devices that somebody has a limit on.
    writes = ("--device-write-bps", f"{disk}:1gb") if disk else ()
    busy = ("--cpus", "0.1", "-m", "64m", "--memory-swap", "64m", "--pids-limit", "100", *writes)
    box.up(*busy, "--label", "team=web", name="busy", script=BUSY)
    box.up("-m", "150m", "--shm-size", "120m", name="holder", script=HOLD)
    box.wait_for_log("holder", "held")
    box.start("--name", "talker", *BANDWIDTH, script=TALK)
    limits = ("-m", "16m", "--memory-swap", "16m")
    box.docker("create", "--name", "greedy", *limits, IMAGE, "tail", "/dev/zero")
    change(box)
    return bool(disk)


def use(box: NetworkBox) -> None:
    """What happens to them."""
    box.docker("restart", "-t", "0", "busy")
    box.docker("start", "greedy")
    assert box.docker("wait", "greedy") == "137"
    assert box.daemon.docker("exec", "busy", "tail", "/dev/zero").returncode == 137
    box.docker("ps", "--all", "--size")  # the disk space of each is measured when asked for
    change(box)


def change(box: NetworkBox) -> None:
    """Everything of which there are durations, and what fails."""
    box.docker("network", "rm", box.network())
    box.docker("run", "--rm", IMAGE, "true")
    assert box.daemon.docker("pull", "127.0.0.1:1/no/image").returncode != 0
    assert box.daemon.docker("run", "--rm", IMAGE, "/no/program").returncode == 127


def block_device(folder: Path) -> str:
    """The disk that a folder is on, as /dev/NAME; "" if it is on none."""
    number = folder.stat().st_dev
    place = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    if not place.exists():
        return ""
    place = place.resolve()
    return f"/dev/{place.parent.name if (place / 'partition').exists() else place.name}"


def test_every_panel_has_something_to_show(seen: Seen) -> None:
    nothing: dict[str, str] = {}  # what panels ask for and this daemon has nothing of, and why
    if not (seen.disk and "container_fs_writes_bytes_total" in by_socket(seen.box.daemon)[1]):
        nothing = dict.fromkeys(("container_fs_reads", "container_fs_writes"), NO_DISK)
    asked = 0
    empty: list[str] = []
    filled: list[str] = []
    for name in BOARDS:
        for expression in dict.fromkeys(expressions(board(name))):
            if expression.startswith("label_values"):
                continue
            asked += 1
            expected = not any(metric in expression for metric in nothing)
            if bool(seen.server.shown(query(expression))) != expected:
                (empty if expected else filled).append(f"{name}: {expression}")
    assert asked > 100
    assert not empty, "\n".join(empty)
    assert not filled, "\n".join(["found all the same:", *filled])


def query(expression: str) -> str:
    """An expression of a dashboard as Grafana asks it, of all containers or of the busy one."""
    name = ".+" if '=~"$name"' in expression else "busy"
    for variable, value in {**VARIABLES, "$name": name}.items():
        expression = expression.replace(variable, value)
    return expression


def test_cpu_and_memory_are_the_kernels(seen: Seen) -> None:
    box, server = seen.box, seen.server
    rate = server.value('rate(container_cpu_usage_seconds_total{name="busy"}[4s])')
    assert 0.005 < rate < 0.15  # others may want the processors, too
    throttled = 'rate(container_cpu_cfs_throttled_periods_total{name="busy"}[4s])'
    eventually(lambda: server.value(throttled) > 0, 20)
    box.docker("pause", "busy")  # so that both read the same
    scrapes(server, 2)
    kernel = box.cgroup_file("busy", "cpuacct", "cpuacct.usage", "cpu.stat").split()
    seconds = int(kernel[1]) / 1e6 if ONLY_V2 else int(kernel[0]) / 1e9
    assert server.value('container_cpu_usage_seconds_total{name="busy"}') == pytest.approx(
        seconds, rel=0.01
    )
    box.docker("unpause", "busy")
    kernel_bytes = int(
        box.cgroup_file("holder", "memory", "memory.usage_in_bytes", "memory.current")
    )
    assert kernel_bytes > 100 * MIB
    shown = server.value('container_memory_usage_bytes{name="holder"}')
    assert shown == pytest.approx(kernel_bytes, rel=0.01)


def test_an_oom_kill_is_seen_once(seen: Seen) -> None:
    """Its container lived for less than a scrape interval."""
    for family in ("container_oom_events_total", "orlop_container_oom_kills_total"):
        assert max(seen.server.shown(f'{family}{{name="greedy"}}')) == 1
    grown = 'max_over_time(increase(container_oom_events_total{name="greedy"}[5s])[1m:1s])'
    assert seen.server.value(grown) > 0.9


def test_traffic_is_that_of_the_container(seen: Seen) -> None:
    rate = 'rate(container_network_transmit_bytes_total{name="talker"}[4s])'
    assert 100_000 < seen.server.value(rate) < 300_000  # 2 Mbit/s


def test_what_promtool_thinks_of_the_page(seen: Seen) -> None:
    _, page = by_socket(seen.box.daemon)
    done = promtool(seen.box, "check", "metrics", stdin=page)
    assert set((done.stdout + done.stderr).splitlines()) == LINT


def test_the_rules_are_good(seen: Seen) -> None:
    for command in (("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")):
        done = promtool(seen.box, *command)
        assert done.returncode == 0, done.stdout + done.stderr
    groups = seen.server.get("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert rules
    assert {rule["health"] for rule in rules} == {"ok"}


def promtool(box: NetworkBox, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """A promtool command, in the folder of the dashboards."""
    return subprocess.run(
        [tool(box, "promtool"), *arguments],
        input=stdin,
        cwd=FOLDER,
        capture_output=True,
        text=True,
        timeout=limit(30),
        check=False,
    )


def test_prometheus_finds_the_containers_by_our_socket(seen: Seen) -> None:
    """docker_sd_configs: one target for each network of each running container."""
    found = {
        labels["__meta_docker_container_name"]: labels
        for target in seen.server.get("targets", state="dropped")["droppedTargets"]
        if "__meta_docker_container_id" in (labels := target["discoveredLabels"])
    }
    assert found.keys() == {"/busy", "/holder", "/talker"}
    busy = found["/busy"]
    state = seen.box.inspect("busy")
    assert busy["__meta_docker_container_id"] == state["Id"]
    assert busy["__meta_docker_container_label_team"] == "web"
    assert busy["__meta_docker_container_network_mode"] == "bridge"
    assert busy["__meta_docker_network_name"] == "bridge"
    assert busy["__meta_docker_network_ip"] == seen.box.address("busy")
    assert busy["__address__"].startswith(seen.box.address("busy"))
