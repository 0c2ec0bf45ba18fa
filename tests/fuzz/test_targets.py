"""Decoders under inputs that nobody would write: a few here, a million each by `make fuzz`."""

from __future__ import annotations

import faulthandler
import os
import threading
from collections.abc import Sequence
from itertools import islice

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from supervisor.api.handlers import HANDLERS
from tests.fuzz import targets
from tests.fuzz.inputs import VARIABLE, inputs
from tests.fuzz.loop import Broke, feed, feed_all
from tests.fuzz.mutation import inputs as mutated
from tests.fuzz.session import SEED, run
from tests.fuzz.target import Target, pieces

FEW = 600
EXAMPLES = 60
LEAST = 5


@pytest.mark.parametrize("name", targets.NAMES)
def test_no_input_breaks_it(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    target = targets.load(name)
    if VARIABLE not in os.environ:
        feed_all(target, len(target.seeds) + max(LEAST, FEW // target.cost), SEED)
        return
    faulthandler.cancel_dump_traceback_later()  # this takes as long as it takes
    with capsys.disabled():
        line, broke = run(name, inputs(FEW))
        print(line, flush=True)
    assert not broke


@pytest.mark.parametrize("name", targets.NAMES)
def test_no_words_break_it(name: str) -> None:
    """What its format is made of, in any order."""
    target = targets.load(name)
    parts = st.sampled_from((*target.words, *target.seeds)) | st.binary(max_size=16)

    @settings(
        max_examples=max(LEAST, EXAMPLES // target.cost),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(parts, max_size=12).map(b"".join))
    def check(data: bytes) -> None:
        feed(target, data[: target.longest])

    check()


def test_a_defect_is_found_and_told() -> None:
    def fail(data: bytes) -> None:
        if b"\n" in data:
            raise ValueError("a newline")

    target = Target(name="picky", run=fail, seeds=(b"abc", b"defg"))
    with pytest.raises(Broke) as raised:
        feed_all(target, 10_000, SEED)
    assert b"\n" in raised.value.data
    assert isinstance(raised.value.__cause__, ValueError)


def test_of_those_fed_together_the_one_is_told() -> None:
    def fail(data: bytes) -> None:
        if b"\n" in data:
            raise ValueError("a newline")

    def fail_all(many: Sequence[bytes]) -> None:
        for data in many:
            fail(data)

    target = Target(name="picky", run=fail, run_many=fail_all, seeds=(b"abc", b"defg"))
    with pytest.raises(Broke) as raised:
        feed_all(target, 10_000, SEED)
    assert b"\n" in raised.value.data
    together = Target(name="odd", run=lambda _: None, run_many=fail_all, seeds=(b"\n",))
    with pytest.raises(Broke, match="odd breaks on"):
        feed_all(together, 10, SEED)


def test_all_that_is_fed_is_counted_once() -> None:
    seen: list[bytes] = []
    target = Target(name="list", run=seen.append, run_many=seen.extend, seeds=(b"abc", b"x"))
    assert feed_all(target, 500, 7).inputs == len(seen) == 500
    assert seen == [*islice(mutated(target, 7), 500)]


def test_a_failure_of_the_server_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(_: object) -> None:
        raise ValueError("not an answer")

    monkeypatch.setitem(HANDLERS, "SystemVersion", fail)
    target = targets.load("http")
    with pytest.raises(Broke) as raised:
        feed_all(target, len(target.seeds), SEED)
    assert b"GET /version" in raised.value.data


def test_a_connection_without_an_end_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(_: object) -> None:
        await trio.sleep_forever()

    monkeypatch.setitem(HANDLERS, "SystemVersion", hang)
    target = targets.load("http")
    with pytest.raises(Broke) as raised:
        feed_all(target, len(target.seeds), SEED)
    assert b"/version" in raised.value.data


def test_the_same_seed_gives_the_same_inputs() -> None:
    seen: list[list[bytes]] = [[], []]
    for found in seen:
        feed_all(Target(name="list", run=found.append, seeds=(b"abc", b"x")), 500, 7)
    assert seen[0] == seen[1]
    assert len(set(seen[0])) > 300


def test_what_takes_too_long_is_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.loop.PATIENCE", 0.05)

    def hang(_: bytes) -> None:
        while True:
            pass

    with pytest.raises(Broke):
        feed(Target(name="hangs", run=hang, seeds=()), b"")


def test_what_waits_for_ever_is_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.loop.STANDSTILL", 0.05)

    def wait(_: bytes) -> None:
        threading.Event().wait()

    with pytest.raises(Broke):
        feed(Target(name="waits", run=wait, seeds=()), b"")


@given(st.binary(max_size=300))
def test_pieces_are_the_whole(data: bytes) -> None:
    assert b"".join(pieces(data)) == data[1:]
