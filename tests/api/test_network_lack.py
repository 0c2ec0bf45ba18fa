"""A host that has what networks need, and one that lacks it: the guest, mostly."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from supervisor.kernel.probe import probe
from tests.api.box import Box
from tests.kernel.netplumb.rig import Space
from tests.support import places
from tests.support.daemon import Daemon

NEEDED = ("bridge", "veth", "nftables", "nftables-bridge")


@pytest.fixture
def box() -> Iterator[Box]:
    """A daemon with the default settings, in a network namespace of its own."""
    with places.short_folder() as folder:
        space, daemon = Space(), Daemon(folder, networked=True)
        net = f"--net=/proc/{os.getpid()}/fd/{space.fd}"
        daemon.command = ["nsenter", net, *daemon.command]
        try:
            daemon.start()
            box = Box(daemon)
            box.build()
            yield box
        finally:
            daemon.close()
            space.close()


def test_networks_or_the_reason_why_not(box: Box) -> None:
    """Without them the daemon works all the same, and says what is missing."""
    lacking = [one for one in probe() if one.name in NEEDED and one.status != "ok"]
    interfaces = box.output(script="ls /sys/class/net").split()
    made = box.daemon.docker("network", "create", "net")
    if not lacking:
        assert interfaces == ["eth0", "lo"]
        assert made.returncode == 0, made.stderr
        box.ok("network", "rm", "net")
        return
    assert interfaces == ["lo"]
    assert made.returncode == 1
    assert "this host has no container networks" in made.stderr
    assert "this host has no container networks" in box.daemon.log
    assert box.run("--network", "bridge", script="true").returncode == 125
    assert box.output("--network", "host", script="ls /sys/class/net") == "lo"
    names = box.ok("network", "ls", "--format", "{{.Name}}").split()
    assert "net" not in names
