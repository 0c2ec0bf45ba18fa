"""Networked containers whose lives end in every unpleasant way: nothing of them is left."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.api.box import IMAGE, eventually
from tests.api.network_box import SPARE_SANDBOXES, Footprint, NetworkBox
from tests.support.network_storm import Storm, namespaces_held

pytestmark = pytest.mark.feature("bridge", "veth", "nftables")

HALF = 30


def test_a_storm_of_kills_leaves_nothing(new_net: Callable[..., NetworkBox]) -> None:
    net = new_net()
    storm = Storm(net.daemon, IMAGE, ["bridge", net.network()])
    storm.run(len(storm.networks) * 5)  # once of everything: what is kept for ever is no leak
    at_rest(net)
    before = Footprint.take(net)
    storm.run(HALF, crashes=1)
    at_rest(net)
    net.settle(before)
    namespaces, descriptors = namespaces_held(net.daemon), open_files(net)
    storm.run(HALF)
    at_rest(net)
    net.settle(before)
    assert not storm.surprises, "\n".join(storm.surprises)
    assert storm.happened["crash"] == 1
    eventually(lambda: namespaces_held(net.daemon) == namespaces)
    eventually(lambda: open_files(net) <= descriptors)


def open_files(net: NetworkBox) -> int:
    """The number of the daemon's descriptors."""
    return net.daemon.open_files()


def at_rest(net: NetworkBox) -> None:
    """No pair is left but those of the spare sandboxes, of which none is missing."""
    eventually(lambda: Footprint.take(net).links["a pair"] == SPARE_SANDBOXES)
