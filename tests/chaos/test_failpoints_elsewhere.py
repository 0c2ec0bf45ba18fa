"""R2 for what is not a container's life: images that come and go, networks, start-up itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from urllib.parse import quote

import pytest

from supervisor.failpoints.registry import CANNOT_FAIL, POINTS
from tests.api.box import FOREVER, eventually
from tests.api.network_box import SPARE_SANDBOXES, Footprint, Machine, NetworkBox
from tests.chaos.rig import FULL, OBEDIENT, Gone, Refused, Rig
from tests.support import image_tars as made
from tests.support import nest, places
from tests.support.daemon import Daemon, Warden
from tests.support.network_storm import kill, shim_of
from tests.support.oci_layout import image
from tests.support.registry import running_registry

IMAGES = [name for name in POINTS if name.startswith("image.")]
FEW_IMAGES = ["image.layer", "image.row", "image.collect"]
FEW_FAILED = ["image.layer", "image.row"]
NETWORKS = [name for name in POINTS if name.startswith("network.")]
FEW_NETWORKS = ["network.connected"]
TAG = "loaded:1"


# --- images


@pytest.fixture(scope="module")
def archive() -> bytes:
    """An image of three layers."""
    return made.docker_archive([(made.many_layers(3), [TAG])])


def bring_and_take(rig: Rig, archive: bytes) -> str:
    """Load the image, then remove it; the step that was not acknowledged, "" for none."""
    try:
        rig.ask("POST", "/images/load?quiet=1", data=archive)
    except (Gone, Refused):
        return "load"
    try:
        rig.ask("DELETE", f"/images/{TAG}")
    except (Gone, Refused):
        return "rm"
    return ""


def tags(rig: Rig) -> set[str]:
    """All names of images."""
    return {tag for one in rig.ask("GET", "/images/json") for tag in one["RepoTags"]}


def whole_or_gone(rig: Rig, archive: bytes, broken: str) -> None:
    """The image is there and can be used, or is not at all; then it comes and goes once more."""
    if TAG in tags(rig):
        rig.ask("POST", "/containers/create?name=of-it", {"Image": TAG, "Cmd": ["true"]})
        rig.ask("POST", "/containers/of-it/start")
        assert rig.ask("POST", "/containers/of-it/wait")["StatusCode"] == 0
        rig.ask("DELETE", "/containers/of-it")
        rig.ask("DELETE", f"/images/{TAG}")
    assert bring_and_take(rig, archive) == "", broken
    assert TAG not in tags(rig)


@pytest.mark.parametrize("name", IMAGES if FULL else FEW_IMAGES)
def test_an_image_killed(rig: Rig, archive: bytes, name: str) -> None:
    assert rig.restart(f"{name}=kill")
    broken = bring_and_take(rig, archive)
    assert broken, "nothing passes this point"
    rig.restart()
    whole_or_gone(rig, archive, broken)


def test_an_image_failed(rig: Rig, archive: bytes) -> None:
    for name in [n for n in IMAGES if n not in CANNOT_FAIL] if FULL else FEW_FAILED:
        assert rig.restart(f"{name}=error:ENOSPC*1")
        broken = bring_and_take(rig, archive)
        assert f"failpoint {name}: error" in rig.daemon.log
        assert rig.daemon.running
        whole_or_gone(rig, archive, broken)
        rig.restart()  # what could not be put away goes at a start


# --- a pull


@pytest.mark.parametrize("skipped", [0, 1, 2] if FULL else [1])
def test_a_pull_killed(rig: Rig, skipped: int) -> None:
    """Before the download of a layer: what is there of it is no image, and the next pull is."""
    with places.short_folder() as folder, running_registry(folder) as registry:
        registry.put("chaos/pulled:1", image({"a": b"a"}, {"b": b"b"}, {"c": b"c"}))
        name = f"{registry.address}/chaos/pulled"
        path = f"/images/create?fromImage={quote(name)}&tag=1"
        assert rig.restart(f"pull.blob=kill@{skipped}")
        with pytest.raises(Gone):
            rig.ask("POST", path)
        rig.restart()
        assert f"{name}:1" not in tags(rig)
        rig.restart("pull.blob=delay:0.05")
        rig.ask("POST", path)
        assert f"{name}:1" in tags(rig)
        rig.ask("DELETE", f"/images/{name}:1")


# --- networks


@pytest.fixture(scope="module")
def far() -> Iterator[tuple[Rig, NetworkBox]]:
    """A nest on a machine of its own, whose daemon has networks."""
    with places.short_folder() as folder, closing(Machine(folder)) as machine:
        warden = Warden(machine.inside(list(nest.COMMAND)))
        daemon = Daemon(folder, networked=True, warden=warden)
        try:
            daemon.start()
            box = NetworkBox(daemon, machine)
            box.build()
            box.run("--network", box.network(), script="true")  # what is made once and kept
            box.remove_all()
            yield Rig(daemon), box
        finally:
            if not daemon.running:
                daemon.start()
            daemon.close()


def join_and_leave(rig: Rig) -> str:
    """A network is made, a running container comes into it, all goes; the step that broke."""
    steps: dict[str, Callable[[], object]] = {
        "create": lambda: rig.ask("POST", "/networks/create", {"Name": "around"}),
        "connect": lambda: rig.ask("POST", "/networks/around/connect", {"Container": "in-it"}),
        "rm": lambda: rig.ask("DELETE", "/containers/in-it?force=1"),
        "network rm": lambda: rig.ask("DELETE", "/networks/around"),
    }
    rig.create("in-it", *FOREVER)
    rig.ask("POST", "/containers/in-it/start")
    for step, take in steps.items():
        try:
            take()
        except (Gone, Refused):
            return step
    return ""


@pytest.mark.parametrize("name", NETWORKS if FULL else FEW_NETWORKS)
@pytest.mark.feature("nftables")
def test_a_network(far: tuple[Rig, NetworkBox], name: str) -> None:
    rig, box = far
    rig.restart()
    eventually(lambda: Footprint.take(box).links["a pair"] == SPARE_SANDBOXES)
    before = Footprint.take(box)
    actions = ("kill", "delay:0.05") if name in CANNOT_FAIL else ("kill", "error:ENOSPC*1")
    for action in actions:
        assert rig.restart(f"{name}={action}")
        broken = join_and_leave(rig)
        assert bool(broken) == (not action.startswith("delay")), (action, broken)
        rig.restart()
        if broken in {"connect", "rm"}:
            assert rig.status("in-it") == "running"
        networks = (
            box.inspect("in-it")["NetworkSettings"]["Networks"] if broken == "connect" else ()
        )
        if networks and "around" not in networks:
            rig.ask("POST", "/networks/around/connect", {"Container": "in-it"})
        box.remove_all()
        assert join_and_leave(rig) == ""
        box.settle(before)


# --- exec sessions


def test_a_session_is_killed_on_its_way_by_its_containers_end(rig: Rig) -> None:
    """Its shim, whose memory it may have had, tells the code all the same."""
    assert rig.restart("exec.execve=delay:30")
    rig.create("ends", *OBEDIENT)
    rig.ask("POST", "/containers/ends/start")
    rig.ready("ends")
    for _ in range(3):
        made = rig.ask("POST", "/containers/ends/exec", {"Cmd": ["true"]})

        def begin(session: str = made["Id"]) -> None:
            with suppress(Gone, Refused):
                rig.ask("POST", f"/exec/{session}/start", {"Detach": True})

        threading.Thread(target=begin, daemon=True).start()
    # The container's own, and three that wait.
    eventually(lambda: len(rig.ask("GET", "/containers/ends/top")["Processes"]) == 4)
    rig.ask("POST", "/containers/ends/kill?signal=TERM")
    assert rig.ask("POST", "/containers/ends/wait")["StatusCode"] == 7
    state = rig.state("ends")
    assert state is not None
    assert (state["ExitCode"], state["Error"]) == (7, "")


# --- start-up


@pytest.mark.parametrize("name", ["recover.settle", "recover.sweep"])
def test_killed_while_it_recovers(rig: Rig, name: str) -> None:
    """The second supervisor dies of what the first one left, the third one is fine."""
    kept = rig.up("kept")
    rig.up("lost")
    shim = shim_of(str(rig.box.inspect("lost")["Id"]))
    rig.daemon.kill()
    assert kill(shim)
    assert not rig.start(f"{name}=kill")
    assert rig.start()
    eventually(lambda: rig.status("lost") == "exited")
    state = rig.state("lost")
    assert state is not None
    assert state["ExitCode"] == 137
    now = rig.state("kept")
    assert now is not None
    assert (now["Status"], now["Pid"]) == ("running", kept)
