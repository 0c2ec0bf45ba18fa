"""What other processes write: shims, containers, images' files of users."""

from __future__ import annotations

import contextlib
import json
import os
from unittest.mock import patch

from supervisor.engine import logs as engine_logs
from supervisor.engine.shim_client import checked
from supervisor.errors import InvalidArgument, NotFound, ProtocolError
from supervisor.shim.exit_record import record_from_json
from supervisor.spec import users
from supervisor.wire import detach, logrecord, path_stat, shim_protocol, stdcopy
from tests.fuzz.target import Target, pieces, whole

_LONGEST_LINE = 64
_BLOCK = 96


def messages(data: bytes) -> None:
    """A packet of the shim protocol: an object, and its errors are errors."""
    try:
        message = shim_protocol.decode(data)
    except ProtocolError:
        return
    assert str(json.loads(data)) == str(message)  # NaN is not itself
    with contextlib.suppress(ProtocolError):
        checked(message)
    for field in message.values():
        with contextlib.suppress(ProtocolError):
            shim_protocol.error_from_json(field)
        try:
            record = record_from_json(field)
        except ProtocolError:
            continue
        assert record_from_json(record.to_json()) == record


def logs(data: bytes) -> None:
    """A log file read in pieces is read as in one; output comes back as it was written."""
    found, skipped = _decoded(pieces(data))
    assert (found, skipped) == _decoded([data[1:]])
    encoder = logrecord.Encoder("stdout", _LONGEST_LINE)
    written = b"".join(encoder.feed(piece, 1_700_000_000_000_000_001) for piece in pieces(data))
    written += encoder.close(1_700_000_000_000_000_002)
    again, skipped = _decoded([written])
    assert skipped == 0
    assert b"".join(record.data for record in again) == data[1:]
    assert all(len(record.data) <= _LONGEST_LINE + 1 for record in again)
    _check_tail(written, data[1:])


def _check_tail(written: bytes, output: bytes) -> None:
    """The last lines of a file, looked for from its end, are those of what was written."""
    lines = _lines(output)
    fd = os.memfd_create("log")
    try:
        os.write(fd, written)
        with patch.object(engine_logs, "TAIL_BLOCK", _BLOCK):
            for wanted in (1, 3):
                count, offset = engine_logs._lines_from_end(fd, wanted)
                assert count == min(wanted, len(lines))
                found, _ = _decoded([written[offset:]])
                assert b"".join(record.data for record in found) == b"".join(lines[-wanted:])
    finally:
        os.close(fd)


def _lines(output: bytes) -> list[bytes]:
    lines = [line + b"\n" for line in output.split(b"\n")]
    last = lines.pop()[:-1]
    return [*lines, last] if last else lines


def _decoded(parts: list[bytes]) -> tuple[list[logrecord.Record], int]:
    decoder = logrecord.Decoder(max_record=512)
    found = [record for part in parts for record in decoder.feed(part)]
    return found, decoder.skipped


def frames(data: bytes) -> None:
    """Multiplexed output, cut anywhere; what frames it frames it again."""
    cut = _split(pieces(data))
    assert cut == _split([data[1:]])
    taken, _ = cut
    again, problem = _split([b"".join(stdcopy.frame(stream, piece) for stream, piece in taken)])
    assert not problem
    assert {stream for stream, _ in taken} <= {0, 1, 2, 3}
    assert again == [(stream, piece) for stream, piece in taken if piece]
    text = data.decode("utf-8", "surrogateescape")
    try:
        keys = detach.parse_keys(text)
    except InvalidArgument:
        keys = data[1:4]
    detacher = detach.Detacher(keys)
    passed = b"".join(detacher.feed(piece)[0] for piece in pieces(data)) + detacher.flush()
    at = data[1:].find(keys) if keys else -1
    assert passed == (data[1 : 1 + at] if at >= 0 else data[1:])
    try:
        stat = path_stat.decode(text)
    except ProtocolError:
        return
    assert path_stat.decode(stat.encode()).size == stat.size


def _split(parts: list[bytes]) -> tuple[list[tuple[int, bytes]], bool]:
    """Payloads joined by stream as they follow each other, and whether that ended in an error."""
    decoder = stdcopy.Decoder()
    found: list[tuple[int, bytes]] = []
    try:
        for part in parts:
            for stream, piece in decoder.feed(part):
                if found and found[-1][0] == stream:
                    piece = found.pop()[1] + piece
                found.append((stream, piece))
        decoder.close()
    except ProtocolError:
        return [], True
    return found, False


def passwords(data: bytes) -> None:
    """A user of an image's passwd and group files: ids in range, or one error."""
    user, _, files = data.partition(b"\0")
    passwd, _, group = files.partition(b"\0")
    name, _, more = user.decode("utf-8", "replace").partition(" ")
    try:
        found = users.lookup(name, more.split(), passwd, group)
    except (InvalidArgument, NotFound):
        return
    for id in (found.uid, found.gid, *found.groups):
        assert 0 <= id <= users.MAX_ID
    assert "\0" not in found.home


_RECORD = b'{"version":1,"id":"ab","run":1,"pid":7,"code":137,"signal":9,"finishedNs":5}'
_LINES = (
    b"2026-11-21T04:22:00.123456789Z stdout F a whole line\n"
    b"2026-11-21T04:22:00.123456790Z stderr P a part \n"
    b"2026-11-21T04:22:01.000000000Z stderr F of one\n"
)

TARGETS = (
    Target(
        name="shim",
        run=messages,
        seeds=(
            b'{"id":7,"ok":{}}',
            b"[{}]",
            b'{"id":7,"error":{"code":"conflict","message":"no"}}',
            (
                b'{"event":"failed","error":{"code":"internal","message":"m","init":'
                b'{"step":"execve","path":"/x","errno":2,"message":"no such file"}}}'
            ),
            b'{"event":"exited","record":' + _RECORD + b"}",
        ),
        words=(b'"init":', b'"code":', b"null", b"[", b'{"a":', b"NaN", b"1e999", b"true", b"{}"),
        longest=65536,
    ),
    Target(
        name="log",
        run=logs,
        seeds=whole(_LINES, _LINES[:70], b"no record\n" + _LINES, b"x" * 200 + b"\ny"),
        words=(b" stdout F ", b" stderr P ", b"\n", b"Z", b"2026-13-32T25:61:61", b"-"),
        longest=2048,
    ),
    Target(
        name="frames",
        run=frames,
        seeds=(
            *whole(stdcopy.frame(1, b"hello") + stdcopy.frame(2, b"") + stdcopy.frame(2, b"no")),
            b"ctrl-p,ctrl-q",
            path_stat.PathStat(name="a", size=1, mode=0o100644, mtime="2026-11-21T04:22:00Z")
            .encode()
            .encode(),
        ),
        words=(b"\1\0\0\0", b"\2\0\0\0\0\0\0\5", b"ctrl-", b",", b"eyJ"),
        longest=1024,
    ),
    Target(
        name="passwd",
        run=passwords,
        seeds=(
            (
                b"web audio 7\0root:x:0:0:root:/root:/bin/sh\n"
                b"web:x:1000:1000::/home/web:/bin/sh\n\0"
                b"root:x:0:\naudio:x:63:web,x\nweb:x:1000:\n"
            ),
            b"1000:audio\0\0audio:x:63:\n",
            b"0\0root:x:0:0\n\0",
        ),
        words=(b":", b"::", b"\n", b"root", b"-1", b"+", b"2147483648", b",", b"\xc2\xb2"),
        longest=1024,
    ),
)
