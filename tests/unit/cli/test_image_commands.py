"""`orlop images --digests`, tag, history, prune, save, load, import, image from, commit, df."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.conftest import Orlop
from tests.unit.cli.fake_daemon import Exchange, FakeDaemon

Captured = pytest.CaptureFixture[str]

DIGEST = "sha256:" + "e" * 64


def image(**fields: Any) -> dict[str, Any]:
    return {
        "Id": "sha256:" + "b" * 64,
        "RepoTags": ["imp:1"],
        "RepoDigests": [],
        "Created": 0,
        "Size": 2_690_939,
        "Containers": 2,
        "SharedSize": -1,
        **fields,
    }


def cells(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


# --- lists --------------------------------------------------------------------------------


def test_digests(daemon: FakeDaemon, orlop: Orlop, capfd: Captured) -> None:
    images = [
        image(RepoTags=["a:1", "a:2", "b:1"], RepoDigests=[f"a@{DIGEST}"]),
        image(RepoTags=[], RepoDigests=[f"c@{DIGEST}"]),
        image(RepoTags=None, RepoDigests=None),
    ]
    daemon.on_json("GET", "/images/json", images)
    assert orlop("images", "--digests") == 0
    lines = cells(capfd.readouterr().out)
    assert lines[0] == ["REPOSITORY", "TAG", "DIGEST", "IMAGE", "ID", "CREATED", "SIZE"]
    assert [line[:3] for line in lines[1:]] == [
        ["a", "1", DIGEST],
        ["a", "2", DIGEST],
        ["b", "1", "<none>"],
        ["c", "<none>", DIGEST],
        ["<none>", "<none>", "<none>"],
    ]
    assert orlop("images") == 0
    assert [line[:2] for line in cells(capfd.readouterr().out)[1:]] == [
        ["a", "1"],
        ["a", "2"],
        ["b", "1"],
        ["c", "<none>"],
        ["<none>", "<none>"],
    ]


def test_sizes_are_asked_for_where_they_are_shown(
    daemon: FakeDaemon, orlop: Orlop, capfd: Captured
) -> None:
    daemon.on_json("GET", "/images/json", [image(SharedSize=690_939)])
    shape = "{{.SharedSize}} {{.UniqueSize}} {{.Containers}} {{.Digest}}"
    assert orlop("images", "--format", shape) == 0
    assert capfd.readouterr().out == "690.9kB 2MB 2 <none>\n"
    assert daemon.requests[-1].query == {"shared-size": "1"}
    daemon.on_json("GET", "/images/json", [image()])
    assert orlop("images", "--format", "{{.ID}} {{.Size}}", "--filter", "before=x") == 0
    assert daemon.requests[-1].query == {"filters": '{"before":{"x":true}}'}


HISTORY = [
    {
        "Id": "sha256:" + "a" * 64,
        "Created": 1_704_067_200,
        "CreatedBy": "sh -c 'a very\tlong command line that goes on and on'",
        "Size": 704_787,
        "Comment": "msg",
        "Tags": ["img:1"],
    },
    {
        "Id": "<missing>",
        "Created": 1_704_067_200,
        "CreatedBy": "x\x1b[2J",
        "Size": 0,
        "Comment": "",
        "Tags": None,
    },
]


@pytest.mark.parametrize("words", [("history",), ("image", "history")])
def test_history(daemon: FakeDaemon, orlop: Orlop, capfd: Captured, words: tuple[str]) -> None:
    daemon.on_json("GET", "/images/r/img:1/history", HISTORY)
    assert orlop(*words, "r/img:1") == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].split() == ["IMAGE", "CREATED", "CREATED", "BY", "SIZE", "COMMENT"]
    assert "sh -c 'a very long command line that goes on…" in lines[1]
    assert lines[1].split()[-2:] == ["705kB", "msg"]
    assert "\x1b" not in lines[2]
    assert "0B" in lines[2]
    assert orlop(*words, "-q", "--no-trunc", "r/img:1") == 0
    assert capfd.readouterr().out == f"sha256:{'a' * 64}\n<missing>\n"
    assert orlop(*words, "-H=false", "r/img:1") == 0
    assert cells(capfd.readouterr().out)[1][1] == "2024-01-01T00:00:00Z"
    assert orlop(*words, "--format", "json", "r/img:1") == 0
    assert json.loads(capfd.readouterr().out.splitlines()[0])["Size"] == "705kB"


@pytest.mark.parametrize("words", [("tag",), ("image", "tag")])
def test_tag(daemon: FakeDaemon, orlop: Orlop, capfd: Captured, words: tuple[str]) -> None:
    daemon.on_json("POST", "/images/alpine:latest/tag", None, 201)
    assert orlop(*words, "alpine:latest", "127.0.0.1:5000/mine/a:v1") == 0
    assert orlop(*words, "alpine:latest", "mine") == 0
    assert capfd.readouterr().out == ""
    assert [request.query for request in daemon.requests] == [
        {"repo": "127.0.0.1:5000/mine/a", "tag": "v1"},
        {"repo": "docker.io/library/mine", "tag": "latest"},
    ]
    assert orlop(*words, "a") == 1
    assert orlop(*words, "alpine:latest", "BAD NAME") == 1
    assert len(daemon.requests) == 2


def test_prune(
    daemon: FakeDaemon, orlop: Orlop, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = {
        "ImagesDeleted": [{"Untagged": "a:1"}, {"Deleted": "sha256:1"}],
        "SpaceReclaimed": 1_982_000,
    }
    daemon.on_json("POST", "/images/prune", answer)
    assert orlop("image", "prune", "-a", "-f", "--filter", "label!=x", "--filter", "until=1h") == 0
    assert capfd.readouterr().out == (
        "Deleted Images:\nuntagged: a:1\ndeleted: sha256:1\n\nTotal reclaimed space: 1.982MB\n"
    )
    assert json.loads(daemon.requests[-1].query["filters"]) == {
        "dangling": {"false": True},
        "label!": {"x": True},
        "until": {"1h": True},
    }
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert orlop("image", "prune") == 0
    assert "This will remove all dangling images." in capfd.readouterr().out
    assert len(daemon.requests) == 1
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    daemon.on_json("POST", "/images/prune", {"ImagesDeleted": None, "SpaceReclaimed": 0})
    assert orlop("image", "prune") == 0
    assert capfd.readouterr().out.endswith("Total reclaimed space: 0B\n")
    assert json.loads(daemon.requests[-1].query["filters"]) == {"dangling": {"true": True}}


# --- archives -----------------------------------------------------------------------------


def stream(*lines: dict[str, Any]) -> Any:
    def answer(exchange: Exchange) -> None:
        exchange.begin(200, content_type="application/json")
        for line in lines:
            exchange.piece(json.dumps(line).encode() + b"\r\n")
        exchange.end()

    return answer


def bytes_in_pieces(*pieces: bytes) -> Any:
    def answer(exchange: Exchange) -> None:
        exchange.begin(200, content_type="application/x-tar")
        for piece in pieces:
            exchange.piece(piece)
        exchange.end()

    return answer


@pytest.mark.parametrize("words", [("save",), ("image", "save")])
def test_save(
    daemon: FakeDaemon, orlop: Orlop, capfdbinary: Any, tmp_path: Path, words: tuple[str]
) -> None:
    daemon.on("GET", "/images/get", bytes_in_pieces(b"\0a tar", b" in pieces\xff"))
    target = tmp_path / "to" / "out.tar"
    target.parent.mkdir()
    assert orlop(*words, "-o", str(target), "a:1", "b") == 0
    assert target.read_bytes() == b"\0a tar in pieces\xff"
    assert daemon.requests[-1].values == {"names": ["a:1", "b"]}
    assert orlop(*words, "a:1") == 0
    assert capfdbinary.readouterr().out == b"\0a tar in pieces\xff"
    daemon.on_error("GET", "/images/get", 404, "No such image: c:latest")
    assert orlop(*words, "-o", str(target), "c") == 1
    assert target.read_bytes() == b"\0a tar in pieces\xff"
    assert orlop(*words, "-o", str(tmp_path / "gone" / "x"), "c") == 1
    assert sorted(os.listdir(target.parent)) == ["out.tar"]


@pytest.mark.parametrize("words", [("load",), ("image", "load")])
def test_load(
    daemon: FakeDaemon, orlop: Orlop, capfd: Captured, tmp_path: Path, words: tuple[str]
) -> None:
    archive = tmp_path / "in.tar"
    archive.write_bytes(b"x" * 700_000)
    lines = (
        {"status": "Loading layer", "id": "abc", "progressDetail": {"current": 1, "total": 2}},
        {"stream": "Loaded image: a:1\n"},
    )
    daemon.on("POST", "/images/load", stream(*lines))
    assert orlop(*words, "-i", str(archive)) == 0
    assert capfd.readouterr().out == "Loaded image: a:1\n"
    request = daemon.requests[-1]
    assert (request.query, len(request.raw)) == ({"quiet": "1"}, 700_000)
    assert request.headers["transfer-encoding"] == "chunked"
    assert orlop(*words, "-i", str(archive), "-q", "--platform", "linux/arm64") == 0
    assert daemon.requests[-1].query == {"quiet": "1", "platform": "linux/arm64"}
    assert orlop(*words, "-i", str(tmp_path / "gone")) == 1
    assert "gone: No such file" in capfd.readouterr().err
    assert orlop(*words, "-i", str(tmp_path)) == 1
    assert "is a folder" in capfd.readouterr().err


def test_a_load_that_fails(
    daemon: FakeDaemon, orlop: Orlop, capfd: Captured, tmp_path: Path
) -> None:
    archive = tmp_path / "in.tar"
    archive.write_bytes(b"x")
    lines = (
        {"stream": "Loaded image: a:1\n"},
        {"errorDetail": {"message": "no space left"}, "error": "no space left"},
    )
    daemon.on("POST", "/images/load", stream(*lines))
    assert orlop("load", "-i", str(archive)) == 1
    out, err = capfd.readouterr()
    assert (out, err) == ("Loaded image: a:1\n", "orlop: no space left\n")
    daemon.on_error("POST", "/images/load", 400, "invalid image archive")
    assert orlop("load", "-i", str(archive)) == 1
    assert "invalid image archive" in capfd.readouterr().err


@pytest.mark.parametrize("words", [("import",), ("image", "import")])
def test_import(
    daemon: FakeDaemon, orlop: Orlop, capfd: Captured, tmp_path: Path, words: tuple[str]
) -> None:
    archive = tmp_path / "in.tar"
    archive.write_bytes(b"a tar")
    daemon.on_json("POST", "/images/create", {"status": "sha256:1"})
    assert orlop(*words, "-m", "why", "-c", "CMD x", "-c", "ENV A=b", str(archive), "imp:1") == 0
    assert capfd.readouterr().out == "sha256:1\n"
    request = daemon.requests[-1]
    assert request.values == {
        "fromSrc": ["-"],
        "repo": ["imp:1"],
        "message": ["why"],
        "changes": ["CMD x", "ENV A=b"],
    }
    assert request.raw == b"a tar"
    assert orlop(*words, str(archive)) == 0
    assert daemon.requests[-1].values == {"fromSrc": ["-"]}
    assert orlop(*words, "http://127.0.0.1/x.tar") == 1
    assert "not supported" in capfd.readouterr().err


def test_image_from(daemon: FakeDaemon, orlop: Orlop, capfd: Captured, tmp_path: Path) -> None:
    archive, tree = tmp_path / "in.tar", tmp_path / "tree"
    archive.write_bytes(b"a tar")
    tree.mkdir()
    daemon.on_json("POST", "/orlop/images/from", {"Id": "sha256:1"}, 201)
    assert orlop("image", "from", str(archive), "a:1") == 0
    assert orlop("image", "from", str(tree), "b:1") == 0
    assert capfd.readouterr().out == "sha256:1\n" * 2
    first, second = daemon.requests
    assert (first.query, first.raw) == ({"name": "a:1"}, b"a tar")
    assert (second.query, second.body) == ({"name": "b:1"}, {"path": str(tree)})


def test_commit(daemon: FakeDaemon, orlop: Orlop, capfd: Captured) -> None:
    daemon.on_json("POST", "/commit", {"Id": "sha256:1"}, 201)
    words = ("commit", "-a", "me", "-m", "msg", "-c", "CMD a", "-c", "USER b")
    assert orlop(*words, "web", "img:committed") == 0
    assert capfd.readouterr().out == "sha256:1\n"
    assert daemon.requests[-1].values == {
        "author": ["me"],
        "changes": ["CMD a", "USER b"],
        "comment": ["msg"],
        "container": ["web"],
        "repo": ["docker.io/library/img"],
        "tag": ["committed"],
    }
    assert orlop("commit", "--pause=false", "web") == 0
    assert daemon.requests[-1].query == {"container": "web", "pause": "0"}


# --- disk usage ---------------------------------------------------------------------------

USAGE = {
    "LayersSize": 43_700_409,
    "Images": [
        image(Containers=1, SharedSize=0, Size=1_986_099),
        image(Containers=0, SharedSize=37_059_274, Size=37_059_274, RepoTags=["p:1"]),
    ],
    "Containers": [
        {
            "Id": "c" * 64,
            "Names": ["/web"],
            "Image": "a:1",
            "Command": "sh -c 'echo something long'",
            "Created": 0,
            "State": "running",
            "Status": "Up 3 minutes",
            "SizeRw": 1000,
            "SizeRootFs": 2000,
            "Mounts": [{"Type": "volume"}, {"Type": "bind"}],
        },
        {
            "Id": "d" * 64,
            "Names": ["/old"],
            "Image": "a:1",
            "Command": "true",
            "Created": 0,
            "State": "exited",
            "Status": "Exited (0)",
            "SizeRw": 500,
            "SizeRootFs": 2000,
            "Mounts": [],
        },
    ],
    "Volumes": [
        {"Name": "used", "UsageData": {"RefCount": 1, "Size": 10}},
        {"Name": "idle", "UsageData": {"RefCount": 0, "Size": 30}},
    ],
    "BuildCache": [],
}


def test_disk_usage(daemon: FakeDaemon, orlop: Orlop, capfd: Captured) -> None:
    daemon.on_json("GET", "/system/df", USAGE)
    assert orlop("system", "df") == 0
    assert capfd.readouterr().out == (
        "TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE\n"
        "Images          2         1         43.7MB    41.71MB (95%)\n"
        "Containers      2         1         1.5kB     500B (33%)\n"
        "Local Volumes   2         1         40B       30B (75%)\n"
        "Build Cache     0         0         0B        0B\n"
    )
    assert orlop("system", "df", "--format", "{{.Type}}={{.Active}}") == 0
    assert capfd.readouterr().out.splitlines()[1] == "Containers=1"
    assert orlop("system", "df", "-v") == 0
    out = capfd.readouterr().out
    for text in ("Images space usage:", "37.06MB", "Containers space usage:", "idle", "web"):
        assert text in out
    assert orlop("system") == 0
    assert orlop("system", "nope") == 1
