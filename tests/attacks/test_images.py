"""S22 to S35: what an image may say, and bring; layers and archives have corpora elsewhere.

docs/attacks.md tells which entry is shown where.
"""

from __future__ import annotations

import json
import os
import random
import tarfile
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.box import Box
from tests.attacks.hostile import UP, begin, execute, load, outcome, upload
from tests.attacks.rounds import rounds
from tests.support import image_tars as made
from tests.support.image_tars import Made, Member
from tests.support.pace import limit
from tests.support.tar_corpus import Canary, corpus

BASE = made.busybox_layer()
STATUS = "/proc/self/status"

# --- S22 to S25: layers, by the whole way in


def test_hostile_layers_by_the_api(box: Box, canary: Canary) -> None:
    """A part of the corpus at a time, each refused or unpacked, and its image removed."""
    cases = corpus(canary.path)
    chosen = random.Random(rounds(0)).sample(cases, min(rounds(5), len(cases)))
    layers = set(os.listdir(box.daemon.data_root / "layers"))
    for case in chosen:
        archive = made.docker_archive([(Made([case.data]), ["hostile:1"])])
        status, answer = upload(box, "POST", "/images/load?quiet=1", archive)
        refused = status == 400 or b"errorDetail" in answer
        assert status in (200, 400), case.name
        assert refused == bool(case.refused), (case.name, answer)
        assert canary.unchanged(), case.name
        box.daemon.request("DELETE", "/images/hostile:1?force=1")
    box.daemon.request("POST", "/images/prune")
    assert set(os.listdir(box.daemon.data_root / "layers")) == layers
    assert not os.listdir(box.daemon.data_root / "tmp")


def test_nodes_of_a_layer_are_no_way_to_the_host(box: Box) -> None:
    """Device nodes are made, and cannot be opened; what overlayfs would take for its own is not."""
    hidden = {"trusted.overlay.redirect": "/../../../etc", "trusted.overlay.opaque": "y"}
    nodes = made.layer(
        made.member("disk", tarfile.BLKTYPE, 0o666, devmajor=8, devminor=0),
        made.member("memory", tarfile.CHRTYPE, 0o666, devmajor=1, devminor=1),
        made.file("plain", b"x", xattrs=hidden),
        made.folder("marked", xattrs=hidden),
    )
    load(box, [BASE, nodes], "nodes:1", {})
    script = "cat /disk || cat /memory || echo refused; cat /plain; ls /marked; ls /etc"
    status, said = outcome(box, {"Image": "nodes:1", "Cmd": ["sh", "-c", script]})
    assert status == 0
    assert said.count("Operation not permitted") == 2
    assert "refused" in said
    for folder in (box.daemon.data_root / "layers").iterdir():
        for path in (folder / "plain", folder / "marked"):
            if path.exists():
                assert os.listxattr(path) == []


# --- S32, S33: who a program runs as

# int() of Python takes some of these: a full-width 1, an Arabic 0, a superscript 2.
NOT_A_USER = (
    *("2147483648", "4294967295", "4294967296", "18446744073709551616", "-1", "+0", "1_000"),
    *("\uff11", "\u0660", "\u00b2", " 0", "0 ", "0\n", "1.0", "a/b", "-", "0\0", "root\0"),
    *("0:4294967296", "0:-1", "0:+0", "x:\uff11", "0:0:0", "99999999999999999999"),
)


@pytest.mark.parametrize("by", ["create", "exec", "image"])
def test_what_is_no_user_is_refused(box: Box, by: str) -> None:
    entries = "".join(f"{name}:x:0:0::/:/bin/sh\n" for name in NOT_A_USER)
    passwd = made.layer(made.file("etc/passwd", entries.encode()))
    load(box, [BASE, passwd], "users:1", {})
    it = begin(box, Image="users:1")
    for user in NOT_A_USER[:: 1 if by != "image" else 7]:
        if by == "create":
            status, said = outcome(box, {"Image": "users:1", "User": user, "Cmd": ["id"]})
        elif by == "exec":
            body = {"User": user, "Cmd": ["id"]}
            status, said = box.daemon.request("POST", f"/containers/{it}/exec", body)
        else:
            load(box, [BASE, passwd], "such:1", {"User": user})
            status, said = outcome(box, {"Image": "such:1", "Cmd": ["id"]})
        assert status == 400, (user, said)


def test_entries_with_odd_ids_are_nobody(box: Box) -> None:
    odd = ("-1", "+0", "1_000", "\uff11", " 0", "", "4294967296", "0x0", "1e9")
    entries = "".join(f"u{n}:x:{id}:{id}::/:/bin/sh\n" for n, id in enumerate(odd))
    load(box, [BASE, made.layer(made.file("etc/passwd", entries.encode()))], "odd:1", {})
    it = begin(box, Image="odd:1")
    for number in range(len(odd)):
        said = execute(box, it, "id", "-u", User=f"u{number}")
        assert "no ids in the range" in said, (odd[number], said)


def _accounts(kind: str, canary: Canary) -> Member:
    if kind == "huge":
        return made.file("etc/passwd", b"x:" * (4 << 20) + b"\nweb:x:0:0::/:/bin/sh\n")
    if kind in ("FIFO", "device", "disk"):
        type = {"FIFO": tarfile.FIFOTYPE, "device": tarfile.CHRTYPE, "disk": tarfile.BLKTYPE}[kind]
        return made.member("etc/passwd", type, 0o666, devmajor=1, devminor=5)
    target = {
        "link out": f"{UP}{canary.path}/passwd",
        "magic": f"/proc/1/root{canary.path}/passwd",
        "descriptor": "/proc/self/fd/0",
        "loop": "/etc/passwd",
        "endless": "/dev/zero",
    }
    return made.symlink("etc/passwd", target[kind])


@pytest.mark.parametrize(
    "kind", ["huge", "FIFO", "device", "disk", "link out", "magic", "descriptor", "loop", "endless"]
)
def test_whatever_stands_for_passwd_makes_nobody_wait(box: Box, canary: Canary, kind: str) -> None:
    load(box, [BASE, made.layer(_accounts(kind, canary))], "accounts:1", {})
    began = time.monotonic()
    status, said = outcome(box, {"Image": "accounts:1", "User": "web", "Cmd": ["id"]})
    assert (status, "unable to find user web" in said) == (400, True), said
    status, said = outcome(box, {"Image": "accounts:1", "User": "7:7", "Cmd": ["cat", STATUS]})
    assert (status, "Uid:\t7\t7\t7\t7\nGid:\t7\t7" in said) == (0, True), said
    it = begin(box, Image="accounts:1")
    assert "unable to find user web" in execute(box, it, "id", User="web")
    assert time.monotonic() - began < limit(20)


# --- S34, S35: what a config may say

ASKED = {"Image": "config:1", "Cmd": ["cat", STATUS]}
CONTROL = (
    *("orlop.privileged", "io.orlop.privileged", "com.docker.privileged", "privileged"),
    *("orlop.binds", "io.kubernetes.cri-o.userns-mode", "org.opencontainers.runtime.args"),
    *("run.oci.keep_original_groups", "run.oci.hooks", "com.docker.compose.project"),
    *("io.podman.annotations.privileged", "devices", "cap-add", "io.containers.autoupdate"),
)


def test_no_label_or_foreign_field_of_an_image_gives_rights(box: Box) -> None:
    rights = {"Privileged": True, "CapAdd": ["ALL"], "Binds": ["/:/host"], "PidMode": "host"}
    config = {
        "Labels": {name: json.dumps(rights) for name in CONTROL} | {"privileged": "true"},
        "HostConfig": rights,
        "Annotations": rights,
        **rights,
    }
    load(box, [BASE], "config:1", {})
    status, plain = outcome(box, ASKED)
    load(box, [BASE], "config:1", config)
    status, said = outcome(box, ASKED)
    rows = ("Cap", "Seccomp", "NoNewPrivs", "NSpid", "Uid", "Gid", "Groups")

    def rights_of(text: str) -> list[str]:
        return [line for line in text.splitlines() if line.startswith(rows)]

    assert status == 0
    assert rights_of(said) == rights_of(plain) != []
    it = begin(box, Image="config:1")
    host = box.inspect(it)["HostConfig"]
    assert (host["Privileged"], host["Binds"], host["CapAdd"]) == (False, None, None)


VALUES: tuple[object, ...] = (
    *(
        None,
        True,
        0,
        -1,
        1 << 31,
        1 << 63,
        1e308,
        "",
        "x",
        "\0",
        "../..",
        "/proc",
        "/a\nb",
        "x" * 300,
    ),
    *([], [""], ["x"], [0], ["\0"], [[["x"]]], {}, {"": {}}, {"x": {}}, {"/proc": {}}, {"x": "y"}),
    *({"Test": ["CMD"]}, {"Test": ["EVIL"], "Interval": -1}, {"80/tcp": {}}, {"999999/x": {}}),
    *(["PATH="], ["=x"], ["A=\x1b[0m"], ["CMD", "\ud83d\ude00"], {"a": {"b": [1, {}]}}),
)
FIELDS = (
    *("Env", "Cmd", "Entrypoint", "WorkingDir", "User", "Volumes", "ExposedPorts", "Labels"),
    *("Healthcheck", "StopSignal", "StopTimeout", "Shell", "OnBuild", "Hostname", "Domainname"),
    *("Tty", "OpenStdin", "MacAddress", "NetworkDisabled", "ArgsEscaped", "AttachStdin"),
)


def _configs(count: int) -> Iterator[dict[str, Any]]:
    chance = random.Random(35)
    for _ in range(count):
        yield {field: chance.choice(VALUES) for field in chance.sample(FIELDS, 2)}


def test_any_config_is_refused_or_runs(box: Box) -> None:
    layer = made.layer(made.folder("bin"))
    for config in _configs(rounds(8)):
        archive = made.docker_archive([(Made([layer], config), ["any:1"])])
        status, answer = upload(box, "POST", "/images/load?quiet=1", archive)
        assert status in (200, 400), (config, answer)
        assert json.loads(answer), config  # one document
        if status == 200:
            assert box.daemon.request("GET", "/images/any:1/json")[0] == 200, config
            assert box.daemon.request("GET", "/images/any:1/history")[0] == 200, config
            status, said = outcome(box, {"Image": "any:1"})
            assert status in (126, 127, 400, 404), (config, said)  # it has no program
            box.daemon.request("DELETE", "/images/any:1?force=1")


@pytest.mark.parametrize(
    "change",
    [
        {"rootfs": {"type": "layers", "diff_ids": ["sha256:../../../etc/passwd"]}},
        {"rootfs": {"type": "layers", "diff_ids": [f"sha256:{'0' * 64}"]}},
        {"rootfs": {"type": "layers", "diff_ids": "x"}},
        {"rootfs": None},
        {"history": [{"empty_layer": True}] * 10_000},
        {"history": 5},
        {"os": "windows"},
        {"os": 5},
        {"architecture": "../../x"},
        {"created": "yesterday"},
        {"config": [[[[]]]]},
        {"config": "x" * 5_000_000},
        {"deep": json.loads("[" * 400 + "]" * 400)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_documents_that_are_not_what_they_should_be(box: Box, change: dict[str, Any]) -> None:
    blobs = box.daemon.data_root / "blobs/sha256"
    before = set(os.listdir(blobs))
    archive = made.docker_archive([(Made([made.layer()], extra=change), ["odd:1"])])
    status, answer = upload(box, "POST", "/images/load?quiet=1", archive)
    assert status in (200, 400), answer
    assert b"Traceback" not in answer
    box.daemon.request("DELETE", "/images/odd:1?force=1")
    if status == 400:
        assert set(os.listdir(blobs)) <= before
