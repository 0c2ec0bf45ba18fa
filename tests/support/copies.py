"""Copies of containers' records follow their rows: a test that loses rows waits for them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from supervisor.store import record_copies


def are_copied(data_root: Path) -> bool:
    """Every container's record has its copy now."""
    path = data_root / "orlop.db"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        rows = dict(database.execute("SELECT key, doc FROM records WHERE kind = 'container'"))
    bundles = {key: data_root / "containers" / key for key in rows}
    return all(record_copies.latest(bundles[key]) == doc for key, doc in rows.items())
