"""No word in a record begins another line of the log; what requests cause may wait a moment."""

from __future__ import annotations

import io
import logging
import re
import sys
import weakref
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from supervisor.daemon.log import API, DELAY_SECONDS, MOST_WAITING, Formatter, Handler

FORGED = "2026-01-01T00:00:00.000Z INFO orlop.api DELETE / by uid=0"
RECORD = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z WARNING orlop\.x (.*)")


def lines(message: str, *arguments: object, error: bool = False) -> list[str]:
    info = sys.exc_info() if error else None
    record = logging.LogRecord("orlop.x", logging.WARNING, "x.py", 1, message, arguments, info)
    return Formatter().format(record).split("\n")


@pytest.mark.parametrize(
    "word, shown",
    [
        ("plain, ünï: …", "plain, ünï: …"),
        (f"a\n{FORGED}", rf"a\n{FORGED}"),
        (f"a\r\n{FORGED}", rf"a\r\n{FORGED}"),
        (f"a\u2028{FORGED}", rf"a\u2028{FORGED}"),
        ("\x1b[2J\x1b]0;x\x07", r"\x1b[2J\x1b]0;x\x07"),
        ("\x9b31m\x7f\u202eevil", r"\x9b31m\x7f\u202eevil"),
        ("\udcff", r"\udcff"),
    ],
)
def test_a_record_is_one_line(word: str, shown: str) -> None:
    (line,) = lines("image %s: gone", word)
    found = RECORD.fullmatch(line)
    assert found
    assert found[1] == f"image {shown}: gone"


def test_a_traceback_is_no_record() -> None:
    try:
        raise RuntimeError(f"no\n{FORGED}\x1b[0m")
    except RuntimeError:
        first, *behind = lines("it broke", error=True)
    assert RECORD.fullmatch(first)
    assert all(line.startswith("    ") for line in behind)
    assert f"    {FORGED}\\x1b[0m" in behind
    assert "Traceback" in behind[0]


Kept = tuple[logging.Logger, io.StringIO, Handler]


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    handler = Handler()
    logger = logging.getLogger(API)
    monkeypatch.setattr(logger, "propagate", False)
    monkeypatch.setattr(logger, "handlers", [handler])
    level = logger.level
    logger.setLevel(logging.INFO)
    yield logger, stream, handler
    logger.setLevel(level)


def words(stream: io.StringIO) -> list[str]:
    return [line.rpartition(" ")[2] for line in stream.getvalue().splitlines()]


async def test_what_requests_cause_waits_a_moment(
    kept: Kept, autojump_clock: trio.testing.MockClock
) -> None:
    logger, stream, handler = kept
    logger.info("before")
    assert words(stream) == ["before"]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(handler.run)
        await trio.testing.wait_all_tasks_blocked()
        value = ["as-it-was"]
        logger.info("%s", value[0])
        logger.info("second")
        assert words(stream) == ["before"]
        await trio.sleep(DELAY_SECONDS * 2)
        assert words(stream) == ["before", "as-it-was", "second"]
        logger.info("third")
        other = logging.LogRecord("orlop.x", logging.INFO, "x.py", 1, "other", (), None)
        handler.handle(other)
        assert words(stream)[-2:] == ["third", "other"]
        logger.info("last")
        nursery.cancel_scope.cancel()
    assert words(stream)[-1] == "last"
    logger.info("after")
    assert words(stream)[-1] == "after"


async def test_a_warning_takes_all_that_waits_with_it(kept: Kept) -> None:
    logger, stream, handler = kept
    async with trio.open_nursery() as nursery:
        nursery.start_soon(handler.run)
        await trio.testing.wait_all_tasks_blocked()
        logger.info("first")
        logger.warning("second")
        assert words(stream) == ["first", "second"]
        logger.info("third")
        await trio.to_thread.run_sync(logger.info, "fourth")
        assert words(stream) == ["first", "second", "third", "fourth"]
        for number in range(MOST_WAITING + 1):
            logger.info("%d", number)
        assert words(stream)[-1] == str(MOST_WAITING)
        logger.info("end")
        logging.shutdown([weakref.ref(handler)])
        assert words(stream)[-1] == "end"
        nursery.cancel_scope.cancel()
