"""`orlop layers`, `orlop whence`, `orlop explain`: what is asked for and how it is shown."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.cli.conftest import Orlop
from tests.unit.cli.fake_daemon import FakeDaemon

Captured = pytest.CaptureFixture[str]
FILE = {"kind": "file", "size": 386, "mode": 0o644, "uid": 0, "gid": 7, "mtime": 0}


def layer(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "number": number,
        "chain_id": f"sha256:{number}{'a' * 63}",
        "diff_id": f"sha256:{number}{'b' * 63}",
        "folder": f"/l{number}",
        "size": number * 1_000_000,
        "instruction": f"RUN {number}",
        "created_by": f"/bin/sh -c {number}",
        "created": "",
        "comment": "",
        "then": [],
        "images": ["box:latest"],
        "containers": ["web"],
        **fields,
    }


STACK = {
    "kind": "container",
    "id": "c" * 64,
    "name": "web",
    "image": "box:latest",
    "writable": {"folder": "/u", "size": 24576, "inodes": 3},
    "layers": [
        layer(2, instruction="COPY \x1b[2J" + "x" * 100, then=["ENV A=1"]),
        layer(1, containers=["web", "db"], images=["box:latest", "other"]),
    ],
    "size": 3_000_000,
}


def test_layers_are_drawn(daemon: FakeDaemon, orlop: Orlop, capfd: Captured) -> None:
    daemon.on_json("GET", "/orlop/layers", STACK)
    assert orlop("layers", "web") == 0
    assert capfd.readouterr().out == (
        "container web of box:latest\n"
        "├─ writable layer  24.6kB\n"
        "│     what web itself has changed\n"
        f"├─  2  2aaaaaaaaaaa      2MB  COPY \\x1b[2J{'x' * 60}…\n"
        "│     then ENV A=1\n"
        "│     also of images box:latest\n"
        "└─  1  1aaaaaaaaaaa      1MB  RUN 1\n"
        "      also of images box:latest, other; containers db\n"
        "3MB in 2 read-only layers\n"
    )
    assert daemon.only("GET", "/orlop/layers").query == {"ref": "web"}


def test_layers_of_an_image_and_of_a_folder(
    daemon: FakeDaemon, orlop: Orlop, capfd: Captured
) -> None:
    image = {**STACK, "kind": "image", "name": "box:latest", "writable": None}
    daemon.on_json("GET", "/orlop/layers", image)
    assert orlop("layers", "--no-trunc", "box") == 0
    out = capfd.readouterr().out
    assert out.startswith(f"image box:latest\n├─  2  sha256:2{'a' * 63}")
    assert "writable" not in out
    assert "x" * 100 in out
    folder = {**STACK, "layers": [layer(1, chain_id="", folder="/tree")], "image": ""}
    daemon.on_json("GET", "/orlop/layers", folder)
    assert orlop("layers", "web") == 0
    out = capfd.readouterr().out
    assert "container web\n" in out
    assert "└─ /tree  a folder of this host\n" in out


@pytest.mark.parametrize("command", ["layers", "explain"])
def test_json_is_the_answer(
    daemon: FakeDaemon, orlop: Orlop, capfd: Captured, command: str
) -> None:
    daemon.on_json("GET", f"/orlop/{command}", {**STACK, "name": "wéb"})
    assert orlop(command, "--json", "web") == 0
    out = capfd.readouterr().out
    assert json.loads(out)["name"] == "wéb"
    assert "wéb" in out


def row(name: int | str, state: str, **fields: Any) -> dict[str, Any]:
    return {
        "layer": name,
        "chain_id": "" if name == "writable" else f"sha256:{name}{'a' * 63}",
        "diff_id": "",
        "instruction": "" if name == "writable" else f"RUN {name}",
        "state": state,
        "by": None,
        "at": "",
        "file": None,
        "link": "",
        "words": "",
        **fields,
    }


ANSWER: dict[str, Any] = {
    "kind": "container",
    "id": "c" * 64,
    "name": "web",
    "image": "box:latest",
    "asked": "/etc/x",
    "path": "/usr/etc/x",
    "exists": True,
    "problem": "",
    "stopped": "",
    "steps": [
        {"path": "/etc", "target": "usr/etc", "layer": 1, "mount": None, "words": "in layer 1"}
    ],
    "file": FILE,
    "link": "",
    "mount": None,
    "layer": 2,
    "copied_up": None,
    "layers": [
        row("writable", "absent"),
        row(2, "shown", words="this is what is seen"),
        row(1, "hidden", by=2, words="there, hidden by layer 2"),
    ],
    "words": "from layer 2 (RUN 2)",
}


def test_whence(daemon: FakeDaemon, orlop: Orlop, capfd: Captured) -> None:
    daemon.on_json("GET", "/orlop/whence", ANSWER)
    assert orlop("whence", "web", "/etc/x") == 0
    assert capfd.readouterr().out == (
        "/etc -> usr/etc   a link in layer 1\n"
        "/usr/etc/x   file, 386B, rw-r--r-- 0:7\n"
        "from layer 2 (RUN 2)\n"
        "\n"
        "  writable\n"
        "* layer 2    2aaaaaaaaaaa   RUN 2   this is what is seen\n"
        "  layer 1    1aaaaaaaaaaa   RUN 1   there, hidden by layer 2\n"
    )
    assert daemon.only("GET", "/orlop/whence").query == {"ref": "web", "path": "/etc/x"}


def test_whence_of_nothing_is_status_1(daemon: FakeDaemon, orlop: Orlop, capfd: Captured) -> None:
    gone = {**ANSWER, "exists": False, "file": None, "words": "no layer has it", "steps": []}
    daemon.on_json("GET", "/orlop/whence", gone)
    assert orlop("whence", "-P", "web", "/x") == 1
    assert capfd.readouterr().out.startswith("/usr/etc/x   is not there\nno layer has it\n")
    assert daemon.only("GET", "/orlop/whence").query["nofollow"] == "1"
    assert orlop("whence", "--json", "web", "/x") == 1
    assert json.loads(capfd.readouterr().out) == gone
    daemon.on_json("GET", "/orlop/whence", {**gone, "exists": None})
    assert orlop("whence", "web", "/x") == 0
    assert "not known" in capfd.readouterr().out


def test_names_of_files_do_not_reach_the_terminal(
    daemon: FakeDaemon, orlop: Orlop, capfd: Captured
) -> None:
    evil = "\x1b[2J"
    hostile = {
        **ANSWER,
        "path": f"/{evil}",
        "link": evil,
        "words": evil,
        "steps": [{**ANSWER["steps"][0], "path": evil, "target": evil}],
        "layers": [row(1, "shown", words=evil, instruction=evil)],
    }
    daemon.on_json("GET", "/orlop/whence", hostile)
    assert orlop("whence", "web", "/x") == 0
    assert "\x1b" not in capfd.readouterr().out


EXPLAINED: dict[str, Any] = {
    "id": "c" * 64,
    "name": "web",
    "status": "running",
    "running": True,
    "image": "box",
    "namespaces": [
        {"kind": "pid", "inode": 5, "host_inode": 1, "shared": False, "joins": "", "what": "ids"},
        {"kind": "user", "inode": 7, "host_inode": 7, "shared": True, "joins": "", "what": "who"},
        {"kind": "ipc", "inode": 9, "host_inode": 8, "shared": False, "joins": "/p", "what": "q"},
    ],
    "processes": [
        {"host_pid": 10, "pid": 1, "parent": 9, "uid": 0, "command": "init", "depth": 0},
        {"host_pid": 11, "pid": 2, "parent": 10, "uid": 0, "command": "\x1b[2J", "depth": 1},
    ],
    "hostname": {"inside": "web", "host": "vm"},
    "ids": {
        "user": "",
        "uid": 0,
        "gid": 0,
        "groups": [10],
        "uid_map": [[0, 0, 4294967295]],
        "gid_map": [[0, 0, 4294967295]],
        "words": "root is root",
    },
    "root": {
        "kind": "overlay",
        "read_only": False,
        "writable": "/u",
        "work": "/w",
        "lowers": ["/l2", "/l1"],
        "volatile": False,
    },
    "mounts": [
        {"point": "/", "kind": "root", "type": "overlay", "read_only": False, "why": "the root"},
        {"point": "/x", "kind": "masked", "type": "tmpfs", "read_only": True, "why": "covered"},
    ],
    "hidden": {
        "masked": [
            {"path": "/x", "state": "done"},
            {"path": "/n", "state": "absent"},
            {"path": "/o", "state": "open"},
        ],
        "read_only": [{"path": "/r", "state": "planned"}],
    },
    "capabilities": {
        "words": "1 of 41",
        "bounding": ["CAP_CHOWN"],
        "added": ["CAP_SYS_ADMIN"],
        "dropped": [],
    },
    "no_new_privileges": {"on": True, "words": "nothing more"},
    "seccomp": {"mode": "disabled", "words": "no filter"},
    "security_opts": ["no-new-privileges"],
    "oom_score_adj": 0,
    "limits": [{"what": "memory", "limit": 1, "current": 2, "words": "at most 1B"}],
    "cgroups": [
        {"controllers": "memory", "path": "/orlop/c"},
        {"controllers": "pids", "path": "/orlop/c"},
        {"controllers": "freezer", "path": "/"},
    ],
}


def test_explain(daemon: FakeDaemon, orlop: Orlop, capfd: Captured) -> None:
    daemon.on_json("GET", "/orlop/explain", EXPLAINED)
    assert orlop("explain", "web") == 0
    out = capfd.readouterr().out
    assert out.startswith("web (cccccccccccc), of box: running\n\nWhat it sees as its own")
    for line in (
        "  pid    its own      5 (host 1)   ids\n",
        "  user   the host's   7            who\n",
        "  ipc    of /p        9 (host 8)   q\n",
        "  host name  web (the host is vm)\n",
        "  user       0:0 on the host, groups 10\n",
        "  1        10            0      init\n",
        "  2        11            0        \\x1b[2J\n",
        "  writable; its changes are in /u\n  below it  /l2\n  below     /l1\n",
        "  /   overlay   rw   the root\n",
        "  covered: /x\n  not on this kernel: /n\n  NOT covered, though it should be: /o\n",
        "  read-only: /r\n",
        "    can have: chown\n    beyond docker's: sys_admin\n",
        "  no new privileges: on: nothing more\n",
        "  memory   at most 1B\n",
        "  /orlop/c\n      of: memory, pids\n  /\n      the host's, of: freezer\n",
    ):
        assert line in out
    assert "\x1b" not in out
    assert daemon.only("GET", "/orlop/explain").query == {"ref": "web"}


def test_explain_at_rest(daemon: FakeDaemon, orlop: Orlop, capfd: Captured) -> None:
    resting = {
        **EXPLAINED,
        "running": False,
        "processes": [],
        "ids": {**EXPLAINED["ids"], "uid": None, "gid": None, "groups": None, "user": "app"},
        "root": {**EXPLAINED["root"], "kind": "folder", "lowers": ["/tree"], "read_only": True},
    }
    daemon.on_json("GET", "/orlop/explain", resting)
    assert orlop("explain", "web") == 0
    out = capfd.readouterr().out
    assert "It does not run: this is what it will be.\n" in out
    assert "Its processes" not in out
    assert "  user       app\n" in out
    assert "  read-only: the folder /tree of the host\n" in out


def test_colours_are_for_terminals_that_want_them(
    daemon: FakeDaemon, orlop: Orlop, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervisor.cli.paint.os.isatty", lambda _fd: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    daemon.on_json("GET", "/orlop/whence", ANSWER)
    assert orlop("whence", "web", "/x") == 0
    assert "\x1b[32m* layer 2" in capfd.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    assert orlop("whence", "web", "/x") == 0
    assert "\x1b" not in capfd.readouterr().out


@pytest.mark.parametrize(
    "words", [["layers"], ["layers", "a", "b"], ["whence", "a"], ["explain"], ["explain", "a", "b"]]
)
def test_wrong_numbers_of_arguments(words: list[str], orlop: Orlop, capfd: Captured) -> None:
    assert orlop(*words) == 1
    assert "argument" in capfd.readouterr().err
