"""`python -m tests.bench`: measure, print a table, keep the figures as JSON.

Exit status: 0 when everything was measured, whether or not the targets were met (a shared
machine misses some), 1 with `--strict` when one was not, 130 when interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from types import FrameType

from tests.bench import (
    api,
    clients,
    docker,
    fleet,
    images,
    latency,
    network,
    network_fleet,
    oom,
    residue,
    scrape,
    userns,
)
from tests.bench.figures import Figure, table
from tests.bench.rig import QUICK, Rig, Sizes, rig

Part = Callable[[Rig, Sizes], list[Figure]]

PARTS: dict[str, Part] = {
    "lifecycle": latency.lifecycle,
    "steps": latency.steps,
    "exec": latency.execs,
    "kill": latency.kills,
    "fleet": fleet.fleet,
    "starts": fleet.starts,
    "growth": fleet.growth,
    "oom": oom.ooms,
    "residue": residue.residue,
    "images": images.images,
    "layers": images.layers,
    "scrape": scrape.scrape,
    "api": api.api,
    "mixed": clients.mixed,
    "followers": clients.followers,
    "network": network.network,
    "netstart": network_fleet.starts,
    "netfleet": network_fleet.fleet,
    "netports": network_fleet.ports,
    "netrate": network_fleet.rates,
    "netstorm": network_fleet.storm,
    "userns": userns.userns,
    "docker": docker.docker,
}
RESULTS = Path(__file__).parents[2] / "bench-results"
# runc's bundle and dockerd's containers have the host's user ids; what others cost has a part of
# its own.
AS_OTHERS = ("--userns", "host")
INTERRUPTED = 130
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_OURS = os.getpid()


def parser() -> argparse.ArgumentParser:
    """The options."""
    p = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure Orlop.")
    p.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all")
    p.add_argument("--quick", action="store_true", help="small sizes: does it work at all?")
    p.add_argument("--json", type=Path, metavar="FILE", help="where the figures go")
    p.add_argument("--strict", action="store_true", help="a missed target is exit status 1")
    p.add_argument(
        "--profile", type=Path, metavar="DIR", help="run the daemon under cProfile, a file a part"
    )
    for name, value in asdict(Sizes()).items():
        flag = f"--{name.replace('_', '-')}"
        p.add_argument(flag, type=type(value), metavar="N", help=f"default {value}")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen parts; the exit status."""
    options = parser().parse_args(arguments)
    if unknown := set(options.parts) - set(PARTS):
        parser().error(f"no such part: {', '.join(sorted(unknown))}")
    if os.geteuid() != 0:
        parser().error("it needs root, as the supervisor does")
    for ending in ENDINGS:
        signal.signal(ending, _interrupt)
    figures: list[Figure] = []
    interrupted = False
    try:
        for name in options.parts or PARTS:
            print(f"measuring {name} …", file=sys.stderr, flush=True)
            with rig(_profile(options.profile, name), AS_OTHERS) as measured:
                figures += PARTS[name](measured, _sizes(options))
    except KeyboardInterrupt:
        interrupted = True
    print(table(figures))
    _save(figures, options.json or RESULTS / time.strftime("%Y%m%dT%H%M%SZ.json", time.gmtime()))
    if interrupted:
        return INTERRUPTED
    return int(options.strict and any(figure.met is False for figure in figures))


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Let every `with` block clean up, whatever asked us to end; a second signal does not.

    A fork, as pyroute2 makes and ends, has nothing to clean up: what it has is its parent's.
    """
    if os.getpid() != _OURS:
        os._exit(128 + number)
    for again in ENDINGS:
        signal.signal(again, signal.SIG_IGN)
    raise KeyboardInterrupt


def _profile(folder: Path | None, part: str) -> Path | None:
    if folder is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve() / f"{part}.prof"


def _sizes(options: argparse.Namespace) -> Sizes:
    chosen = asdict(QUICK if options.quick else Sizes())
    given = {name: getattr(options, name) for name in chosen}
    return Sizes(**{**chosen, **{name: v for name, v in given.items() if v is not None}})


def _save(figures: Sequence[Figure], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0],
        "figures": [figure.to_json() for figure in figures],
    }
    path.write_text(json.dumps(document, indent=1) + "\n")
    print(f"figures: {path}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
