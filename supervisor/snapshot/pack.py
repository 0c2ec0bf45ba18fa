"""The operations "pack" and "pack_tree": a folder as a layer's tar.

The same content gives the same bytes: sorted names, whole seconds (as docker has it), numbers
for owners, no access times.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Mapping
from typing import Any

from supervisor.errors import Conflict, InvalidArgument
from supervisor.oci.layer import OPAQUE, WHITEOUT, is_overlay_xattr
from supervisor.oci.tar import Entry, Limits, Type, padding
from supervisor.snapshot.folders import is_whiteout
from supervisor.snapshot.lowers import Lowers, is_folder, is_opaque
from supervisor.snapshot.operations import Tell
from supervisor.snapshot.tar_output import TarOutput
from supervisor.snapshot.tar_pieces import TYPES, content, entry_of
from supervisor.snapshot.walk import Found, Left, open_quietly, walk

_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LIMITS = Limits()
# What a host's security modules say of files is this host's alone; docker leaves out all but
# the one that is part of a program.
_CAPABILITY = "security.capability"
# A folder that was renamed, or a file of which only the attributes were copied: its content is
# somewhere else. No overlay that this project mounts makes any.
_ELSEWHERE = ("trusted.overlay.redirect", "trusted.overlay.metacopy")


def run(arguments: dict[str, Any], fds: Mapping[str, int], tell: Tell) -> dict[str, Any]:
    """Pack an overlay's upper `folder` onto the descriptor `output`, as a layer.

    `lowers`, top-most first, are what is below it: a folder that hides nothing of theirs is
    not marked so. `without` are paths to leave out where they have nothing. Result: `diff_id`,
    the digest of the tar; `tar_size`; `size`, bytes in files; `entries`. The top folder itself
    is not in the tar.
    """
    output = TarOutput(fds["output"])
    packing = Packing(output, arguments.get("without", ()), overlay=True)
    packing.pack(arguments["folder"], Lowers.open(arguments.get("lowers", ())))
    return output.finish()


def run_tree(arguments: dict[str, Any], fds: Mapping[str, int], tell: Tell) -> dict[str, Any]:
    """As `run` for a plain `folder`, in which devices and attributes are what they are."""
    output = TarOutput(fds["output"])
    Packing(output, arguments.get("without", ()), overlay=False).pack(arguments["folder"], Lowers())
    return output.finish()


class Packing:
    """One folder being packed."""

    def __init__(self, output: TarOutput, without: Collection[str], *, overlay: bool) -> None:
        self._output = output
        self._without = {path.strip("/") for path in without}
        self._overlay = overlay
        self._names: dict[tuple[int, int], str] = {}  # of files with several, the first

    def pack(self, folder: str, lowers: Lowers) -> None:
        """Put all that is in the folder."""
        for event in walk(open_quietly(folder), lowers):
            if isinstance(event, Left) or event.status is None:
                continue
            if event.path in self._without and event.lowers.look(event.name) is None:
                continue
            _check_name(event)
            if not is_whiteout(event.status):
                self._put(event, event.status)
            elif self._overlay:
                self._put_whiteout(event, event.status)
            else:
                raise InvalidArgument(f"/{event.path}: a layer cannot have the device 0:0")

    def _put_whiteout(self, found: Found, status: os.stat_result) -> None:
        folder = found.path.removesuffix(found.name)
        self._output.entry(entry_of(folder + WHITEOUT + found.name, Type.FILE, status))

    def _put(self, found: Found, status: os.stat_result) -> None:
        type = TYPES.get(stat.S_IFMT(status.st_mode))
        if type is None:  # a socket: docker leaves it out too
            return
        entry = entry_of(found.path, type, status)
        if status.st_nlink > 1 and type is not Type.FOLDER:
            first = self._names.get((status.st_dev, status.st_ino))
            if first is not None:
                entry = Entry(found.path, Type.HARDLINK, *entry[2:5], mtime=entry.mtime, link=first)
                self._output.entry(entry)
                return
        match type:
            case Type.FILE:
                self._put_file(found, entry)
            case Type.FOLDER:
                self._put_folder(found, entry)
            case Type.SYMLINK:
                link = os.readlink(found.name, dir_fd=found.folder_fd)
                self._put_node(found, entry._replace(link=link))
            case _:
                self._put_node(found, entry)

    def _put_file(self, found: Found, entry: Entry) -> None:
        try:
            fd = os.open(found.name, _OPEN_FILE, dir_fd=found.folder_fd)
        except OSError:  # gone, or something else by now
            return
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                return
            entry = entry._replace(size=status.st_size, xattrs=_xattrs(fd, found.path))
            self._output.entry(entry)
            self._remember(status, found.path)
            for data in content(fd, entry.size):
                self._output.data(data)
            self._output.data(padding(entry.size))
        finally:
            os.close(fd)

    def _put_folder(self, found: Found, entry: Entry) -> None:
        xattrs = _xattrs(found.fd, found.path)
        self._output.entry(entry._replace(xattrs=xattrs))
        if self._overlay and is_opaque(found.fd) and is_folder(found.lowers.look(found.name)):
            mark = Entry(f"{found.path}/{OPAQUE}", mode=entry.mode & 0o777, mtime=entry.mtime)
            self._output.entry(mark._replace(uid=entry.uid, gid=entry.gid))

    def _put_node(self, found: Found, entry: Entry) -> None:
        where = f"/proc/self/fd/{found.folder_fd}/{found.name}"
        self._output.entry(entry._replace(xattrs=_xattrs(where, found.path)))
        assert found.status is not None
        self._remember(found.status, found.path)

    def _remember(self, status: os.stat_result, path: str) -> None:
        """That the file is in the tar: its further names are links to this one."""
        if status.st_nlink > 1:
            self._names[status.st_dev, status.st_ino] = path


def _xattrs(target: int | str, path: str) -> dict[str, bytes]:
    """The attributes that belong into a tar."""
    follow = isinstance(target, int)
    try:
        names = os.listxattr(target, follow_symlinks=follow)
    except OSError:  # gone, or on a filesystem without
        return {}
    xattrs: dict[str, bytes] = {}
    for name in names:
        if name in _ELSEWHERE:
            raise Conflict(f"/{path} has the attribute {name}: its content is not in the upper")
        if is_overlay_xattr(name) or (name.startswith("security.") and name != _CAPABILITY):
            continue
        try:
            xattrs[name] = os.getxattr(target, name, follow_symlinks=follow)
        except OSError:  # removed meanwhile
            continue
    return xattrs


def _check_name(found: Found) -> None:
    if len(os.fsencode(found.path)) > _LIMITS.path:
        raise InvalidArgument(f"{found.path:.80}…: the path is too long for a layer")
    if found.name.startswith(WHITEOUT):
        raise InvalidArgument(
            f"/{found.path}: a layer cannot have it, names with {WHITEOUT} mean deletions"
        )
