"""Groups of a test's own, below a parent of its own, in whatever layout this host has."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from supervisor.kernel.cgroups import Group, Hierarchy, detect
from tests.kernel.metrics.rig import wait_for
from tests.support.places import random_name


@pytest.fixture
def hierarchy() -> Iterator[Hierarchy]:
    """A parent; it and every group in it are removed after the test."""
    hierarchy = Hierarchy(detect(), random_name())
    hierarchy.prepare()
    yield hierarchy
    for name in hierarchy.names():
        left = hierarchy.open(name)
        if os.path.isdir(left.paths.unified):
            left.kill()  # what a failed test left running
            assert wait_for(lambda left=left: not left.populated())  # type: ignore[misc]
        left.remove()
    hierarchy.remove()


@pytest.fixture
def group(hierarchy: Hierarchy) -> Group:
    """One group."""
    return hierarchy.create("one")
