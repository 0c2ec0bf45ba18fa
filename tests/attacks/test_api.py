"""What requests to the API try that their sender should not get by them.

Who may write to the socket is root on the host. These are about mistakes and about what is passed
on: names that a client took from somebody else, and secrets that are not for everybody's eyes.
"""

from __future__ import annotations

import base64
import json
import os
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.api.box import IMAGE, Box, eventually
from tests.attacks.boxes import Canary
from tests.attacks.rounds import rounds
from tests.support import procfs
from tests.support.daemon import Daemon, UnixConnection, running_daemon
from tests.support.pace import limit

pytestmark = pytest.mark.api

MIB = 1 << 20


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """A daemon that says all it can in its log."""
    flags = ("--log-level", "debug", "--metrics-addr", "127.0.0.1:0", "--metrics-label", "evil")
    with running_daemon(flags) as daemon:
        box = Box(daemon)
        box.build()
        yield box


@pytest.fixture
def canary_tree(built: Box) -> Path:
    """A folder beside the daemon's own, which "../" from there leads to."""
    tree = built.daemon.folder / "canary"
    tree.mkdir(exist_ok=True)
    (tree / "file").write_text("untouched")
    return tree


@pytest.fixture
def box(built: Box, canary_tree: Path) -> Iterator[Box]:
    canary = Canary(built.daemon, [canary_tree])
    yield built
    built.remove_all()
    canary.check()


def raw(daemon: Daemon, *requests: bytes) -> bytes:
    """What the daemon answers to these bytes, until it closes or has nothing more to say."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(limit(20))
        sock.connect(str(daemon.socket))
        answer = b""
        try:
            for request in requests:
                sock.sendall(request)
            sock.shutdown(socket.SHUT_WR)
            while data := sock.recv(65536):
                answer += data
        except (BrokenPipeError, ConnectionResetError):
            pass
        return answer


# --- S61: names ---------------------------------------------------------------------------------

REFS = (
    *(
        "..",
        "../canary",
        "../../canary/file",
        "%2e%2e",
        "%2e%2e%2fcanary",
        "..%2f..%2fcanary%2ffile",
    ),
    *("%2e%2e/%2e%2e/canary", "/../canary", "%2f..%2fcanary", "a%00b", "%00", "%0a", "a%0d%0ab"),
    *("-", "--help", "%20", "a%20b", "%ff%fe", "%c0%ae%c0%ae", "%25%32%65", ".", "~", "$(id)", "*"),
    *("sha256:..%2f..%2fcanary", "sha256:%00", "..@sha256:" + "0" * 64, "x" * 5000, "%F0%9F%92%A9"),
)
ENDLESS = ("/events", "/attach", "/logs", "/stats")


def test_s61_no_name_leads_anywhere(box: Box) -> None:
    """Each operation with a name in its path: an error of the client's, and nothing else."""
    paths = box.daemon.request("GET", "/openapi.json")[1]["paths"]
    tried = 0
    with closing(UnixConnection(box.daemon.socket, limit(30))) as connection:
        for path, methods in paths.items():
            for place in ("{id}", "{name}"):
                if place not in path:
                    continue
                for method in methods:
                    for ref in REFS:
                        query = "?path=/etc/passwd" if path.endswith("/archive") else ""
                        target = path.replace(place, ref) + query
                        connection.request(
                            method.upper(), target, b"{}", {"Content-Type": "application/json"}
                        )
                        response = connection.getresponse()
                        body = response.read()
                        assert 400 <= response.status < 502, (method, target, body)
                        assert response.status != 500, (method, target, body)
                        assert len(body) < 6000
                        assert b"untouched" not in body
                        tried += 1
    assert tried > 1000


NAMES = ("..", "../canary", "a/../b", "a\0b", "a\nb", " ", "a b", "-x", ".x", "é", "x" * MIB)


def test_s61_nothing_is_made_by_such_a_name(box: Box) -> None:
    before = listing(box.daemon)
    container = box.ok("create", IMAGE, "true")
    for name in NAMES:
        word = quote(name, safe="")
        for path, body in (
            (f"/containers/create?name={word}", {"Image": IMAGE, "Cmd": ["true"]}),
            (f"/containers/{container}/rename?name={word}", None),
            ("/volumes/create", {"Name": name}),
            ("/networks/create", {"Name": name}),
            (f"/images/{IMAGE}/tag?repo={word}", None),
            (f"/images/{IMAGE}/tag?repo=x&tag={word}", None),
            ("/containers/create", {"Image": IMAGE, "HostConfig": {"Binds": [f"{name}:/x"]}}),
            ("/containers/create", {"Image": name, "Cmd": ["true"]}),
        ):
            status, answer = box.daemon.request("POST", path, body)
            assert 400 <= status < 500 or status == 503, (path[:100], status, answer)
            assert len(answer["message"]) < 1000
    box.ok("rm", container)
    assert listing(box.daemon) == before


def listing(daemon: Daemon) -> dict[str, list[str]]:
    """What is kept of containers, images and volumes."""
    kept = ("containers", "layers", "volumes", "images", "tmp")
    return {name: sorted(os.listdir(daemon.data_root / name)) for name in kept}


# --- S62: metrics -------------------------------------------------------------------------------


def test_s62_no_label_writes_another_line_of_the_metrics(box: Box) -> None:
    forged = 'forged_total{name="x"} 1'
    evil = f'"}} 1\n{forged}\n# TYPE forged counter\n\\"\\\n\r\x00\x7f\u2028{{}}'
    body = {"Image": IMAGE, "Cmd": ["sleep", "100000"], "Labels": {"evil": evil, evil: evil}}
    assert box.daemon.request("POST", "/containers/create?name=labelled", body)[0] == 201
    assert box.daemon.request("POST", "/containers/labelled/start")[0] == 204

    def values() -> list[str]:
        status, page = box.daemon.request("GET", "/metrics")
        assert status == 200
        assert forged not in page.decode().split("\n")
        found = list(text_string_to_metric_families(page.decode()))
        assert not [family.name for family in found if "forged" in family.name]
        labels = [sample.labels for family in found for sample in family.samples]
        mine = [one for one in labels if one.get("name") == "labelled"]
        return [one["container_label_evil"] for one in mine if "container_label_evil" in one]

    eventually(values)
    assert set(values()) == {evil}


# --- S65: framing -------------------------------------------------------------------------------

HIDDEN = b"DELETE /containers/victim?force=1 HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
FRAMINGS = {
    "two lengths": b"Content-Length: 2\r\nContent-Length: %d\r\n\r\n{}",
    "two in one": b"Content-Length: 2, %d\r\n\r\n{}",
    "length and chunks": b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": b"Transfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n0\r\n\r\n",
    "chunks that are not last": b"Transfer-Encoding: chunked, identity\r\nX: %d\r\n\r\n0\r\n\r\n",
    "chunks misspelt": b"Transfer-Encoding: xchunked\r\nX: %d\r\n\r\n0\r\n\r\n",
    "a space before the colon": b"Content-Length : %d\r\n\r\n{}",
    "a sign": b"Content-Length: +2\r\nX: %d\r\n\r\n{}",
    "hexadecimal": b"Content-Length: 0x2\r\nX: %d\r\n\r\n{}",
    "a chunk too large": b"Transfer-Encoding: chunked\r\nX: %d\r\n\r\nFFFFFFFFFFFFFFFF2\r\n{}\r\n",
    "a negative chunk": b"Transfer-Encoding: chunked\r\nX: %d\r\n\r\n-1\r\n{}\r\n",
    "a line in an extension": b"Transfer-Encoding: chunked\r\nX: %d\r\n\r\n2;a\nb\r\n{}\r\n",
    "a NUL in a header": b"X: a\0b\r\nContent-Length: 2\r\nX: %d\r\n\r\n{}",
    "a carriage return": b"X: a\rContent-Length: %d\r\n\r\n{}",
}


def test_s65_where_a_body_ends_is_never_in_doubt(box: Box) -> None:
    """The request behind is run only if there is no other reading of the first one."""
    box.ok("create", "--name", "victim", IMAGE, "true")
    for kind, framing in FRAMINGS.items():
        answer = raw(box.daemon, POST + framing % (len(HIDDEN) + 2) + HIDDEN)
        assert answer.split(b" ", 2)[1] in (b"400", b"501"), (kind, answer[:200])
        assert answer.count(b"HTTP/1.1 ") == 1, (kind, "and the connection is closed")
        assert box.status("victim") == "created", kind
    plain = b"POST /containers/nobody/stop HTTP/1.1\r\nHost: x\r\n\r\n"
    assert raw(box.daemon, plain + HIDDEN).count(b"HTTP/1.1 ") == 2, "the control: it would be run"
    assert box.ids() == []


BODIES = (
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"Image":"box","Cmd":' + b"[" * 5000 + b"]" * 5000 + b"}",
    b'{"Image":"box","Labels":{' + b",".join(b'"k%d":"v"' % n for n in range(50_000)) + b"}",
    b'{"Image":"box","HostConfig":{"Memory":1e999}}',
    b'{"Image":"box","HostConfig":{"Memory":' + b"9" * 5000 + b"}}",
    *(b'{"Image":"\\ud800"}', b"\xff\xfe{}", b"null", b"[]", b'"x"'),
)


def test_s65_json_that_is_none_of_ours(box: Box) -> None:
    for body in BODIES:
        head = POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        begun = time.monotonic()
        answer = raw(box.daemon, head + body)
        assert answer.split(b" ", 2)[1] in (b"400", b"404"), (body[:30], answer[:300])
        assert time.monotonic() - begun < limit(5), body[:30]


# --- S66: clients that read nothing -------------------------------------------------------------


def resident(pid: int) -> int:
    """Bytes of memory that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def test_s66_clients_that_read_nothing_cost_little(box: Box) -> None:
    """Each may be 1 MiB behind (decision 4); kept for each by itself it would be 1 MiB for each."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    many = min(10 * rounds(20), hard - 500)
    ref = box.start(script="until test -e /go; do sleep 0.1; done; yes 012345678901234567890")
    pid = box.state(ref)["Pid"]
    shim = procfs.parent(pid)
    query = "stream=1&stdout=1&stderr=1"
    request = (
        f"POST /containers/{ref}/attach?{query} HTTP/1.1\r\nHost: x\r\n"
        "Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    )
    with ExitStack() as stack:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        before = {one: resident(one) for one in (box.daemon.pid, shim)}
        for _ in range(many):
            attached = stack.enter_context(socket.socket(socket.AF_UNIX))
            attached.connect(str(box.daemon.socket))
            attached.sendall(request.encode())
        eventually(lambda: len(os.listdir(f"/proc/{shim}/fd")) > many, 60)
        box.ok("exec", ref, "touch", "/go")
        eventually(lambda: held(ref, box), 60)
        grown = {one: resident(one) - bytes_ for one, bytes_ in before.items()}
        assert grown[box.daemon.pid] < 10 * MIB
        assert grown[shim] < 6 * MIB + many * 2500
        assert box.daemon.request("GET", "/containers/json")[0] == 200
    eventually(lambda: not held(ref, box), 60)


def held(ref: str, box: Box) -> bool:
    """The container waits: its log does not grow any more."""

    def size() -> int:
        logs = (box.daemon.data_root / "containers" / ref).rglob("*.log*")
        return sum(path.stat().st_size for path in logs)

    first = size()
    time.sleep(0.3)
    return first > 0 and size() == first


# --- S68: secrets -------------------------------------------------------------------------------


def test_s68_secrets_are_told_to_nobody(box: Box) -> None:
    daemon = box.daemon
    secrets = {word: f"s3cr3t-{word}" for word in ("env", "exec", "registry", "token", "health")}
    credentials = {"username": "u", "password": secrets["registry"], "serveraddress": "127.0.0.1:1"}
    header = base64.urlsafe_b64encode(json.dumps(credentials).encode()).decode()
    token = base64.urlsafe_b64encode(json.dumps({"identitytoken": secrets["token"]}).encode())
    for method, path, auth in (
        ("POST", "/images/create?fromImage=127.0.0.1:1/x&tag=1", header),
        ("POST", "/images/create?fromImage=127.0.0.1:1/x&tag=1", token.decode()),
        ("POST", "/images/create?fromImage=127.0.0.1:1/x&tag=1", header[:-7]),
        ("POST", "/images/127.0.0.1:1/x/push?tag=1", header),
        ("GET", "/distribution/127.0.0.1:1/x/json", header),
    ):
        with closing(UnixConnection(daemon.socket, limit(30))) as connection:
            connection.request(method, path, headers={"X-Registry-Auth": auth})
            answer = connection.getresponse()
            assert answer.status >= 400
            assert told(answer.read().decode(), secrets) == []
    assert told(str(daemon.request("POST", "/auth", credentials)), secrets) == []

    command = ["sh", "-c", "sleep 100000; :"]
    probe = {"Test": ["CMD-SHELL", 'echo "$HEALTH_SECRET"; exit 1'], "Interval": 200_000_000}
    env = [f"DB_PASSWORD={secrets['env']}", f"HEALTH_SECRET={secrets['health']}"]
    body = {"Image": IMAGE, "Cmd": command, "Env": env, "Healthcheck": probe}
    ref = daemon.request("POST", "/containers/create?name=keeper", body)[1]["Id"]
    assert daemon.request("POST", f"/containers/{ref}/start")[0] == 204
    body = {"Cmd": ["sleep", "100000"], "Env": [f"TOKEN={secrets['exec']}"]}
    session = daemon.request("POST", f"/containers/{ref}/exec", body)[1]["Id"]
    assert daemon.request("POST", f"/exec/{session}/start", {"Detach": True})[0] == 200
    eventually(lambda: box.state(ref)["Health"]["Log"])
    bad = {"Image": IMAGE, "Cmd": ["/none"], "Env": [f"X={secrets['env']}"]}
    failed = daemon.request("POST", "/containers/create", bad)[1]["Id"]
    assert told(str(daemon.request("POST", f"/containers/{failed}/start")), secrets) == []

    seen: dict[str, str] = {
        "events": json.dumps(box.events("keeper")),
        "list": json.dumps(daemon.request("GET", "/containers/json?all=1")[1]),
        "top": json.dumps(daemon.request("GET", f"/containers/{ref}/top?ps_args=-ef")[1]),
        "exec": json.dumps(daemon.request("GET", f"/exec/{session}/json")[1]),
        "info": json.dumps(daemon.request("GET", "/info")[1]),
        "metrics": str(daemon.request("GET", "/metrics")[1]),
        "why": box.orlop("why", "keeper").stdout,
        "explain": json.dumps(daemon.request("GET", f"/orlop/explain?ref={ref}")[1]),
    }
    # What its owner gave it is its owner's to see: the environment, and what its probe wrote.
    view = box.inspect(ref)
    assert view["Config"].pop("Env")[:2] == env
    assert secrets["health"] in json.dumps(view["State"]["Health"].pop("Log"))
    seen["inspect"] = json.dumps(view)
    for process in daemon.processes():
        with suppress(OSError):  # a probe that has ended
            name = f"command line of {process.pid}"
            seen[name] = Path(f"/proc/{process.pid}/cmdline").read_text()
    seen["log"] = daemon.log
    assert {place: words for place, text in seen.items() if (words := told(text, secrets))} == {}
    for file in daemon.data_root.rglob("*"):  # credentials are not kept, not even behind 0700
        if file.is_file() and not file.is_symlink():
            kept = file.read_bytes()
            assert secrets["registry"].encode() not in kept, file
            assert secrets["token"].encode() not in kept, file


def told(text: str, secrets: dict[str, str]) -> list[str]:
    """Which secrets are in it, as they are or as a header has them."""
    coded = {w: base64.b64encode(s.encode()).decode()[:-4] for w, s in secrets.items()}
    return [word for word in secrets if secrets[word] in text or coded[word] in text]


# --- S69: sysctls -------------------------------------------------------------------------------

HOSTS = ("kernel.core_pattern", "kernel.modprobe", "kernel.hostname", "kernel.panic",
         "kernel.unprivileged_bpf_disabled", "kernel.yama.ptrace_scope", "vm.overcommit_memory",
         "fs.suid_dumpable", "fs.file-max", "user.max_user_namespaces", "dev.tty.legacy_tiocsti",
         "net/../kernel/core_pattern", "net.../../kernel.core_pattern", "net/ipv4/ip_forward",
         "net.ipv4.conf./../../../kernel/panic", "fs.mqueue.../suid_dumpable", "kernel.shm*", "",
         "net.\0")  # fmt: skip


def test_s69_no_sysctl_of_the_host_is_set(box: Box) -> None:
    def create(sysctls: dict[str, str], **host: Any) -> int:
        config = {"Sysctls": sysctls, **host}
        body = {"Image": IMAGE, "Cmd": ["true"], "HostConfig": config}
        return box.daemon.request("POST", "/containers/create", body)[0]

    assert {key: create({key: "1"}) for key in HOSTS} == dict.fromkeys(HOSTS, 400)
    assert create({"net.ipv4.ip_forward": "1"}, NetworkMode="host") == 400
    assert create({"kernel.shmmax": "1"}, IpcMode="host") == 400
    assert create({"kernel.shmmax": "4096"}) == 201
    # Of those below net. some are the host's alone: a network namespace does not have them.
    for key in ("net.core.rmem_max", "net.core.bpf_jit_enable", "net.ipv4.tcp_mem",
                "net.netfilter.nf_conntrack_max"):  # fmt: skip
        path = Path("/proc/sys", key.replace(".", "/"))
        if path.exists():
            before = path.read_bytes()
            done = box.run("--sysctl", f"{key}=4096", script="true")
            after = path.read_bytes()
            if after != before:
                path.write_bytes(before)
            assert after == before, (key, done.stderr)


# --- S70: places --------------------------------------------------------------------------------


def subpath(path: str) -> dict[str, Any]:
    options = {"Subpath": path}
    return {"Type": "volume", "Source": "vv", "Target": "/x", "VolumeOptions": options}


BINDS = ("../etc:/e", "./x:/e", "vol/../..:/e", "vv:/a/../..:ro", "/etc:e", "vv:/proc", "/:/sys")
HOST_CONFIGS: list[dict[str, Any]] = [
    *({"CgroupParent": parent} for parent in ("../x", "/", "a/../../b", "/orlop/..", "x.slice")),
    *({"Binds": [bind]} for bind in BINDS),
    *({"Mounts": [subpath(path)]} for path in ("../..", "/etc", "a/../../b")),
    {"Mounts": [{"Type": "bind", "Source": "../etc", "Target": "/x"}]},
    {"Tmpfs": {"/x": "size=1m,lowerdir=/"}},
    {"Tmpfs": {"../x": ""}},
    {"VolumeDriver": "../../plugin"},
]
VOLUMES: list[dict[str, Any]] = [
    {"Driver": "../local"},
    {"DriverOpts": {"type": "none", "o": "bind", "device": "../../canary"}},
    {"DriverOpts": {"type": "none", "o": "bind", "device": "/x\0y"}},
    {"DriverOpts": {"type": "none", "o": "bind,upperdir=/etc", "device": "/srv"}},
    {"DriverOpts": {"type": "overlay", "o": "lowerdir=/,upperdir=/etc,workdir=/w", "device": "x"}},
    {"DriverOpts": {"type": "tmpfs", "o": "lowerdir=/", "device": "tmpfs"}},
    {"DriverOpts": {"type": "ext4", "device": "/dev/vda"}},
    {"DriverOpts": {"mountpoint": "/etc"}},
]


def test_s70_no_place_of_a_container_or_volume_is_another(box: Box) -> None:
    before = listing(box.daemon)
    for config in HOST_CONFIGS:
        body = {"Image": IMAGE, "Cmd": ["true"], "HostConfig": config}
        status, answer = box.daemon.request("POST", "/containers/create", body)
        assert status == 400, (config, answer)
    for options in VOLUMES:
        status, answer = box.daemon.request("POST", "/volumes/create", {"Name": "vv", **options})
        assert status in (400, 404), (options, answer)
    assert listing(box.daemon) == before
