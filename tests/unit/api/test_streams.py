"""Attach, logs, wait, events: what is written when, and whose socket it is."""

from __future__ import annotations

import json
import os
import time
from collections.abc import AsyncIterator
from urllib.parse import quote

import pytest
import trio
import trio.testing

from supervisor.api.output import MOST_GATHERED
from supervisor.docker.streams import LogOptions
from supervisor.wire.logrecord import Record
from tests.unit.api.conftest import Api, Client

UPGRADE = {"Connection": "Upgrade", "Upgrade": "tcp"}
ALL = "stream=1&stdin=1&stdout=1&stderr=1"


async def attached(api: Api, container: str, query: str = ALL) -> Client:
    client = await api.client()
    await client.request("POST", f"/v1.50/containers/{container}/attach?{query}", headers=UPGRADE)
    assert (await client.head()).status == 101
    return client


# --- wait -----------------------------------------------------------------------------------


@pytest.mark.parametrize("condition", ["", "not-running", "next-exit", "removed"])
async def test_wait_answers_its_head_before_the_start(api: Api, condition: str) -> None:
    host = {"AutoRemove": condition == "removed"}
    new = await api.create("exit", "7", HostConfig=host)
    client = await api.client()
    await client.request("POST", f"/containers/{new}/wait?condition={condition}")
    head = await client.head()
    assert (head.status, head.headers["content-type"]) == (200, "application/json")
    await trio.testing.wait_all_tasks_blocked()
    assert client.buffer == b""
    await api.call("POST", f"/containers/{new}/start")
    assert await client.chunk() == b'{"StatusCode":7}\n'
    assert await client.chunk() == b""
    assert (await client.call("GET", "/_ping")).status == 200


async def test_wait_refuses(api: Api) -> None:
    new = await api.create("sleep")
    assert (await api.call("POST", f"/containers/{new}/wait?condition=never")).status == 400
    assert (await api.call("POST", "/containers/nosuch/wait")).status == 404


async def test_a_wait_ends_with_its_client(api: Api) -> None:
    new = await api.create("sleep")
    client = await api.client()
    await client.request("POST", f"/containers/{new}/wait")
    await client.head()
    waiting = len(api.server._connections)
    await client.stream.aclose()
    while len(api.server._connections) >= waiting:
        await trio.sleep(0.001)


async def test_a_request_sent_during_a_wait_is_answered_after_it(api: Api) -> None:
    new = await api.create("echo")
    client = await api.client()
    await client.request("POST", f"/containers/{new}/wait")
    await client.head()
    await client.request("GET", "/_ping")
    await trio.testing.wait_all_tasks_blocked()
    await api.call("POST", f"/containers/{new}/start")
    assert await client.chunk() == b'{"StatusCode":0}\n'
    assert await client.chunk() == b""
    assert (await client.reply()).body == b"OK"


# --- attach ---------------------------------------------------------------------------------


async def test_attach_before_start_gets_frames_and_the_end(api: Api) -> None:
    new = await api.create("echo", "hi")
    client = await attached(api, new, "stream=1&stdout=1&stderr=1")
    await client.stream.send_eof()  # what the CLI does without -i; no hang-up
    await api.call("POST", f"/containers/{new}/start")
    assert await client.rest() == b"\x01\0\0\0\0\0\0\x03hi\n"


async def test_attach_headers(api: Api) -> None:
    new = await api.create("echo", "hi")
    client = await api.client()
    await client.request("POST", f"/containers/{new}/attach?{ALL}", headers=UPGRADE)
    head = await client.until(b"\r\n\r\n")
    assert head == (
        b"HTTP/1.1 101 UPGRADED\r\n"
        b"Content-Type: application/vnd.docker.multiplexed-stream\r\n"
        b"Connection: Upgrade\r\nUpgrade: tcp"
    )


@pytest.mark.parametrize(
    "version,tty,expected",
    [("v1.51", False, "multiplexed"), ("v1.41", False, "raw"), ("v1.51", True, "raw")],
)
async def test_attach_content_types(api: Api, version: str, tty: bool, expected: str) -> None:
    new = await api.create("echo", "hi", Tty=tty)
    client = await api.client()
    await client.request("POST", f"/{version}/containers/{new}/attach?{ALL}", headers=UPGRADE)
    content_type = (await client.head()).headers["content-type"]
    assert content_type == f"application/vnd.docker.{expected}-stream"
    [(_, options)] = api.engine.find(new).attached
    assert options.framed is not tty


async def test_attach_without_upgrade_gets_200_and_the_raw_socket(api: Api) -> None:
    new = await api.create("echo", "hi")
    client = await api.client()
    await client.request("POST", f"/containers/{new}/attach?{ALL}")
    head = await client.head()
    assert head.status == 200
    assert "transfer-encoding" not in head.headers
    assert "content-length" not in head.headers
    await api.call("POST", f"/containers/{new}/start")
    assert await client.rest() == b"\x01\0\0\0\0\0\0\x03hi\n"


@pytest.mark.parametrize("upgrade", [True, False])
async def test_bytes_behind_the_request_are_the_streams(api: Api, upgrade: bool) -> None:
    new = await api.create("cat", OpenStdin=True, Tty=True)
    client = await api.client()
    headers = b"Connection: Upgrade\r\nUpgrade: tcp\r\n" if upgrade else b""
    await client.send(
        f"POST /containers/{new}/attach?{ALL}&detachKeys=ctrl-x HTTP/1.1\r\n".encode()
        + b"Host: x\r\nContent-Length: 0\r\n"
        + headers
        + b"\r\nfirst GET / HTTP/1.1\r\n\r\n"
    )
    assert (await client.head()).status == (101 if upgrade else 200)
    [(_, options)] = api.engine.find(new).attached
    assert options.preface == b"first GET / HTTP/1.1\r\n\r\n"
    assert options.detach_keys == "ctrl-x"
    await api.call("POST", f"/containers/{new}/start")
    await client.send(b"second")
    assert await client.exactly(30) == b"first GET / HTTP/1.1\r\n\r\nsecond"
    # The client's half-close is stdin's end; the other half lives on until the program ends.
    await client.stream.send_eof()
    assert await client.rest() == b""
    assert api.engine.inspect(new).status == "exited"


async def test_the_engines_fd_is_its_own_and_close_on_exec(api: Api) -> None:
    new = await api.create("sleep")
    client = await attached(api, new)
    [(fd, _)] = api.engine.find(new).attached
    assert not os.get_inheritable(fd)
    while any(not c.hijacked for c in api.server._connections) or api.server._connections:
        await trio.sleep(0.001)  # the HTTP side has dropped its end
    os.write(fd, b"still there")
    assert await client.exactly(11) == b"still there"


@pytest.mark.parametrize("target", ["nosuch", "paused"])
async def test_attach_refuses_in_http(api: Api, target: str) -> None:
    new = await api.create("sleep", name="paused")
    await api.engine.pause(new)
    client = await api.client()
    await client.request("POST", f"/containers/{target}/attach?{ALL}", headers=UPGRADE)
    reply = await client.reply()
    assert reply.status == (404 if target == "nosuch" else 409)
    assert "message" in reply.json()
    assert (await client.call("GET", "/_ping")).status == 200


async def test_an_upgrade_that_is_not_taken_up(api: Api) -> None:
    client = await api.client()
    for _ in range(2):
        await client.request("GET", "/_ping", headers={"Connection": "Upgrade", "Upgrade": "h2c"})
        assert (await client.reply()).body == b"OK"


# --- logs -----------------------------------------------------------------------------------

AT = 1795231748_093305261
LINES = [
    Record(AT, "stdout", b"one\n"),
    Record(AT + 1_000_000_000, "stderr", b"two, "),
    Record(AT + 2_000_000_000, "stderr", b"cut\n"),
]


async def test_logs_are_frames(api: Api) -> None:
    new = await api.create("echo")
    api.engine.find(new).log[:] = LINES
    reply = await api.call("GET", f"/v1.50/containers/{new}/logs?stdout=1&stderr=1&tail=all")
    assert reply.headers["content-type"] == "application/vnd.docker.multiplexed-stream"
    assert reply.body == (
        b"\x01\0\0\0\0\0\0\x04one\n\x02\0\0\0\0\0\0\x05two, \x02\0\0\0\0\0\0\x04cut\n"
    )
    reply = await api.call("GET", f"/containers/{new}/logs?stdout=1&tail=1")
    assert reply.body == b"\x02\0\0\0\0\0\0\x04cut\n"


async def test_logs_of_a_terminal_are_raw_and_times_begin_lines(api: Api) -> None:
    new = await api.create("echo", Tty=True)
    api.engine.find(new).log[:] = LINES
    reply = await api.call("GET", f"/containers/{new}/logs?stdout=1&timestamps=1")
    assert reply.headers["content-type"] == "application/vnd.docker.raw-stream"
    assert reply.body == (
        b"2026-11-21T03:29:08.093305261Z one\n2026-11-21T03:29:09.093305261Z two, cut\n"
    )


async def test_logs_options(api: Api) -> None:
    new = await api.create("echo")
    for query in ("", "stdout=0", "stdout=1&since=yesterday", "stdout=1&until=1.x"):
        assert (await api.call("GET", f"/containers/{new}/logs?{query}")).status == 400, query
    assert (await api.call("GET", "/containers/nosuch/logs?stdout=1")).status == 404


async def test_following_logs(api: Api) -> None:
    new = await api.create("sleep")
    container = api.engine.find(new)
    await api.call("POST", f"/containers/{new}/start")
    client = await api.client()
    await client.request("GET", f"/containers/{new}/logs?follow=1&stdout=1")
    assert (await client.head()).status == 200  # at once, though there is nothing yet
    await api.engine.say(container, "stdout", b"a\n")
    assert await client.chunk() == b"\x01\0\0\0\0\0\0\x02a\n"
    await api.engine.say(container, "stdout", b"b\n")
    assert await client.chunk() == b"\x01\0\0\0\0\0\0\x02b\n"
    await api.engine.stop(new, None, None)
    assert await client.chunk() == b""


async def test_following_ends_with_the_client(api: Api) -> None:
    new = await api.create("sleep")
    await api.call("POST", f"/containers/{new}/start")
    client = await api.client()
    await client.request("GET", f"/containers/{new}/logs?follow=1&stdout=1")
    await client.head()
    assert api.engine.following == 1
    await client.stream.aclose()
    while api.engine.following:
        await trio.sleep(0.001)


async def test_much_log_goes_in_few_writes_and_waits_for_a_slow_client(api: Api) -> None:
    new = await api.create("echo")
    record = Record(AT, "stdout", b"x" * 1023 + b"\n")
    api.engine.find(new).log[:] = [record] * 20_000
    client = await api.client()
    await client.request("GET", f"/containers/{new}/logs?stdout=1")
    reply = await client.head()
    await trio.sleep(0.05)
    while chunk := await client.chunk():
        assert len(chunk) <= MOST_GATHERED + 1032
        reply.chunks.append(chunk)
    assert sum(map(len, reply.chunks)) == 20_000 * 1032
    assert len(reply.chunks) < 1000


# --- events ---------------------------------------------------------------------------------


async def events(api: Api, query: str = "") -> Client:
    client = await api.client()
    await client.request("GET", f"/v1.50/events?{query}")
    head = await client.head()
    assert (head.status, head.headers["content-type"]) == (200, "application/json")
    return client


async def test_events_come_as_they_happen(api: Api) -> None:
    client = await events(api)
    api.engine.emit("oom", "c1", memory="1")
    [event] = [json.loads(line) for line in (await client.chunk()).splitlines()]
    assert event["Type"] == "container"
    assert event["Action"] == event["status"] == "oom"
    assert event["Actor"] == {
        "ID": "c1",
        "Attributes": {"name": "x", "image": "tools", "memory": "1"},
    }
    assert event["time"] == event["timeNano"] // 10**9
    assert abs(event["time"] - time.time()) < 60
    await client.stream.aclose()
    while api.engine.subscribers:
        await trio.sleep(0.001)


async def test_events_are_filtered_and_end(api: Api) -> None:
    api.engine.emit("start", "c1")
    api.engine.emit("exec_start: sh", "c1")
    api.engine.emit("die", "c2", exitCode="1")
    filters = quote(json.dumps({"event": {"exec_start": True, "die": True}, "container": ["c"]}))
    client = await events(api, f"since=1&until=2&filters={filters}")
    lines = (await client.chunk()).splitlines()
    assert [json.loads(line)["Action"] for line in lines] == ["exec_start: sh", "die"]
    assert await client.chunk() == b""
    assert (await client.call("GET", "/_ping")).status == 200


async def test_events_refuse_unknown_filters(api: Api) -> None:
    filters = quote(json.dumps({"color": ["red"]}))
    reply = await api.call("GET", f"/events?filters={filters}")
    assert reply.status == 400
    assert reply.json()["message"] == "invalid filter 'color'"


# --- what goes wrong --------------------------------------------------------------------------


async def test_docker_py_has_read_the_head_before_anything_follows(api: Api) -> None:
    new = await api.create("sleep")
    client = await api.client()
    headers = {**UPGRADE, "User-Agent": "docker-sdk-python/7.1.0"}
    await client.request("POST", f"/containers/{new}/attach?{ALL}", headers=headers)
    await trio.sleep(0.02)
    assert not api.engine.find(new).attached
    assert (await client.head()).status == 101
    while not api.engine.find(new).attached:
        await trio.sleep(0.001)


async def test_a_stream_that_fails_is_cut_off(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(ref: str, options: LogOptions) -> AsyncIterator[Record]:
        yield LINES[0]
        raise RuntimeError("the disk is gone")

    monkeypatch.setattr(api.engine, "logs", broken)
    new = await api.create("echo")
    for follow in (0, 1):
        client = await api.client()
        await client.request("GET", f"/containers/{new}/logs?stdout=1&follow={follow}")
        assert (await client.head()).status == 200
        assert not (await client.rest()).endswith(b"0\r\n\r\n")
    assert "the disk is gone" in caplog.text
    assert (await api.call("GET", "/_ping")).status == 200


async def test_many_clients_at_once(api: Api) -> None:
    async def lifecycle(number: int) -> None:
        client = await api.client()
        for _ in range(5):
            created = await client.call(
                "POST", "/containers/create", {"Image": "tools", "Cmd": ["echo", str(number)]}
            )
            path = f"/containers/{created.json()['Id']}"
            stream = await attached(api, created.json()["Id"])
            assert (await client.call("POST", f"{path}/start")).status == 204
            assert (await client.call("POST", f"{path}/wait")).json() == {"StatusCode": 0}
            assert (await stream.rest())[8:] == b"%d\n" % number
            assert (await client.call("GET", f"{path}/json")).status == 200
            assert (await client.call("GET", "/containers/json?all=1")).status == 200
            assert (await client.call("DELETE", path)).status == 204
            await stream.stream.aclose()

    async with trio.open_nursery() as nursery:
        for number in range(32):
            nursery.start_soon(lifecycle, number)
    assert not api.engine.containers
