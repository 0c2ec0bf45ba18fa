"""`python -m tests.fuzz [TARGET…]`: many inputs to each target, and a line about each.

Exit status: 0 when none broke, 1 when one did. What broke a target is in .cache/fuzz.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tests.fuzz import session, targets


def main(words: Sequence[str]) -> int:
    """Run all that are asked for, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(targets.NAMES))
    parser.add_argument(
        "--inputs", type=int, default=1_000_000, help="for each (default: %(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=0.0, help="at most, for each")
    parser.add_argument("--seed", type=int, default=session.SEED, help="(default: %(default)s)")
    parser.add_argument("--plain", action="store_true", help="mutations alone, without atheris")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    asked = parser.parse_args(words)
    if asked.child:
        session.child(asked.child)
        return 0
    unknown = [name for name in asked.targets if name not in targets.NAMES]
    if unknown:
        parser.error(f"no target {unknown[0]!r}; there are {', '.join(targets.NAMES)}")
    if not session.is_guided() and not asked.plain:
        print("not guided by coverage: atheris is not installed (pip install '.[fuzz]')")
    print(f"seed {asked.seed}", flush=True)
    broken = []
    for name in asked.targets or targets.NAMES:
        line, broke = session.run(
            name, asked.inputs, seconds=asked.seconds, seed=asked.seed, plain=asked.plain
        )
        print(line, flush=True)
        if broke:
            broken.append(name)
    if broken:
        print(f"broken: {', '.join(broken)}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
