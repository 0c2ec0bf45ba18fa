"""archive, export and changes over HTTP: headers, streamed bodies both ways, what goes wrong."""

from __future__ import annotations

import pytest
import trio

from supervisor.api import limits
from supervisor.wire.path_stat import decode
from tests.unit.api.conftest import Api, Client
from tests.unit.api.fake_archives import STAT

ARCHIVE = "/containers/web/archive?path="


async def put_head(client: Client, target: str, *headers: str) -> None:
    lines = [f"PUT {target} HTTP/1.1", "Host: x", "Content-Type: application/x-tar", *headers]
    await client.send("\r\n".join([*lines, "", ""]).encode())


async def test_head_has_the_status_in_a_header(api: Api) -> None:
    client = await api.client()
    reply = await client.call("HEAD", ARCHIVE + "%2Fetc")
    assert (reply.status, decode(reply.headers["x-docker-container-path-stat"])) == (200, STAT)
    assert (await client.call("HEAD", ARCHIVE + "/nope")).status == 404
    reply = await client.call("GET", ARCHIVE)
    assert (reply.status, reply.json()["message"]) == (
        400,
        "bad parameter: 'path' cannot be empty",
    )


async def test_get_streams_a_tar_behind_its_status(api: Api) -> None:
    client = await api.client()
    reply = await client.call("GET", ARCHIVE + "/etc")
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/x-tar"
    assert decode(reply.headers["x-docker-container-path-stat"]) == STAT
    assert reply.body == b"".join(api.engine.archives.pieces)
    assert api.engine.archives.closed.is_set()
    reply = await client.call("GET", ARCHIVE + "/nope")
    assert (reply.status, reply.json()["message"]) == (
        404,
        "Could not find the file /nope in container web",
    )


@pytest.mark.parametrize("target", [ARCHIVE + "/etc", "/containers/web/export"])
async def test_what_breaks_in_the_middle_is_cut_off(api: Api, target: str) -> None:
    api.engine.archives.fails_after = 1
    client = await api.client()
    await client.request("GET", target)
    assert (await client.head()).status == 200
    assert not (await client.rest()).endswith(b"0\r\n\r\n")  # no end: the client can tell
    assert (await api.call("GET", "/_ping")).status == 200


async def test_a_client_that_goes_ends_a_get(api: Api) -> None:
    api.engine.archives.pieces = [b"x" * 65536] * 1000
    client = await api.client()
    await client.request("GET", ARCHIVE + "/etc")
    assert (await client.head()).status == 200
    await client.stream.aclose()
    await api.engine.archives.closed.wait()


async def test_a_client_that_takes_nothing_is_cut_off(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STREAM_SECONDS", 0.05)
    api.engine.archives.pieces = [b"x" * 65536] * 1000
    client = await api.client()
    await client.request("GET", "/containers/web/export")
    await api.engine.archives.closed.wait()


async def test_export_and_changes(api: Api) -> None:
    reply = await api.call("GET", "/containers/web/export")
    assert reply.headers["content-type"] == "application/octet-stream"
    assert reply.body == b"".join(api.engine.archives.pieces)
    assert (await api.call("GET", "/containers/web/changes")).json() == [
        {"Path": "/tmp", "Kind": 0},
        {"Path": "/tmp/�", "Kind": 1},
        {"Path": "/bin", "Kind": 2},
    ]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [0, 1, 5 * 1024 * 1024])
async def test_put_of_any_size(api: Api, chunked: bool, size: int) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    client = await api.client()
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    await put_head(client, ARCHIVE + "/x&noOverwriteDirNonDir=true&copyUIDGID=1", framing)
    for at in range(0, size, 100_000):
        piece = body[at : at + 100_000]
        await client.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
    if chunked:
        await client.send(b"0\r\n\r\n")
    assert (await client.reply()).status == 200
    assert api.engine.archives.taken == {"/x": body}
    assert api.engine.archives.asked == [("/x", True, True)]
    # A limit of memory: what waits is at most what is taken at once and what lay before it.
    assert api.engine.archives.largest <= limits.STREAM_SIZE + limits.RECEIVE_SIZE
    assert (await client.call("GET", "/_ping")).status == 200


async def test_a_slow_taker_slows_the_client(api: Api) -> None:
    api.engine.archives.gate = trio.Event()
    client = await api.client()
    size = 64 * 1024 * 1024
    await put_head(client, ARCHIVE + "/x", f"Content-Length: {size}")
    sent = 0
    with trio.move_on_after(0.3):
        while True:
            await client.send(bytes(65536))
            sent += 65536
    assert sent < 2 * 1024 * 1024, "the body was taken faster than it was used"


async def test_expect_100_continue_is_honoured_when_the_body_is_wanted(api: Api) -> None:
    client = await api.client()
    await put_head(client, ARCHIVE + "/x", "Expect: 100-continue", "Content-Length: 3")
    assert (await client.head()).status == 100
    await client.send(b"tar")
    assert (await client.reply()).status == 200
    assert api.engine.archives.taken == {"/x": b"tar"}


async def test_a_refused_upload_is_answered_before_its_body(api: Api) -> None:
    api.engine.archives.refuses = "container rootfs is marked read-only"
    client = await api.client()
    await put_head(client, ARCHIVE + "/x", "Expect: 100-continue", "Content-Length: 1000000000")
    reply = await client.reply()
    assert (reply.status, reply.headers["connection"]) == (400, "close")
    assert reply.json()["message"] == "container rootfs is marked read-only"


@pytest.mark.parametrize(
    "sent", [b"100\r\nshort", b"zz\r\n", b"5\r\nhello\r\n", b"5\r\nhello\r\n-1\r\n", b""]
)
async def test_a_body_that_is_cut_off_or_malformed(api: Api, sent: bytes) -> None:
    client = await api.client()
    await put_head(client, ARCHIVE + "/x", "Transfer-Encoding: chunked")
    await client.send(sent)
    await client.stream.send_eof()
    reply = await client.reply()
    assert reply.status == 400
    assert "cut off or malformed" in reply.json()["message"]
    assert not api.engine.archives.taken


async def test_a_body_that_does_not_go_on(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STREAM_SECONDS", 0.05)
    client = await api.client()
    await put_head(client, ARCHIVE + "/x", "Content-Length: 100")
    await client.send(b"some")
    assert (await client.reply()).status == 408


async def test_a_client_that_goes_ends_a_put(api: Api) -> None:
    client = await api.client()
    await put_head(client, ARCHIVE + "/x", "Content-Length: 100")
    await client.send(b"some")
    await client.stream.aclose()
    assert (await api.call("GET", "/_ping")).status == 200
    assert not api.engine.archives.taken
