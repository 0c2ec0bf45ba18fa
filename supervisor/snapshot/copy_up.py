"""Operation "copy_up": filling new volumes with what the image has at their mount points.

    image's files ─► volumes/NAME/_copying ─► volumes/NAME/_copied ─► into _data, name by name

So a volume gets all or nothing, also in a crash: `finish` and `undo` put right what is found
between two steps. A volume may be mounted into a running container meanwhile, whose processes
are hostile: no name in it is followed, and none that is there is replaced.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from supervisor.errors import InvalidArgument, KernelError
from supervisor.kernel.paths import (
    RENAME_NOREPLACE,
    open_beneath,
    open_in_root,
    renameat2,
)
from supervisor.kernel.sync import syncfs
from supervisor.snapshot.copy_tree import copy_attributes, copy_tree
from supervisor.snapshot.entering import FOLDER
from supervisor.snapshot.operations import Tell
from supervisor.snapshot.view import open_root

DATA, COPYING, COPIED = "_data", "_copying", "_copied"

_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}


def run(arguments: dict[str, Any], fds: Mapping[str, int], tell: Tell) -> dict[str, Any]:
    """Fill each of `volumes` that is empty with what `lowers` (top-most first) have.

    Each has `path` (its mount point) and `folder`: volumes/NAME, or with `plain` the folder
    itself that is mounted, of which `subpath` may be a part. `scratch` is a folder that this
    process may hide, `trash` where a broken copy goes. Raises InvalidArgument where the image
    has something else than a folder.
    """
    first, *rest = arguments["lowers"]
    root = open_root({"lowers": rest, "upper": first, "work": arguments["scratch"]})
    filled = [
        volume["path"] for volume in arguments["volumes"] if _fill(root, volume, arguments["trash"])
    ]
    return {"filled": filled}


def _fill(root: int, volume: dict[str, Any], trash: str) -> bool:
    source = _open_source(root, volume["path"])
    if source < 0:
        return False
    target = _open_target(volume)
    try:
        if target < 0 or os.listdir(target):
            return False
        if volume.get("plain") or not os.listdir(source):
            copy_tree(source, target)
        else:
            _fill_whole(source, volume["folder"], trash)
    finally:
        os.close(source)
        if target >= 0:
            os.close(target)
    return True


def _open_source(root: int, path: str) -> int:
    """The image's folder at `path`, found as the container would; -1 where there is nothing."""
    try:
        found = open_in_root(root, path, os.O_PATH)
    except KernelError as error:
        if error.errno in _ABSENT:
            return -1
        raise
    try:
        if not stat.S_ISDIR(os.fstat(found).st_mode):
            raise InvalidArgument(f"cannot mount volume over existing file, file exists {path}")
        return os.open(".", FOLDER, dir_fd=found)
    finally:
        os.close(found)


def _open_target(volume: Mapping[str, Any]) -> int:
    folder, subpath = volume["folder"], volume.get("subpath", "")
    try:
        base = os.open(folder if volume.get("plain") else f"{folder}/{DATA}", FOLDER)
    except FileNotFoundError:
        return -1  # what is wrong with it, the start of the container says
    if not subpath:
        return base
    try:
        return open_beneath(base, subpath, os.O_RDONLY | os.O_DIRECTORY)
    except KernelError:
        return -1
    finally:
        os.close(base)


def _fill_whole(source: int, folder: str, trash: str) -> None:
    undo(folder, trash)
    os.mkdir(f"{folder}/{COPYING}", 0o700)
    staging = os.open(f"{folder}/{COPYING}", FOLDER)
    try:
        copy_tree(source, staging)
        syncfs(staging)
        os.rename(f"{folder}/{COPYING}", f"{folder}/{COPIED}")
    except BaseException:
        undo(folder, trash)
        raise
    finally:
        os.close(staging)
    finish(folder, trash)


def undo(folder: str, trash: str) -> None:
    """Put a copy that was broken off into the trash."""
    _discard(f"{folder}/{COPYING}", trash)


def finish(folder: str, trash: str) -> None:
    """Move a complete copy into _data, where there is one.

    What a container has made there meanwhile stays.
    """
    try:
        source = os.open(f"{folder}/{COPIED}", FOLDER)
    except FileNotFoundError:
        return
    try:
        target = os.open(f"{folder}/{DATA}", FOLDER)
        try:
            for name in os.listdir(source):
                with suppress(FileExistsError):
                    _move(source, target, name)
            copy_attributes(source, target)
        finally:
            os.close(target)
    finally:
        os.close(source)
    _discard(f"{folder}/{COPIED}", trash)


def _move(source: int, target: int, name: str) -> None:
    try:
        renameat2(source, name, target, name, RENAME_NOREPLACE)
    except KernelError as error:
        if error.errno == errno.EEXIST:
            raise FileExistsError(name) from None
        raise


def _discard(path: str, trash: str) -> None:
    with suppress(FileNotFoundError):
        os.rename(path, f"{trash}/{secrets.token_hex(16)}")
