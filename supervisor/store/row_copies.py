"""Copies of rows as files of a folder, KEY.json, to restore lost rows from. Blocking.

For what changes seldom. A copy is written after its row and goes before it does, so one without
a row tells of a row that was lost.
"""

from __future__ import annotations

from pathlib import Path

from supervisor.store.files import write_atomic

_SUFFIX = ".json"


class RowCopies:
    """`folder` is there; keys are names of files. All raise OSError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self) -> dict[str, bytes]:
        """All copies by key; half-written ones are left out."""
        return {
            path.stem: path.read_bytes()
            for path in sorted(self.folder.glob(f"*{_SUFFIX}"))
            if not path.name.startswith(".")
        }

    def write(self, key: str, document: bytes) -> None:
        """Make or replace a copy, durably."""
        write_atomic(self.folder / f"{key}{_SUFFIX}", document)

    def drop(self, key: str) -> None:
        """Delete a copy, if it is there."""
        (self.folder / f"{key}{_SUFFIX}").unlink(missing_ok=True)
