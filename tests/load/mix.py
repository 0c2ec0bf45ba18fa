"""The containers of a load: what kinds there are, and which come in which order."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.bench.rig import IMAGE

LINES = 200
PORT = 8080
SECOND = 1_000_000_000  # in ns, as the API has times


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of container; `code` is the exit status of one that ends by itself, else None.

    `weight` is how many there are of it among those of all kinds; `lines` what it writes.
    """

    name: str
    weight: int
    command: tuple[str, ...]
    code: int | None = None
    lines: int = 0
    host: Mapping[str, Any] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)

    def body(self, network: str) -> dict[str, Any]:
        """The request that creates it; `network` is the mode, "none" or "bridge"."""
        host = dict(self.host)
        if network == "none":
            host.pop("PortBindings", None)
        return {
            "Image": IMAGE,
            "Cmd": self.command,
            **self.more,
            "HostConfig": {"NetworkMode": network, **host},
        }


SLEEP = ("sleep", "86400")
KINDS = (
    Kind(name="ends at once", weight=4, command=("true",), code=0),
    Kind(name="fails", weight=1, command=("sh", "-c", "exit 3"), code=3),
    Kind(
        name="writes",
        weight=2,
        command=("sh", "-c", f"for n in $(seq {LINES}); do echo line $n of {LINES}; done"),
        code=0,
        lines=LINES,
    ),
    Kind(
        name="is limited",
        weight=3,
        command=SLEEP,
        host={"Memory": 64 << 20, "NanoCpus": 500_000_000, "PidsLimit": 64},
    ),
    Kind(
        name="has a port",
        weight=3,
        command=("httpd", "-f", "-p", str(PORT)),
        host={"PortBindings": {f"{PORT}/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}},
    ),
    Kind(
        name="is checked",
        weight=2,
        command=SLEEP,
        more={
            "Healthcheck": {
                "Test": ["CMD", "true"],
                "Interval": 30 * SECOND,
                "StartPeriod": 60 * SECOND,
                "StartInterval": SECOND,
            }
        },
    ),
)


def plan(count: int, seed: int) -> list[Kind]:
    """`count` containers, of each kind in proportion to its weight, in an order of the seed's."""
    cycle = [kind for kind in KINDS for _ in range(kind.weight)]
    chosen = [cycle[number % len(cycle)] for number in range(count)]
    random.Random(seed).shuffle(chosen)
    return chosen
