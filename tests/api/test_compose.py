"""Docker's compose plugin (version 2) with a project of three services."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.box import eventually
from tests.api.network_box import NetworkBox, page
from tests.kernel.netplumb.rig import Outside

pytestmark = pytest.mark.feature("bridge", "veth", "nftables", "nftables-bridge")

PLUGIN = Path(sys.executable).parent / "docker-compose-plugin"
NAME = "shop"
ERASE_LINE = "\x1b[2K"  # before each line of a log, also with --ansi never
SERVICES = """
services:
  data:
    image: box
    command: sh -c "echo kept >>/data/file; exec httpd -f -p 8000 -h /data"
    volumes: [kept:/data]
    stop_grace_period: 0s
  web:
    image: box
    command: ["sh", "-c", "echo hello from $$WHERE >/index.html; echo up; exec httpd -f -h /"]
    environment:
      WHERE: the web
      EMPTY: ""
    depends_on: [data]
    ports: ["8340:80", "127.0.0.1:8341:81/udp"]
    networks: {default: {aliases: [site]}}
    stop_grace_period: 0s
  once:
    image: box
    command: sh -c "until wget -qO- $$ALL >/all; do sleep 0.1; done; cat /all; exit 3"
    environment: ["ALL=http://data:8000/file http://site/"]
    depends_on:
      web: {condition: service_started}
volumes:
  kept: {}
networks:
  default:
    ipam: {config: [{subnet: 10.94.0.0/24}]}
"""


class Project:
    """`docker compose -p shop` with a file; the plugin is found as docker finds plugins."""

    def __init__(self, net: NetworkBox, folder: Path) -> None:
        self.net = net
        self.file = folder / "compose.yaml"
        self.file.write_text(SERVICES)
        config = folder / "docker"
        (config / "cli-plugins").mkdir(parents=True)
        (config / "cli-plugins" / "docker-compose").symlink_to(PLUGIN)
        self.environment = {**net.daemon.environment, "DOCKER_CONFIG": str(config)}
        del self.environment["DOCKER_API_VERSION"]  # it asks the daemon

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Any of its commands, whatever the status."""
        command = ["docker", "compose", "--ansi", "never", "-p", NAME, "-f", str(self.file)]
        return subprocess.run(
            [*command, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def ok(self, *arguments: str) -> str:
        """The output of one that must succeed."""
        done = self.run(*arguments)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done.stdout.replace(ERASE_LINE, "")

    def rows(self, *arguments: str) -> list[dict[str, Any]]:
        """What a command with `--format json` prints, an object a line."""
        return [json.loads(line) for line in self.ok(*arguments, "--format", "json").splitlines()]

    def states(self) -> dict[str, str]:
        """The state of each service's container."""
        return {row["Service"]: row["State"] for row in self.rows("ps", "--all")}


def shown(net: NetworkBox) -> str:
    """The page at the published port; "" while nobody serves it."""
    try:
        return page(net.outside, Outside.HOST4, 8340)
    except OSError:
        return ""


@pytest.fixture
def project(net: NetworkBox, tmp_path: Path) -> Iterator[Project]:
    it = Project(net, tmp_path)
    yield it
    it.run("down", "--volumes", "--timeout", "0")


def test_a_project_of_three_services(project: Project) -> None:
    net = project.net
    said = project.run("up", "--detach")
    assert said.returncode == 0, said
    assert net.networks() == [f"{NAME}_default"]
    eventually(lambda: project.states()["once"] == "exited")
    assert project.states() == {"data": "running", "web": "running", "once": "exited"}
    (once,) = (row for row in project.rows("ps", "--all") if row["Service"] == "once")
    assert once["ExitCode"] == 3
    assert project.ok("logs", "--no-log-prefix", "once") == "kept\nhello from the web\n"
    assert project.ok("logs", "web").split() == ["web-1", "|", "up"]
    assert project.ok("exec", "-T", "web", "sh", "-c", "echo $WHERE") == "the web\n"
    assert project.run("exec", "-T", "web", "sh", "-c", "exit 7").returncode == 7
    assert project.ok("port", "web", "80") == "0.0.0.0:8340\n"
    assert project.ok("port", "--protocol", "udp", "web", "81") == "127.0.0.1:8341\n"
    eventually(lambda: shown(net) == "hello from the web\n")
    assert net.address(f"{NAME}-web-1", f"{NAME}_default").startswith("10.94.0.")

    before = net.inspect(f"{NAME}-web-1")["Id"]
    project.ok("restart", "--timeout", "0", "web")
    eventually(lambda: project.ok("logs", "--no-log-prefix", "web") == "up\nup\n")
    eventually(lambda: shown(net) == "hello from the web\n")
    project.ok("up", "--detach", "web")  # nothing has changed: nothing is made anew
    assert net.inspect(f"{NAME}-web-1")["Id"] == before
    (volume,) = net.daemon.request("GET", "/volumes")[1]["Volumes"]
    assert volume["Name"] == f"{NAME}_kept"

    project.ok("down", "--timeout", "0")
    assert (net.ids(), net.networks()) == ([], [])
    project.ok("up", "--detach", "data")
    look = ("exec", "-T", "data", "cat", "/data/file")
    eventually(lambda: project.ok(*look) == "kept\nkept\n")
    project.ok("down", "--volumes", "--timeout", "0")
    assert (net.ids(), net.networks()) == ([], [])
    assert net.daemon.request("GET", "/volumes")[1]["Volumes"] == []


def test_its_other_commands(project: Project) -> None:
    net = project.net
    project.ok("create")
    assert set(project.states().values()) == {"created"}
    project.ok("start", "data", "web")
    assert project.ok("run", "--rm", "--no-deps", "-T", "once", "echo", "by hand") == "by hand\n"
    project.ok("up", "--detach", "--scale", "data=2", "--no-recreate", "data")
    assert len(project.ok("ps", "--quiet", "data").split()) == 2
    assert "httpd" in project.ok("top", "web")
    project.ok("pause", "web")
    assert project.states()["web"] == "paused"
    project.ok("unpause", "web")
    project.file.write_text(SERVICES.replace("the web", "elsewhere"))
    before = net.inspect(f"{NAME}-web-1")["Id"]
    project.ok("up", "--detach", "web")  # its environment has changed
    assert net.inspect(f"{NAME}-web-1")["Id"] != before
    assert project.ok("exec", "-T", "web", "sh", "-c", "echo $WHERE") == "elsewhere\n"
    project.file.with_name("note").write_text("a note")
    project.ok("cp", str(project.file.with_name("note")), "web:/tmp/note")
    assert project.ok("exec", "-T", "web", "cat", "/tmp/note") == "a note"
    project.ok("kill", "web")
    eventually(lambda: project.states()["web"] == "exited")
    project.ok("rm", "--force", "web")
    assert "web" not in project.states()
    (row,) = json.loads(project.ok("ls", "--format", "json"))
    assert row["Name"] == NAME


HEALTHY = """
services:
  slow:
    image: box
    command: sh -c "sleep 1; touch /ready; exec sleep 100000"
    healthcheck: {test: [CMD, test, -e, /ready], interval: 200ms, timeout: 5s, retries: 100}
    stop_grace_period: 0s
  after:
    image: box
    command: sleep 100000
    depends_on: {slow: {condition: service_healthy}}
    stop_grace_period: 0s
"""
NEVER_HEALTHY = HEALTHY.replace("/ready]", "/never]").replace("retries: 100", "retries: 2")


def test_a_service_waits_until_another_is_healthy(project: Project) -> None:
    project.file.write_text(HEALTHY)
    project.ok("up", "--detach")
    health = {row["Service"]: row["Health"] for row in project.rows("ps")}
    assert health == {"slow": "healthy", "after": ""}
    (passed,) = (
        event
        for event in project.net.events(f"{NAME}-slow-1")
        if event["Action"] == "health_status: healthy"
    )
    (started,) = (e for e in project.net.events(f"{NAME}-after-1") if e["Action"] == "start")
    assert passed["timeNano"] < started["timeNano"]


def test_a_service_is_not_started_after_one_that_is_unhealthy(project: Project) -> None:
    project.file.write_text(NEVER_HEALTHY)
    done = project.run("up", "--detach")
    assert done.returncode != 0
    assert f"container {NAME}-slow-1 is unhealthy" in done.stderr
    assert project.states() == {"slow": "running", "after": "created"}
