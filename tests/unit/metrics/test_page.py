"""The page for people: what a browser may do with it, and events as they happen."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress
from typing import Any

import pytest
import trio

from metrics.serve import assets, limits
from tests.unit.metrics.test_http import asking, nothing_runs, raw, serving

SSE = b"GET /events HTTP/1.1\r\nHost: x\r\n%s\r\n"
Event = dict[str, Any]


class Happening:
    """A source of events; `open` counts those who listen."""

    def __init__(self, *events: Event) -> None:
        self.events = events
        self.since: list[int | None] = []
        self.open = 0
        self.more, self._receiver = trio.open_memory_channel[Event](100)

    async def __call__(self, since: int | None) -> AsyncGenerator[Event, None]:
        self.since.append(since)
        self.open += 1
        try:
            for event in self.events:
                yield event
            async for event in self._receiver:
                yield event
        finally:
            self.open -= 1


def event(number: int, **fields: Any) -> Event:
    return {"time_ns": number, "action": "start", **fields}


async def until(stream: trio.SocketStream, text: bytes) -> bytes:
    """What comes until `text` and the end of a chunk have come."""
    found = b""
    while text not in found or not found.endswith(b"\r\n"):
        found += await stream.receive_some(1000)
    return found


# --- files --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path, kind",
    [
        ("/", "text/html; charset=utf-8"),
        ("/page.js", "text/javascript; charset=utf-8"),
        ("/page.css", "text/css; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
    ],
)
async def test_the_files_may_load_and_run_nothing_else(path: str, kind: str) -> None:
    async with serving() as port, asking(port) as client:
        answer = await client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
    policy = dict(
        part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; ")
    )
    assert policy.pop("require-trusted-types-for") == "'script'"
    assert policy["default-src"] == "'none'"
    assert set(policy.values()) == {"'none'", "'self'"}
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"


def test_the_page_needs_no_more_than_the_policy_allows() -> None:
    texts = {
        path: found.content.decode() for path in assets._FILES if (found := assets.asset(path))
    }
    html, script = texts[b"/"], texts[b"/page.js"]
    assert not re.search(r"<script(?! src=)|<style|\sstyle=|\son\w+=", html)
    for text in texts.values():
        assert set(re.findall(r"https?://[^\"']*", text)) <= {"http://www.w3.org/2000/svg"}
    linked = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert {f"/{name}".encode() for name in linked} - set(texts) == {b"/metrics", b"/containers"}
    # What containers are called gets into the page as text, never as markup or code.
    sinks = (
        r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|Function\(|srcdoc|DOMParser"
    )
    assert not re.search(sinks, script)


async def test_without_a_source_there_is_nothing() -> None:
    async with serving() as port, asking(port) as client:
        assert (await client.get("/containers")).status_code == 404
        assert (await client.get("/events")).status_code == 404


async def test_containers_with_history_when_asked() -> None:
    async def live(history: bool) -> Iterator[bytes]:
        return iter([b'{"history":', b"true}" if history else b"false}"])

    async with serving(live=live) as port, asking(port) as client:
        answer = await client.get("/containers")
        assert answer.json() == {"history": False}
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"
        assert (await client.get("/containers?history")).json() == {"history": True}


# --- events -------------------------------------------------------------------------------------


async def test_events_as_they_happen() -> None:
    happening = Happening(event(1, name="a\n\ndata: <b>\udcff"))
    async with serving(live=nothing_runs, events=happening) as port:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(SSE % b"")
        begun = await until(stream, b"data: ")
        assert b"content-type: text/event-stream" in begun.lower()
        assert b"retry: 2000\n\n" in begun
        (block,) = re.findall(rb"id: 1\ndata: (.*)\n\n", begun)  # no name ends an event
        assert b"<" not in block
        assert json.loads(block)["name"] == "a\n\ndata: <b>\udcff"
        await happening.more.send(event(2))
        assert b'id: 2\ndata: {"time_ns":2,"action":"start"}\n\n' in await until(stream, b"}\n\n")
        assert happening.open == 1
        await stream.aclose()
        while happening.open:  # who leaves costs nothing any more
            await trio.sleep(0.01)


@pytest.mark.parametrize(
    "header, since",
    [
        (b"Last-Event-ID: 41\r\n", 42),
        (b"Last-Event-ID: x\r\n", None),
        (b"Last-Event-ID: 99999999999999999999\r\n", None),
        (b"", None),
    ],
)
async def test_who_comes_again_misses_nothing(header: bytes, since: int | None) -> None:
    happening = Happening()
    happening.more.close()  # the source ends: so does the answer
    async with serving(events=happening) as port:
        answer = await raw(port, SSE % header, end=False)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert happening.since == [since]


async def test_who_asks_for_the_head_has_that() -> None:
    happening = Happening(event(1))
    async with serving(events=happening) as port:
        answer = await raw(port, b"HEAD /events HTTP/1.1\r\nHost: x\r\n\r\n", end=False)
    assert b"text/event-stream" in answer
    assert answer.endswith(b"\r\n\r\n")
    assert not happening.open


async def test_so_many_may_follow_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_WATCHERS", 2)
    happening = Happening()
    async with serving(events=happening) as port, asking(port) as client:
        streams = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(2)]
        for stream in streams:
            await stream.send_all(SSE % b"")
            assert b" 200 " in await stream.receive_some(1000)
        refused = await client.get("/events")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "15")
        assert (await client.get("/-/healthy")).status_code == 200
        await streams.pop().aclose()
        while happening.open == 2:
            await trio.sleep(0.01)
        streams.append(await trio.open_tcp_stream("127.0.0.1", port))
        await streams[-1].send_all(SSE % b"")
        assert b" 200 " in await streams[-1].receive_some(1000)
        for stream in streams:
            await stream.aclose()


async def test_who_does_not_read_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WATCHER_SECONDS", 0.1)
    sent, dropped = 0, trio.Event()

    async def flood(since: int | None) -> AsyncGenerator[Event, None]:
        nonlocal sent
        try:
            while True:
                sent += 1
                yield event(sent, name="x" * 10_000)
        finally:
            dropped.set()

    async with serving(events=flood) as port:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(SSE % b"")
        await dropped.wait()
        # What the sockets' buffers hold, and no more, was ever taken from the source.
        assert 0 < sent < 2000
        with suppress(trio.BrokenResourceError):
            async for _ in stream:  # it ends
                pass
        await stream.aclose()


async def test_signs_of_life_and_the_time_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(limits, "WATCH_SECONDS", 0.5)
    happening = Happening()
    async with serving(events=happening) as port:
        answer = await raw(port, SSE % b"", end=False)
    assert b"\r\n:\n\n" in answer
    assert not happening.open


async def test_others_are_answered_meanwhile() -> None:
    async with serving(live=nothing_runs, events=Happening()) as port, asking(port) as client:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(SSE % b"")
        await until(stream, b"retry")
        for path in ("/metrics", "/containers", "/"):
            assert (await client.get(path)).status_code == 200
        await stream.aclose()
