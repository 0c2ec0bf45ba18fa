"""How often an attack is tried: a few times in the suite, thousands by `make attacks`."""

from __future__ import annotations

import os

VARIABLE = "ORLOP_ATTACK_ROUNDS"


def rounds(few: int) -> int:
    """What the environment says, `few` where it says nothing."""
    return int(os.environ.get(VARIABLE, few))
