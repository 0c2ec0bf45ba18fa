"""What containers send and receive, as metrics and stats tell it, beside the kernel's own count."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from dashboards.boards import BOARDS
from tests.api.box import FOREVER, IMAGE, eventually
from tests.api.network_box import (
    SPARE_SANDBOXES,
    Footprint,
    NetworkBox,
    Service,
    network_box,
)
from tests.api.test_metrics import SHARED_SECONDS, by_socket, families
from tests.kernel.netplumb.rig import Outside
from tests.unit.metrics.test_dashboards import board, used

HERE = ("--metrics-addr", "127.0.0.1:0", "--metrics-label", "com.example.team")
MIB = 1 << 20
PORT = 9000
RECEIVED = "container_network_receive_bytes_total"
SENT = "container_network_transmit_bytes_total"
# As the container's /proc/net/dev has them: first what is received, then what is sent.
FIELDS = ("bytes", "packets", "errors", "dropped")


class Exchange(Service):
    """Takes what a client sends until it has no more, and answers with 2 MiB."""

    def converse(self, connection: socket.socket, peer: str) -> None:
        while connection.recv(1 << 16):
            pass
        connection.sendall(bytes(2 * MIB))


TALK = f"dd if=/dev/zero bs=1M count=5 2>/dev/null | nc {Outside.OWN4} {PORT} | wc -c"


@pytest.fixture(scope="module")
def started() -> Iterator[tuple[NetworkBox, Footprint]]:
    """A daemon with networks and metrics, and what its machine looks like at rest."""
    with network_box(*HERE) as box:
        box.docker("run", "--rm", "--network", box.network(), IMAGE, "true")
        box.remove_all()
        eventually(lambda: Footprint.take(box).links["a pair"] == SPARE_SANDBOXES)
        yield box, Footprint.take(box)


@pytest.fixture
def net(started: tuple[NetworkBox, Footprint]) -> Iterator[NetworkBox]:
    """The same, and somebody outside who talks; of what a test makes there nothing is left."""
    box, at_rest = started
    with Exchange(box.outside, PORT):
        yield box
    box.remove_all()
    box.settle(at_rest)  # no namespace is held that nobody is in


def values(box: NetworkBox, family: str, /, **labels: str) -> list[float]:
    """The values of a family's series that have these labels, as they are now."""
    time.sleep(SHARED_SECONDS)
    return [
        sample.value
        for found in families(by_socket(box.daemon)[1])
        for sample in found.samples
        if sample.name == family and labels.items() <= sample.labels.items()
    ]


def value(box: NetworkBox, family: str, /, **labels: str) -> float:
    """The value of the one such series."""
    (found,) = values(box, family, **labels)
    return found


def kernels(box: NetworkBox, ref: str, interface: str = "eth0") -> dict[str, int]:
    """What the container's own kernel files say, in the names that stats have."""
    line = re.search(rf"{interface}:(.*)", box.inside(ref, "cat", "/proc/net/dev"))
    assert line
    numbers = [int(word) for word in line[1].split()]
    names = [f"{way}_{field}" for way in ("rx", "tx") for field in FIELDS]
    return dict(zip(names, (*numbers[:4], *numbers[8:12]), strict=True))


def stats(box: NetworkBox, ref: str) -> dict[str, dict[str, int]]:
    """The networks that the API's stats have; {} where there are none."""
    status, answer = box.daemon.request("GET", f"/containers/{ref}/stats?stream=0&one-shot=1")
    assert status == 200, answer
    return dict(answer.get("networks", {}))


def test_both_tell_what_the_kernel_says(net: NetworkBox) -> None:
    net.up(name="talker")
    assert int(net.inside("talker", "sh", "-c", TALK)) == 2 * MIB
    kernel = kernels(net, "talker")
    assert kernel["tx_bytes"] > 5 * MIB
    assert kernel["rx_bytes"] > 2 * MIB
    found = stats(net, "talker")
    assert list(found) == ["eth0"]
    assert set(found["eth0"]) == set(kernel)
    for name, count in kernel.items():
        assert found["eth0"][name] == pytest.approx(count, rel=0.01), name
        way = {"rx": "receive", "tx": "transmit"}[name[:2]]
        what = name[3:].replace("dropped", "packets_dropped")
        family = f"container_network_{way}_{what}_total"
        shown = value(net, family, name="talker", interface="eth0")
        assert shown == pytest.approx(count, rel=0.01), family
    # What all have sent: others of this daemon may have, too.
    assert value(net, "orlop_containers_network_transmit_bytes_total") > 5 * MIB


def test_both_commands_show_it(net: NetworkBox) -> None:
    net.up(name="talker")
    net.inside("talker", "sh", "-c", TALK)
    for command in (net.daemon.docker, net.daemon.orlop):
        done = command("stats", "--no-stream", "--format", "{{.Name}} {{.NetIO}}")
        assert done.returncode == 0, done.stderr
        shown = re.fullmatch(r"talker ([\d.]+)MB / ([\d.]+)MB\n", done.stdout)
        assert shown, done.stdout
        # Some of it may have been sent again: the kernel says how much there was.
        kernel = kernels(net, "talker")
        assert kernel["rx_bytes"] > 2 * MIB
        assert float(shown[1]) == pytest.approx(kernel["rx_bytes"] / 1e6, abs=0.1)
        assert float(shown[2]) == pytest.approx(kernel["tx_bytes"] / 1e6, abs=0.1)


def test_the_last_bytes_of_a_short_run_are_counted(net: NetworkBox) -> None:
    """It ends before anything was sampled, and its interface goes with it."""
    family = "orlop_containers_network_transmit_bytes_total"
    for network in ("bridge", net.network()):
        before = value(net, family)
        name = net.name("short")
        net.docker("run", "--rm", "--name", name, "--network", network, IMAGE, "sh", "-c", TALK)
        assert 5 * MIB < value(net, SENT, name=name) < 6 * MIB
        assert 5 * MIB < value(net, family) - before < 6 * MIB


def test_networks_that_come_and_go(net: NetworkBox) -> None:
    second = net.network()
    net.up(name="talker")
    net.inside("talker", "sh", "-c", TALK)
    net.docker("network", "connect", second, "talker")
    eventually(lambda: set(stats(net, "talker")) == {"eth0", "eth1"})
    assert values(net, SENT, name="talker", interface="eth1")
    net.docker("network", "disconnect", "bridge", "talker")
    sent = value(net, SENT, name="talker", interface="eth0")
    assert sent > 5 * MIB
    net.docker("network", "connect", "bridge", "talker")
    assert value(net, SENT, name="talker", interface="eth0") >= sent
    net.inside("talker", "sh", "-c", TALK)
    assert (
        value(net, SENT, name="talker", interface="eth0")
        + value(net, SENT, name="talker", interface="eth1")
        > sent + 5 * MIB
    )
    net.docker("restart", "-t", "0", "talker")
    assert value(net, SENT, name="talker", interface="eth0") < MIB


def test_who_has_no_network_of_its_own_has_no_series(net: NetworkBox) -> None:
    net.up(name="owner")
    net.inside("owner", "sh", "-c", TALK)
    net.up("--network", "container:owner", name="guest")
    net.up("--network", "host", name="hosted")
    net.up("--network", "none", name="alone")
    for name in ("guest", "hosted", "alone"):
        assert values(net, SENT, name=name) == []
    assert stats(net, "hosted") == stats(net, "alone") == {}
    # As docker: its figures are those of the network that it is in.
    assert stats(net, "guest")["eth0"]["tx_bytes"] > 5 * MIB


def test_in_a_user_namespace(net: NetworkBox) -> None:
    net.ok("run", "-d", "--name", "mapped", "--userns", "private:100000:65536", IMAGE, *FOREVER)
    net.inside("mapped", "sh", "-c", TALK)
    assert value(net, SENT, name="mapped", interface="eth0") == pytest.approx(
        kernels(net, "mapped")["tx_bytes"], rel=0.01
    )


def test_counters_go_on_after_a_crash_of_the_daemon(new_net: Callable[..., NetworkBox]) -> None:
    box = new_net(*HERE)
    with Exchange(box.outside, PORT):
        box.up(name="talker")
        box.inside("talker", "sh", "-c", TALK)
        box.daemon.kill()
        box.daemon.start()
        assert 5 * MIB < value(box, SENT, name="talker", interface="eth0") < 6 * MIB
        # Before this agent looked: not its count.
        assert value(box, "orlop_containers_network_transmit_bytes_total") < MIB
        box.inside("talker", "sh", "-c", TALK)
        box.docker("rm", "-f", "talker")
        assert value(box, "orlop_containers_network_transmit_bytes_total") > 5 * MIB


def test_where_a_starts_time_goes(net: NetworkBox) -> None:
    name = "orlop_container_stage_duration_seconds"

    def counts() -> dict[str, float]:
        stages = ("rootfs", "cgroup", "netns", "shim", "exec", "net")
        return {stage: value(net, f"{name}_count", stage=stage) for stage in stages}

    before = counts()
    ref = net.up("--network", net.network())
    assert counts() == {stage: count + 1 for stage, count in before.items()}
    assert set(net.inspect(ref)["OrlopStart"]) == set(before)
    for stage in before:
        assert 0 < value(net, f"{name}_sum", stage=stage) < 20
    operations = "orlop_network_operation_duration_seconds_count"
    assert value(net, operations, operation="create", outcome="ok") >= 1


def test_addresses_in_use(net: NetworkBox) -> None:
    name = net.network("--subnet", "10.77.0.0/29")
    family = "orlop_ip_pool_addresses"
    assert value(net, family, network=name, state="free") == 5
    net.up("--network", name)
    assert value(net, family, network=name, state="used") == 1
    assert value(net, family, network=name, state="free") == 4
    net.remove_all()
    assert values(net, family, network=name) == []


def test_labels_of_containers_that_were_allowed(net: NetworkBox) -> None:
    net.up("--label", "com.example.team=web", "--label", "other=secret", name="labelled")
    assert values(net, "container_last_seen", container_label_com_example_team="web")
    assert "secret" not in by_socket(net.daemon)[1]
    assert values(net, "orlop_container_info", name="labelled", network_mode="bridge")


def test_what_was_reaped_and_logged(net: NetworkBox) -> None:
    def reaped(kind: str) -> float:
        return value(net, "orlop_reaped_processes_total", kind=kind)

    before = {kind: reaped(kind) for kind in ("container", "exec", "shim")}
    logged = value(net, "orlop_log_bytes_total")
    net.up(name="writer", script="seq 10000; sleep 1000")
    net.inside("writer", "true")
    net.docker("rm", "-f", "writer")
    eventually(lambda: {k: reaped(k) for k in before} == {k: n + 1 for k, n in before.items()})
    assert value(net, "orlop_log_bytes_total") - logged > 10_000 * len("stdout F 1000\n")


# What the kernel of the host may not tell.
KERNELS = ("container_fs_", "container_pressure_", "container_memory_")


def test_the_dashboards_have_something_to_show(net: NetworkBox) -> None:
    net.up("-m", "64m", "--cpus", "0.5", name="shown")
    net.docker("restart", "-t", "0", "shown")
    net.inside("shown", "true")
    net.daemon.docker("pull", "127.0.0.1:1/no/image")
    by_socket(net.daemon)
    time.sleep(SHARED_SECONDS)
    there = {s.name for found in families(by_socket(net.daemon)[1]) for s in found.samples}
    asked = {name for one in BOARDS for name in used(board(one))}
    missing = {name for name in asked - there if not name.startswith(KERNELS)}
    assert not missing
