"""supervisor.shim.hollow: the empty mount namespace, and what can be seen from a copy of it."""

from __future__ import annotations

import errno
import json
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from supervisor.kernel import mounts, namespaces
from supervisor.shim import hollow
from tests.kernel.forked import in_child, tmpfs


def in_copy(body: Callable[[], Any], look: Callable[[int], Any] = lambda _pid: None) -> Any:
    """What `body` gives in a child with a copy of the namespace, as init has one.

    There is no /proc to look at in it: `look` does that from outside, before.
    """
    return in_child(lambda: _in_copy(body, look))  # setns(2) wants a process of one thread


def _in_copy(body: Callable[[], Any], look: Callable[[int], Any]) -> list[Any]:
    empty = hollow.make()
    told, tell = os.pipe()
    go, say = os.pipe()
    try:
        with namespaces.mount_namespace(empty):
            pid, pidfd = namespaces.clone3(namespaces.CLONE_NEWNS)
            if pid == 0:
                os.read(go, 1)
                try:
                    os.write(tell, json.dumps(body()).encode())
                except BaseException:
                    os.write(tell, json.dumps(traceback.format_exc()).encode())
                os._exit(0)
        os.close(pidfd)
        seen = look(pid)
        os.write(say, b"\0")
        os.waitpid(pid, 0)
        return [json.loads(os.read(told, 65536)), seen]
    finally:
        for fd in (empty, told, tell, go, say):
            os.close(fd)


def test_there_is_one_mount_and_nothing_in_it() -> None:
    def look(pid: int) -> list[object]:
        return [(m.fstype, m.mount_point, m.options[0], m.tags) for m in mounts.mountinfo(pid)]

    assert in_copy(lambda: os.listdir("/"), look) == [[], [["tmpfs", "/", "ro", []]]]


def test_it_cannot_be_written_to() -> None:
    def body() -> int:
        try:
            os.mkdir("/made")
        except OSError as error:
            return error.errno or 0
        return 0

    assert in_copy(body)[0] == errno.EROFS


def test_root_and_folder_are_as_before_afterwards(tmp_path: Path) -> None:
    def place() -> list[object]:
        return [sorted(os.listdir("/")), os.getcwd()]

    def body() -> bool:
        empty = hollow.make()
        os.chdir(tmp_path)
        namespace, before = os.stat("/proc/self/ns/mnt").st_ino, place()
        with namespaces.mount_namespace(empty):
            assert os.listdir("/") == []
        os.close(empty)
        return place() == before and os.stat("/proc/self/ns/mnt").st_ino == namespace

    assert in_child(body)


def test_what_goes_wrong_inside_is_told_outside() -> None:
    def body() -> str:
        empty = hollow.make()
        with pytest.raises(ValueError, match="inside"), namespaces.mount_namespace(empty):
            raise ValueError("inside")
        os.close(empty)
        return os.readlink("/proc/self/fd/0")[:1]

    assert in_child(body)


def test_nobody_walks_below_the_root_that_is_put_on_it() -> None:
    """The old way out of a chroot: a root further down, and then up from outside of that."""

    def body() -> list[object]:
        root = tmpfs()
        os.mkdir("marker", dir_fd=root)
        mounts.move_mount(root, mounts.AT_FDCWD, "/")
        os.fchdir(root)
        os.chroot(".")
        os.mkdir("/jail")
        os.chroot("/jail")
        for _ in range(20):
            os.chdir("..")
        found = [sorted(os.listdir("."))]
        os.chroot(".")
        return [*found, sorted(os.listdir("/")), sorted(os.listdir("/.."))]

    assert in_copy(body)[0] == [["jail", "marker"]] * 3
