"""`pull`, `push`, `login`, `logout`, `search`, and `run --pull`."""

from __future__ import annotations

import base64
import io
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from supervisor.cli import progress
from supervisor.cli.failures import Failure
from tests.unit.cli.conftest import Orlop
from tests.unit.cli.fake_daemon import Exchange, FakeDaemon

Captured = pytest.CaptureFixture[str]
HUB = "https://index.docker.io/v1/"

PULLED: list[dict[str, Any]] = [
    {"status": "Pulling from library/x", "id": "latest"},
    {"status": "Pulling fs layer", "progressDetail": {}, "id": "aaa"},
    {"status": "Downloading", "progressDetail": {"current": 5, "total": 10}, "id": "aaa"},
    {"status": "Pull complete", "progressDetail": {}, "id": "aaa"},
    {"status": "Status: Downloaded newer image for x:latest"},
]


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's docker configuration, which is not there yet."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    return tmp_path / "docker/config.json"


def says(*messages: dict[str, Any]) -> Any:
    """An answer of a line for each message."""

    def answer(exchange: Exchange) -> None:
        exchange.begin(200, content_type="application/json")
        for message in messages:
            exchange.piece(json.dumps(message).encode() + b"\r\n")
        exchange.end()

    return answer


def sent_auth(daemon: FakeDaemon) -> Any:
    """The credentials in the last request."""
    return json.loads(base64.urlsafe_b64decode(daemon.requests[-1].headers["x-registry-auth"]))


# --- pull and push --------------------------------------------------------------------------


def test_pull(daemon: FakeDaemon, orlop: Orlop, capfd: Captured) -> None:
    daemon.on("POST", "/images/create", says(*PULLED))
    assert orlop("pull", "x") == 0
    assert capfd.readouterr().out.splitlines() == [
        "Using default tag: latest",
        "latest: Pulling from library/x",
        "aaa: Pulling fs layer",
        "aaa: Pull complete",
        "Status: Downloaded newer image for x:latest",
        "docker.io/library/x:latest",
    ]
    assert daemon.requests[-1].query == {"fromImage": "docker.io/library/x", "tag": "latest"}
    assert sent_auth(daemon) == {}


@pytest.mark.parametrize(
    "words, query, out",
    [
        (["-q", "x"], {"tag": "latest"}, "docker.io/library/x:latest\n"),
        (
            ["-q", "--platform", "linux/arm64", "x:1"],
            {"tag": "1", "platform": "linux/arm64"},
            "docker.io/library/x:1\n",
        ),
        (["-aq", "x"], {}, "docker.io/library/x\n"),
        (
            ["-q", f"x@sha256:{'a' * 64}"],
            {"tag": f"sha256:{'a' * 64}"},
            f"docker.io/library/x@sha256:{'a' * 64}\n",
        ),
    ],
)
def test_pull_options(
    daemon: FakeDaemon,
    orlop: Orlop,
    capfd: Captured,
    words: list[str],
    query: dict[str, str],
    out: str,
) -> None:
    daemon.on("POST", "/images/create", says(*PULLED))
    assert orlop("pull", *words) == 0
    assert capfd.readouterr().out == out
    assert daemon.requests[-1].query == {"fromImage": "docker.io/library/x", **query}


@pytest.mark.parametrize(
    "words", [["pull", "-a", "x:1"], ["pull", "X"], ["push", "-a", "x:1"], ["pull"], ["push"]]
)
def test_misuse(daemon: FakeDaemon, orlop: Orlop, capfd: Captured, words: list[str]) -> None:
    assert orlop(*words) != 0
    assert len(capfd.readouterr().err.splitlines()) == 1
    assert daemon.requests == []


def test_failures_early_and_late(daemon: FakeDaemon, orlop: Orlop, capfd: Captured) -> None:
    daemon.on_error("POST", "/images/create", 404, "manifest for x:1 not found")
    assert orlop("pull", "x:1") == 1
    assert capfd.readouterr() == (
        "",
        "orlop: Error response from daemon: manifest for x:1 not found\n",
    )
    broken = {"errorDetail": {"message": "it\x1b[2Jbroke"}, "error": "it broke"}
    daemon.on("POST", "/images/create", says(PULLED[0], broken))
    assert orlop("pull", "x:1") == 1
    assert capfd.readouterr() == ("latest: Pulling from library/x\n", "orlop: it [2Jbroke\n")


def test_push(daemon: FakeDaemon, orlop: Orlop, capfd: Captured) -> None:
    daemon.on(
        "POST",
        "/images/r:5000/x/push",
        says({"status": "Pushed", "progressDetail": {}, "id": "a"}, {"aux": {"Tag": "1"}}),
    )
    assert orlop("push", "r:5000/x:1") == 0
    assert capfd.readouterr().out == "a: Pushed\n"
    assert daemon.requests[-1].query == {"tag": "1"}
    assert orlop("push", "-q", "r:5000/x:1") == 0
    assert capfd.readouterr().out == "r:5000/x:1\n"
    assert orlop("push", "-aq", "r:5000/x") == 0
    assert daemon.requests[-1].query == {}


def test_stored_credentials_go_along(
    daemon: FakeDaemon, orlop: Orlop, config: Path, capfd: Captured
) -> None:
    daemon.on("POST", "/images/create", says())
    pair = base64.b64encode(b"u:p").decode()
    config.parent.mkdir()
    config.write_text(
        json.dumps(
            {
                "auths": {HUB: {"auth": pair}, "r:5000": {}, "bad.example": {"auth": "!"}},
                "credsStore": "desktop",
            }
        )
    )
    assert orlop("pull", "-q", "x:1") == 0
    assert sent_auth(daemon) == {"username": "u", "password": "p", "serveraddress": HUB}
    assert orlop("pull", "-q", "other.example/x:1") == 0
    assert sent_auth(daemon) == {}
    assert "WARNING" not in capfd.readouterr().err
    assert orlop("pull", "-q", "r:5000/x:1") == 0
    assert sent_auth(daemon) == {}
    assert "docker-credential-desktop" in capfd.readouterr().err
    assert orlop("pull", "-q", "bad.example/x:1") == 1
    assert "damaged" in capfd.readouterr().err
    config.write_text("{")
    assert orlop("pull", "-q", "x:1") == 1
    assert str(config) in capfd.readouterr().err


# --- login ----------------------------------------------------------------------------------


@pytest.fixture
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("p w\r\nmore"))


@pytest.mark.usefixtures("password")
def test_login(daemon: FakeDaemon, orlop: Orlop, config: Path, capfd: Captured) -> None:
    daemon.on_json("POST", "/auth", {"IdentityToken": "", "Status": "Login Succeeded"})
    assert orlop("login", "-u", "u", "--password-stdin", "https://r:5000/v2/") == 0
    assert daemon.requests[-1].body == {
        "username": "u",
        "password": "p w",
        "serveraddress": "r:5000",
    }
    assert capfd.readouterr().out == "Login Succeeded\n"
    pair = base64.b64encode(b"u:p w").decode()
    assert json.loads(config.read_text()) == {"auths": {"r:5000": {"auth": pair}}}
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert [path.name for path in config.parent.iterdir()] == ["config.json"]


@pytest.mark.usefixtures("password")
def test_login_keeps_what_else_is_in_the_file_and_the_link_to_it(
    daemon: FakeDaemon, orlop: Orlop, config: Path, tmp_path: Path
) -> None:
    daemon.on_json("POST", "/auth", {"IdentityToken": "idt", "Status": "Login Succeeded"})
    config.parent.mkdir()
    real = tmp_path / "real.json"
    real.write_text('{"auths": {"other": {"auth": "eDp5"}}, "psFormat": "x"}')
    real.chmod(0o644)
    config.symlink_to(real)
    assert orlop("login", "-u", "u", "--password-stdin") == 0
    assert daemon.requests[-1].body["serveraddress"] == HUB
    assert config.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o600
    entry = {"auth": base64.b64encode(b"u:").decode(), "identitytoken": "idt"}
    assert json.loads(real.read_text()) == {
        "auths": {"other": {"auth": "eDp5"}, HUB: entry},
        "psFormat": "x",
    }


@pytest.mark.usefixtures("password")
def test_login_that_fails_stores_nothing(
    daemon: FakeDaemon, orlop: Orlop, config: Path, capfd: Captured
) -> None:
    daemon.on_error("POST", "/auth", 401, "unauthorized: incorrect username or password")
    assert orlop("login", "-u", "u", "--password-stdin", "r") == 1
    assert "incorrect username or password" in capfd.readouterr().err
    assert not config.exists()


@pytest.mark.parametrize(
    "words, text",
    [
        (["--password-stdin"], "must provide --username"),
        (["-u", "u", "-p", "x", "--password-stdin"], "mutually exclusive"),
        ([], "non TTY device"),
        (["-u", "u"], "non TTY device"),
    ],
)
@pytest.mark.usefixtures("password")
def test_login_misuse(
    daemon: FakeDaemon, orlop: Orlop, capfd: Captured, words: list[str], text: str
) -> None:
    assert orlop("login", *words) == 1
    assert text in capfd.readouterr().err
    assert daemon.requests == []


def test_login_with_a_helper(
    daemon: FakeDaemon, orlop: Orlop, config: Path, capfd: Captured
) -> None:
    config.parent.mkdir()
    config.write_text('{"credHelpers": {"gcr.io": "gcloud"}}')
    assert orlop("login", "-u", "u", "-p", "p", "gcr.io") == 1
    assert "docker-credential-gcloud" in capfd.readouterr().err
    assert daemon.requests == []


def test_logout(orlop: Orlop, config: Path, capfd: Captured) -> None:
    assert orlop("logout", "r:5000") == 0
    assert capfd.readouterr().out == "Not logged in to r:5000\n"
    assert not config.exists()
    config.parent.mkdir()
    config.write_text('{"auths": {"r:5000": {"auth": "dTpw"}, "s": {}}}')
    assert orlop("logout", "r:5000") == 0
    assert capfd.readouterr().out == "Removing login credentials for r:5000\n"
    assert json.loads(config.read_text()) == {"auths": {"s": {}}}


# --- search ---------------------------------------------------------------------------------


def test_search(daemon: FakeDaemon, orlop: Orlop, capfd: Captured) -> None:
    rows = [
        {"name": "alpine", "description": "x" * 60, "star_count": 11000, "is_official": True},
        {"name": "a/b", "description": "two\nlines\x1b", "star_count": 0, "is_official": False},
    ]
    daemon.on_json("GET", "/images/search", rows)
    assert orlop("search", "--limit", "2", "-f", "stars=3", "alp") == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].split() == ["NAME", "DESCRIPTION", "STARS", "OFFICIAL"]
    assert lines[1].split() == ["alpine", "x" * 44 + "…", "11000", "[OK]"]
    assert lines[2].split() == ["a/b", "two", "lines\\x1b", "0"]
    assert daemon.requests[-1].query == {
        "term": "alp",
        "limit": "2",
        "filters": '{"stars":{"3":true}}',
    }
    assert orlop("search", "--format", "{{.Name}}", "alp") == 0
    assert capfd.readouterr().out == "alpine\na/b\n"


# --- run --pull -----------------------------------------------------------------------------


class Store:
    """A daemon that has an image once it was pulled."""

    def __init__(self, daemon: FakeDaemon, *, there: bool) -> None:
        self.daemon = daemon
        self.there = there
        daemon.on("POST", "/containers/create", self.create)
        daemon.on("POST", "/images/create", self.pull)

    def create(self, exchange: Exchange) -> None:
        if self.there:
            exchange.reply({"Id": "c" * 64, "Warnings": []}, 201)
        else:
            exchange.reply({"message": "No such image: x:latest"}, 404)

    def pull(self, exchange: Exchange) -> None:
        self.there = True
        says(*PULLED)(exchange)


@pytest.mark.parametrize(
    "words, there, paths, err",
    [
        ([], True, ["POST /containers/create"], 0),
        (
            [],
            False,
            ["POST /containers/create", "POST /images/create", "POST /containers/create"],
            5,
        ),
        (
            ["-q"],
            False,
            ["POST /containers/create", "POST /images/create", "POST /containers/create"],
            0,
        ),
        (["--pull=always"], True, ["POST /images/create", "POST /containers/create"], 4),
        (["--pull", "never"], True, ["POST /containers/create"], 0),
    ],
)
def test_create_pulls(
    daemon: FakeDaemon,
    orlop: Orlop,
    capfd: Captured,
    words: list[str],
    there: bool,
    paths: list[str],
    err: int,
) -> None:
    Store(daemon, there=there)
    assert orlop("create", *words, "x") == 0
    found = capfd.readouterr()
    assert found.out == "c" * 64 + "\n"
    assert len(found.err.splitlines()) == err, found.err
    assert daemon.paths() == paths


def test_never(daemon: FakeDaemon, orlop: Orlop, capfd: Captured) -> None:
    Store(daemon, there=False)
    assert orlop("run", "--pull=never", "x") == 125
    assert "No such image" in capfd.readouterr().err
    assert orlop("run", "--pull=often", "x") == 125


@pytest.mark.parametrize("early", [True, False])
def test_a_pull_that_fails_is_125_for_run_and_1_for_create(
    daemon: FakeDaemon, orlop: Orlop, *, early: bool
) -> None:
    daemon.on_error("POST", "/containers/create", 404, "No such image: x:latest")
    if early:
        daemon.on_error("POST", "/images/create", 404, "manifest for x:latest not found")
    else:
        daemon.on("POST", "/images/create", says(PULLED[0], {"error": "it broke"}))
    assert orlop("run", "x") == 125
    assert orlop("create", "x") == 1


def test_nobody_has_an_image_by_its_id(daemon: FakeDaemon, orlop: Orlop) -> None:
    daemon.on_error("POST", "/containers/create", 404, "No such image: sha256:aaa")
    assert orlop("run", f"sha256:{'a' * 64}") == 125
    assert daemon.paths() == ["POST /containers/create"]


def test_run_with_a_pull_that_fails(daemon: FakeDaemon, orlop: Orlop, capfd: Captured) -> None:
    daemon.on_error("POST", "/containers/create", 404, "No such image: x:latest")
    daemon.on_error("POST", "/images/create", 404, "manifest for x:latest not found")
    assert orlop("run", "--platform", "linux/arm64", "x") == 125
    assert capfd.readouterr().err.splitlines() == [
        "Unable to find image 'x:latest' locally",
        "orlop: Error response from daemon: manifest for x:latest not found",
    ]
    assert daemon.requests[-1].query["platform"] == "linux/arm64"


# --- progress -------------------------------------------------------------------------------


def messages(*values: dict[str, Any]) -> list[bytes]:
    return [json.dumps(value).encode() for value in values]


def screen(rows: int, *values: dict[str, Any]) -> list[str]:
    """What a terminal shows in the end, by its own rules for the sequences used."""
    out = io.StringIO()
    terminal = progress.Terminal(out, rows, 40)
    for value in values:
        terminal.show(value)
    lines, at = [""], 0
    text = out.getvalue()
    while text:
        if text.startswith("\x1b["):
            number, letter, text = _sequence(text)
            at += {"A": -number, "B": number, "K": 0}[letter]
            if letter == "K":
                lines[at] = ""
        elif text[0] == "\n":
            at += 1
            lines += [""] * (at == len(lines))
            text = text[1:]
        elif text[0] == "\r":
            text = text[1:]
        else:
            lines[at] += text[0]
            text = text[1:]
    return [line.rstrip() for line in lines]


def _sequence(text: str) -> tuple[int, str, str]:
    end = next(i for i, c in enumerate(text[2:], 2) if c.isalpha())
    return int(text[2:end]), text[end], text[end + 1 :]


def step(id: str, status: str, **detail: int) -> dict[str, Any]:
    return {"id": id, "status": status, "progressDetail": detail}


def test_a_line_for_each_layer() -> None:
    assert screen(
        24,
        {"status": "Pulling from x", "id": "latest"},
        step("a", "Pulling fs layer"),
        step("b", "Pulling fs layer"),
        step("a", "Downloading", current=5, total=10),
        step("b", "Pull complete"),
        {"status": "Digest: y"},
    ) == [
        "latest: Pulling from x",
        "a: Downloading [==========>         ] 5",  # the rest is not as wide as this terminal
        "b: Pull complete",
        "Digest: y",
        "",
    ]


def test_how_fast_a_layer_comes_and_how_long_it_still_takes() -> None:
    speed = progress.Speed()
    total = 100_000_000
    assert speed.at("Downloading", 0, total, 10.0) == ""
    assert speed.at("Downloading", 1_000_000, total, 10.2) == ""  # too early to tell
    assert speed.at("Downloading", 4_000_000, total, 12.0) == " 2MB/s 48s"
    assert speed.at("Downloading", 20_000_000, total, 16.0) == " 3.3MB/s 24s"
    told = ""
    for at in range(17, 40):  # it slows down: what was before five seconds is forgotten
        told = speed.at("Downloading", 20_000_000 + (at - 16) * 10_000, total, float(at))
    assert told == " 10kB/s 2h12m"
    assert speed.at("Extracting", 5, total, 40.0) == ""
    assert speed.at("Extracting", 1_000_005, total, 41.0) == " 1MB/s 1m39s"
    assert speed.at("Extracting", 5, total, 42.0) == ""  # from the beginning
    assert speed.at("Extracting", 5, total, 43.0) == ""  # it stands still


def test_a_line_tells_its_layers_speed_and_fits() -> None:
    times = iter((0.0, 1.0, 1.5))
    out = io.StringIO()
    terminal = progress.Terminal(out, 24, 80, lambda: next(times))
    name = "0123456789ab"
    for current in (0, 12_345_678):
        terminal.show(step(name, "Downloading", current=current, total=99_345_678))
    terminal.show(step(name, "Download complete"))
    line = f"{name}: Downloading [{'==>':<20}] 12.35MB/99.35MB 12MB/s 7s"
    assert line in out.getvalue()
    assert len(line) < 80


def test_what_has_left_the_screen_stays() -> None:
    shown = screen(3, *(step(str(n), "Pulling fs layer") for n in range(5)), step("0", "Done"))
    assert shown == [*(f"{n}: Pulling fs layer" for n in range(5)), ""]


def test_messages_that_are_none() -> None:
    with pytest.raises(Failure, match="words"):
        progress.follow(messages({"error": "words"}))
    progress.follow(messages({"aux": {}}, {"status": ""}), io.StringIO())
