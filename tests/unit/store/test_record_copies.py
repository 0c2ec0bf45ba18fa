"""Copies of records in a bundle: whatever is cut off or damaged, the last good one counts."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.store import record_copies
from supervisor.store.record_copies import FILE_NAME
from supervisor.store.row_copies import RowCopies

DOCS = [b'{"state":%d}' % number for number in range(4)]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    for doc in DOCS:
        record_copies.add(tmp_path, doc)
    return tmp_path


def test_the_latest_counts(bundle: Path, tmp_path: Path) -> None:
    assert record_copies.latest(bundle) == DOCS[-1]
    assert record_copies.is_there(bundle)
    assert record_copies.latest(tmp_path / "none") is None
    assert not record_copies.is_there(tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        record_copies.add(tmp_path / "none", DOCS[0])


@given(length=st.integers(0, 200))
def test_what_is_cut_off_costs_no_more_than_itself(
    length: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """And what is added afterwards is found."""
    folder = tmp_path_factory.mktemp("bundle")
    whole = [0]
    for doc in DOCS:
        record_copies.add(folder, doc)
        whole.append((folder / FILE_NAME).stat().st_size - 1)  # all but the newline
    path = folder / FILE_NAME
    path.write_bytes(path.read_bytes()[:length])
    left = sum(size <= length for size in whole[1:])
    assert record_copies.latest(folder) == (DOCS[left - 1] if left else None)
    record_copies.add(folder, b"{}")
    assert record_copies.latest(folder) == b"{}"


@given(place=st.integers(0), bit=st.integers(0, 7))
def test_a_flipped_bit_is_never_taken_for_a_record(
    place: int, bit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("bundle")
    for doc in DOCS:
        record_copies.add(folder, doc)
    path = folder / FILE_NAME
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= 1 << bit
    path.write_bytes(data)
    assert record_copies.latest(folder) in DOCS[-2:]


@pytest.mark.parametrize("data", [b"", bytes(4096), b"\n\n", b"00000000 ", b"nonsense"])
def test_nothing_good_in_it(tmp_path: Path, data: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(data)
    assert record_copies.latest(tmp_path) is None


def test_the_file_does_not_grow_for_ever(tmp_path: Path) -> None:
    docs = [b'{"n":%d,"much":"%b"}' % (number, b"x" * 20_000) for number in range(100)]
    for doc in docs:
        record_copies.add(tmp_path, doc)
        assert record_copies.latest(tmp_path) == doc
        assert (tmp_path / FILE_NAME).stat().st_size < 300_000
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_one_that_is_larger_than_all_of_that(tmp_path: Path) -> None:
    big = b"y" * 1_000_000
    for _ in range(5):
        record_copies.add(tmp_path, big)
    assert record_copies.latest(tmp_path) == big
    assert (tmp_path / FILE_NAME).stat().st_size < 2_500_000


def test_copies_of_rows(tmp_path: Path) -> None:
    copies = RowCopies(tmp_path)
    copies.write("a", b"1")
    copies.write("b", b"2")
    copies.write("a", b"3")
    (tmp_path / ".b.json.1234.tmp").write_bytes(b"half")
    (tmp_path / "stranger").write_bytes(b"")
    assert copies.read() == {"a": b"3", "b": b"2"}
    copies.drop("a")
    copies.drop("a")
    assert copies.read() == {"b": b"2"}
