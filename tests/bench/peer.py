"""runc, on bundles equal to containers of the bench: what the kernel's work costs elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.support import places, procfs

SLEEP = ("sleep", "3600")


class Runc:
    """runc's commands on a read-only copy of a layer; containers are named by the caller."""

    def __init__(self, folder: Path, layer: Path, parent: str) -> None:
        self.state = folder / "state"
        self._bundles = folder / "bundles"
        self._rootfs = folder / "rootfs"
        self._parent = parent
        self._bundles.mkdir()
        shutil.copytree(layer, self._rootfs, symlinks=True)
        subprocess.run(["runc", "spec"], cwd=folder, check=True)
        self._defaults: dict[str, Any] = json.loads((folder / "config.json").read_text())

    def prepare(self, name: str, args: Sequence[str]) -> None:
        """Make the bundle of a container, as others have it from their image."""
        bundle = self._bundles / name
        bundle.mkdir()
        config = self._defaults
        config["process"] |= {"args": list(args), "terminal": False}
        config["root"] = {"path": str(self._rootfs), "readonly": True}
        config["linux"]["cgroupsPath"] = f"/{self._parent}/{name}"
        (bundle / "config.json").write_text(json.dumps(config))

    def run(self, name: str) -> None:
        """`runc run`, to the container's end."""
        self._call("run", "--bundle", str(self._bundles / name), name)

    def start(self, name: str) -> None:
        """`runc run --detach`."""
        self._call("run", "--detach", "--bundle", str(self._bundles / name), name)

    def exec(self, name: str, *args: str) -> None:
        """`runc exec`."""
        self._call("exec", name, *args)

    def remove(self, name: str) -> None:
        """`runc delete --force`."""
        self._call("delete", "--force", name)

    def close(self) -> None:
        """Remove whatever is left."""
        for folder in self.state.glob("*"):
            with suppress(subprocess.CalledProcessError):
                self.remove(folder.name)
        for root in procfs.cgroup_roots():
            for folder in (*(root / self._parent).glob("*/"), root / self._parent):
                with suppress(FileNotFoundError):
                    os.rmdir(folder)

    def _call(self, *words: str) -> None:
        subprocess.run(
            ["runc", "--root", str(self.state), *words],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )


@contextmanager
def runc(layer: Path) -> Iterator[Runc]:
    """A runc with state of its own; nothing of it is left behind."""
    if shutil.which("runc") is None:
        raise RuntimeError("runc is not installed")
    with places.short_folder() as folder:
        found = Runc(folder, layer, places.random_name())
        try:
            yield found
        finally:
            found.close()
