"""What folders hold and take on the disk: one look for all who ask at the same time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

import trio

from supervisor.errors import OrlopError
from supervisor.store.work import work

log = logging.getLogger("orlop.store")


class FolderSize(NamedTuple):
    """Of a folder and all below it."""

    content: int  # bytes in regular files, as docker and images count
    on_disk: int  # bytes in blocks, those of folders included


NOTHING = FolderSize(content=0, on_disk=0)
"""In the place of what could not be said."""

Tell = Callable[[str, FolderSize], None]


def _nobody(_folder: str, _size: FolderSize) -> None: ...


class FolderSizes:
    """Looks into folders: a worker for each question, and none for what is being looked into."""

    def __init__(self) -> None:
        self._looks: dict[str, _Look] = {}

    async def of(self, folders: Iterable[str], tell: Tell = _nobody) -> dict[str, FolderSize]:
        """Sizes by folder; without those of which that cannot be said.

        `tell` is called for each folder that was looked into for this question.
        """
        found: dict[str, FolderSize] = {}
        left = set(folders)
        while left:
            looks = {self._looks[folder] for folder in left if folder in self._looks}
            if fresh := sorted(left - self._looks.keys()):
                own = await self._look(fresh)
                looks.add(own)
                for folder, size in (own.sizes or {}).items():
                    tell(folder, size)
            for look in looks:
                await look.over.wait()
                if look.sizes is None:  # whoever asked has gone: it is for us to look
                    continue
                found |= {folder: look.sizes[folder] for folder in left & look.sizes.keys()}
                left -= look.folders
        return found

    async def _look(self, folders: Collection[str]) -> _Look:
        look = _Look(folders)
        self._looks |= dict.fromkeys(folders, look)
        try:
            look.sizes = await _sizes(folders)
        finally:
            for folder in folders:
                del self._looks[folder]
            look.over.set()
        return look


class _Look:
    """A look that is under way; `sizes` stays None if it is broken off."""

    def __init__(self, folders: Collection[str]) -> None:
        self.folders = frozenset(folders)
        self.over = trio.Event()
        self.sizes: dict[str, FolderSize] | None = None


async def _sizes(folders: Collection[str]) -> dict[str, FolderSize]:
    try:
        usages = (await work("usages", {"folders": list(folders)}))["usages"]
    except OrlopError as error:
        log.warning("the sizes of %d folders: %s", len(folders), error)
        return {}
    sizes: dict[str, FolderSize] = {}
    for folder, usage in zip(folders, usages, strict=True):
        if "error" in usage:  # it is being removed
            log.info("the size of %s: %s", folder, usage["error"])
        else:
            sizes[folder] = FolderSize(usage["bytes"], usage["size"])
    return sizes
