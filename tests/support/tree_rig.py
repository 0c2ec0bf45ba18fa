"""A container's filesystem without a container: folders for an overlay, and copies of it.

The operations run as the daemon runs them, each in a worker process of its own.
"""

from __future__ import annotations

import io
import os
import signal
import tarfile
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from supervisor.kernel import mounts, namespaces, process
from supervisor.store.work import work
from supervisor.store.work_pipes import draw, feed

Member = tuple[str, dict[str, Any], bytes]


def member(name: str, content: bytes = b"", **fields: Any) -> Member:
    """One member of a tar: `fields` are TarInfo's (type, mode, uid, linkname, …)."""
    return name, fields, content


def make_tar(members: Iterable[Member], mode: str = "w") -> bytes:
    """A tar of these; `mode` as tarfile.open has it ("w:gz")."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
        for name, fields, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for field, value in fields.items():
                setattr(info, field, value)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def read_tar(data: bytes) -> dict[str, tarfile.TarInfo]:
    """The members by name, in order; folders without the slash."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {info.name: info for info in tar}


def content_of(data: bytes, name: str) -> bytes:
    """A file's content in a tar."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        file = tar.extractfile(name)
        assert file is not None
        return file.read()


class Tree:
    """One container's folders. `fields` are added to its view."""

    def __init__(self, folder: Path, **fields: Any) -> None:
        self.lower, self.upper, self.work = (folder / name for name in ("lower", "upper", "work"))
        for path in (self.lower, self.upper, self.work):
            path.mkdir(parents=True)
            path.chmod(0o755)
        self.fields = fields

    def view(self, *, write: bool = False) -> dict[str, Any]:
        """At rest."""
        return {
            "lowers": [str(self.lower)],
            "upper": str(self.upper),
            "work": str(self.work),
            "write": write,
            **self.fields,
        }

    async def stat(self, path: str) -> dict[str, Any]:
        return await work("archive_stat", {"view": self.view(), "path": path})

    async def get(self, path: str) -> bytes:
        return await get(self.view(), path)

    async def put(self, path: str, tar: bytes, **options: Any) -> None:
        await put(self.view(write=True), path, tar, **options)

    async def export(self) -> bytes:
        return await export(self.view())


async def get(view: Mapping[str, Any], path: str) -> bytes:
    """The tar of `path`."""
    async with draw("archive_get", {"view": view, "path": path}) as output:
        return b"".join([piece async for piece in output])


async def export(view: Mapping[str, Any]) -> bytes:
    """The tar of everything."""
    async with draw("export", {"view": view}) as output:
        return b"".join([piece async for piece in output])


async def put(
    view: Mapping[str, Any], path: str, tar: bytes, *, keep_types: bool = True, user: str = ""
) -> None:
    """Extract a tar."""
    arguments = {"view": view, "path": path, "keep_types": keep_types, "user": user}
    await feed("archive_put", arguments, in_pieces(tar))


async def in_pieces(data: bytes, size: int = 10_000) -> AsyncIterator[bytes]:
    """`data`, cut."""
    for at in range(0, len(data), size):
        yield data[at : at + size]


@contextmanager
def running(tree: Tree, *, script: Any = None) -> Iterator[dict[str, Any]]:
    """A process whose root is the tree's overlay; its view. `script` runs in it first."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            process.set_parent_death_signal(signal.SIGKILL)
            _enter(tree)
            if script is not None:
                script()
            os.write(writing, b"ready")
            signal.pause()
        finally:
            os._exit(status)
    os.close(writing)
    try:
        assert os.read(reading, 5) == b"ready"
        yield {"pid": pid, "start": process.start_time(pid)}
    finally:
        os.close(reading)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _enter(tree: Tree) -> None:
    namespaces.unshare(namespaces.CLONE_NEWNS)
    mounts.mount("none", "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
    layers = f"lowerdir={tree.lower},upperdir={tree.upper},workdir={tree.work}"
    mounts.mount("overlay", str(tree.work), "overlay", 0, layers)
    os.chdir(tree.work)
    mounts.pivot_root(".", ".")
    mounts.umount(".", mounts.MNT_DETACH)
    os.chdir("/")
