"""How many inputs each decoder is fed: some in the suite, a million by `make fuzz`."""

from __future__ import annotations

import os

VARIABLE = "ORLOP_FUZZ_INPUTS"


def inputs(few: int) -> int:
    """What the environment says, `few` where it says nothing."""
    return int(os.environ.get(VARIABLE, few))
