"""runc, on a bundle equal to a container of the bench: what the kernel's work costs elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support import places, procfs


@contextmanager
def runc(layer: Path) -> Iterator[Callable[[], None]]:
    """A function that runs `true` by `runc run` in a read-only copy of `layer`."""
    if shutil.which("runc") is None:
        raise RuntimeError("runc is not installed")
    parent = places.random_name()
    with places.short_folder() as folder:
        bundle = folder / "bundle"
        _make_bundle(bundle, layer, parent)
        command = ["runc", "--root", str(folder / "state"), "run", "--bundle", str(bundle), parent]

        def run() -> None:
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL)

        try:
            yield run
        finally:
            subprocess.run(
                ["runc", "--root", str(folder / "state"), "delete", "--force", parent],
                stderr=subprocess.DEVNULL,
            )
            _remove_cgroups(parent)


def _make_bundle(bundle: Path, layer: Path, parent: str) -> None:
    shutil.copytree(layer, bundle / "rootfs", symlinks=True)
    subprocess.run(["runc", "spec"], cwd=bundle, check=True)
    path = bundle / "config.json"
    config = json.loads(path.read_text())
    config["process"]["args"] = ["true"]
    config["process"]["terminal"] = False
    config["root"] = {"path": "rootfs", "readonly": True}
    config["linux"]["cgroupsPath"] = f"/{parent}/{parent}"
    path.write_text(json.dumps(config))


def _remove_cgroups(parent: str) -> None:
    for root in procfs.cgroup_roots():
        for folder in (root / parent / parent, root / parent):
            with suppress(FileNotFoundError):
                os.rmdir(folder)
