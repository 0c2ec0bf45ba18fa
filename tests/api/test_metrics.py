"""What containers use: scrapes of both doors, stats of both commands."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from tests.api.box import IMAGE, Box, eventually, one_line
from tests.support.daemon import Daemon, UnixConnection, running_daemon
from tests.support.pace import limit

HERE = ("--metrics-addr", "127.0.0.1:0")
DEFAULT_PORT = 9323
# Scrapes that come sooner after another have the same figures.
SHARED_SECONDS = 0.26
BUSY = "while :; do :; done"
WAITS = ("CPU-W", "MEM-W", "I/O-W")
RATES = ("NET RX", "NET TX", "READ", "WRITE")
TOP = ("NAME", "CPU %", "MEM", "LIMIT", "MEM %", *WAITS, *RATES, "PIDS", "THR %")


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """A daemon with metrics at a free port."""
    with running_daemon(HERE) as daemon:
        yield daemon


def by_tcp(daemon: Daemon, accept: str = "") -> tuple[str, str]:
    """Content type and text of a scrape as Prometheus does it."""
    address = re.findall(r"metrics at (127\.0\.0\.1:\d+)$", daemon.log, re.MULTILINE)[-1]
    return _get(http.client.HTTPConnection(address, timeout=limit(10)), accept)


def by_socket(daemon: Daemon, accept: str = "") -> tuple[str, str]:
    """The same of the API's socket."""
    return _get(UnixConnection(daemon.socket, limit(10)), accept)


def _get(connection: http.client.HTTPConnection, accept: str) -> tuple[str, str]:
    with closing(connection):
        connection.request("GET", "/metrics", headers={"Accept": accept, "Connection": "close"})
        response = connection.getresponse()
        assert response.status == 200
        return response.headers["Content-Type"], response.read().decode()


def families(text: str) -> Iterable[Metric]:
    """What Prometheus' own parser finds in a text of the plain format."""
    return text_string_to_metric_families(text)


def values(box: Box, family: str, /, **labels: str) -> list[float]:
    """The values of a family's series that have these labels, as they are now."""
    time.sleep(SHARED_SECONDS)
    return [
        sample.value
        for found in families(by_tcp(box.daemon)[1])
        for sample in found.samples
        if sample.name == family and labels.items() <= sample.labels.items()
    ]


def value(box: Box, family: str, /, **labels: str) -> float:
    """The value of the one such series."""
    (found,) = values(box, family, **labels)
    return found


@pytest.mark.parametrize("scrape", [by_tcp, by_socket])
def test_both_doors_answer_in_both_formats(
    box: Box, scrape: Callable[..., tuple[str, str]]
) -> None:
    box.start("--name", "seen")
    kind, text = scrape(box.daemon)
    assert kind.startswith("text/plain; version=0.0.4")
    plain = {family.name for family in families(text)}
    kind, text = scrape(box.daemon, "application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text; version=1.0.0")
    assert text.endswith("# EOF\n")
    parse: Callable[[str], Iterable[Metric]] = openmetrics.text_string_to_metric_families
    open_ = {family.name for family in parse(text)}
    for names in (plain, open_):
        assert {"container_memory_usage_bytes", "orlop_containers", "process_open_fds"} <= names


def test_cpu_and_memory_are_shown(box: Box) -> None:
    box.start("--name", "busy", "--cpus", "0.5", script=BUSY)
    hold = "dd if=/dev/zero of=/dev/shm/x bs=1M count=30 2>/dev/null; echo held; sleep 1000"
    box.start("--name", "big", "-m", "100m", "--memory-swap", "100m", script=hold)
    box.wait_for_log("big", "held")
    begun = value(box, "container_cpu_usage_seconds_total", name="busy")
    eventually(lambda: value(box, "container_cpu_usage_seconds_total", name="busy") > begun + 0.2)
    assert value(box, "container_spec_cpu_quota", name="busy") == 50_000
    assert value(box, "container_memory_usage_bytes", name="big") >= 30 << 20
    assert value(box, "container_spec_memory_limit_bytes", name="big") == 100 << 20
    assert value(box, "orlop_containers", state="running") == 2
    box.ok("pause", "busy")
    assert value(box, "orlop_containers", state="paused") == 1
    box.ok("rename", "big", "bigger")
    box.ok("update", "--memory", "120m", "--memory-swap", "120m", "bigger")
    assert value(box, "container_spec_memory_limit_bytes", name="bigger") == 120 << 20
    assert not values(box, "container_memory_usage_bytes", name="big")


def test_top_shows_what_all_containers_use(box: Box) -> None:
    box.start("--name", "busy", "--cpus", "0.1", "-m", "100m", script=BUSY)
    box.start("--name", "idle")

    def rows() -> dict[str, dict[str, str]]:
        _, *lines = box.ok("top", "--once").splitlines()
        return {line.split()[0]: dict(zip(TOP, line.split(), strict=True)) for line in lines}

    found: dict[str, dict[str, str]] = {}

    def used_and_throttled() -> bool:
        found.update(rows())
        if {"--", "0.0"} & {found["busy"]["CPU %"], found["busy"]["THR %"]}:
            return False
        # A moment in which this machine stood still counts as the container's.
        return 1 < float(found["busy"]["CPU %"]) < 40

    eventually(used_and_throttled, 20)
    assert list(found) == ["busy", "idle"]  # who uses most comes first
    assert (found["busy"]["LIMIT"], found["busy"]["PIDS"]) == ("100M", "1")
    assert found["idle"]["THR %"] == "--"


def test_a_container_that_lived_for_a_moment_counts(box: Box) -> None:
    all_before = value(box, "orlop_containers_cpu_usage_seconds_total")
    completed = value(box, "orlop_container_exits_total", reason="completed")
    assert box.run("--name", "short", script="exit 0").returncode == 0
    assert value(box, "container_cpu_usage_seconds_total", name="short") > 0
    assert value(box, "orlop_containers_cpu_usage_seconds_total") > all_before
    assert value(box, "orlop_container_exits_total", reason="completed") == completed + 1


def test_an_oom_kill_is_one_increment(box: Box) -> None:
    limits = ("-m", "16m", "--memory-swap", "16m")
    box.ok("create", "--name", "greedy", *limits, IMAGE, "tail", "/dev/zero")
    assert value(box, "orlop_container_oom_kills_total", name="greedy") == 0
    ended = value(box, "orlop_container_exits_total", reason="oom_killed")
    box.ok("start", "greedy")
    assert box.ok("wait", "greedy") == "137"
    assert value(box, "orlop_container_oom_kills_total", name="greedy") == 1
    assert value(box, "container_oom_events_total", name="greedy") == 1
    assert value(box, "orlop_container_exits_total", reason="oom_killed") == ended + 1
    assert value(box, "orlop_container_last_exit_code", name="greedy") == 137


def test_ends_are_counted_by_their_reason(box: Box) -> None:
    def ends(reason: str) -> float:
        return value(box, "orlop_container_exits_total", reason=reason)

    before = {reason: ends(reason) for reason in ("error", "signal", "stopped", "start_failed")}
    assert box.run(script="exit 3").returncode == 3
    os.kill(box.state(box.start())["Pid"], signal.SIGKILL)
    box.start("--name", "long")
    box.ok("stop", "-t", "0", "long")
    assert box.orlop("run", "--name", "never", IMAGE, "/nosuch").returncode == 127
    after = {reason: was + 1 for reason, was in before.items()}
    eventually(lambda: {reason: ends(reason) for reason in before} == after)


def test_operations_are_timed(box: Box) -> None:
    def count(outcome: str) -> float:
        name = "orlop_container_operation_duration_seconds_count"
        return sum(values(box, name, operation="start", outcome=outcome))

    worked, failed = count("ok"), count("error")
    box.start("--name", "on")
    box.ok("start", "on")  # it does: nothing to do is no error
    assert box.orlop("run", IMAGE, "/nosuch").returncode == 127
    assert (count("ok"), count("error")) == (worked + 2, failed + 1)


def test_restarts_by_the_policy_are_counted(box: Box) -> None:
    box.start("--name", "again", "--restart", "on-failure:2", script="exit 1")
    box.wait_for("again", "exited")
    assert value(box, "orlop_container_restarts_total", name="again") == 2


def test_series_of_a_removed_container_go(box: Box) -> None:
    box.start("--name", "leaving")
    assert values(box, "container_last_seen", name="leaving")
    box.ok("rm", "-f", "leaving")
    # Scrapers that come often have two of their scrapes soon.
    eventually(lambda: "leaving" not in by_socket(box.daemon)[1], 30)
    assert not values(box, "orlop_container_info", name="leaving")


# --- stats


def test_stats_of_one_that_runs_of_one_that_does_not_and_of_none(box: Box) -> None:
    busy = box.start("--name", "busy", script=BUSY)
    box.ok("create", "--name", "still", IMAGE)
    time.sleep(1.6)  # there is a background sample of half a second ago
    status, figures = box.daemon.request("GET", "/containers/busy/stats?stream=0")
    assert (status, figures["id"], figures["name"]) == (200, busy, "/busy")
    now, before = figures["cpu_stats"], figures["precpu_stats"]
    assert now["cpu_usage"]["total_usage"] > before["cpu_usage"]["total_usage"] > 0
    assert now["system_cpu_usage"] > before["system_cpu_usage"] > 0
    assert figures["memory_stats"]["usage"] > 0
    _, once = box.daemon.request("GET", "/containers/busy/stats?stream=0&one-shot=1")
    assert once["precpu_stats"]["cpu_usage"]["total_usage"] == 0
    status, still = box.daemon.request("GET", "/containers/still/stats?stream=0")
    assert (status, still["read"], still["memory_stats"]) == (200, "0001-01-01T00:00:00Z", {})
    status, answer = box.daemon.request("GET", "/containers/nobody/stats")
    assert (status, answer) == (404, {"message": "No such container: nobody"})


def test_a_stream_of_stats_ends_with_the_container(box: Box) -> None:
    box.start("--name", "busy", script=BUSY)
    connection = UnixConnection(box.daemon.socket, limit(10))
    with closing(connection):
        connection.request("GET", "/containers/busy/stats", headers={"Connection": "close"})
        response = connection.getresponse()
        first, second = (json.loads(response.readline()) for _ in range(2))
        assert second["precpu_stats"] == first["cpu_stats"]
        used = [f["cpu_stats"]["cpu_usage"]["total_usage"] for f in (first, second)]
        assert used[1] > used[0]
        box.ok("rm", "-f", "busy")
        response.read()  # returns: it is over


def test_both_commands_show_what_containers_use(box: Box) -> None:
    box.start("--name", "busy", script=BUSY)
    box.ok("create", "--name", "still", IMAGE)
    time.sleep(1.6)
    head = "CONTAINER ID NAME CPU % MEM USAGE / LIMIT MEM % NET I/O BLOCK I/O PIDS"
    for command in (box.daemon.docker, box.orlop):
        done = command("stats", "--no-stream")
        assert done.returncode == 0, done.stderr
        title, line = done.stdout.splitlines()
        assert " ".join(title.split()) == head
        assert re.search(r"busy +[1-9]\d*\.\d\d% +[\d.]+[KM]iB / [\d.]+GiB", line), line
        done = command("stats", "--no-stream", "-a", "--format", "{{.Name}} {{.PIDs}}")
        assert set(done.stdout.splitlines()) == {"busy 1", "still 0"}, done.stderr
    refused = box.orlop("stats", "--no-stream", "nobody")
    assert refused.returncode == 1
    assert "No such container: nobody" in one_line(refused.stderr)


# --- the daemon


def test_series_go_on_after_a_crash_of_the_daemon(new_daemon: Callable[..., Daemon]) -> None:
    box = Box(new_daemon(*HERE))
    box.build()
    box.start("--name", "busy", script=BUSY)
    box.ok("run", "--name", "done", IMAGE, "true")
    eventually(lambda: value(box, "container_cpu_usage_seconds_total", name="busy") > 0.2)
    used = value(box, "container_cpu_usage_seconds_total", name="busy")
    begun = value(box, "container_start_time_seconds", name="busy")
    box.daemon.kill()
    box.daemon.start()
    assert value(box, "container_cpu_usage_seconds_total", name="busy") > used
    assert value(box, "container_start_time_seconds", name="busy") == begun
    assert value(box, "orlop_containers", state="running") == 1
    assert value(box, "orlop_containers", state="exited") == 1
    # What it had used before this agent looked is not this agent's count.
    new = value(box, "orlop_containers_cpu_usage_seconds_total")
    assert new <= value(box, "container_cpu_usage_seconds_total", name="busy") - used
    box.ok("stop", "-t", "0", "busy")
    assert value(box, "orlop_container_exits_total", reason="stopped") == 1


def test_an_address_in_use_is_an_error_only_if_it_was_asked_for(
    new_daemon: Callable[..., Daemon],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(AssertionError) as failed:
            new_daemon("--metrics-addr", address)
        assert f"orlop daemon: cannot serve metrics on {address}: another" in str(failed.value)
        assert "Traceback" not in str(failed.value)
    with socket.socket() as taken:
        with suppress(OSError):  # then it is taken by somebody else
            taken.bind(("127.0.0.1", DEFAULT_PORT))
            taken.listen()
        daemon = new_daemon("--metrics-addr", "")
        assert "WARNING orlop.metrics cannot serve metrics on" in daemon.log
        assert "container_memory_usage_bytes" in by_socket(daemon)[1]


def test_without_metrics_nothing_of_them_is_there(new_daemon: Callable[..., Daemon]) -> None:
    box = Box(new_daemon())
    box.build()
    box.start("--name", "on")
    for path in ("/metrics", "/containers/on/stats"):
        status, answer = box.daemon.request("GET", path)
        assert status == 503
        assert "--metrics-addr off" in answer["message"]


def test_serving_metrics_is_not_imported_by_the_daemon_before_it_is_asked_to() -> None:
    script = "import sys, supervisor.daemon.main; print('metrics.serve' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
