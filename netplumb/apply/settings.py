"""How the container network is to be kept."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from netplumb.apply.forwarding import Forwarding
from netplumb.plan.names import Identity

MARK = 0x2000  # others' habits: Kubernetes has 0x4000 and 0x8000, Tailscale 0xff0000


def _say_nothing(message: str) -> None:
    pass


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`mark` is the bit of the packet mark that is ours. With `guard_strangers` a host that
    forwards only because of us forwards nothing but our networks' packets. `own_tables` is whether
    nobody else may change the firewall's tables (where the kernel can do that). `forwarding` is
    what `Plumber.forwarding` was at the last time. `report` gets sentences for the log.
    """

    identity: Identity = msgspec.field(default_factory=Identity)
    mark: int = MARK
    guard_strangers: bool = True
    own_tables: bool = True
    forwarding: Forwarding = msgspec.field(default_factory=Forwarding)
    report: Callable[[str], None] = _say_nothing
