"""runc, on bundles equal to containers of the bench: what the kernel's work costs elsewhere.

Equal are namespaces, capabilities, filter of system calls, masked and read-only paths, a writable
root, and the three files below /etc. What runc is spared: the overlay (its root is a plain
folder), the log, limits of cgroups.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from supervisor.spec import etc_files
from supervisor.spec.capabilities import DEFAULT
from supervisor.spec.seccomp.default import ALLOWED
from supervisor.spec.security import MASKED_PATHS, READONLY_PATHS
from tests.support import places, procfs

SLEEP = ("sleep", "3600")


class Runc:
    """runc's commands on a copy of a layer; containers are named by the caller."""

    def __init__(self, folder: Path, layer: Path, parent: str) -> None:
        self.state = folder / "state"
        self._bundles = folder / "bundles"
        self._rootfs = folder / "rootfs"
        self._parent = parent
        self._bundles.mkdir()
        shutil.copytree(layer, self._rootfs, symlinks=True)
        subprocess.run(["runc", "spec"], cwd=folder, check=True)
        self._defaults: dict[str, Any] = json.loads((folder / "config.json").read_text())
        for path in etc_files.PATHS:
            source = folder / Path(path).name
            source.touch()
            bind = {"type": "bind", "source": str(source), "options": ["bind", "rprivate"]}
            self._defaults["mounts"].append({"destination": path, **bind})
        self._defaults["process"]["capabilities"] = {
            kind: list(DEFAULT) for kind in ("bounding", "effective", "permitted")
        }
        self._defaults["linux"] |= {
            "maskedPaths": list(MASKED_PATHS),
            "readonlyPaths": list(READONLY_PATHS),
            "seccomp": {
                "defaultAction": "SCMP_ACT_ERRNO",
                "defaultErrnoRet": errno.EPERM,
                "architectures": ["SCMP_ARCH_X86_64"],
                "syscalls": [{"names": list(ALLOWED), "action": "SCMP_ACT_ALLOW"}],
            },
        }

    def prepare(self, name: str, args: Sequence[str]) -> None:
        """Make the bundle of a container, as others have it from their image."""
        bundle = self._bundles / name
        bundle.mkdir()
        config = self._defaults
        config["process"] |= {"args": list(args), "terminal": False}
        config["root"] = {"path": str(self._rootfs), "readonly": False}
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
