"""The data root: paths, modes, the lock."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.errors import Conflict, InvalidArgument
from supervisor.oci.digest import Digest
from supervisor.store.layout import DataRoot

HOLD = """
import sys
from supervisor.store.layout import DataRoot
root = DataRoot(sys.argv[1])
root.prepare()
print("held", flush=True)
sys.stdin.read()
"""


def test_folders_and_their_modes(tmp_path: Path) -> None:
    root = DataRoot(tmp_path / "a" / "root")
    umask = os.umask(0o077)
    try:
        root.prepare()
    finally:
        os.umask(umask)
    modes = {
        folder.name: stat.S_IMODE(folder.stat().st_mode)
        for folder in (root.path, root.blobs, root.layers, root.containers, root.tmp, root.trash)
    }
    assert modes == {
        "root": 0o700,
        "blobs": 0o700,
        "layers": 0o711,
        "containers": 0o711,
        "tmp": 0o700,
        "trash": 0o700,
    }
    root.release()


def test_a_root_that_was_open_is_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    root = DataRoot(tmp_path)
    root.prepare()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
    root.prepare()  # again is fine
    root.release()


def test_paths(tmp_path: Path) -> None:
    root = DataRoot(str(tmp_path))
    digest = Digest.of(b"x")
    assert root.bundle("ab12") == root.containers / "ab12"
    assert root.blob(digest) == tmp_path / "blobs" / "sha256" / digest.encoded
    assert root.layer(digest) == tmp_path / "layers" / digest.encoded


@pytest.mark.parametrize("id", ["", ".", "..", "a/b", "../x", "a\0", "-a", "a\n", "x" * 200])
def test_what_cannot_be_an_id_is_no_bundle(tmp_path: Path, id: str) -> None:
    with pytest.raises(InvalidArgument):
        DataRoot(tmp_path).bundle(id)


def test_one_daemon_per_root(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        cwd=Path(__file__).parents[3],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        root = DataRoot(tmp_path)
        with pytest.raises(Conflict, match=rf"pid {holder.pid}\).*{tmp_path}"):
            root.prepare()
        holder.kill()
        holder.wait()
        root.prepare()
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    other = DataRoot(tmp_path)
    with pytest.raises(Conflict):
        other.prepare()
    root.release()
    root.release()
    other.prepare()
    other.release()
