"""Switching the host's IP forwarding on, and what goes with that: for a KernelThread.

Documentation/networking/ip-sysctl.rst. It is switched on when the first network needs it and
never off: others may have come to rely on it.
"""

from __future__ import annotations

import msgspec

from netplumb.apply import sysctl
from netplumb.plan.operation import Setting

_FILES = {4: "ipv4/ip_forward", 6: "ipv6/conf/all/forwarding"}


class Forwarding(msgspec.Struct, frozen=True):
    """What forwarding was before we switched it on; None for what we left alone.

    To be kept by the caller: a later process cannot find it out.
    """

    ipv4: bool | None = None
    ipv6: bool | None = None

    @property
    def ours(self) -> frozenset[int]:
        """The IP versions that this host forwards because of us."""
        known = ((4, self.ipv4), (6, self.ipv6))
        return frozenset(version for version, before in known if before is False)


def look(known: Forwarding, *, ipv4: bool, ipv6: bool) -> Forwarding:
    """What is known, and what forwarding is now where it is wanted and nothing is known."""
    return Forwarding(
        _read(4) if ipv4 and known.ipv4 is None else known.ipv4,
        _read(6) if ipv6 and known.ipv6 is None else known.ipv6,
    )


def _read(version: int) -> bool | None:
    value = sysctl.read(_FILES[version])
    return None if value is None else value != "0"


def switch_on(*, ipv4: bool, ipv6: bool) -> None:
    """Switch on what is wanted."""
    for version, wanted in ((4, ipv4), (6, ipv6)):
        # A kernel without an IP version refuses that network's addresses.
        if wanted and _read(version) is False:
            if version == 6:
                _keep_router_advertisements()
            sysctl.write(Setting(_FILES[version], "1"))


def _keep_router_advertisements() -> None:
    """A router ignores other routers' advertisements, and the host would lose its own routes."""
    for name in sysctl.interfaces("ipv6"):
        path = f"ipv6/conf/{name}/accept_ra"
        if sysctl.read(path) == "1":
            sysctl.write(Setting(path, "2"))
