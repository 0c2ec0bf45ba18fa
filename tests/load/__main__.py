"""`python -m tests.load`: many containers of several kinds, and what became of them."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path

from tests.api.network_box import Machine
from tests.bench.figures import table
from tests.bench.rig import Rig, rig
from tests.load.drive import Load, Outcome
from tests.load.mix import plan
from tests.load.report import figures, picture
from tests.support import places

RESULTS = Path("bench-results")


def parser() -> argparse.ArgumentParser:
    """The options."""
    p = argparse.ArgumentParser(
        prog="python -m tests.load",
        description="Start many containers of several kinds at once: some end at once, some fail, "
        "write, are limited, have a published port or health checks. Report what became of them, "
        "and what they left.",
    )
    p.add_argument("--containers", type=int, default=300, metavar="N", help="default 300")
    p.add_argument("--clients", type=int, default=4, metavar="N", help="at once; default 4")
    p.add_argument("--seed", type=int, default=1, metavar="N", help="of the order; default 1")
    p.add_argument(
        "--no-network", action="store_true", help="without the default bridge and published ports"
    )
    p.add_argument(
        "--results", type=Path, default=RESULTS, metavar="DIR", help=f"default {RESULTS}"
    )
    return p


@contextmanager
def daemon(*, networked: bool) -> Iterator[Rig]:
    """A daemon of the load's own, with networks in a namespace that plays the host."""
    if not networked:
        with rig() as made:
            yield made
        return
    with (
        places.short_folder() as folder,
        closing(Machine(folder)) as machine,
        rig(None, (), machine.inside) as made,
    ):
        yield made


def run(count: int, clients: int, seed: int, *, networked: bool) -> Outcome:
    """One load on a daemon of its own."""
    with daemon(networked=networked) as made:
        return Load(made, plan(count, seed), "bridge" if networked else "none", clients).run()


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 1 if something went wrong or was left."""
    options = parser().parse_args(arguments)
    if min(options.containers, options.clients) < 1:
        parser().error("at least one container and one client")
    if os.geteuid() != 0:
        parser().error("it needs root, as the supervisor does")
    outcome = run(
        options.containers, options.clients, options.seed, networked=not options.no_network
    )
    found = figures(outcome)
    print(table(found))
    for sentence in outcome.wrong:
        print(sentence)
    options.results.mkdir(parents=True, exist_ok=True)
    name = options.results / time.strftime("load-%Y%m%dT%H%M%SZ", time.gmtime())
    document = {"figures": [one.to_json() for one in found], **asdict(outcome)}
    name.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")
    name.with_suffix(".svg").write_text(picture(outcome))
    print(f"{name}.json, {name}.svg", file=sys.stderr)
    return int(any(one.met is False for one in found))


if __name__ == "__main__":
    sys.exit(main())
