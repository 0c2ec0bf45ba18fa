"""Each test here runs in a "host" of its own: its thread is in a new network namespace."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from netplumb.apply.plumber import Plumber, open_plumber
from netplumb.apply.settings import Settings
from netplumb.plan.model import Endpoint
from tests.kernel.netplumb.rig import Container, Outside, own_host
from tests.support.pace import IN_GUEST

HERE = Path(__file__).parent
NEEDED = ("bridge", "veth", "nftables")


@pytest.hookimpl(tryfirst=True)  # before -m is applied
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Say what these tests need. A guest without it leaves them out: the host has run them."""
    here = [item for item in items if item.path.is_relative_to(HERE)]
    for item in here:
        item.add_marker(pytest.mark.feature(*NEEDED))
    if here and IN_GUEST and lacks_something():
        config.hook.pytest_deselected(items=here)
        items[:] = [item for item in items if item not in here]


def lacks_something() -> bool:
    """This kernel has not all that is needed."""
    from supervisor.kernel.probe import probe

    return any(feature.name in NEEDED and feature.status != "ok" for feature in probe())


@pytest.fixture(autouse=True)
def host() -> Iterator[None]:
    """The namespace that the test is in."""
    with own_host():
        yield


@pytest.fixture
def reports() -> list[str]:
    """What the plumber had to say."""
    return []


@pytest.fixture
async def plumber(host: None, reports: list[str]) -> AsyncIterator[Plumber]:
    """One with the default settings."""
    async with open_plumber(Settings(report=reports.append)) as plumber:
        yield plumber


@pytest.fixture
def container(host: None) -> Iterator[Callable[..., Container]]:
    """`container(endpoint, …)`: a namespace for these, not connected yet."""
    made: list[Container] = []

    def make(*endpoints: Endpoint) -> Container:
        made.append(Container(*endpoints))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def outside(host: None) -> Iterator[Outside]:
    """Another machine, on the host's uplink."""
    other = Outside()
    yield other
    other.close()
