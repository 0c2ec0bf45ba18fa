"""One daemon and one image per module; what a test leaves there is removed after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.api.box import Box
from tests.support.daemon import Daemon


@pytest.fixture(scope="module")
def built(daemon: Daemon) -> Box:
    """The module's daemon, with its image."""
    box = Box(daemon)
    box.build()
    return box


@pytest.fixture
def box(built: Box) -> Iterator[Box]:
    """The same for one test, whose containers are removed after it."""
    yield built
    built.remove_all()


@pytest.fixture
def new_box(new_daemon: Callable[..., Daemon]) -> Box:
    """A daemon of the test's own, which it may kill."""
    box = Box(new_daemon())
    box.build()
    return box
