"""The header with a path's status: what dockerd sent, Go's mode bits, what is no such header."""

from __future__ import annotations

import base64
import json
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import ProtocolError
from supervisor.wire.path_stat import PathStat, decode, go_mode, unix_mode

# As dockerd 28 answered for /tmp and /etc/passwd.
FROM_DOCKERD = {
    "eyJuYW1lIjoidG1wIiwic2l6ZSI6NDA5NiwibW9kZSI6MjE0ODUzMjczNSwibXRpbWUiOiIyMDI2LTExLTIxVDAzOjMw"
    "OjA0Ljk2NDI0NjgyM1oiLCJsaW5rVGFyZ2V0IjoiIn0=": PathStat(
        name="tmp", size=4096, mode=0o41777, mtime="2026-11-21T03:30:04.964246823Z"
    ),
    "eyJuYW1lIjoicGFzc3dkIiwic2l6ZSI6MjM4LCJtb2RlIjo0MjAsIm10aW1lIjoiMjAyNC0wMS0wMVQwMDowMDowMFoi"
    "LCJsaW5rVGFyZ2V0IjoiIn0=": PathStat(
        name="passwd", size=238, mode=0o100644, mtime="2024-01-01T00:00:00Z"
    ),
}
TYPES = (
    stat.S_IFREG,
    stat.S_IFDIR,
    stat.S_IFLNK,
    stat.S_IFBLK,
    stat.S_IFCHR,
    stat.S_IFIFO,
    stat.S_IFSOCK,
)


@pytest.mark.parametrize("value,found", FROM_DOCKERD.items())
def test_it_is_byte_for_byte_what_dockerd_sends(value: str, found: PathStat) -> None:
    assert found.encode() == value
    assert decode(value) == found


@pytest.mark.parametrize(
    "mode,expected",
    [
        (0o100644, 0o644),
        (0o040755, 1 << 31 | 0o755),
        (0o120777, 1 << 27 | 0o777),
        (0o060660, 1 << 26 | 0o660),
        (0o020666, 1 << 26 | 1 << 21 | 0o666),
        (0o010600, 1 << 25 | 0o600),
        (0o140755, 1 << 24 | 0o755),
        (0o104755, 1 << 23 | 0o755),
        (0o102755, 1 << 22 | 0o755),
        (0o041777, 1 << 31 | 1 << 20 | 0o777),
    ],
)
def test_modes_are_go_s(mode: int, expected: int) -> None:
    assert go_mode(mode) == expected


@given(st.sampled_from(TYPES), st.integers(0, 0o7777))
def test_modes_come_back(kind: int, permissions: int) -> None:
    assert unix_mode(go_mode(kind | permissions)) == kind | permissions


@given(st.text(max_size=20), st.integers(0, 1 << 63), st.text(max_size=20))
def test_everything_comes_back(name: str, size: int, target: str) -> None:
    text = (name + target).encode("utf-8", "ignore").decode()
    found = PathStat(name=text, size=size, mode=0o120777, mtime="", link_target=text)
    assert decode(found.encode()) == found


def test_a_name_that_is_no_text() -> None:
    assert decode(PathStat(name="\udcff", size=0, mode=0o100644, mtime="").encode()).name == "�"


@pytest.mark.parametrize(
    "value",
    ["", "?", "bm8gSlNPTg==", base64.b64encode(b"[]").decode(), base64.b64encode(b"{}").decode()],
)
def test_what_is_none(value: str) -> None:
    with pytest.raises(ProtocolError):
        decode(value)


def test_a_type_that_linux_does_not_have() -> None:
    fields = {"name": "x", "size": 0, "mode": 1 << 29 | 1 << 31 | 1 << 27, "mtime": ""}
    value = base64.b64encode(json.dumps({**fields, "linkTarget": ""}).encode()).decode()
    with pytest.raises(ProtocolError):
        decode(value)
