"""File trees as values to compare, one tree with everything in it, and GNU tar to compare with."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from pathlib import Path
from typing import Any


def picture(top: Path) -> dict[str, tuple[Any, ...]]:
    """All that is below a folder: kind, mode, owner, time, content, attributes, link groups."""
    seen: dict[str, tuple[Any, ...]] = {}
    groups: dict[int, str] = {}
    for path in sorted(top.rglob("*")):
        status = path.lstat()
        name = os.fsdecode(path.relative_to(top))
        content: Any = None
        if stat.S_ISREG(status.st_mode):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        elif stat.S_ISLNK(status.st_mode):
            content = str(path.readlink())
        xattrs = {
            key: os.getxattr(path, key, follow_symlinks=False)
            for key in os.listxattr(path, follow_symlinks=False)
        }
        seen[name] = (
            status.st_mode, status.st_uid, status.st_gid, status.st_rdev,
            status.st_mtime_ns, content, xattrs, groups.setdefault(status.st_ino, name),
        )  # fmt: skip
    return seen


def one_of_everything(top: Path) -> None:
    """Make a tree with one of everything that GNU tar can pack."""
    (top / "usr/bin").mkdir(parents=True)
    (top / "empty").mkdir()
    (top / "tmp").mkdir()
    (top / "usr/bin/tool").write_bytes(os.urandom(1_000_003))
    (top / "usr/bin/nothing").touch()
    (top / "usr" / os.fsdecode(b"caf\xe9\xff")).write_text("x")
    (top / "usr" / ("long" * 60)).write_text("long")
    deep = top / "/".join(["folder" * 5] * 9)
    deep.mkdir(parents=True)
    (deep / "file").write_text("deep")
    (top / "bin").symlink_to("usr/bin")
    (top / "far").symlink_to("/" + "x/" * 100)
    os.link(top / "usr/bin/tool", top / "usr/bin/again")
    os.link(top / "bin", top / "bin2", follow_symlinks=False)
    os.mkfifo(top / "fifo")
    os.mknod(top / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.setxattr(top / "usr/bin/tool", "user.note", b"\0\xff")
    os.setxattr(top / "empty", "user.note", b"folder")
    # cap_net_raw+ep, as struct vfs_cap_data revision 2
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    os.setxattr(top / "usr/bin/nothing", "security.capability", capability)
    os.lchown(top / "bin", 1000, 1001)
    os.chown(top / "usr/bin/tool", 1000, 3_000_000_000)
    os.chown(top / "tmp", 0, 50)
    os.chmod(top / "usr/bin/tool", 0o6711)
    os.chmod(top / "tmp", 0o3777)
    os.chmod(top / "empty", 0)
    for number, path in enumerate(sorted(top.rglob("*"), reverse=True)):
        os.utime(path, ns=(0, 1_600_000_000_123_456_789 + number), follow_symlinks=False)


def gnu_tar(*arguments: str, **options: Any) -> bytes:
    """What GNU tar says with all attributes and numeric owners."""
    command = ["tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", *arguments]
    done: subprocess.CompletedProcess[bytes] = subprocess.run(
        command, capture_output=True, **options
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
