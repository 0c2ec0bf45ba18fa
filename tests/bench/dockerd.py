"""Debian's dockerd, started by hand where it cannot touch this machine's own things.

Its machine is a network namespace and a mount namespace of the bench's own. In the latter /run and
/opt are empty, as containerd has its shims' sockets and its plugins there and iptables its lock,
wherever the roots are; and what is written to /etc, where dockerd has a key, goes to the bench's
folder. Folders, sockets and the cgroup parent are its own, and its containerd is its child. A
warden is above all of it, so that what dockerd leaves is found, and ended even if the bench is
killed.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.api.network_box import Machine
from tests.bench.client import RequestFailed
from tests.bench.images import load
from tests.bench.rig import IMAGE, Rig
from tests.kernel.netplumb.rig import MS_BIND, check, libc
from tests.support import places, procfs
from tests.support.daemon import Daemon

COMMANDS = ("dockerd", "containerd", "containerd-shim-runc-v2", "runc", "iptables", "nsenter")
PATH = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
HIDDEN = ("/run", "/opt")
SHIM = "containerd-shim"  # the kernel keeps 15 bytes of a process's name
# Where it would write if it were not told otherwise, or could not be.
USUAL_PLACES = (
    *("/etc/docker", "/run/docker", "/run/docker.pid", "/run/containerd"),
    *("/var/lib/docker", "/var/lib/containerd", "/opt/containerd"),
)


class CannotRun(Exception):
    """dockerd is not there or does not work on this machine; the text is one line."""


class DockerMachine(Machine):
    """A machine whose system folders are its own, as told above."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        super().__init__(folder)

    def _make(self) -> tuple[int, int]:
        made = super()._make()
        try:
            self._divert()
        except OSError:
            for fd in made:
                os.close(fd)
            raise
        return made

    def _divert(self) -> None:
        self._divert_etc()
        kept = os.open(self._folder, os.O_PATH | os.O_CLOEXEC)
        try:
            for hidden in filter(os.path.isdir, HIDDEN):
                check(libc.mount(b"tmpfs", os.fsencode(hidden), b"tmpfs", 0, b"mode=755"))
            self._folder.mkdir(parents=True, exist_ok=True)  # if /run is where folders are made
            source = f"/proc/self/fd/{kept}".encode()
            check(libc.mount(source, os.fsencode(self._folder), None, MS_BIND, None))
        finally:
            os.close(kept)

    def _divert_etc(self) -> None:
        upper, work = self._folder / "etc", self._folder / "etc-work"
        upper.mkdir()
        work.mkdir()
        options = os.fsencode(f"lowerdir=/etc,upperdir={upper},workdir={work}")
        check(libc.mount(b"overlay", b"/etc", b"overlay", 0, options))


class Dockerd(Daemon):
    """dockerd as a daemon of the tests: stopped and checked for what it leaves in the same way."""

    def __init__(self, folder: Path, machine: DockerMachine) -> None:
        super().__init__(folder)
        self.log_path = folder / "dockerd.log"
        options = folder / "dockerd.json"
        options.write_text(json.dumps(self._options()))
        path = f"PATH={PATH}"
        self.command = machine.inside(["env", path, "dockerd", "--config-file", str(options)])
        self._before = _usual_places()

    def _options(self) -> dict[str, object]:
        return {
            "data-root": str(self.data_root),
            "exec-root": str(self.run_root),
            "pidfile": str(self.folder / "dockerd.pid"),
            "hosts": [self.host],
            "cgroup-parent": f"/{self.cgroup_parent}",  # without the slash, below our own cgroup
            "exec-opts": ["native.cgroupdriver=cgroupfs"],
            "oom-score-adjust": 0,  # a lower one takes CAP_SYS_RESOURCE, which not all roots have
        }

    def failure(self) -> str:
        """The last line of its log."""
        lines = self.log.strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def close(self) -> None:
        """As any daemon's; AssertionError as well for what dockerd makes in other places."""
        super().close()
        left = [*sorted(_usual_places() - self._before), *self._cgroups_elsewhere()]
        assert not left, f"dockerd left {', '.join(left)}"

    def _cgroups_elsewhere(self) -> list[str]:
        """Its cgroup parent anywhere below another one."""
        return [
            folder
            for root in procfs.cgroup_roots()
            for folder, _, _ in os.walk(root)
            if Path(folder).name == self.cgroup_parent
        ]


class DockerRig(Rig):
    """dockerd for the bench, asked as ours is."""

    def shims(self) -> list[int]:
        """The pids of containerd's shims, one for each container."""
        return [p.pid for p in self.daemon.processes() if p.name == SHIM]


def _usual_places() -> frozenset[str]:
    return frozenset(place for place in USUAL_PLACES if os.path.lexists(place))


@contextmanager
def dockerd(ours: Rig) -> Iterator[DockerRig]:
    """A dockerd that has the image of `ours` and has run it; CannotRun."""
    missing = [command for command in COMMANDS if shutil.which(command, path=PATH) is None]
    if missing:
        raise CannotRun(f"{', '.join(missing)}: not installed")
    with places.short_folder() as folder, closing(_machine(folder)) as machine:
        daemon = Dockerd(folder, machine)
        try:
            yield _warm(daemon, ours)
        finally:
            daemon.close()


def _machine(folder: Path) -> DockerMachine:
    try:
        return DockerMachine(folder)
    except OSError as error:
        raise CannotRun(f"no namespaces for it: {error}") from None


def _warm(daemon: Dockerd, ours: Rig) -> DockerRig:
    try:
        daemon.start()
    except AssertionError:
        if daemon.running:
            daemon.stop()
        raise CannotRun(daemon.failure()) from None
    rig = DockerRig(daemon)
    archive = daemon.folder / "image.tar"
    saved = ours.daemon.orlop("save", "-o", str(archive), IMAGE)
    assert saved.returncode == 0, saved.stderr
    try:
        load(rig, archive)
        with rig.client() as client:
            for mode in ("none", "bridge") * 2:
                rig.lifecycle(client, NetworkMode=mode)
    except (RequestFailed, OSError) as error:
        raise CannotRun(" ".join(str(error).split())) from None
    return rig
