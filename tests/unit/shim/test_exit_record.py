"""The exit record on disk."""

import os
from pathlib import Path

import pytest

from supervisor.errors import ProtocolError
from supervisor.shim import exit_record
from supervisor.shim.exit_record import ExitRecord

RECORD = ExitRecord(id="a" * 64, run=3, code=137, signal=9, oom_kills=1, finished_ns=5)


def folder_fd(path: Path) -> int:
    """An fd of the folder."""
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY)


def test_round_trip(tmp_path: Path) -> None:
    fd = folder_fd(tmp_path)
    exit_record.write(RECORD, fd)
    os.close(fd)
    assert exit_record.read(str(tmp_path)) == RECORD
    assert os.listdir(tmp_path) == [exit_record.FILE_NAME]


def test_none_where_there_is_none(tmp_path: Path) -> None:
    assert exit_record.read(str(tmp_path)) is None


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"id": 1}', b"\0" * 50])
def test_damage_is_told(tmp_path: Path, data: bytes) -> None:
    (tmp_path / exit_record.FILE_NAME).write_bytes(data)
    with pytest.raises(ProtocolError):
        exit_record.read(str(tmp_path))


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:7]))
    fd = folder_fd(tmp_path)
    exit_record.write(RECORD, fd)
    monkeypatch.undo()
    os.close(fd)
    assert exit_record.read(str(tmp_path)) == RECORD
