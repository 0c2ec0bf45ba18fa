"""`orlop apply` against a daemon: making a host as a file says, and again, and otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.api.box import Box, eventually
from tests.api.network_box import NetworkBox

DOCS = Path(__file__).parents[2] / "docs" / "apply.md"
NAME = "shop"
FILE = """\
name: shop
x-quick: &quick
  image: box
  network_mode: none
  stop_grace_period: 0s
services:
  web:
    <<: *quick
    command: [sh, -c, 'cat /data/made; exec sleep 100000']
    environment: {WHERE: "the web"}
    volumes: ["data:/data", /cache]
    depends_on:
      db: {condition: service_healthy}
      job: {condition: service_completed_successfully}
  db:
    <<: *quick
    command: sh -c "sleep 0.3; touch /ready; exec sleep 100000"
    healthcheck: {test: [CMD, test, -e, /ready], interval: 100ms, retries: 1000}
  job:
    <<: *quick
    command: sh -c "echo by the job >/data/made"
    volumes: ["data:/data"]
volumes:
  data:
"""


class Apply:
    """`orlop apply` of one file, which tests write."""

    def __init__(self, box: Box, folder: Path) -> None:
        self.box = box
        self.file = folder / "orlop.yaml"

    def run(self, text: str, *flags: str) -> CompletedProcess[str]:
        """Whatever the status."""
        self.file.write_text(text)
        return self.box.orlop("apply", *flags, str(self.file))

    def ok(self, text: str, *flags: str) -> list[str]:
        """The lines of one that must succeed."""
        done = self.run(text, *flags)
        assert done.returncode == 0, (done.stdout, done.stderr)
        return done.stdout.splitlines()

    def refused(self, text: str, *flags: str) -> str:
        """What one says that must fail."""
        done = self.run(text, *flags)
        assert done.returncode == 1, (done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done.stderr

    def id(self, service: str) -> str:
        """Of the one container of a service."""
        return str(self.box.inspect(f"{NAME}-{service}-1")["Id"])


@pytest.fixture
def apply(box: Box, tmp_path: Path) -> Iterator[Apply]:
    yield Apply(box, tmp_path)
    box.remove_all()
    box.ok("volume", "prune", "--all", "--force")


def test_a_project_from_its_beginning_to_its_end(apply: Apply) -> None:
    box = apply.box
    plan = apply.ok(FILE, "--dry-run")
    assert plan == [
        "+ create volume shop_data",
        "+ create container shop-db-1",
        "+ create container shop-job-1",
        "+ create container shop-web-1",
    ]
    assert box.ids() == []

    lines = apply.ok(FILE)
    assert [line for line in lines if not line.startswith(".")] == [*plan, "shop: 4 created"]
    (passed,) = (
        event for event in box.events("shop-db-1") if event["Action"] == "health_status: healthy"
    )
    (started,) = (event for event in box.events("shop-web-1") if event["Action"] == "start")
    assert passed["timeNano"] < started["timeNano"]
    assert box.logs("shop-web-1") == "by the job\n"

    unchanged = [
        "= unchanged volume shop_data",
        "= unchanged container shop-db-1",
        "= unchanged container shop-job-1 (completed)",
        "= unchanged container shop-web-1",
    ]
    assert apply.ok(FILE) == [*unchanged, "shop: nothing to do"]

    # One that was stopped on request is started again, the job is not.
    box.ok("stop", "shop-db-1")
    assert "> start container shop-db-1 (it had ended with status 137)" in apply.ok(FILE)
    assert box.status("shop-db-1") == "running"

    # What has changed is made anew, with its anonymous volume; nothing else is touched.
    db, web = apply.id("db"), apply.id("web")
    box.ok("exec", "shop-web-1", "touch", "/cache/kept")
    changed = FILE.replace("the web", "elsewhere")
    lines = apply.ok(changed, "--diff")
    assert '    environment.WHERE: "the web" -> "elsewhere"' in lines
    assert "~ recreate container shop-web-1 (environment changed)" in lines
    assert lines[-1] == "shop: 1 recreated"
    assert (apply.id("db") == db, apply.id("web") == web) == (True, False)
    assert box.ok("exec", "shop-web-1", "sh", "-c", "ls /cache; echo $WHERE") == "kept\nelsewhere"
    assert len(box.ids()) == 3
    assert apply.ok(changed)[-1] == "shop: nothing to do"

    # Without web, and without the job that only it has waited for.
    fewer = re.sub(r"(?ms)^  web:.*?(?=^  db:)|^  job:.*?(?=^volumes:)", "", FILE)
    done = apply.run(fewer)
    assert "note: container shop-web-1 belongs to the project and is not in the file" in done.stderr
    assert len(box.ids()) == 3
    assert "- remove container shop-web-1 (not in the file)" in apply.ok(fewer, "--remove-orphans")
    assert box.ids() == [db]

    assert apply.ok(FILE, "--down") == ["- remove container shop-db-1", "shop: 1 removed"]
    assert box.ids() == []
    assert box.ok("volume", "ls", "-q", "--filter", "name=shop") == "shop_data"


def test_what_fails_leaves_what_was_there(apply: Apply) -> None:
    box = apply.box
    simple = "name: shop\nservices:\n  db: {image: box, network_mode: none, command: sleep 1000,"
    simple += " stop_grace_period: 0s}\n"
    apply.ok(simple)
    db = apply.id("db")

    # An image that is not to be had: nothing is done to the other services either.
    said = apply.refused(
        simple.replace("sleep 1000", "sleep 1001")
        + "  web: {image: 'localhost:1/none', network_mode: none}\n"
    )
    assert "image localhost:1/none cannot be pulled" in said
    assert "nothing was done" in said
    assert (apply.id("db"), len(box.ids())) == (db, 1)

    # A network that this daemon (--bridge none) does not have.
    said = apply.refused(
        simple.replace("sleep 1000", "sleep 1001, volumes: ['data:/d']")
        + "  web: {image: box, network_mode: bridge}\nvolumes: {data: }\n"
    )
    assert "service web has network_mode: bridge, and the daemon has no default network" in said
    assert "nothing was done" in said
    assert (apply.id("db"), len(box.ids())) == (db, 1)
    assert not box.ok("volume", "ls", "-q")

    # A new container that cannot be started: the old one has its name again, and runs.
    said = apply.refused(simple.replace("sleep 1000", "/no/such/program"))
    assert "cannot recreate container shop-db-1: " in said
    assert (apply.id("db"), box.status("shop-db-1"), len(box.ids())) == (db, "running", 1)

    # One that cannot even be created.
    said = apply.refused(simple.replace("}", ", user: 'a:b:c:d', devices: [/dev/none/such]}"))
    assert (apply.id("db"), box.status("shop-db-1"), len(box.ids())) == (db, "running", 1), said

    # An error of the file, and all of them: with line and column.
    said = apply.refused(simple.replace("image", "imagee").replace("0s", "soon"))
    assert len(re.findall(r"^\S+orlop\.yaml:3:\d+: ", said, re.MULTILINE)) == 3, said
    assert said.endswith("has 3 errors: nothing was done\n")


def test_a_container_of_somebody_else(apply: Apply) -> None:
    box = apply.box
    text = "services: {db: {image: box, network_mode: none, command: sleep 1000}}"
    compose = "com.docker.compose.project=shop"
    other = box.start(
        "--stop-timeout", "0", "--network", "none", "--name", "shop-db-1", "--label", compose
    )
    said = apply.refused(text, "--project", "shop")
    assert "container shop-db-1 is there and made by docker compose for shop" in said
    assert box.ids() == [other]
    lines = apply.ok(text, "--project", "shop", "--take-over")
    assert lines[0] == "~ recreate container shop-db-1 (made by docker compose for shop)"
    assert other not in box.ids()
    assert apply.ok(text, "--project", "shop")[-1] == "shop: nothing to do"


def test_a_condition_that_is_not_met_in_time(apply: Apply) -> None:
    never = FILE.replace("touch /ready", "true")
    said = apply.refused(never, "--timeout", "200ms")
    assert "service web is not started: container shop-db-1 was not healthy in time" in said
    eventually(lambda: len(apply.box.ids()) == 2)


@pytest.mark.feature("bridge", "veth", "nftables", "nftables-bridge")
def test_networks_and_the_example_of_the_documentation(net: NetworkBox, tmp_path: Path) -> None:
    apply = Apply(net, tmp_path)
    (example,) = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    text = example.replace("registry.example/", "").replace(": 1s", ": 0s")
    lines = apply.ok(text)
    assert lines[-1] == "shop: 5 created"
    assert net.inside("shop-web-1", "wget", "-qO-", "http://store:8000/stock") == "12 apples"
    before = net.ids()
    assert apply.ok(text)[-1] == "shop: nothing to do"

    # A changed network is made anew with those that are in it.
    other = text.replace("10.95.0.0/24", "10.96.0.0/24")
    assert other != text
    lines = apply.ok(other)
    assert "~ recreate network shop_back (ipam changed)" in lines
    assert net.address("shop-db-1", "shop_back").startswith("10.96.0.")
    assert not set(before) & set(net.ids())
    eventually(lambda: net.inside("shop-web-1", "wget", "-qO-", "http://store:8000/stock"))

    apply.ok(other, "--down")
    assert (net.ids(), net.networks()) == ([], [])
    net.ok("volume", "prune", "--all", "--force")
