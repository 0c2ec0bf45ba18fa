"""One daemon for each module, at rest before and after each test, and the figures of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.api.box import eventually
from tests.chaos.rig import FULL, Rig, nested_rig
from tests.support import leaks

FIGURES: list[str] = []
# Older releases come from there.
HISTORY = Path(__file__).parents[2] / ".git"
collect_ignore = [
    *(() if HISTORY.exists() else ("test_upgrade.py",)),
    *(() if FULL else ("test_power.py",)),
]


@pytest.fixture(autouse=True)
def nothing_left() -> None:
    """Instead of the check after each test: a daemon that was killed is another process then."""


@pytest.fixture(scope="module", autouse=True)
def nothing_left_of_all(
    presence: leaks.Presence | None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Fail a module that leaves anything behind; what each of its tests leaves `rig` tells."""
    if presence is None:
        yield
        return
    watch = leaks.Watch(presence, tmp_path_factory.getbasetemp())
    yield
    left = watch.left(10)
    if left:
        pytest.fail("left behind:\n" + "\n".join(left), pytrace=False)


@pytest.fixture(scope="module")
def nested(nothing_left_of_all: None) -> Iterator[tuple[Rig, list[set[str]]]]:
    """The module's daemon, and what it has at rest."""
    with nested_rig() as rig:
        passing = ("process", "cgroup", "zygote", "file containers", "file trash", "file tmp")
        eventually(lambda: not [one for one in rig.remains() if one.startswith(passing)], 30)
        yield rig, [rig.remains()]


@pytest.fixture
def rig(nested: tuple[Rig, list[set[str]]]) -> Iterator[Rig]:
    """The same for one test, after which all it has made goes, and nothing else is left."""
    rig, at_rest = nested
    yield rig
    if not rig.daemon.running or rig.daemon.settings:
        rig.restart()
    rig.remove_all()
    try:
        rig.settled(at_rest[-1])
    except AssertionError:
        at_rest.append(rig.remains())  # what is left fails this test, not all others
        raise


@pytest.fixture
def tell() -> Callable[[str], None]:
    """`tell("R1: …")`: a figure for the end of the run, and for `make chaos`."""
    return lambda text: FIGURES.append(f"chaos {text}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The figures, one a line."""
    for line in FIGURES:
        terminalreporter.write_line(line)
