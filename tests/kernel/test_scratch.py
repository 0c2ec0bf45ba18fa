"""Images of this host's programs, proven by running the programs with nothing else around."""

from __future__ import annotations

import functools
import os
import shutil
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from supervisor.store import elf, scratch
from supervisor.store.layout import DataRoot
from supervisor.store.scratch import Built

BUSYBOX = shutil.which("busybox")
needs_busybox = pytest.mark.skipif(BUSYBOX is None, reason="needs busybox-static")


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    root = DataRoot(tmp_path / "root")
    root.prepare()
    root.release()
    return root


def run(built: Built, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["chroot", str(built.folder), *command],
        capture_output=True,
        text=True,
        timeout=20,
        env={"PATH": scratch.PATH},
    )


@needs_busybox
def test_busybox_runs_under_all_its_names(root: DataRoot) -> None:
    built = scratch.build(root, [])
    assert run(built, "/bin/sh", "-c", "echo $((6 * 7))").stdout == "42\n"
    assert run(built, "id").stdout.startswith("uid=0(root) gid=0(root)")
    assert run(built, "stat", "-c", "%a %U %G", "/tmp", "/root").stdout == (
        "1777 root root\n700 root root\n"
    )
    assert run(built, "env").stdout == f"PATH={scratch.PATH}\n"
    assert BUSYBOX is not None
    wanted = scratch.applets(BUSYBOX)
    assert len(wanted) > 50
    check = 'for name; do test -x "/$name" || echo "$name"; done'
    assert run(built, "sh", "-c", check, "sh", *wanted).stdout == ""


@needs_busybox
def test_busybox_lists_who_is_who(root: DataRoot) -> None:
    built = scratch.build(root, [])
    assert "nobody" in run(built, "id", "nobody").stdout
    switched = run(built, "su", "-s", "/bin/sh", "nobody", "-c", "id -u; id -g")
    assert switched.stdout == "65534\n65534\n"


@pytest.mark.parametrize(
    "binary, arguments, output",
    [
        ("/usr/bin/env", ("A=b",), f"PATH={scratch.PATH}\nA=b\n"),
        ("/bin/ls", ("/",), None),
        ("/bin/true", (), ""),
        ("/usr/bin/bash", ("-c", "echo $BASH_VERSION >/dev/null; echo ok"), "ok\n"),
    ],
)
def test_dynamic_programs_run_on_what_their_headers_ask_for(
    root: DataRoot, binary: str, arguments: tuple[str, ...], output: str | None
) -> None:
    built = scratch.build(root, [binary])
    result = run(built, binary, *arguments)
    assert (result.returncode, result.stderr) == (0, "")
    names = sorted(os.listdir(built.folder))
    assert result.stdout == ("".join(f"{name}\n" for name in names) if output is None else output)


def test_programs_can_be_together_in_one_image(root: DataRoot) -> None:
    binaries = ["/bin/ls", "/usr/bin/env", "/bin/cat", "/bin/ls"]
    built = scratch.build(root, binaries)
    assert run(built, "env", "cat", "/etc/group").stdout.startswith("root:x:0:")
    inside = set(run(built, "ls", "-1", "/usr/bin").stdout.split())
    if Path("/bin").is_symlink():
        assert inside == {"ls", "env", "cat"}


def test_a_library_outside_the_loaders_own_folder_is_linked_into_it(
    root: DataRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As a folder of ld.so.conf would be: known to the host's loader only by ld.so.cache.
    private = tmp_path / "private"
    private.mkdir()
    program = elf.read("/usr/bin/env")
    for name, path in elf.closure(program).items():
        shutil.copy(path, private / name)
    conf = tmp_path / "ld.so.conf"
    conf.write_text(f"{private}\n")
    monkeypatch.setattr(elf, "closure", functools.partial(elf.closure, conf=conf))
    built = scratch.build(root, ["/usr/bin/env"])
    assert run(built, "/usr/bin/env", "A=b").stdout.endswith("A=b\n")
    libraries = list(built.folder.rglob("libc.so.6"))
    assert sorted(path.is_symlink() for path in libraries) == [False, True]
    next(path for path in libraries if path.is_symlink()).unlink()
    assert run(built, "/usr/bin/env").returncode != 0


def test_the_layer_tar_is_the_folder(root: DataRoot, tmp_path: Path) -> None:
    built = scratch.build(root, ["/bin/ls"])
    with tarfile.open(built.layer_tar) as tar:
        names = [member.name for member in tar.getmembers()]
        assert all(member.mtime == 0 and member.uid == 0 for member in tar.getmembers())
        setuid = [m.name for m in tar.getmembers() if m.mode & (stat.S_ISUID | stat.S_ISGID)]
    assert setuid == []
    below = {str(path.relative_to(built.folder)) for path in built.folder.rglob("*")}
    assert set(names) == below
    assert names == sorted(names)
    again = scratch.build(root, ["/bin/ls"])
    assert (again.diff_id, again.config_json) == (built.diff_id, built.config_json)


def test_a_static_program_needs_no_libraries(root: DataRoot, tmp_path: Path) -> None:
    if BUSYBOX is None or elf.read(BUSYBOX).interpreter:
        pytest.skip("needs busybox-static")
    built = scratch.build(root, [BUSYBOX])
    assert run(built, BUSYBOX, "echo", "static").stdout == "static\n"
    assert not list(built.folder.rglob("*.so*"))
