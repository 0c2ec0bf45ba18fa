"""What is asked of a daemon, in which order, and what is undone where something fails."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from supervisor.cli.apply import seen
from supervisor.cli.apply.conditions import await_condition, reached
from supervisor.cli.apply.draft import COMPLETED, HEALTHY, STARTED
from supervisor.cli.apply.observe import container_of
from supervisor.cli.apply.replace import Replacement, with_volumes
from supervisor.cli.client import Client
from supervisor.cli.failures import DaemonError, Failure
from tests.unit.cli.conftest import Orlop
from tests.unit.cli.fake_daemon import Exchange, FakeDaemon

OLD = "0123456789abcdef"
ASIDE = "shop-db-1_replaced_0123456789ab"
BODY: dict[str, Any] = {"Image": "box", "HostConfig": {}}


def replaceable(daemon: FakeDaemon) -> None:
    """A daemon that does all that replacing a container asks of it."""
    daemon.on_json("POST", f"/containers/{OLD}/rename", None, 204)
    daemon.on_json("POST", "/containers/create", {"Id": "new", "Warnings": ["mind it"]}, 201)
    daemon.on_json("POST", f"/containers/{OLD}/stop", None, 204)
    daemon.on_json("POST", f"/containers/{OLD}/start", None, 204)
    daemon.on_json("POST", "/containers/new/start", None, 204)
    daemon.on_json("DELETE", f"/containers/{OLD}", None, 204)
    daemon.on_json("DELETE", "/containers/new", None, 204)


def replaced(daemon: FakeDaemon, status: str = "running") -> list[str]:
    """The warnings of a replacement."""
    warnings: list[str] = []
    old = seen.Container(id=OLD, name="shop-db-1", status=status)
    with Client(daemon.address) as client:
        Replacement(client, old, "shop-db-1", BODY, warnings.append).run()
    return warnings


def asked(daemon: FakeDaemon) -> list[str]:
    """What was asked, short."""
    short = [
        f"{request.method} {request.path.removeprefix('/containers/')}"
        + (f" {request.query['name']}" if "name" in request.query else "")
        for request in daemon.requests
    ]
    return [line.replace(OLD, "old") for line in short]


def test_the_old_container_is_there_until_the_new_one_runs(daemon: FakeDaemon) -> None:
    replaceable(daemon)
    assert replaced(daemon) == ["container shop-db-1: mind it"]
    assert asked(daemon) == [
        f"POST old/rename {ASIDE}",
        "POST create shop-db-1",
        "POST old/stop",
        "POST new/start",
        "DELETE old",
    ]
    assert "v" not in daemon.requests[-1].query  # volumes stay


def test_one_that_does_not_run_is_not_stopped(daemon: FakeDaemon) -> None:
    replaceable(daemon)
    replaced(daemon, "exited")
    assert "POST old/stop" not in asked(daemon)


def test_a_failed_creation_gives_the_name_back(daemon: FakeDaemon) -> None:
    replaceable(daemon)
    daemon.on_error("POST", "/containers/create", 400, "no such thing")
    with pytest.raises(DaemonError, match="no such thing"):
        replaced(daemon)
    assert asked(daemon) == [
        f"POST old/rename {ASIDE}",
        "POST create shop-db-1",
        "POST old/rename shop-db-1",
    ]


@pytest.mark.parametrize("status", ["running", "exited"])
def test_a_failed_start_brings_the_old_one_back(daemon: FakeDaemon, status: str) -> None:
    replaceable(daemon)
    daemon.on_error("POST", "/containers/new/start", 500, "port is taken")
    with pytest.raises(DaemonError, match="port is taken"):
        replaced(daemon, status)
    started = ["POST old/start"] if status == "running" else []
    after = asked(daemon)[asked(daemon).index("POST new/start") + 1 :]
    assert after == ["DELETE new", "POST old/rename shop-db-1", *started]


def test_what_fails_while_undoing_does_not_hide_the_reason(daemon: FakeDaemon) -> None:
    replaceable(daemon)
    daemon.on_error("POST", "/containers/new/start", 500, "port is taken")
    daemon.on_error("DELETE", "/containers/new", 500, "not now")
    with pytest.raises(DaemonError, match="port is taken"):
        replaced(daemon)


def test_anonymous_volumes_go_to_the_new_container() -> None:
    old = seen.Container(
        id=OLD, name="x", anonymous={"/cache": "c1", "/d": "d1", "/m": "m1", "/t": "t1"}
    )
    body = {
        "Volumes": {"/cache": {}, "/more": {}},
        "HostConfig": {
            "Binds": ["shop_d:/d:ro"],
            "Mounts": [{"Type": "bind", "Source": "/s", "Target": "/m"}],
            "Tmpfs": {"/t": ""},
        },
    }
    made = with_volumes(body, old)
    assert made["Volumes"] == {"/more": {}}
    assert made["HostConfig"]["Mounts"][1:] == [
        {"Type": "volume", "Source": "c1", "Target": "/cache"}
    ]
    assert with_volumes(body, seen.Container(id=OLD, name="x")) is body


# --- conditions


@pytest.mark.parametrize(
    "condition, state, so_far",
    [
        (STARTED, {"status": "running"}, True),
        (STARTED, {"status": "created"}, False),
        (STARTED, {"status": "exited", "exit_code": 1}, True),
        (HEALTHY, {"status": "running", "health": "starting"}, False),
        (HEALTHY, {"status": "running", "health": "healthy"}, True),
        (HEALTHY, {"status": "created"}, False),
        (HEALTHY, {"status": "restarting", "health": "starting"}, False),
        (HEALTHY, {"status": "running"}, "has no healthcheck"),
        (HEALTHY, {"status": "running", "health": "unhealthy"}, "is unhealthy"),
        (HEALTHY, {"status": "exited", "exit_code": 3, "health": "starting"}, "with status 3"),
        (COMPLETED, {"status": "running"}, False),
        (COMPLETED, {"status": "exited"}, True),
        (COMPLETED, {"status": "exited", "exit_code": 3}, "was to complete and ended with"),
    ],
)
def test_conditions(condition: str, state: dict[str, Any], so_far: bool | str) -> None:
    container = seen.Container(id=OLD, name="x", **state)
    if isinstance(so_far, str):
        with pytest.raises(Failure, match=so_far):
            reached(container, "x", condition)
    else:
        assert reached(container, "x", condition) is so_far


def test_one_that_is_gone() -> None:
    with pytest.raises(Failure, match="container x is gone"):
        reached(None, "x", HEALTHY)


def view(status: str, health: str = "", code: int = 0, **more: Any) -> dict[str, Any]:
    """What inspect answers of a container."""
    state: dict[str, Any] = {"Status": status, "ExitCode": code}
    if health:
        state["Health"] = {"Status": health}
    return {
        "Id": OLD,
        "Name": "/x",
        "Image": "sha256:1",
        "State": state,
        "Config": {"Labels": None},
        "HostConfig": {"RestartPolicy": {"Name": "no"}},
        "Mounts": [],
        **more,
    }


def test_it_is_looked_at_again_at_each_event(daemon: FakeDaemon) -> None:
    states = [view("running", "starting"), view("running", "starting"), view("running", "healthy")]
    daemon.on("GET", "/containers/x/json", lambda exchange: exchange.reply(states.pop(0)))

    def events(exchange: Exchange) -> None:
        assert json.loads(exchange.request.query["filters"])["container"] == {"x": True}
        exchange.begin(200)
        exchange.piece(b"{}\n")
        exchange.piece(b"{}\n")
        exchange.end()

    daemon.on("GET", "/events", events)
    with Client(daemon.address) as client:
        await_condition(client, "x", HEALTHY, time.monotonic() + 60)
    assert states == []
    assert daemon.paths()[0] == "GET /events"  # before the first look: none is missed


def test_what_takes_too_long_is_told(daemon: FakeDaemon) -> None:
    daemon.on_json("GET", "/containers/x/json", view("running", "starting"))
    daemon.on("GET", "/events", lambda exchange: exchange.begin(200))
    with (
        Client(daemon.address) as client,
        pytest.raises(Failure, match="container x was not healthy in time"),
    ):
        await_condition(client, "x", HEALTHY, time.monotonic() + 0.05)


@pytest.mark.parametrize(
    "code, past, completed",
    [
        (0, {}, True),
        (0, {"OrlopHistory": [{"Reason": "error"}, {"Reason": "completed"}]}, True),
        (0, {"OrlopHistory": [{"Reason": "completed"}, {"Reason": "stopped"}]}, False),
        (1, {}, False),
    ],
)
def test_whether_it_has_ended_by_itself(code: int, past: dict[str, Any], completed: bool) -> None:
    assert container_of(view("exited", code=code, **past)).completed is completed


def test_its_anonymous_volumes() -> None:
    mounts = [
        {"Type": "volume", "Name": "a" * 64, "Destination": "/a"},
        {"Type": "volume", "Name": "data", "Destination": "/b"},
        {"Type": "bind", "Source": "/c", "Destination": "/c"},
    ]
    assert container_of(view("running", Mounts=mounts)).anonymous == {"/a": "a" * 64}


# --- the command


FILE = "name: shop\nservices:\n  db: {image: box, network_mode: none}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "orlop.yaml"
    path.write_text(FILE)
    return path


@pytest.fixture
def empty(daemon: FakeDaemon) -> FakeDaemon:
    """A daemon with an image and nothing else."""
    daemon.on_json("GET", "/images/box/json", {"Id": "sha256:1"})
    daemon.on_json("GET", "/containers/json", [])
    daemon.on_error("GET", "/containers/shop-db-1/json", 404, "No such container: shop-db-1")
    daemon.on_json("GET", "/networks", [])
    daemon.on_json("GET", "/volumes", {"Volumes": None})
    return daemon


def test_what_is_asked_for_a_new_container(
    empty: FakeDaemon, orlop: Orlop, file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    empty.on_json("POST", "/containers/create", {"Id": "new", "Warnings": []}, 201)
    empty.on_json("POST", "/containers/new/start", None, 204)
    assert orlop("apply", str(file)) == 0
    assert capfd.readouterr().out == "+ create container shop-db-1\nshop: 1 created\n"
    request = empty.only("POST", "/containers/create")
    assert request.query == {"name": "shop-db-1"}
    labels = request.body.pop("Labels")
    assert request.body == {"Image": "box", "HostConfig": {"NetworkMode": "none"}}
    assert json.loads(labels.pop("orlop.apply.config")) == request.body
    assert len(labels.pop("orlop.apply.config-hash")) == 64
    assert labels == {
        "orlop.apply.project": "shop",
        "orlop.apply.service": "db",
        "orlop.apply.number": "1",
    }


def test_the_default_network_is_looked_for_where_it_is_wanted(
    empty: FakeDaemon, orlop: Orlop, file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file.write_text(FILE.replace("none", "bridge"))
    assert orlop("apply", "--dry-run", str(file)) == 1
    assert "the daemon has no default network" in capfd.readouterr().err
    empty.on_json("GET", "/networks", [{"Name": "bridge", "Id": "b", "Labels": {}}])
    empty.on_json("GET", "/networks/b", {"Containers": {}})
    assert orlop("apply", "--dry-run", str(file)) == 0
    assert capfd.readouterr().out == "+ create container shop-db-1\n"


def test_a_daemon_that_refuses(
    empty: FakeDaemon, orlop: Orlop, file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    empty.on_error("POST", "/containers/create", 409, "no room")
    assert orlop("apply", str(file)) == 1
    assert capfd.readouterr() == ("", "orlop: cannot create container shop-db-1: no room\n")


def test_what_is_done_before_a_failure_stays_and_is_told(
    empty: FakeDaemon, orlop: Orlop, file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file.write_text(FILE.replace("none", "none, volumes: ['data:/d']") + "volumes: {data: }\n")
    empty.on_json("POST", "/volumes/create", {"Name": "shop_data"}, 201)
    empty.on_error("POST", "/containers/create", 409, "no room")
    assert orlop("apply", str(file)) == 1
    assert capfd.readouterr() == (
        "+ create volume shop_data\n",
        "orlop: cannot create container shop-db-1: no room; what is listed as done stays\n",
    )


def test_a_dry_run_asks_for_no_change(empty: FakeDaemon, orlop: Orlop, file: Path) -> None:
    assert orlop("apply", "--dry-run", "--pull", "always", str(file)) == 0
    assert orlop("apply", "--dry-run", "--exit-code", str(file)) == 2
    assert orlop("apply", "--dry-run", "--exit-code", "--down", str(file)) == 0
    assert {request.method for request in empty.requests} == {"GET"}


def test_an_image_that_is_never_to_be_pulled(
    empty: FakeDaemon, orlop: Orlop, file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    empty.on_error("GET", "/images/box/json", 404, "No such image: box")
    assert orlop("apply", "--pull", "never", str(file)) == 1
    said = "orlop: image box is not here, and is never to be pulled: nothing was done\n"
    assert capfd.readouterr() == ("", said)
    assert {request.method for request in empty.requests} == {"GET"}


def test_a_wrong_file_is_told_of_without_a_daemon(
    tmp_path: Path, orlop: Orlop, daemon: FakeDaemon, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "f.yaml"
    path.write_text("services:\n  a: {imag: x}\n  b: {image: x, build: .}\n")
    assert orlop("apply", str(path)) == 1
    assert capfd.readouterr() == (
        "",
        (
            f"{path}:2:3: services.a has no image\n"
            f"{path}:2:7: unknown key 'imag' in services.a: did you mean 'image'?\n"
            f"{path}:3:17: build is not supported: build the image with buildah, give it to"
            " this host by orlop load, and name it by image\n"
            f"orlop: {path} has 3 errors: nothing was done\n"
        ),
    )
    assert daemon.requests == []


@pytest.mark.parametrize(
    "words, status, said",
    [
        (["none.yaml"], 1, "open none.yaml: No such file or directory"),
        (["--exit-code", "f"], 1, "--exit-code goes with --dry-run"),
        (["--project", "X", "f"], 125, 'invalid argument "X" for "-p, --project" flag'),
        (["--timeout", "0", "f"], 125, "a time above 0 is expected, as 90s"),
        (["--pull", "often", "f"], 125, "always, missing or never is expected"),
        ([], 1, "'orlop apply' requires 1 argument"),
    ],
)
def test_a_wrong_command_line(
    orlop: Orlop, words: list[str], status: int, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert orlop("apply", *words) == status
    assert said in capfd.readouterr().err


def test_stdin_and_variables_beside_the_file(
    empty: FakeDaemon,
    orlop: Orlop,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / ".env").write_text("IMAGE=box\nNAME=behind\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAME", "shop")
    text = FILE.replace("box", "'${IMAGE}'").replace("name: shop", "name: ${NAME}")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert orlop("apply", "--dry-run", "-") == 0
    assert capfd.readouterr().out == "+ create container shop-db-1\n"
    nameless = "services: {db: {image: box}}"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(nameless.encode())))
    assert orlop("apply", "--dry-run", "-") == 1
    assert "stdin:1:1: the project has no name" in capfd.readouterr().err


def test_other_commands_do_not_load_yaml() -> None:
    script = (
        "import sys; from supervisor.cli.main import find; find('ps');"
        "print({'yaml'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("set()\n", "")
