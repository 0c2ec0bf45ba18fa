"""The rehearsal in the zygote: every role to its end, and nothing of the process changed."""

from __future__ import annotations

import pytest

from supervisor.shim import rehearsal
from tests.support.lean import lean

STATE = """
import gc, os, signal
def state():
    os.umask(mask := os.umask(0))
    return [
        mask, os.getcwd(), os.getsid(0), repr(os.open), gc.isenabled(), signal.set_wakeup_fd(-1),
        [str(signal.getsignal(number)) for number in sorted(signal.valid_signals())],
        sorted(os.listdir("/proc/self/fd")),
        open("/proc/self/cmdline").read(), open("/proc/self/comm").read(),
    ]
"""


@pytest.mark.parametrize("unified", [False, True], ids=["v1", "v2"])
@pytest.mark.parametrize("play", [play.__name__ for play in rehearsal.PLAYS])
def test_each_role_reaches_its_end(play: str, unified: bool) -> None:
    ends = lean(
        "from supervisor.shim import rehearsal\n"
        "with rehearsal.Scenery() as scenery:\n"
        f"    spec = rehearsal.specification({unified})\n"
        f"    rehearsal.perform(scenery, rehearsal.{play}, spec)\n"
        "print(json.dumps(scenery.ends))"
    )
    executes = play in ("play_init", "play_session")
    assert ends[0][0] == ("/bin/true" if executes else 0), ends


def test_nothing_is_changed() -> None:
    before, after = lean(
        f"{STATE}\n"
        "from supervisor.shim import rehearsal\n"
        "rehearsal.capabilities.last_capability()\n"
        "before = state()\n"
        "rehearsal.rehearse()\n"
        "gc.enable()\n"
        "print(json.dumps([before, state()]))"
    )
    assert after == before


def test_gaps_are_filled_to_a_fresh_pool_of_each_size() -> None:
    sizes, filled = lean(
        "from supervisor.shim import heap\n"
        "sizes = len(range(heap.SMALLEST, heap.LARGEST + heap.STEP, heap.STEP))\n"
        "print(json.dumps([sizes, len(heap.fill_gaps())]))"
    )
    assert sizes <= filled < sizes * 1000
