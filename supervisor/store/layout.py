"""The data root: what is where below /var/lib/orlop, and who may use it.

    orlop.db             records (supervisor.store.database), with -wal and -shm
    lock                 flock'ed by the one daemon that uses the root; holds its pid
    blobs/sha256/HEX     configs, manifests and layer tars by digest
    images/HEX.json      a copy of each image's record, to rebuild a lost database from
    networks/ID.json     a copy of each network's record, likewise
    layers/HEX           one unpacked folder per chain id, shared by all images that have it
    volumes/NAME/_data   volumes, each mounted into any number of containers
    containers/ID        bundles: config.json, exit.json, records.log, upper, work, log
    tmp                  being made; of no worth after a crash
    trash                renamed away; to be deleted

The root is 0700: a setuid program in a layer must not be within reach of the host's users
(CVE-2021-41091). `layers` and `containers` are 0711, so that opening the root to one group
is enough where a container's own user has to reach its root filesystem by path.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from functools import lru_cache
from pathlib import Path

from supervisor.errors import Conflict, InvalidArgument
from supervisor.oci.digest import Digest
from supervisor.store.files import sync_folder

_LOCK_SECONDS = 0.5
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


class DataRoot:
    """Paths only, until `prepare` makes the folders and takes the lock."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.db = self.path / "orlop.db"
        self.blobs = self.path / "blobs"
        self.images = self.path / "images"
        self.layers = self.path / "layers"
        self.networks = self.path / "networks"
        self.volumes = self.path / "volumes"
        self.containers = self.path / "containers"
        self.spares = self.path / "spares"
        self.tmp = self.path / "tmp"
        self.trash = self.path / "trash"
        self._lock = -1
        self.bundle = lru_cache(maxsize=256)(self._bundle)
        """The folder of a container by its id; InvalidArgument for what cannot be one."""

    def __repr__(self) -> str:
        return f"DataRoot({str(self.path)!r})"

    def _bundle(self, id: str) -> Path:
        if not _ID.fullmatch(id):
            raise InvalidArgument(f"invalid container id: {id!r:.80}")
        return self.containers / id

    def blob(self, digest: Digest) -> Path:
        """The file of a blob."""
        return self.blobs / digest.algorithm / digest.encoded

    def layer(self, chain_id: Digest) -> Path:
        """The unpacked folder of a chain id."""
        return self.layers / chain_id.encoded

    def prepare(self) -> None:
        """Make the folders and take the lock.

        Raises Conflict if another daemon has it. The lock's fd is close-on-exec but goes
        along with a plain fork: whoever forks from here must close it, or the lock
        outlives this process.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.chmod(0o700)
        self._take_lock()
        modes = {
            self.blobs: 0o700,
            self.blobs / "sha256": 0o700,
            self.blobs / "sha512": 0o700,
            self.images: 0o700,
            self.networks: 0o700,
            self.layers: 0o711,
            self.volumes: 0o700,
            self.containers: 0o711,
            self.spares: 0o700,
            self.tmp: 0o700,
            self.trash: 0o700,
        }
        for folder, mode in modes.items():
            folder.mkdir(mode=mode, exist_ok=True)
            folder.chmod(mode)
        sync_folder(self.path)

    def release(self) -> None:
        """Give the lock back; a process that ends does so as well."""
        if self._lock >= 0:
            fd, self._lock = self._lock, -1
            os.close(fd)

    def _take_lock(self) -> None:
        if self._lock >= 0:
            return
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(self.path / "lock", flags, 0o600)
        if not lock_soon(fd):
            pid = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(fd)
            raise Conflict(f"another orlop daemon (pid {pid}) uses this data root: {self.path}")
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._lock = fd


def lock_soon(fd: int) -> bool:
    """Lock a file or folder (flock); False if another daemon keeps it.

    A child of a daemon that was killed has it, too, for the moment before its execve.
    """
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        else:
            return True
