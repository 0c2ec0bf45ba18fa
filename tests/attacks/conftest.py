"""One daemon and one image per module; after each test the host is as it was."""

from __future__ import annotations

import faulthandler
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.box import Box
from tests.attacks import boxes
from tests.attacks.rounds import rounds
from tests.support import places, procfs
from tests.support.daemon import Daemon, running_daemon
from tests.support.tar_corpus import Canary


@pytest.fixture(autouse=True)
def no_hurry() -> None:
    """A thousand rounds take longer than a test that hangs (faulthandler_timeout)."""
    if rounds(0):
        faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """Root of a container is the host's by default here, who could do the most harm; what is tried
    with user ids of its own says so."""
    with running_daemon(("--userns", "host")) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def built(daemon: Daemon) -> Box:
    """The module's daemon, with its image."""
    box = Box(daemon)
    box.build()
    return box


@pytest.fixture(scope="module")
def canary() -> Iterator[Canary]:
    """A folder of the host with secrets (`SECRET`), which no container may read or change."""
    with places.short_folder() as folder:
        yield Canary(folder / "canary")


def _of_a_test(mount: procfs.Mount, canary: Canary) -> bool:
    """Other tests mount below folders of their own at the same time."""
    target = Path(mount.target)
    return target.is_relative_to(places.base()) and not target.is_relative_to(canary.path)


@pytest.fixture
def box(built: Box, canary: Canary) -> Iterator[Box]:
    """The same for one test: at its end the supervisor lives, and nothing of the host changed."""
    pid, log, before = built.daemon.pid, len(built.daemon.log), procfs.mounts()
    yield built
    built.remove_all()
    assert canary.unchanged()
    assert not [mount for mount in procfs.mounts() - before if not _of_a_test(mount, canary)]
    assert built.daemon.running
    assert built.daemon.pid == pid
    assert built.daemon.request("GET", "/_ping")[0] == 200
    assert "Traceback" not in built.daemon.log[log:]


@pytest.fixture(scope="module")
def dirty() -> Iterator[boxes.Cell]:
    """The module's daemon that was started with all that it must not pass on."""
    with boxes.dirty_cell() as cell:
        yield cell


@pytest.fixture
def cell(dirty: boxes.Cell) -> Iterator[boxes.Cell]:
    """The same for one test: at its end the host is as it was."""
    canary = boxes.Canary(dirty.daemon)
    yield dirty
    dirty.box.remove_all()
    canary.check()
