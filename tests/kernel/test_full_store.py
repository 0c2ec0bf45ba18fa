"""A data root on a full disk: clear errors, nothing half-visible, full service after."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import logging, sys, trio
from pathlib import Path
from supervisor.errors import Unavailable
from supervisor.kernel import mounts
from supervisor.store.database import Database
from supervisor.store.images import ImageStore
from supervisor.store.layout import DataRoot

async def refused(call, *arguments):
    try:
        await call(*arguments)
    except Unavailable as error:
        return str(error)
    raise SystemExit(f"{call} should have failed")

def disk(root):
    return sorted(str(p.relative_to(root.path)) for f in ("images", "blobs/sha256", "layers", "tmp")
                  for p in (root.path / f).iterdir())

async def main(path):
    root = DataRoot(path / "root")
    root.prepare()
    database = await Database.open(root.db)
    store = ImageStore(root, database)
    await store.load()
    await database.put("container", "before", b"1" * 1000)
    filler = path / "filler"
    with filler.open("wb") as file:
        try:
            while True:
                file.write(bytes(65536))
                file.flush()
        except OSError:
            pass
    print(await refused(store.scratch, "full", ["/usr/bin/env"]))
    assert disk(root) == [], disk(root)
    keys = [f"k{i}" for i in range(200)]
    failed = [await refused(database.put, "container", key, b"2" * 100000) for key in keys[:5]]
    print(failed[0])
    assert [key for key, _ in await database.all("container")] == ["before"]
    filler.unlink()
    await database.put("container", "after", b"3")
    image = await store.scratch("works", ["/usr/bin/env"])
    assert store.lowers(image)[0].is_dir()
    await database.close()
    database = await Database.open(root.db)
    assert [key for key, _ in await database.all("container")] == ["after", "before"]
    await database.close()

logging.basicConfig(format="%(message)s", level=logging.ERROR)
path = Path(sys.argv[1])
mounts.mount("none", "/", "", mounts.MS_REC | mounts.MS_PRIVATE, "")
mounts.mount("tmpfs", str(path), "tmpfs", 0, "size=16m")
trio.run(main, path)
"""


def test_errors_while_full_and_full_service_after(tmp_path: Path) -> None:
    result = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", SCRIPT, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    told = result.stderr.splitlines()
    assert len(told) == 1, result.stderr
    assert told[0].startswith("writes fail: ")
    image, database = result.stdout.splitlines()
    assert image.startswith("image store: ")
    assert image.endswith("No space left on device")
    assert "database or disk is full" in database or "disk I/O error" in database
