"""Volumes on disk: what is made, what a lost record and a crash leave, what is put right."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from supervisor.docker.volumes import ANONYMOUS_LABEL
from supervisor.errors import Internal, Unavailable
from supervisor.store import volumes
from supervisor.store.layout import DataRoot
from supervisor.store.volumes import Volume, decode, encode, load, new_volume


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    root = DataRoot(tmp_path / "root")
    root.prepare()
    return root


def made(root: DataRoot, name: str, **labels: str) -> Volume:
    volume = new_volume(root, name, labels, {})
    volumes.make(volume)
    return volume


def row(volume: Volume) -> tuple[str, bytes]:
    return volume.name, encode(volume)


def mode(path: str) -> int:
    return stat.S_IMODE(Path(path).stat().st_mode)


def test_folders(root: DataRoot) -> None:
    volume = made(root, "v1")
    assert volume.mountpoint == f"{root.path}/volumes/v1/_data"
    assert (mode(volume.folder), mode(volume.mountpoint)) == (0o700, 0o755)
    assert [p.name for p in Path(volume.folder).iterdir()] == ["_data"]
    assert volumes.is_empty(volume)
    Path(volume.mountpoint, "file").touch()
    assert not volumes.is_empty(volume)
    volumes.make(volume)
    assert Path(volume.mountpoint, "file").exists()


def test_removed_in_one_step(root: DataRoot) -> None:
    volume = made(root, "v1")
    volumes.remove(root, volume)
    volumes.remove(root, volume)
    assert list(root.volumes.iterdir()) == []
    assert len(list(root.trash.iterdir())) == 1


def test_documents_round_trip(root: DataRoot) -> None:
    volume = new_volume(root, "v1", {"k": "v"}, {"type": "tmpfs"})
    assert decode(root, "v1", encode(volume)) == volume
    assert volume.created.endswith("Z")


@pytest.mark.parametrize(
    "document",
    [b"", b"[]", b"{}", b'{"version":2,"createdNs":1}', b'{"version":1,"createdNs":"x"}'],
)
def test_other_documents(root: DataRoot, document: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        decode(root, "v1", document)


def test_load_finds_what_was_made(root: DataRoot) -> None:
    some = [made(root, "v1", k="v"), made(root, "v2")]
    loaded = load(root, map(row, some))
    assert loaded.volumes == some
    assert loaded.rebuilt == []


def test_a_row_without_a_folder_gets_one(root: DataRoot) -> None:
    # As a crash leaves it between the row and the folder.
    volume = new_volume(root, "v1", {}, {})
    assert load(root, [row(volume)]).volumes == [volume]
    assert Path(volume.mountpoint).is_dir()


def test_no_content_is_lost_with_its_record(root: DataRoot) -> None:
    kept = made(root, "named", k="v")
    plain = made(root, "plain")
    nameless = made(root, "0" * 64, **{ANONYMOUS_LABEL: ""})
    Path(plain.mountpoint, "precious").touch()
    loaded = load(root, [("named", b"damaged")])
    found = {v.name: v for v in loaded.volumes}
    assert found["named"] == kept
    assert found["plain"].labels == {}
    assert found[nameless.name].anonymous
    assert {v.name for v in loaded.rebuilt} == {"named", "plain", nameless.name}
    assert Path(plain.mountpoint, "precious").exists()
    # Once more, now that the rows are written.
    again = load(root, map(row, loaded.volumes))
    assert (again.volumes, again.rebuilt) == (loaded.volumes, [])


def test_what_is_no_volume_is_left_alone(root: DataRoot) -> None:
    (root.volumes / ".hidden").mkdir()
    (root.volumes / "file1").touch()
    assert load(root, [("../x", b"{}")]).volumes == []
    assert {p.name for p in root.volumes.iterdir()} == {".hidden", "file1"}


def test_a_copy_that_was_broken_off_is_undone(root: DataRoot) -> None:
    volume = made(root, "v1")
    half = Path(volume.folder, volumes.COPYING)
    half.mkdir()
    (half / "half").touch()
    load(root, [row(volume)])
    assert volumes.is_empty(volume)
    assert not half.exists()
    assert len(list(root.trash.iterdir())) == 1


def test_a_copy_that_was_complete_is_finished(root: DataRoot) -> None:
    volume = made(root, "v1")
    whole = Path(volume.folder, volumes.COPIED)
    (whole / "folder").mkdir(parents=True)
    (whole / "folder" / "inner").touch()
    (whole / "taken").write_text("image's")
    (whole / "link").symlink_to("/etc/passwd")
    whole.chmod(0o1770)
    # Meanwhile a container was faster with one name, and set a trap with another.
    data = Path(volume.mountpoint)
    (data / "taken").write_text("container's")
    outside = root.path / "outside"
    outside.mkdir()
    load(root, [row(volume)])
    assert (data / "folder" / "inner").exists()
    assert (data / "taken").read_text() == "container's"
    assert (data / "link").readlink() == Path("/etc/passwd")
    assert mode(volume.mountpoint) == 0o1770
    assert not whole.exists()


def test_the_records_copy_says_no_more_than_the_record(root: DataRoot) -> None:
    volume = made(root, "v1", k="v")
    copy = json.loads(Path(volume.folder, volumes.COPY_OF_RECORD).read_bytes())
    assert copy == json.loads(encode(volume))


def test_disk_errors() -> None:
    with pytest.raises(Unavailable, match=r"volume v1: .*No space"), volumes.disk_errors("v1"):
        raise OSError(28, "No space left on device")
    with pytest.raises(Internal), volumes.disk_errors("v1"):
        raise OSError(5, "Input/output error")
