"""S17 to S20: copies in and out while the container, or a neighbour, moves things about.

More of them are in tests/api/test_copy.py and tests/kernel/test_archive.py.
"""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.api.box import Box
from tests.attacks.hostile import UP, begin, execute, upload
from tests.attacks.rounds import rounds
from tests.support.flipper import flipping
from tests.support.pace import limit
from tests.support.tar_corpus import SECRET, Canary, corpus
from tests.support.tree_rig import make_tar, member

LINKS = (f"/proc/1/root/{UP}", UP, "/")  # what leads to the host's root, before a path of its


@contextmanager
def moving(box: Box, canary: Canary, way: str) -> Iterator[tuple[str, Path]]:
    """A container in which /w/d and a link out of it take turns; its folder as the host has it."""
    it = begin(box, Volumes={"/w": {}})
    link = f"ln -s {way}{str(canary.path)[1:]} /w/e"
    execute(box, it, "sh", "-c", f"mkdir -p /w/d; echo in > /w/d/secret; {link}")
    root = Path(f"/proc/{box.state(it)['Pid']}/root/w")
    with flipping(root / "d", root / "e"):
        yield it, root


def test_no_copy_goes_through_a_link_that_was_not_there(box: Box, canary: Canary) -> None:
    tar = make_tar([member("d/secret", b"evil"), member("d/folder/new", b"evil")])
    inside = 0
    for number in range(rounds(2)):
        with moving(box, canary, LINKS[number % len(LINKS)]) as (it, _):
            for path in ("/w/d/secret", "/w/d/.", "/w"):
                status, data = upload(box, "GET", f"/containers/{it}/archive?path={path}")
                assert SECRET not in data
                assert b"inner" not in data
                inside += status == 200
            upload(box, "PUT", f"/containers/{it}/archive?path=/w", tar)
            upload(box, "PUT", f"/containers/{it}/archive?path=/w/d", make_tar([member("secret")]))
        box.remove_all()
    assert inside > 0


def test_the_mover_catches_a_naive_copy(box: Box, canary: Canary) -> None:
    """The container's folder by its path on the host, looked at before it is opened."""

    def naive(root: Path) -> bool:
        with suppress(OSError):
            if not (root / "d").is_symlink():
                return SECRET in (root / "d/secret").read_bytes()
        return False

    deadline = time.monotonic() + limit(30)
    with moving(box, canary, "/") as (_, root):
        while not naive(root):
            assert time.monotonic() < deadline


def test_every_name_that_comes_out_is_below_what_was_asked_for(box: Box, canary: Canary) -> None:
    it = begin(box)
    script = f"""
        mkdir -p /o/in; cd /o; ln -s {canary.path} link; ln -s {UP} up; ln -s / root
        touch -- "-rf" "a b" "..." "in/..x" "$(printf 'nl\\nx')" "$(printf '\\033]0;x')" "back\\\\"
        ln /o/in/..x hard; ln -s /proc/1/root magic; mkfifo pipe
    """
    execute(box, it, "sh", "-c", script)
    for path, base in (("/o", "o"), ("/o/", "o"), ("/o/.", "."), ("/o/link/../o", "o")):
        status, data = upload(box, "GET", f"/containers/{it}/archive?path={path}")
        if status == 404:  # through a link to what the container does not have
            continue
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            names = tar.getnames()
        assert names
        assert all(name == base or name.startswith(f"{base}/") for name in names)
        assert not any(".." in name.split("/") for name in names)
    for path in ("/o/link", "/o/up", "/o/root", "/o/magic"):
        status, data = upload(box, "GET", f"/containers/{it}/archive?path={path}")
        assert status == 200
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            assert [info.type for info in tar] == [tarfile.SYMTYPE]


def test_hostile_tars_put_into_a_container(box: Box, canary: Canary) -> None:
    it, at_rest = begin(box), box.ok("create", "box", "true")
    locked = begin(box, HostConfig={"ReadonlyRootfs": True})
    cases = corpus(canary.path)
    for number, case in enumerate(cases[:: max(1, len(cases) // rounds(4))]):
        place = "archive?path=/tmp"
        status, _ = upload(
            box, "PUT", f"/containers/{(it, at_rest)[number % 2]}/{place}", case.data
        )
        assert status in (200, 400), case.name
        assert canary.unchanged(), case.name
        if number % 4 == 0:
            status, answer = upload(box, "PUT", f"/containers/{locked}/{place}", case.data)
            assert status == 400
            assert b"read-only" in answer


def test_the_place_a_copy_goes_to_is_the_containers(box: Box, canary: Canary) -> None:
    it = begin(box)
    link = f"ln -s {canary.path} /out; ln -s /proc/self/cwd/{UP}{canary.path} /magic"
    execute(box, it, "sh", "-c", f"{link}; ln -s /proc/1/root/{canary.path} /one")
    tar = make_tar([member("secret", b"evil")])
    for path in (
        "/out",
        "/out/",
        "/magic",
        "/one",
        f"/proc/1/root{canary.path}",
        "/proc/self/fd/3",
    ):
        status, _ = upload(box, "PUT", f"/containers/{it}/archive?path={path}", tar)
        assert status in (400, 404), path
