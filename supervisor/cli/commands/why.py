"""`orlop why`."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from supervisor.cli.client import Client, container_path, filters_json, is_framed
from supervisor.cli.context import Context
from supervisor.cli.failures import DaemonError
from supervisor.cli.flags import Parser, natural
from supervisor.cli.kernel_log import Victim, victims
from supervisor.cli.listing import SHORT_ID, layout, printable
from supervisor.cli.paint import Paint
from supervisor.cli.why_words import ending, following, happening, slowness
from supervisor.docker.times import ZERO, parse_timestamp
from supervisor.spec.units import human_duration
from supervisor.wire.stdcopy import Decoder

_NOTES = """\
The time line has the latest runs and what came between, with the last lines of each run's log.
Of a running container it is told, too, what it waits for; that takes a second.

Examples:
  orlop why web
  orlop why --runs 20 --tail 10 web
  orlop why --json web | jq '.Runs[-1].Why'"""
_SECONDS = 1.0
_BILLION = 1_000_000_000
_SETTLING = 2 * _BILLION
# What was in a pipe when its run ended is logged a little later; no run follows as soon as that.
_LATE = 10_000_000
_SPANS = (2 * _BILLION, 60 * _BILLION, 1 << 63)
_LONGEST = 200

Answer = dict[str, Any]


class _Entry(NamedTuple):
    at_ns: int
    text: str
    more: tuple[str, ...] = ()
    bad: bool = False


def why(words: Sequence[str], context: Context) -> int:
    """Print why a container ended, and what slows it down."""
    parser = Parser(
        "why",
        "CONTAINER",
        "Tell why a container ended, was started again, or is slow",
        count=(1, 1),
        notes=_NOTES,
    )
    parser.switch("--json", help="Print JSON")
    runs, tail = "Runs to show, of the latest 20 (default 5)", "Lines of each run's log (default 3)"
    parser.flag("--runs", kind="int", parse=natural, default=5, help=runs)
    parser.flag("--tail", kind="int", parse=natural, default=3, help=tail)
    options = parser.parse(words)
    answer = _ask(context.client(), options.operands[0], options.runs, options.tail)
    if options.json:
        from supervisor.cli.template import readable

        print(readable(json.dumps(answer, indent=2, ensure_ascii=False)))
    else:
        print("\n".join(_tell(answer, Paint())))
    return 0


# --- asking


def _ask(client: Client, ref: str, runs: int, tail: int) -> Answer:
    view = client.get(container_path(ref, "json"))
    before = _figures(client, view)
    state = view["State"]
    past = view["OrlopHistory"]
    shown = past[-runs:] if runs else []
    killed = victims(view["Id"]) if any(run["OOMKills"] for run in shown) else []
    before_them = past[: len(past) - len(shown)][-1:]
    ends = [_log_end(run) for run in (*before_them, *shown)]
    if not state["Pid"] and ends:
        ends[-1] += _BILLION  # nothing follows that its lines could be taken for
    begins = ends[:-1] if before_them else [0, *ends[:-1]]
    told = [
        _run(client, view["Id"], run, (begin, end), killed, tail)
        for run, begin, end in zip(shown, begins, ends[-len(shown) :], strict=False)
    ]
    return {
        "Id": view["Id"],
        "Name": view["Name"].removeprefix("/"),
        "Image": view["Config"]["Image"],
        "Created": view["Created"],
        "State": state,
        "RestartCount": view["RestartCount"],
        "Left": len(past) - len(shown),
        "Runs": told,
        "Events": _events(client, view["Id"]),
        "Now": _now(client, view, before),
    }


def _run(
    client: Client,
    ref: str,
    run: Answer,
    times: tuple[int, int],
    killed: Sequence[Victim],
    tail: int,
) -> Answer:
    ours = [one for one in killed if _is_of(one, run)] if run["OOMKills"] else []
    started = run["StartedAt"] != ZERO
    lines = _last_lines(client, ref, times, tail) if started and tail else []
    return {
        **run,
        "Why": ending(run, ours),
        "Next": following(run),
        "KilledByKernel": [
            {"Pid": one.pid, "Command": one.command, "Memory": one.memory} for one in ours
        ],
        "LastLines": lines,
    }


def _is_of(victim: Victim, run: Answer) -> bool:
    """It was killed in this run; the host's clock may have been set since its boot."""
    boot_ns = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    at = boot_ns + victim.boot_us * 1000
    begin, end = _time(run["StartedAt"]), _time(run["FinishedAt"])
    return begin - _SETTLING <= at <= end + _SETTLING


def _log_end(run: Answer) -> int:
    """Until when a run may log: its start is told too late to tell its lines by that."""
    return _time(run["FinishedAt"]) + _LATE


def _last_lines(client: Client, ref: str, times: tuple[int, int], tail: int) -> list[str]:
    """Of what was logged in that time. The API's own `tail` counts from the log's very end."""
    begin, end = times
    lines: list[str] = []
    for span in _SPANS:  # the last lines are mostly there at once, however long the run was
        since = max(begin, end - span)
        lines = _lines(client, ref, _seconds(since), _seconds(end), tail)
        if len(lines) == tail or since == begin:
            break
    return lines


def _lines(client: Client, ref: str, since: str, until: str, most: int) -> list[str]:
    query = {"stdout": "1", "stderr": "1", "since": since, "until": until}
    with client.begin("GET", container_path(ref, "logs"), query) as call:
        decoder = Decoder() if is_framed(call.response()) else None
        rest, found = b"", deque[bytes](maxlen=most)
        for piece in call.pieces():
            parts = [data for _, data in decoder.feed(piece)] if decoder else [piece]
            *whole, rest = b"".join([rest, *parts]).split(b"\n")
            found.extend(whole)
        if rest:
            found.append(rest)
    return [line.decode("utf-8", "replace").rstrip("\r") for line in found]


def _events(client: Client, ref: str) -> list[Answer]:
    until = _seconds(time.time_ns())
    filters = filters_json([("container", ref), ("type", "container")])
    with client.begin("GET", "/events", {"since": 0, "until": until, "filters": filters}) as call:
        events = [json.loads(line) for line in call.lines()]
    found = []
    for event in events:
        words = happening(event["Action"], event["Actor"]["Attributes"] or {})
        if words:
            found.append({"TimeNano": event["timeNano"], "Action": event["Action"], "Words": words})
    return found


def _figures(client: Client, view: Answer) -> Answer | None:
    """Its stats, and when they were taken; None of one that does not run, or without metrics."""
    if not view["State"]["Running"] or not view["State"]["Pid"]:
        return None
    try:
        stats = client.get(container_path(view["Id"], "stats"), {"stream": "0", "one-shot": "1"})
    except DaemonError:
        return None
    return {**stats, "taken_ns": time.monotonic_ns()}


def _now(client: Client, view: Answer, before: Answer | None) -> list[Answer]:
    if before is None:
        return []
    time.sleep(max(0.0, _SECONDS - (time.monotonic_ns() - before["taken_ns"]) / _BILLION))
    after = _figures(client, view)
    if after is None or not after.get("memory_stats"):  # it has ended meanwhile
        return []
    return [
        {"What": what, "Words": words, "Slow": slow}
        for what, words, slow in slowness(before, after, view)
    ]


# --- telling


def _tell(answer: Answer, paint: Paint) -> Iterator[str]:
    state = answer["State"]
    name = paint(printable(answer["Name"]), "bold")
    of = f", of {printable(answer['Image'])}" if answer["Image"] else ""
    yield f"{name} ({answer['Id'][:SHORT_ID]}){of}: {_standing(answer)}"
    health = state.get("Health")
    if health and health["Status"] != "none":
        yield f"health check: {health['Status']}, failed {health['FailingStreak']} times in a row"
    if answer["Left"]:
        yield f"{answer['Left']} earlier runs are not shown (--runs)"
    yield ""
    for entry in sorted(_entries(answer), key=lambda one: one.at_ns):
        style = ("red",) if entry.bad else ()
        yield f"{_moment(entry.at_ns)}  {paint(entry.text, *style) if style else entry.text}"
        yield from (f"{'':21}{line}" for line in entry.more)
    if state["Running"] and state["Pid"]:
        yield ""
        yield paint("What it waits for", "bold")
        if not answer["Now"]:
            yield "  not known: the daemon's metrics are off, or it has just ended"
        rows = [
            [f"  {one['What']}", paint(one["Words"], *(("yellow",) if one["Slow"] else ("dim",)))]
            for one in answer["Now"]
        ]
        yield from layout(rows, least=0).splitlines()


def _standing(answer: Answer) -> str:
    state = answer["State"]
    restarts = answer["RestartCount"]
    times = f", restarted {restarts} times by its policy" if restarts else ""
    if state["Running"] and state["Pid"]:
        since = human_duration(time.time_ns() - _time(state["StartedAt"]))
        return f"{state['Status']} for {since.lower()}{times}"
    return f"{state['Status']}{times}"


def _entries(answer: Answer) -> Iterator[_Entry]:
    yield _Entry(_time(answer["Created"]), "created")
    state = answer["State"]
    first = min((_time(run["FinishedAt"]) for run in answer["Runs"]), default=0)
    for run in answer["Runs"]:
        yield from _of_run(run)
        if run["StartedAt"] != ZERO:
            first = min(first, _time(run["StartedAt"]))
    if state["Running"] and state["Pid"]:
        yield _Entry(_time(state["StartedAt"]), "it runs")
    # What came before the runs that are shown would stand there alone.
    for event in answer["Events"]:
        if event["TimeNano"] >= first and not _is_an_end(event, answer["Runs"]):
            yield _Entry(event["TimeNano"], event["Words"], bad=event["Action"] == "oom")


def _is_an_end(event: Answer, runs: Sequence[Answer]) -> bool:
    """It is the OOM kill that the end of a run tells of."""
    return event["Action"] == "oom" and any(
        run["OOMKilled"]
        and run["OOMKills"] == 1
        and abs(event["TimeNano"] - _time(run["FinishedAt"])) < _SETTLING
        and _time(run["StartedAt"]) <= event["TimeNano"] + _LATE
        for run in runs
    )


def _of_run(run: Answer) -> Iterator[_Entry]:
    started, finished = _time(run["StartedAt"]), _time(run["FinishedAt"])
    number = run["Run"]
    lasted = ""
    if started:
        yield _Entry(started, f"run {number} starts")
        lasted = f" after {max(0, finished - started) / _BILLION:.1f} s"
    lines = [f"| {printable(line)[:_LONGEST]}" for line in run["LastLines"]]
    bad = run["Reason"] not in ("completed", "stopped")
    text = f"run {number} ends{lasted}: {run['Why']}"
    yield _Entry(finished, text, (*lines, run["Next"]), bad)


def _moment(ns: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(ns // _BILLION))


def _time(text: str) -> int:
    """Nanoseconds since 1970; 0 for never."""
    return 0 if text == ZERO else parse_timestamp("time", text)


def _seconds(ns: int) -> str:
    return f"{ns // _BILLION}.{ns % _BILLION:09d}"
