"""One daemon and one image per module; what a test leaves there is removed after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.api.box import IMAGE, Box, eventually
from tests.api.network_box import SPARE_SANDBOXES, Footprint, NetworkBox, network_box
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


@pytest.fixture(scope="module")
def networked() -> Iterator[tuple[NetworkBox, list[Footprint]]]:
    """The module's daemon that has networks, and what its machine has looked like at rest."""
    with network_box() as box:
        with_ipv6 = box.network("--ipv6", "--subnet", "fd77::/64")  # forwarding stays on after it
        box.docker("run", "--rm", "--network", with_ipv6, IMAGE, "true")
        box.remove_all()
        eventually(lambda: Footprint.take(box).links["a pair"] == SPARE_SANDBOXES)
        yield box, [Footprint.take(box)]


@pytest.fixture
def net(networked: tuple[NetworkBox, list[Footprint]]) -> Iterator[NetworkBox]:
    """The same for one test; its containers and networks are removed, and nothing else is left."""
    box, at_rest = networked
    yield box
    box.remove_all()
    try:
        box.settle(at_rest[-1])
    except AssertionError:
        at_rest.append(Footprint.take(box))  # what is left fails this test, not all others
        raise


@pytest.fixture
def new_net() -> Iterator[Callable[..., NetworkBox]]:
    """`new_net(*arguments)`: a daemon with networks of the test's own, which it may kill."""
    with ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(network_box(*arguments))
