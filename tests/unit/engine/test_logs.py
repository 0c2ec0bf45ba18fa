"""Reading logs: tails across files, rotation under the reader."""

from pathlib import Path

import pytest

from supervisor.engine.logs import FILE_NAME, LogReader
from supervisor.wire.logrecord import Encoder


def records(*lines: str) -> bytes:
    """Whole lines as a log has them."""
    return Encoder("stdout").feed("".join(f"{line}\n" for line in lines).encode(), 10**18)


def texts(reader: LogReader) -> list[str]:
    """All that can be read now."""
    found: list[str] = []
    while new := reader.read():
        found += [record.data.decode().rstrip("\n") for record in new]
    return found


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / FILE_NAME
    (tmp_path / f"{FILE_NAME}.2").write_bytes(records("a", "b"))
    (tmp_path / f"{FILE_NAME}.1").write_bytes(records("c", "d"))
    path.write_bytes(records("e", "f"))
    return path


@pytest.mark.parametrize("tail", [0, 1, 2, 3, 4, 5, 6, 9, None])
def test_tail_across_rotation(log: Path, tail: int | None) -> None:
    reader = LogReader(log)
    reader.open_at(tail)
    assert texts(reader) == list("abcdef")[-tail if tail else (6 if tail == 0 else 0) :]
    reader.close()


def test_partial_records_belong_to_their_line(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    encoder = Encoder("stdout", max_line=4)
    path.write_bytes(encoder.feed(b"one\nabcdefghij\n", 10**18))
    reader = LogReader(path)
    reader.open_at(1)
    assert b"".join(r.data for r in reader.read()) == b"abcdefghij\n"
    reader.close()


@pytest.mark.parametrize("tail", [None, 5])
def test_follows_what_is_made_and_rotated_before_it_looks_again(
    tmp_path: Path, tail: int | None
) -> None:
    path = tmp_path / FILE_NAME
    reader = LogReader(path)
    reader.open_at(tail)
    assert texts(reader) == []
    path.with_name(f"{FILE_NAME}.1").write_bytes(records("a"))
    path.write_bytes(records("b"))
    assert texts(reader) == ["a", "b"]
    reader.close()


def test_follows_over_a_rotation(log: Path) -> None:
    reader = LogReader(log)
    reader.open_at(0)
    assert texts(reader) == []
    with log.open("ab") as file:
        file.write(records("g"))
    log.replace(log.with_name(f"{FILE_NAME}.1"))
    log.write_bytes(records("h"))
    assert texts(reader) == ["g", "h"]
    reader.close()


def test_what_is_written_just_before_a_rotation_is_read(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = LogReader(log)
    reader.open_at(0)
    real = reader._following

    def rotated_meanwhile() -> int | None:
        monkeypatch.undo()
        with log.open("ab") as file:
            file.write(records("g"))
        log.replace(log.with_name(f"{FILE_NAME}.1"))
        log.write_bytes(records("h"))
        return real()

    monkeypatch.setattr(reader, "_following", rotated_meanwhile)
    assert texts(reader) == ["g", "h"]
    reader.close()


@pytest.mark.parametrize("tail", [0, 3, 5, None])
def test_what_is_written_after_the_end_was_set_is_not_read(log: Path, tail: int | None) -> None:
    """Nor after a rotation: who writes for ever is not read for ever."""
    reader = LogReader(log)
    reader.open_at(tail)
    reader.end_here()
    with log.open("ab") as file:
        file.write(records("g"))
    for number in (2, 1):
        log.with_name(f"{FILE_NAME}.{number}").replace(f"{log}.{number + 1}")
    log.replace(f"{log}.1")
    log.write_bytes(records("h"))
    expected = list("abcdef")[6 - tail :] if tail is not None else list("abcdef")
    assert texts(reader) == expected
    assert reader.read() == []
    reader.close()


def test_the_end_of_a_log_that_is_not_there(tmp_path: Path) -> None:
    reader = LogReader(tmp_path / FILE_NAME)
    reader.open_at(None)
    reader.end_here()
    (tmp_path / FILE_NAME).write_bytes(records("a"))
    assert texts(reader) == []
    reader.close()
