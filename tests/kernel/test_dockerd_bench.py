"""The bench's dockerd: what it writes stays with it, what it leaves is told, and so is why it
cannot run. In dockerd's place there are scripts."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest

from tests.bench import dockerd
from tests.bench.dockerd import HIDDEN, CannotRun, Dockerd, DockerMachine
from tests.bench.rig import Rig
from tests.kernel.netplumb.rig import check, libc
from tests.support import places, procfs

NOT_ASKED = cast(Rig, None)


@pytest.fixture
def folder() -> Iterator[Path]:
    with places.short_folder() as made:
        yield made


@pytest.fixture
def machine(folder: Path) -> Iterator[DockerMachine]:
    with closing(DockerMachine(folder)) as made:
        yield made


def put(folder: Path, script: str, *names: str) -> None:
    for name in names:
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)


def test_what_is_written_to_the_system_stays_on_the_machine(
    folder: Path, machine: DockerMachine
) -> None:
    name = places.random_name()
    written = [f"{place}/{name}" for place in ("/etc", *HIDDEN) if os.path.isdir(place)]
    script = "touch $0 $@ && ls $@"
    command = machine.inside(["sh", "-c", script, f"{folder}/kept", *written])
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.split() == sorted(written)
    assert [path for path in written if os.path.lexists(path)] == []
    assert (folder / "kept").exists()


def test_what_is_in_run_is_not_seen_on_the_machine(machine: DockerMachine) -> None:
    command = machine.inside(["ls", "/run"])
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert os.listdir("/run")
    assert set(done.stdout.split()) <= {p for p in os.listdir("/run") if p.startswith("orlop.")}


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    put(folder, "", *(name for name in dockerd.COMMANDS if name not in {"containerd", "runc"}))
    monkeypatch.setattr(dockerd, "PATH", str(folder))
    with pytest.raises(CannotRun, match=r"^containerd, runc: not installed$"):
        enter(dockerd.dockerd(NOT_ASKED))


def test_its_last_words_are_why_it_cannot_run(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    put(folder, "echo starting; echo no such kernel >&2; exit 1", *dockerd.COMMANDS)
    monkeypatch.setattr(dockerd, "PATH", str(folder))
    with pytest.raises(CannotRun, match=r"^no such kernel$"):
        enter(dockerd.dockerd(NOT_ASKED))


def test_a_machine_that_cannot_be_is_why_it_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dockerd, "COMMANDS", ())
    monkeypatch.setattr(
        DockerMachine, "_divert_etc", lambda _: check(libc.mount(b"", b"", b"", 0, b""))
    )
    with pytest.raises(CannotRun, match=r"^no namespaces for it: "):
        enter(dockerd.dockerd(NOT_ASKED))


def enter(context: Any) -> None:
    with context:
        pytest.fail("it runs")


def test_a_cgroup_below_another_is_told(folder: Path, machine: DockerMachine) -> None:
    daemon = Dockerd(folder, machine)
    outer = procfs.cgroup_roots()[0] / places.random_name()
    left = outer / daemon.cgroup_parent
    left.mkdir(parents=True)
    try:
        with pytest.raises(AssertionError, match=f"left {left}$"):
            daemon.close()
    finally:
        left.rmdir()
        outer.rmdir()


def test_a_file_where_dockerd_has_them_is_told(
    monkeypatch: pytest.MonkeyPatch, folder: Path, machine: DockerMachine
) -> None:
    there, left = folder / "there", folder / "left"
    there.touch()
    monkeypatch.setattr(dockerd, "USUAL_PLACES", (str(there), str(left)))
    daemon = Dockerd(folder, machine)
    left.touch()
    with pytest.raises(AssertionError, match=f"left {left}$"):
        daemon.close()


def test_nothing_is_told_where_nothing_is_left(folder: Path, machine: DockerMachine) -> None:
    Dockerd(folder, machine).close()
