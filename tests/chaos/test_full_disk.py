"""R7: the data root's disk is full, with state, logs and layers on it."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from supervisor.shim import exit_record
from tests.api.box import IMAGE, eventually
from tests.chaos.rig import OBEDIENT, Refused, Rig, alive
from tests.support import nest, places
from tests.support.daemon import Daemon, Warden
from tests.support.network_storm import shim_of

Tell = Callable[[str], None]
SIZE = 48 << 20
# It writes a line to its log, and a number to where there is always room.
WRITING = (
    "p=$(printf %01000d 0); i=0; "
    "while :; do i=$((i+1)); echo $i >/t/n; echo line $i $p; sleep 0.01; done"
)


@pytest.fixture
def small(nothing_left_of_all: None) -> Iterator[Rig]:
    """A daemon whose data root has a disk of its own."""
    with places.short_folder() as folder, mounted(folder / "disk") as disk:
        arguments = ("--data-root", str(disk / "root"))
        with places.short_folder() as own:
            daemon = Daemon(own, arguments, warden=Warden(nest.COMMAND))
            daemon.data_root = disk / "root"
            try:
                daemon.start()
                rig = Rig(daemon)
                rig.box.build()
                rig.box.ok("run", "--rm", IMAGE, "true")
                yield rig
            finally:
                daemon.close()


@contextmanager
def mounted(folder: Path) -> Iterator[Path]:
    """A file system of SIZE bytes."""
    folder.mkdir()
    options = f"size={SIZE},mode=0711"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "disk", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def full(folder: Path) -> Iterator[Callable[[], None]]:
    """Not one more byte fits; what is yielded fills what was deleted meanwhile."""
    ballast = folder / "ballast"

    def fill() -> None:
        with ballast.open("ab", buffering=0) as file:
            for piece in (1 << 20, 4096):
                try:
                    while file.write(bytes(piece)) == piece:
                        pass
                except OSError:
                    continue

    fill()
    try:
        yield fill
    finally:
        ballast.unlink()


def test_a_full_disk(small: Rig, tell: Tell) -> None:
    rig = small
    stays = rig.up("stays")
    writes = rig.up("writes", "sh", "-c", WRITING, HostConfig={"Tmpfs": {"/t": ""}})
    bundle = rig.daemon.data_root / "containers" / rig.box.inspect("writes")["Id"]
    layer = tar_of(os.urandom(1 << 20))

    def count() -> int:
        text = Path(f"/proc/{writes}/root/t/n").read_text().strip()
        return int(text or 0)

    asked: dict[str, Callable[[], object]] = {
        "create": lambda: rig.create("new", *OBEDIENT),
        "volume": lambda: rig.ask("POST", "/volumes/create", {"Name": "new"}),
        "import": lambda: rig.ask("POST", "/images/create?fromSrc=-&repo=new", data=layer),
    }
    images = len(rig.ask("GET", "/images/json"))
    with full(rig.daemon.data_root.parent) as fill:
        for ask in asked.values():
            with pytest.raises(Refused):
                ask()
        fill()
        before = count()
        eventually(lambda: count() > before + 20)  # nobody holds up who logs
        assert alive(stays)
        assert [one["Names"] for one in rig.ask("GET", "/containers/json?all=1")] == [
            ["/writes"],
            ["/stays"],
        ]
        assert len(rig.ask("GET", "/images/json")) == images
    for ask in asked.values():
        ask()
    rig.ask("POST", "/containers/new/start")
    assert rig.status("new") == "running"
    told = rig.ask("GET", "/containers/writes/logs?stdout=1&tail=1")
    eventually(lambda: rig.ask("GET", "/containers/writes/logs?stdout=1&tail=1") != told)
    for name, pid in (("stays", stays), ("writes", writes)):
        state = rig.state(name) or {}
        assert (state["Status"], state["Pid"]) == ("running", pid)
    process = shim_of(bundle.name)
    assert alive(process)
    rig.ask("POST", "/containers/writes/stop?t=0")
    record = exit_record.read(str(bundle))
    assert record is not None
    dropped = record.log_dropped
    assert dropped > 0
    tell(
        f"R7: a full disk: {len(asked)} of {len(asked)} changes refused, containers go on, "
        f"{dropped} bytes of a log dropped and counted; then service, without a restart"
    )


def tar_of(content: bytes) -> bytes:
    """An archive of one file."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        about = tarfile.TarInfo("file")
        about.size = len(content)
        archive.addfile(about, io.BytesIO(content))
    return made.getvalue()
