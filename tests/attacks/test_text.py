"""What names, labels, paths and output are made of: logs keep it, terminals only show it."""

from __future__ import annotations

import os
import pty
import re
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from supervisor.cli.main import main
from supervisor.wire.stdcopy import STDERR, STDOUT, Decoder, frame
from tests.api.box import IMAGE, Box, eventually
from tests.attacks.boxes import Canary
from tests.support.daemon import Daemon, UnixConnection
from tests.support.pace import limit

pytestmark = pytest.mark.api

# A window's title, the whole screen, a colour of its own, a C1 control sequence, text backwards.
EVIL = "PWN\x1b]0;title\x07\x1b[2J\x1b[35;45m\x9b31m\u202e\x7f\rED"
RECORD = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [A-Z]+ orlop[a-z.]* .*")
FORGED_LINE = "2026-01-01T00:00:00.000Z INFO orlop.api DELETE / by uid=0 gid=0 pid=1: 204"


@pytest.fixture
def box(built: Box) -> Iterator[Box]:
    canary = Canary(built.daemon)
    yield built
    built.remove_all()
    canary.check()


# --- S63: logs ----------------------------------------------------------------------------------

FORGERY = b"".join(
    [
        *(b"2026-11-21T00:00:00.000000000Z forged\n", b"2026-11-21T00:00:00.0Z stderr F forged\n"),
        *(frame(STDERR, b"in a frame\n"), frame(STDOUT, b""), b"\x01\x00\x00\x00\xff\xff\xff\xff"),
        b'{"log":"forged\\n","stream":"stderr","time":"2026-11-21T00:00:00Z"}\n',
        *(bytes(range(256)), b"\r\n\n\n\0\0\n", b"\xff\xfe\xe2\x80\xa8\xc0\xaf\n", b"a" * 300_000),
        *(b"\n", b"no end of line"),
    ]
)


def logs(daemon: Daemon, ref: str, query: str) -> list[tuple[int, bytes]]:
    """What the API has of a log, taken apart by streams."""
    with closing(UnixConnection(daemon.socket, limit(60))) as connection:
        connection.request("GET", f"/containers/{ref}/logs?stdout=1&stderr=1{query}")
        found: list[tuple[int, bytes]] = []
        for stream, piece in Decoder().feed(connection.getresponse().read()):
            if found and found[-1][0] == stream:
                piece = found.pop()[1] + piece
            found.append((stream, piece))
        return found


def test_s63_what_looks_like_a_log_is_output(box: Box, tmp_path: Path) -> None:
    (tmp_path / "forgery").write_bytes(FORGERY)
    bind = ("-v", f"{tmp_path}:/f:ro")
    ref = box.start(*bind, script="cat /f/forgery; read x </dev/null; cat /f/forgery >&2; echo end")
    box.ok("wait", ref)
    whole = {STDOUT: b"", STDERR: b""}
    for stream, piece in logs(box.daemon, ref, ""):
        whole[stream] += piece
    assert whole == {STDOUT: FORGERY + b"end\n", STDERR: FORGERY}
    # By the lines' own times nothing is old, and with them each line has one in front.
    assert logs(box.daemon, ref, "&until=1700000000") == []
    stamped = b"".join(piece for stream, piece in logs(box.daemon, ref, "&timestamps=1")
                       if stream == STDERR)  # fmt: skip
    taken = re.sub(rb"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z ", b"", stamped, flags=re.MULTILINE)
    assert taken == FORGERY
    tail = b"".join(piece for _, piece in logs(box.daemon, ref, "&tail=1"))
    assert tail in (b"end\n", b"no end of line", b"no end of lineend\n")
    for flags in ((), ("-t",)):
        assert box.orlop("logs", *flags, ref, text=False).returncode == 0


def test_s63_no_request_and_no_container_writes_into_the_daemons_log(box: Box) -> None:
    text = f"x\n{FORGED_LINE}\r\n{EVIL}"
    word = quote(text)
    daemon = box.daemon
    tries: list[tuple[str, str, object]] = [
        ("POST", f"/containers/{word}/start", None),
        ("POST", f"/containers/create?name={word}", {"Image": IMAGE}),
        ("POST", f"/images/create?fromImage={word}", None),
        ("POST", f"/images/create?fromImage=127.0.0.1:1/{word}", None),
        ("POST", f"/images/create?fromSrc=-&repo={word}", None),
        ("DELETE", f"/images/{word}", None),
        ("DELETE", f"/volumes/{word}", None),
        ("POST", "/volumes/create", {"Name": text, "Labels": {text: text}}),
        ("POST", "/containers/create", {"Image": text, "Cmd": [text]}),
        ("POST", "/containers/create", {"Image": IMAGE, "HostConfig": {"Binds": [f"{text}:/x"]}}),
        ("POST", "/auth", {"username": text, "password": text, "serveraddress": text}),
        (f"PO{word[:3]}ST", "/x", None),
    ]
    for method, path, body in tries:
        status, answer = daemon.request(method, path, body)
        assert status >= 400, (path, answer)
    made = {"Image": IMAGE, "Cmd": [text], "Labels": {"x": text}, "Env": [f"X={text}"],
            "Healthcheck": {"Test": ["CMD", text], "Interval": 10**8}}  # fmt: skip
    assert daemon.request("POST", "/containers/create?name=evil", made)[0] == 201
    assert daemon.request("POST", "/containers/evil/start")[0] == 400
    ref = box.start("--health-cmd", text, "--health-interval", "200ms", "--stop-timeout", "0")
    eventually(lambda: box.state(ref)["Health"]["Log"])
    body = {"Cmd": [text], "AttachStdout": True}
    session = daemon.request("POST", f"/containers/{ref}/exec", body)[1]["Id"]
    assert daemon.request("POST", f"/exec/{session}/start", {"Detach": True})[0] == 400
    for line in daemon.log.splitlines():
        assert RECORD.fullmatch(line) or line.startswith("    "), line
        assert line != FORGED_LINE
        assert line.isprintable(), line


# --- S64: a terminal ----------------------------------------------------------------------------

OUR_COLOURS = re.compile(r"\x1b\[(0|[1-4]|3[1-4])(;[1-4]|;3[1-4])?m")


def on_a_terminal(box: Box, *arguments: str) -> str:
    """What an orlop command writes to a terminal, both streams."""
    pid, master = pty.fork()
    if pid == 0:
        os.environ.update(box.daemon.environment)
        for name, fd in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
            setattr(sys, name, os.fdopen(fd, "r" if fd == 0 else "w", closefd=False))
        status = 1
        try:
            status = main(arguments)
            sys.stdout.flush()
        finally:
            os._exit(status)
    seen = b""
    with suppress(OSError):  # EIO: nobody has the other side any more
        while piece := os.read(master, 65536):
            seen += piece
    os.close(master)
    os.waitpid(pid, 0)
    return seen.decode(errors="surrogateescape")


def harm(text: str) -> list[str]:
    """What a terminal acts upon, but for ends of lines and our own colours."""
    left = OUR_COLOURS.sub("", re.sub("\r+\n", "\n", text))
    return [c for c in left if unicodedata.category(c) in ("Cc", "Cf", "Cs") and c not in "\n\t"]


@pytest.fixture(scope="module")
def exhibits(built: Box) -> Iterator[Box]:
    """Everything that can be named has EVIL in its name, and something runs under it."""
    daemon = built.daemon
    made: dict[str, Any] = {
        "Image": IMAGE,
        "Cmd": ["sh", "-c", 'touch "/$0"; mkdir "/d$0"; sleep 10000; :', EVIL],
        "Labels": {EVIL: EVIL, "evil": EVIL},
        "Env": [f"EVIL={EVIL}"],
        "Healthcheck": {"Test": ["CMD", "sh", "-c", 'echo "$0"; exit 1', EVIL], "Interval": 10**9},
    }
    assert daemon.request("POST", "/containers/create?name=show", made)[0] == 201
    assert daemon.request("POST", "/containers/show/start")[0] == 204
    failed = {"Image": IMAGE, "Cmd": [EVIL], "Labels": {"evil": EVIL}}
    assert daemon.request("POST", "/containers/create?name=failed", failed)[0] == 201
    assert daemon.request("POST", "/containers/failed/start")[0] == 400
    assert (
        daemon.request("POST", "/volumes/create", {"Name": "vol", "Labels": {"evil": EVIL}})[0]
        < 300
    )
    path = f"/commit?container=show&repo=evil&comment={quote(EVIL)}&author={quote(EVIL)}"
    status, answer = daemon.request("POST", path, {"Labels": {"evil": EVIL}, "Cmd": [EVIL]})
    assert status == 201, answer
    built.wait_for("show", "running")
    eventually(lambda: built.state("show")["Health"]["Log"])
    yield built
    built.remove_all()
    built.ok("volume", "rm", "vol")
    built.ok("rmi", "-f", "evil")


COMMANDS = [
    ("ps", "-a"),
    ("ps", "-a", "--no-trunc"),
    ("ps", "-a", "--format", "{{.Labels}} {{.Command}}"),
    ("ps", "-a", "--format", 'table {{.Names}}\t{{.Label "evil"}}'),
    ("ps", "-a", "--format", "json"),
    ("inspect", "show"),
    ("inspect", "--format", "{{.Config.Labels}} {{json .Config.Env}}", "show"),
    ("inspect", "--format", "{{json .State.Health}}", "show"),
    ("inspect", "--format", "{{.State.Error}} {{.Path}}", "failed"),
    ("image", "inspect", "evil"),
    ("history", "--no-trunc", "evil"),
    ("volume", "ls", "--format", "{{.Labels}}"),
    ("volume", "inspect", "vol"),
    ("top", "show"),
    ("diff", "show"),
    ("events", "--since", "1h", "--until", "0s"),
    ("events", "--since", "1h", "--until", "0s", "--format", "{{.Action}} {{.Actor.Attributes}}"),
    ("events", "--since", "1h", "--until", "0s", "--format", "json"),
    ("why", "failed"),
    ("why", "--json", "failed"),
    ("layers", "evil"),
    ("whence", "show", f"/{EVIL}"),
    ("whence", "--json", "show", f"/{EVIL}"),
    ("explain", "show"),
    ("explain", "--json", "show"),
    ("system", "df", "-v"),
    ("start", "failed"),
    ("exec", "show", EVIL),
    ("inspect", EVIL),
    ("run", EVIL),
    ("cp", f"show:/nowhere{EVIL}", "/tmp/nowhere"),
    ("rm", f"x{EVIL}"),
    ("info",),
]
SILENT = {("layers", "evil"), ("info",)}


def test_s64_no_command_passes_a_control_byte_on(exhibits: Box) -> None:
    for words in COMMANDS:
        text = on_a_terminal(exhibits, *words)
        assert harm(text) == [], (words, text)
        assert "PWN" in text or words in SILENT, (words, text)


def test_s64_the_control_a_container_writes_as_it_likes(exhibits: Box) -> None:
    """Its own output is a terminal's, as it is with any program; what tells of it is not."""
    ref = exhibits.start(script="printf '\\033[35;45mPWN'")
    exhibits.ok("wait", ref)
    assert harm(on_a_terminal(exhibits, "logs", ref)) == ["\x1b"]
